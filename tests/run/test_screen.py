"""A run's screen: its size, and that each of its sentences says what the records say."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hostile import planted, steering
from records_made import changed
from report import factory
from rich.console import Console

from sigmabench.harness.cli import terminal
from sigmabench.harness.cli.study_commands import documents
from sigmabench.harness.core.document import Document
from sigmabench.harness.core.formats import DEFAULT_FORMATS
from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.report import rendering, table
from sigmabench.harness.studies.known import STUDIES

EIGHT = (*DEFAULT_FORMATS, "DNN_FP32", "DNN_INT8")
#: By how much INT8 is slower than it is made to be: 6 times as fast as FP32.
EVEN, SLOW = 6.0, 12.0


def shown(records: Iterable[RunRecord], **how: Any) -> Document:
    (made,) = documents(STUDIES.get("run"), list(records), None, how)
    return made


def printed(made: Document, monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal.show(rendering.terminal(made))
    return out.getvalue()


def sentence(about: str, records: Iterable[RunRecord]) -> str:
    (found,) = [line for line in shown(records).conclusions if line.startswith(f"{about}: ")]
    return found.removeprefix(f"{about}: ")


def grid(formats: Sequence[str] = EIGHT, mcs: Sequence[int] = (1, 10, 50), **more: Any):
    """A race of these; deterministic formats have one pass."""
    made = factory.grid(tuple(formats), tuple(mcs), **more)
    kept = [r for r in made if not r.subject.format.startswith("DNN") or r.subject.mc == mcs[0]]
    return factory.one_race(
        changed(r, subject=replace(r.subject, mc=1)) if r.subject.format.startswith("DNN") else r
        for r in kept
    )


def broken(records: Iterable[RunRecord]) -> list[RunRecord]:
    """With more failures and findings than a screen has room for, each in some of the cells."""
    made = []
    for place, record in enumerate(records):
        audits = {
            "noise": f"fail: run-to-run noise {16 + place} % is above 15 %",
            "instruction_set": "fail: amx was asked for, avx2 ran",
            "cores_free": f"fail: {place} % of the time was taken by others",
            "inputs_not_cached": "fail: 20 % faster with one repeated input",
            "moments": f"fail: conv1: variance is {place + 5} standard errors off",
        }
        few = dict(list(audits.items())[place % 5 :]) if place % 2 else {}
        finding = (f"layer fc1 keeps {0.8 + 0.001 * place:.3f} of its deviation",)
        made.append(factory.with_verdict(record, finding, **few))
    return made


#: As long as the methods study's gets, of a large split.
LONG = (
    "It cannot be shown whether the NLL of 50 passes of the posterior in INT8 differs by more than "
    "the margin from that of one pass of the mean network, each with a temperature (−0.0002 nats, "
    "95 % interval −0.0007 to +0.0003, margin 0.0005, 10,000 images, 2 comparisons). About 132,106 "
    "images would decide it."
)


@pytest.mark.parametrize("beside", [None, Document("x", (), {}, "x", conclusions=(LONG,))])
@pytest.mark.parametrize("formats", [DEFAULT_FORMATS, EIGHT])
@pytest.mark.parametrize("make", [list, broken])
def test_a_screen_is_45_lines_of_80_columns(formats, make, beside, monkeypatch):
    made = shown(make(grid(formats)), **({} if beside is None else {"beside": beside}))
    lines = printed(made, monkeypatch).rstrip("\n").splitlines()
    assert len(lines) <= 45
    assert max(map(len, lines)) <= 80
    (sheet,) = made.sheets
    assert [row[0] for row in sheet.rows] == list(formats)
    for row in sheet.rows:
        assert any(line.split() == list(row) for line in lines), "a cell is not whole"


def test_what_does_not_fit_is_counted(monkeypatch):
    lines = printed(shown(broken(grid())), monkeypatch).splitlines()
    (verdict,) = [place for place, line in enumerate(lines) if " cells valid: " in line]
    below = lines[verdict + 1 :]
    assert sum(line.startswith("✗ ") for line in below) == 3
    assert "and 2 more" in below
    assert "audits and 1 finding;" in " ".join(line.strip() for line in below)


def test_the_table_is_of_the_largest_t_and_of_a_pass():
    records = grid(("FP32", "INT8", "DNN_INT8"))
    (sheet,) = shown(records).sheets
    assert sheet.title.startswith("T = 50 ")
    rows = {row[0]: dict(zip([f"{c.name} {c.unit}" for c in sheet.columns], row, strict=True))
            for row in sheet.rows}  # fmt: skip
    by = {(r.subject.format, r.subject.mc, r.subject.batch): r for r in records}

    def ms(name: str, mc: int, batch: int) -> float:
        return by[name, mc, batch].body.timing.percentiles_ns["p50"] / mc / 1e6

    for name, mc in (("FP32", 50), ("INT8", 50), ("DNN_INT8", 1)):
        for batch in (1, 32):
            told = float(rows[name][f"batch {batch} ms"])
            assert told == pytest.approx(ms(name, mc, batch), rel=0.006)
    scores = by["INT8", 50, 1].body.quality.scores["nll"]
    assert float(rows["INT8"]["NLL nats"]) == pytest.approx(sum(scores) / 3, abs=6e-5)
    speeds = [row[5:8:2] for row in sheet.rows]
    assert speeds[0] == ("1.00×", "1.00×")
    assert [float(cell[:-1]) for cell in speeds[1]] == [
        pytest.approx(ms("FP32", 50, batch) / ms("INT8", 50, batch), abs=0.006) for batch in (1, 32)
    ]
    assert speeds[2] == ("–", "–"), "one pass was in another race than FP32's fifty"
    assert rows["INT8"]["times smaller"] == f"{by['INT8', 50, 1].body.size.ratio_file:.2f}×"


def compared(accuracy: float, nll: float, half: float = 0.3, units: int | None = 10_000):
    """FP32 and INT8 with these differences, whose intervals are ± `half` and ± `half` / 100."""
    records = grid(("FP32", "INT8"), (50,))
    values = {"accuracy_percent": accuracy, "nll_nats": nll}
    halves = {"accuracy_percent": half, "nll_nats": half / 100}
    made = []
    for record in records:
        paired = record.body.paired
        if record.subject.format == "INT8":
            intervals = {name: (v - halves[name], v + halves[name]) for name, v in values.items()}
            paired = replace(paired, differences=values, intervals=intervals, units=units)
        made.append(changed(record, paired=paired))
    return made


def test_no_difference_in_quality_is_shown():
    told = sentence("Quality", compared(-0.12, 0.002))
    assert told == (
        "no difference from FP32 in accuracy or NLL could be shown for INT8 (10,000 images, "
        "T = 50); within the 95 % intervals no format is worse by more than 0.42 points of "
        "accuracy or 0.0050 nats of NLL."
    )


def test_the_worst_that_the_intervals_allow_is_that_of_all_formats():
    records = compared(-0.12, 0.002)
    other = [
        changed(
            r,
            subject=replace(r.subject, format="INT8_SIGMA1"),
            paired=replace(
                r.body.paired,
                differences={"accuracy_percent": -0.2, "nll_nats": 0.001},
                intervals={"accuracy_percent": (-0.5, 0.1), "nll_nats": (-0.001, 0.003)},
            ),
        )
        for r in records[2:]
    ]
    told = sentence("Quality", [*records, *other])
    assert "could be shown for any of 2 formats" in told
    assert told.endswith(" worse by more than 0.50 points of accuracy or 0.0050 nats of NLL.")


@pytest.mark.parametrize(
    ("accuracy", "nll", "says"),
    [
        (-1.0, 0.0, "INT8's accuracy is worse by 1.00 points (95 % interval 0.70 to 1.30)"),
        (1.0, 0.0, "INT8's accuracy is better by 1.00 points (95 % interval 0.70 to 1.30)"),
        (0.0, 0.02, "INT8's NLL is worse by 0.0200 nats (95 % interval 0.0170 to 0.0230)"),
        (0.0, -0.02, "INT8's NLL is better by 0.0200 nats (95 % interval 0.0170 to 0.0230)"),
    ],
)
def test_a_difference_in_quality_is_named_with_its_interval(accuracy, nll, says):
    told = sentence("Quality", compared(accuracy, nll))
    assert told.startswith(f"against FP32 (10,000 images, T = 50), {says}; 1 of 2 differences is ")
    assert "In the others none could be shown; within the 95 % intervals " in told


def test_an_interval_that_excludes_0_by_chance_is_no_difference():
    told = sentence("Quality", compared(-0.31, 0.0))
    assert told.startswith("no difference from FP32 in accuracy or NLL could be shown for INT8 ")
    assert "1 of 2 intervals alone excludes 0, but not after Holm's correction" in told


def test_intervals_of_unknown_sources_are_counted():
    told = sentence("Quality", compared(-0.4, 0.02, units=None))
    assert told.startswith("2 of 2 intervals of 95 % exclude a difference of 0 from FP32 ")
    assert "one in twenty does by chance: INT8's accuracy is worse by 0.40 points" in told
    told = sentence("Quality", compared(-0.1, 0.0, units=None))
    assert told.startswith("no difference from FP32 ")


def test_few_images_and_invalid_scores_judge_nothing():
    told = sentence("Quality", compared(-1.0, 0.0, units=28))
    assert told == "no difference from FP32 is judged: 28 independent images, 72 needed."
    for place, says in ((0, "the quality of FP32 is marked"), (2, "no other format's quality is")):
        records = compared(-1.0, 0.0)
        for at in (place, place + 1):
            records[at] = factory.with_verdict(records[at], moments="fail: conv1")
        assert says in sentence("Quality", records)
        assert "worse" not in sentence("Quality", records)


def raced(slowdown: float, drift: float = 0.01, formats: Sequence[str] = ("FP32", "INT8"), **more):
    """A race in which INT8 is so much slower than 6 times as fast as FP32."""
    records = grid(formats, (50,), drift=drift, slices=20, **more)
    return [
        changed(r, timing=slowed(r.body.timing, slowdown)) if r.subject.format == "INT8" else r
        for r in records
    ]


def slowed(timing: Any, by: float) -> Any:
    return replace(
        timing,
        latency_ns=tuple(int(by * ns) for ns in timing.latency_ns),
        percentiles_ns={p: v and by * v for p, v in timing.percentiles_ns.items()},
    )


def numbers(told: str) -> list[float]:
    words = [word.strip("(),;.") for word in told.split()]
    return [float(word) for word in words if word[:1].isdigit()]


def joined(records: Iterable[RunRecord], slower: Sequence[float] = (1.0, 1.0, 1.0)):
    """The records as of several processes, each of which was so much slower in INT8."""
    made = []
    for record in records:
        timing, int8 = record.body.timing, record.subject.format == "INT8"
        each = [slowed(timing, by).latency_ns if int8 else timing.latency_ns for by in slower]
        more = {
            "latency_ns": tuple(ns for one in each for ns in one),
            "slices": timing.slices * len(each),
            "processes": (len(timing.slices),) * len(each),
        }
        made.append(changed(record, timing=replace(timing, **more)))
    return made


def test_what_processes_differ_by_is_in_the_interval():
    alike, apart = (sentence("Speed", joined(raced(1.0), by)) for by in ((1, 1, 1), (1, 1.2, 0.8)))
    ending = " Timed in 3 fresh processes, and the intervals are of these."
    assert alike.endswith(ending)
    assert "INT8 is 6." in alike or "INT8 is 5.9" in alike
    assert apart.endswith(ending)
    _, _, _, low, high, *_ = numbers(apart)
    assert low < 4.5
    assert high > 7.5


def test_queries_of_fewer_passes_are_compared_by_the_pass():
    """INT8 has all of T in a query, FP32 a fifth of it."""
    records = [
        changed(r, timing=replace(slowed(r.body.timing, 0.2), passes=10))
        if r.subject.format == "FP32"
        else r
        for r in raced(1.0)
    ]
    value, *_ = numbers(sentence("Speed", records))
    assert 5.5 < value < 6.5
    (sheet,) = shown(records).sheets
    (whole,) = shown(raced(1.0)).sheets
    assert sheet.rows == whole.rows


def test_int8_is_faster():
    told = sentence("Speed", raced(1.0))
    assert told.startswith("per pass, INT8 is ")
    assert "times as fast as FP32 at batch 1 (95 % interval " in told
    value, one, _, low, high, second, batch, *ends = numbers(told)
    assert (one, batch) == (1, 32)
    assert 5.5 < low < value < high < 6.5
    assert 5.5 < ends[0] < second < ends[1] < 6.5
    assert told.endswith("Timed in one process; another may differ.")


def test_int8_is_slower():
    told = sentence("Speed", raced(SLOW))
    assert told.startswith("per pass, INT8 takes ")
    assert "times as long as FP32 at batch 1 (95 % interval " in told
    value, _, _, low, high, *_ = numbers(told)
    assert 1.8 < low < value < high < 2.2
    assert "as fast" not in told


def test_no_difference_in_speed_is_shown():
    told = sentence("Speed", raced(EVEN, drift=0.1))
    assert told.startswith("per pass, no difference between INT8 and FP32 could be shown at batch ")
    _, value, _, low, high, second, *_ = numbers(told)
    assert 0.5 < low < 1 < high < 2
    assert low < value < high
    assert second == 32
    assert "takes" not in told


def test_batches_that_differ_in_direction_have_a_clause_each():
    records = raced(SLOW)
    fast = raced(1.0)
    mixed = [a if a.subject.batch == 1 else b for a, b in zip(fast, records, strict=True)]
    told = sentence("Speed", mixed)
    assert "INT8 is 6." in told or "INT8 is 5." in told
    assert "; INT8 takes " in told
    assert "times as long as FP32 at batch 32" in told


def test_another_format_is_the_fastest_only_where_that_is_shown():
    told = sentence("Speed", raced(1.5, formats=("FP32", "INT8", "INT8_SIGMA4")))
    assert "INT8_SIGMA4 is the fastest at batch 1, " in told
    assert "INT8_SIGMA4 is the fastest at batch 32, " in told
    told = sentence("Speed", raced(1.001, drift=0.1, formats=("FP32", "INT8", "INT8_SIGMA4")))
    assert "fastest" not in told


@pytest.mark.parametrize("format", ["FP32", "INT8"])
def test_of_invalid_speeds_no_ratio_is_concluded(format):
    records = [
        factory.with_verdict(r, noise="fail: 40 %")
        if (r.subject.format, r.subject.batch) == (format, 1)
        else r
        for r in raced(1.0)
    ]
    told = sentence("Speed", records)
    assert f"INT8 and FP32 is formed at batch 1: the speed of {format} is marked invalid" in told
    assert "as fast as FP32 at batch 32 " in told
    (sheet,) = shown(records).sheets
    cells = {row[0]: row[5] for row in sheet.rows}
    assert cells[format] == "✗"
    assert cells["INT8"] in ("✗", "–")


def test_times_of_two_races_are_not_divided():
    first, second = raced(1.0), raced(1.0)
    mixed = [
        *(r for r in first if r.subject.format == "FP32"),
        *factory.one_race((r for r in second if r.subject.format == "INT8"), "fedcba9876543210"),
    ]
    told = sentence("Speed", mixed)
    assert told == (
        "no ratio of INT8 and FP32 is formed at batch 1 and 32: the two were not timed in one race."
    )
    (sheet,) = shown(mixed).sheets
    assert [row[5] for row in sheet.rows] == ["1.00×", "–"]


def test_sizes_are_those_of_int8_and_of_the_smallest():
    records = grid(("FP32", "INT8", "INT8_SIGMA4"), (50,))
    sizes = {r.subject.format: r.body.size for r in records}
    told = sentence("Size", records)
    whole = sizes["FP32"].file_bytes
    assert told == (
        f"INT8's file of {sizes['INT8'].file_bytes / 1e3:.0f} kB is "
        f"{whole / sizes['INT8'].file_bytes:.2f} times smaller than FP32's of {whole / 1e3:.0f} kB,"
        " its weights alone exactly 4.00 times (64 to 16 bits each); INT8_SIGMA4's, the smallest, "
        f"of {sizes['INT8_SIGMA4'].file_bytes / 1e3:.1f} kB is "
        f"{whole / sizes['INT8_SIGMA4'].file_bytes:.2f} times smaller, its weights alone exactly "
        "5.33 times (64 to 12 bits each)."
    )


def test_weights_that_shrink_by_less_are_not_exact_and_larger_files_are_larger():
    records = grid(("FP32", "INT8"), (50,))
    for at in (2, 3):
        size = records[at].body.size
        more = replace(size, weight_bytes=size.weight_bytes + 1, file_bytes=10**6)
        records[at] = changed(records[at], size=more)
    told = sentence("Size", records)
    assert "exactly" not in told
    assert "its weights alone 4.00 times" in told
    larger = 10**6 / records[0].body.size.file_bytes
    assert f"is {larger:.2f} times as large as FP32's of " in told


def cells(formats: Sequence[str], mcs: Sequence[int], batches: Sequence[int]) -> list[RunRecord]:
    return grid(formats, mcs, batches=tuple(batches))


def auto() -> list[RunRecord]:
    made = [
        factory.adapted(format=name, batch=batch) for name in ("FP32", "INT8") for batch in (1, 32)
    ]
    return factory.one_race(changed(one, paired=None) for one in made)


def alone(name: str, mc: int) -> list[RunRecord]:
    return [changed(one, paired=None) for one in cells((name,), (mc,), (1, 32))]


def bare(latency: int) -> list[RunRecord]:
    """As older versions left them, with times that tell nothing."""
    timing = {"slices": (1, 1), "latency_ns": (latency,) * 2, "percentiles_ns": {"p50": None}}
    if latency:
        timing |= {"slices": (2,)}
    return [
        changed(r, paired=None, timing=replace(r.body.timing, **timing))
        for r in grid(("FP32", "INT8"))
    ]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: alone("INT8", 50), ("is judged: FP32 was not", "FP32 was not")),
        (lambda: cells(("FP32",), (50,), (1,)), ("no other format", "no other format")),
        (lambda: cells(("FP32", "BF16"), (50,), (1,)), ("for BF16", "BF16")),
        (lambda: cells(("FP32", "INT8_SIGMA1"), (1, 50), (1,)), ("INT8_SIGMA1", "INT8_SIGMA1")),
        (lambda: cells(("FP32", "INT8"), (50,), (4,)), ("for INT8", "at batch 4")),
        (lambda: cells(("DNN_FP32", "DNN_INT8"), (1,), (1, 32)), ("DNN_FP32", "DNN_INT8 is")),
        (lambda: alone("DNN_INT8", 1), ("DNN_FP32 was not", "DNN_FP32 was not")),
        (lambda: cells(("DNN_FP32",), (1,), (1,)), ("no other format", "no other format")),
        (lambda: cells(("INT9",), (50,), (1, 32)), ("FP32 was not", "FP32 was not")),
        (auto, ("where T is adaptive", "where T is adaptive")),
        (lambda: bare(100), ("--policy always", "so few queries")),
        (lambda: bare(0), ("--policy always", "so few queries")),
    ],
)
def test_where_less_is_measured_less_is_said(make, says, monkeypatch):
    records = make()
    quality, speed, size = shown(records).conclusions
    assert says[0] in quality
    assert says[1] in speed
    for line in (quality, speed, size):
        assert line.endswith(".")
        assert len(line.split()) > 3
        assert not {"None", "nan", "inf", "()", "×."} & set(line.split())
    assert max(map(len, printed(shown(records), monkeypatch).splitlines())) <= 80


def test_formats_of_the_largest_t_alone_are_shown_of_adaptive_and_fixed():
    mixed = factory.one_race([*grid(("FP32", "INT8"), (10,)), *auto()])
    (sheet,) = shown(mixed).sheets
    assert sheet.title.startswith("T = 10 ")
    (sheet,) = shown(grid(("FP32", "INT8"), (1,))).sheets
    assert sheet.title.startswith("T = 1 pass: ")
    (sheet,) = shown(auto()).sheets
    assert sheet.title.startswith("T = at most 50 ")
    assert "mean query's" in sheet.notes[0]


def test_a_format_without_the_largest_t_is_named_and_not_mixed_in():
    records = [*grid(("FP32", "INT8"), (10, 50)), *grid(("INT8_SIGMA4",), (10,))]
    (sheet,) = shown(records).sheets
    assert [row[0] for row in sheet.rows] == ["FP32", "INT8"]
    assert sheet.notes[0].endswith("Not measured at this T and batch: INT8_SIGMA4.")


def test_of_two_variants_the_one_whose_speed_is_valid_is_compared():
    records = raced(1.0)
    paper = [changed(r, subject=replace(r.subject, range="paper")) for r in raced(SLOW)[2:]]
    failed = [factory.with_verdict(r, noise="fail: 40 %") for r in records[2:]]
    told = sentence("Speed", factory.one_race([*records[:2], *failed, *paper]))
    assert told.startswith("per pass, INT8 takes ")
    (sheet,) = shown(factory.one_race([*records[:2], *failed, *paper])).sheets
    assert [row[0] for row in sheet.rows] == ["FP32", "INT8 a", "INT8 b"]
    assert sheet.rows[1][5] == "✗"


def test_all_tables_are_one_flag_away(monkeypatch):
    records = grid()
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(table.narrow(records))
    assert printed(shown(records, full=True), monkeypatch) == console.file.getvalue()


def test_scripts_get_every_cell_with_the_conclusions():
    made = shown(grid())
    plain = list(table.summaries(grid()))
    assert [{**one, "conclusions": list(made.conclusions)} for one in plain] == made.values
    assert len(made.conclusions) == 3
    json.dumps(made.values, allow_nan=False)


@pytest.mark.parametrize("columns", [40, 80])
def test_hostile_records(columns, monkeypatch):
    records = [planted(one) for one in broken(grid(("FP32", "INT8")))]
    made = shown(records)
    for told in (printed(made, monkeypatch, columns), rendering.markdown(made)):
        assert "\\u001b" in told
        assert not steering(told)


def test_an_ascii_terminal(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    monkeypatch.setenv("COLUMNS", "80")
    terminal.show(rendering.terminal(shown(broken(grid()))))
    sys.stdout.flush()
    lines = raw.getvalue().decode("ascii").splitlines()
    assert any("INT8_SIGMA4" in line for line in lines)
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 45
