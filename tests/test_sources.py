"""From `Split.sources` to the tables: copies of digits tell each study no more than the digits."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from studied import studied

from sigmabench.harness.data.splits import Splits
from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.records.shift_record import ShiftRecord
from sigmabench.harness.report.quality_sheets import paired as paired_sheets
from sigmabench.harness.report.rendering import markdown
from sigmabench.harness.report.rows import sections
from sigmabench.harness.stats.equivalence import equivalence
from sigmabench.harness.stats.shifted import results
from sigmabench.harness.studies.run import measure as sweep
from sigmabench.harness.studies.selective.analyse import findings
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.shift.analyse import ShiftFindings
from sigmabench.harness.studies.shift.document import document
from sigmabench.harness.workload.conditions import shift_plan
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.workload import WORKLOADS, Workload

DIGITS = WORKLOADS.get("lenet-digits")
FORMATS = ("FP32", "INT8")
UNITS = 12


def splits(which: torch.Tensor, root: Path | None) -> Splits:
    """The digits; of the test split these images, which are cut from the digits of that number.

    Every third has a wrong label, so that there are errors.
    """
    found = DIGITS.splits(root)
    test = found.test.take(which)
    labels = (test.labels + (which % 3 == 0)) % 10
    return replace(found, test=replace(test, labels=labels, sources=which))


def workload(which: torch.Tensor) -> Workload:
    return replace(DIGITS, name=f"digits-{len(which)}", splits=partial(splits, which))


ONCE = workload(torch.arange(60, 60 + UNITS))
EIGHT_TIMES = workload(torch.arange(60, 60 + UNITS).repeat(8))


def shift(one: Workload, path: Path) -> list[ShiftRecord]:
    """`contrast` draws nothing, so copies of an image stay copies under it."""
    asked = {"types": ("contrast",), "severities": (5,), "mc": 4, "limit": 1000, "ood": ()}
    plan, _ = shift_plan(one, formats=FORMATS, backend="reference", **asked)  # type: ignore[arg-type]
    return studied("shift", plan, path)


@pytest.fixture(scope="module")
def shifts(tmp_path_factory: pytest.TempPathFactory) -> list[list[ShiftRecord]]:
    return [shift(one, tmp_path_factory.mktemp("shift")) for one in (ONCE, EIGHT_TIMES)]


def test_a_shift_study_scores_sources_and_names_their_number(
    shifts: list[list[ShiftRecord]],
) -> None:
    ((once,), (eight,)) = map(results, shifts)
    outcomes = [equivalence(one, resamples=200) for one in (once, eight)]
    for a, b in zip(*outcomes, strict=True):
        assert (a.images, a.units, b.images, b.units) == (UNITS, UNITS, 8 * UNITS, UNITS)
        assert (b.luck, b.apart, b.verdict) == (a.luck, a.apart, "not judged")
        assert a.low is not None
        assert (b.low, b.high) == pytest.approx((a.low, a.high), rel=1e-3, abs=1e-5)
    records = [record for group in eight.records.values() for record in group]
    found = ShiftFindings(EIGHT_TIMES.name, records, eight, outcomes[1], None)
    table = markdown(document(found))
    assert f"{8 * UNITS} images, {UNITS} independent" in table
    assert f"not judged: {UNITS} independent images" in table


def test_selective_prediction_resamples_sources(shifts: list[list[ShiftRecord]]) -> None:
    found = [
        findings(
            [r for r in records if not r.subject.severity],
            ("test",),
            Choices(coverage=0.75),
            resamples=200,
        )
        for records in shifts
    ]
    for a, b in zip(*(one.selections for one in found), strict=True):
        assert (a.images, b.images) == (UNITS, 8 * UNITS)
        assert a.error.low < a.error.high  # type: ignore[operator]
        assert (b.error.low, b.error.high) == pytest.approx((a.error.low, a.error.high))
        assert b.luck == a.luck


def run(one: Workload, path: Path) -> RunRecord:
    """INT8's record beside FP32."""
    plan = Plan(
        one, formats=FORMATS, mc=(2,), batches=(1,), backend="native", seconds=0.01, seeds=1
    )
    return next(r for r in studied("run", plan, path) if r.subject.format == "INT8")


def test_a_run_counts_sources_in_its_table_of_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MIN_SAMPLES", 2)
    once, eight = (run(one, tmp_path / one.name) for one in (ONCE, EIGHT_TIMES))
    assert once.body.paired is not None
    assert eight.body.paired is not None
    assert (once.body.quality.units, eight.body.quality.units, eight.body.paired.units) == (
        UNITS,
    ) * 3
    for name, interval in once.body.paired.intervals.items():
        assert eight.body.paired.intervals[name] == pytest.approx(interval, rel=1e-3, abs=1e-5)
    (sheet,) = paired_sheets(sections([eight])[0])
    assert f"{8 * UNITS} images, {UNITS} independent" in sheet.notes[0]


def test_from_images_of_one_source_a_run_shows_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MIN_SAMPLES", 2)
    record = run(workload(torch.full((20,), 3)), tmp_path)
    assert record.body.quality.units == 1
    (sheet,) = paired_sheets(sections([record])[0])
    ((_, _, _, accuracy, nll, *_),) = sheet.rows
    assert accuracy.endswith(" ± –")
    assert nll.endswith(" ± –")
