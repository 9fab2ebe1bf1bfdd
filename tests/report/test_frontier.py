"""The best uncertainty for its time: by brute force, within one race, of what is valid alone."""

from __future__ import annotations

from dataclasses import replace

import factory
import numpy as np
import pytest
from records_made import changed

from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.report.frontier import (
    frontier,
    frontier_figure,
    frontier_lines,
    frontier_sheet,
)
from sigmabench.harness.report.rows import sections


def priced(record: RunRecord, nll: float, p50_ms: float) -> RunRecord:
    """The record with that NLL, and that median query."""
    scores = {**record.body.quality.scores, "nll": (nll,) * 3}
    timing = replace(record.body.timing, percentiles_ns={"p50": 1e6 * p50_ms})
    return changed(record, quality=replace(record.body.quality, scores=scores), timing=timing)


def found(records: list[RunRecord]):
    (section,) = sections(records)
    return frontier(section)


def test_it_is_what_nothing_beats_by_brute_force() -> None:
    rng = np.random.default_rng(3)
    grid = [
        priced(one, *rng.uniform([0.1, 1.0], [0.9, 90.0])) for one in factory.grid(mcs=(1, 10, 50))
    ]
    shown = found(grid)
    cost = {id(m): (m.milliseconds, m.nll) for m in shown.methods}
    assert len(cost) == len(grid)
    expected = {
        key
        for key, (ms, nll) in cost.items()
        if not any((a < ms and b <= nll) or (a <= ms and b < nll) for a, b in cost.values())
    }
    assert {id(m) for m in shown.best} == expected
    assert len(expected) > 2


def test_time_is_that_of_an_image_of_all_passes() -> None:
    grid = factory.grid(("FP32", "INT8"), mcs=(50,), batches=(32,))
    whole = found([priced(one, 0.1 * i + 0.1, 64.0 * (i + 1)) for i, one in enumerate(grid)])
    assert [m.milliseconds for m in whole.methods] == [2.0, 4.0]
    cut = [changed(one, timing=replace(one.body.timing, passes=10)) for one in grid]
    of_ten = found([priced(one, 0.1 * i + 0.1, 64.0 * (i + 1)) for i, one in enumerate(cut)])
    assert [m.milliseconds for m in of_ten.methods] == [10.0, 20.0]


def test_races_are_never_mixed_and_the_one_with_the_most_cells_is_shown() -> None:
    large = factory.grid(("FP32", "INT8"), mcs=(10, 50), batches=(1,))
    small = factory.grid(("BF16",), mcs=(10, 50), batches=(1,))
    fast = [priced(one, 1e-6, 1e-6) for one in factory.one_race(small, "f" * 16)]
    shown = found([*large, *fast])
    assert {m.row.record.subject.format for m in shown.methods} == {"FP32", "INT8"}


def test_what_an_audit_doubts_takes_no_part() -> None:
    grid = factory.grid(("FP32", "INT8", "BF16"), mcs=(50,), batches=(1,))
    noisy = factory.with_verdict(priced(grid[1], 0.0001, 0.001), noise="fail: a neighbour")
    wrong = factory.with_verdict(priced(grid[2], 0.0001, 0.001), moments="fail: not its own")
    assert found([grid[0], noisy, wrong]) is None
    rest = factory.grid(("FP32", "INT8_SIGMA4"), mcs=(50,), batches=(1,))
    kept = found(factory.one_race([*rest, noisy, wrong]))
    assert {m.row.record.subject.format for m in kept.methods} == {"FP32", "INT8_SIGMA4"}


def test_words_and_table_say_the_same() -> None:
    grid = factory.grid(("FP32", "INT8", "BF16"), mcs=(50,), batches=(1,))
    costs = ((0.1, 8.0), (0.2, 2.0), (0.3, 4.0))
    shown = found([priced(one, *cost) for one, cost in zip(grid, costs, strict=True)])
    assert frontier_lines(shown) == [
        "3 cells of one race; 2 cells are beaten by no other in both time and NLL.",
        "The fastest is INT8, T = 50, batch 1: NLL 0.2000 nats at 2.00 ms per image.",
        "FP32, T = 50, batch 1 has the lowest NLL: NLL 0.1000 nats at 8.00 ms per image.",
    ]
    sheet = frontier_sheet(shown)
    assert [row[:5] for row in sheet.rows] == [
        ("INT8", "50", "1", "2.00", "0.2000"),
        ("FP32", "50", "1", "8.00", "0.1000"),
    ]
    line, *points = frontier_figure(shown).panels[0].marks
    assert (line.x, line.y) == ((2.0, 8.0), pytest.approx((0.2, 0.1)))
    assert sorted((p.label, *p.x, round(*p.y, 9)) for p in points) == [
        ("BF16", 4.0, 0.3), ("FP32", 8.0, 0.1), ("INT8", 2.0, 0.2),
    ]  # fmt: skip
    (alone,) = found([priced(grid[0], 0.1, 1.0), priced(grid[1], 0.2, 2.0)]).best
    assert alone.row.record.subject.format == "FP32"


def test_one_cell_is_no_race() -> None:
    assert found(factory.grid(("FP32",), mcs=(50,), batches=(1,))) is None


@pytest.mark.parametrize("adaptive", [False, True])
def test_adaptive_cells_take_part_by_their_mean(adaptive: bool) -> None:
    records = [factory.record(mc=50), factory.adapted()] if adaptive else factory.grid(("FP32",))
    shown = found(factory.one_race(records))
    if adaptive:
        spent = next(m for m in shown.methods if m.row.record.subject.adaptive)
        assert spent.milliseconds == spent.row.record.body.adaptive.mean_latency_ns / 1e6
    else:
        assert len(shown.methods) == 6
