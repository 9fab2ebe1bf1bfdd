"""What tables, sentences and figures say of verdicts: of the numbers that they show."""

from __future__ import annotations

import csv
import io
import json

import factory
import numpy as np
import pytest

from sigmabench.harness.core.figure import Points
from sigmabench.harness.records import verdict
from sigmabench.harness.report import cost_sheets, quality_sheets, sheets, table, verdicts
from sigmabench.harness.report.figures import FIGURES, against_mc, latency, reliability
from sigmabench.harness.report.rows import sections

NOISE = {"noise": "fail: run-to-run noise 40 % is above 15 %"}
PATH = {"scored_the_timed_path": "fail: timed and scored outputs differ by 0.2"}
MOMENTS = {"moments": "fail: conv1"}
INT8 = {"format": "INT8", "mc": 10}


def failing(**audits):
    """One INT8 cell in which these audits failed, beside FP32 in which none did."""
    made = [factory.record(mc=10), factory.with_verdict(factory.record(**INT8), **audits)]
    (section,) = sections(made)
    return section


@pytest.mark.parametrize(
    ("audits", "marks"),
    [({}, "✓ ✓ ✓"), (NOISE, "✓ ✗ ✓"), (PATH, "✗ ✗ ✓"), (MOMENTS, "✗ ✓ ✗")],
)
def test_each_table_marks_its_own_numbers(audits, marks):
    section = failing(**audits)
    quality, speed, fidelity = marks.split()
    assert [row[-1] for row in quality_sheets.quality(section).rows] == ["✓", quality]
    assert [row[-1] for row in cost_sheets.speed(section).rows] == ["✓", speed]
    assert f"INT8 {fidelity}" in sheets.fidelity(section).headings.values()
    assert [row[-1] for row in sheets.everything(section).rows] == ["✓ ✓ ✓", marks]


def test_a_deterministic_network_has_no_fidelity_to_judge():
    (section,) = sections([factory.record(format="DNN_INT8", mc=1)])
    assert [row[-1] for row in sheets.everything(section).rows] == ["✓ ✓ –"]
    assert table.markdown(section.records).count("✓ 1 of 1 cell valid: no audit failed.") == 1


def test_a_quality_row_of_several_batches_is_the_worst_of_them():
    batches = [factory.record(**INT8, batch=batch) for batch in (1, 32)]
    batches[1] = factory.with_verdict(batches[1], **PATH)
    (section,) = sections(batches)
    assert {row[-1] for row in quality_sheets.quality(section).rows} == {"✗"}


def test_scripts_get_all_three():
    records = failing(**NOISE).records
    rows = list(csv.DictReader(io.StringIO(table.csv(records))))
    names = ("valid", "quality_verdict", "speed_verdict", "fidelity_verdict")
    assert [[row[name] for name in names] for row in rows] == [
        ["True", "valid", "valid", "valid"],
        ["False", "valid", "invalid", "valid"],
    ]
    told = json.loads("".join(table.json_lines(records)))[1]["verdict"]
    assert not told["valid"]
    assert told["speed"] == {
        "outcome": "invalid",
        "audits": {"scored the timed path": "pass", **NOISE},
    }


def of(*judged):
    """Records whose audits are these."""
    return [factory.record(verdict=verdict.verdict(audits)) for audits in judged]


NONE, GOOD, BAD = {}, {"noise": "pass"}, {"noise": "fail: 40 %"}


@pytest.mark.parametrize(
    ("judged", "line"),
    [
        ([GOOD], "✓ 1 of 1 cell valid: no audit failed."),
        ([GOOD, GOOD], "✓ 2 of 2 cells valid: no audit failed."),
        ([BAD], "✗ 0 of 1 cell valid: speed of 1 is invalid."),
        ([BAD, BAD], "✗ 0 of 2 cells valid: speed of 2 is invalid."),
        ([GOOD, BAD], "✗ 1 of 2 cells valid: speed of 1 is invalid."),
        ([NONE], "– 0 of 1 cell valid: 1 not judged by any audit."),
        ([NONE, GOOD], "– 1 of 2 cells valid: 1 not judged by any audit."),
        ([NONE, BAD], "✗ 0 of 2 cells valid: speed of 1 is invalid, 1 not judged by any audit."),
        (
            [{**BAD, "moments": "fail: fc1"}],
            "✗ 0 of 1 cell valid: quality of 1 is invalid, speed of 1 is invalid, fidelity of 1 is "
            "invalid.",
        ),
        ([], "– 0 of 0 cells valid."),
    ],
)
def test_the_line_says_what_is_so(judged, line):
    assert verdicts.line(of(*judged)) == line


def greyed(figure):
    """Points of a figure that are said to be invalid."""
    return [
        mark
        for panel in figure.panels
        for mark in panel.marks
        if isinstance(mark, Points) and mark.look.invalid
    ]


@pytest.mark.parametrize(
    ("make", "audits"), [(reliability, PATH), (against_mc, PATH), (latency, NOISE)]
)
def test_figures_grey_what_is_invalid_and_say_so(make, audits):
    assert not greyed(make(failing()))
    figure = make(failing(**audits))
    assert greyed(figure)
    assert "grey: " in figure.caption


@pytest.mark.parametrize("make", FIGURES, ids=lambda one: one.__name__)
def test_a_noisy_clock_greys_latencies_alone(make):
    caption = make(failing(**NOISE)).caption
    assert caption == ("grey: speed invalid" if make is latency else "")


def test_the_invalid_point_is_the_grey_one_and_hides_the_other():
    (point, *_) = greyed(against_mc(failing(**PATH)))
    row = next(row for row in failing(**PATH).rows if row.label == "INT8")
    assert point.y == pytest.approx([np.mean(row.record.body.quality.scores["accuracy"])])
    assert point.covering
