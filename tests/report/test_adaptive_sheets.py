"""Adaptive cells in tables, page and figures, beside cells of fixed T and alone."""

from __future__ import annotations

import csv
import io
import json

import factory
import pytest
from factory import adapted
from rich.console import Console

from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.report import adaptive_sheet as adaptive
from sigmabench.harness.report import cost_sheets, quality_sheets, sheets, table
from sigmabench.harness.report.figures import figures
from sigmabench.harness.report.page import page
from sigmabench.harness.report.rows import largest_mc, sections


def drawn(renderable) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def mixed() -> list[RunRecord]:
    cells = [(name, batch) for name in ("FP32", "INT8", "INT8_SIGMA4") for batch in (1, 32)]
    return factory.one_race(
        [
            *factory.grid(("FP32", "INT8", "INT8_SIGMA4")),
            *(adapted(format=name, batch=batch) for name, batch in cells),
        ]
    )


def test_fixed_and_adaptive_t_share_a_format_and_no_letters(mixed):
    (section,) = sections(mixed)
    assert not section.variants
    quality = {(row[0].strip(), row[1].strip()) for row in quality_sheets.quality(section).rows}
    assert {("50", "INT8"), ("auto 6.2", "INT8")} <= quality
    speed = {(row[0], row[1], row[2]) for row in cost_sheets.speed(section).rows}
    assert {("50", "32", "INT8"), ("auto", "32", "INT8")} <= speed


def test_two_confidences_are_told_apart():
    (section,) = sections([adapted(c, format="INT8") for c in (0.9, 0.99)])
    assert set(section.variants.values()) == {"stopping auto 0.9", "stopping auto 0.99"}
    (spent,) = adaptive.spent(section)
    assert [row[:2] for row in spent.rows] == [("INT8 a", "90"), ("INT8 b", "99")]


def test_speed_is_to_fp32_of_the_same_kind_by_the_mean(mixed):
    (section,) = sections(mixed)
    by = {(r.label, r.passes, r.record.subject.batch): r for r in section.rows}
    int8, fp32 = by["INT8", "auto 6.2", 1], by["FP32", "auto 6.2", 1]
    expected = fp32.record.body.adaptive.mean_latency_ns / int8.record.body.adaptive.mean_latency_ns
    assert int8.speedup == pytest.approx(expected)
    fixed, base = by["INT8", "50", 1].record.body.timing, by["FP32", "50", 1].record.body.timing
    expected = base.percentiles_ns["p50"] / fixed.percentiles_ns["p50"]
    assert by["INT8", "50", 1].speedup == pytest.approx(expected)


def test_the_narrow_table_fits_80_columns_and_says_what_was_spent(mixed):
    output = drawn(table.narrow(mixed))
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= 80
    assert "Adaptive T: passes spent" in output
    assert "99.99" in output, "agreement"
    (section,) = sections(mixed)
    (spent,) = adaptive.spent(section)
    assert len(spent.rows) == 3, "batches share a row"
    assert spent.rows[1] == (
        "INT8", "99", "6.20", "5", "90.0", "5.0", "2.0", "1.0", "1.0", "0.5", "0.5", "99.99"
    )  # fmt: skip
    (short,) = adaptive.differences(section)
    assert short.rows[0][1] == "−0.004(7)"


def test_the_document_has_every_metric_and_fixed_cells_have_none(mixed):
    (section,) = sections(mixed)
    titles = [sheet.title for sheet in sheets.document(section)]
    assert titles[3:5] == ["Adaptive T: passes spent", "Adaptive T: difference to T = 50"]
    *_, every = adaptive.document(section)
    assert len(every.rows) == len(mixed[0].body.quality.scores)
    (plain,) = sections(factory.grid(("FP32", "INT8")))
    assert adaptive.document(plain) == []


def test_the_paper_and_the_figures_of_a_whole_t_take_fixed_cells(mixed, reference):
    (section,) = sections(mixed)
    assert not any(row.record.subject.adaptive for row in largest_mc(section.rows))
    rows = quality_sheets.paper(section, reference).rows
    (plain,) = sections(factory.grid(("FP32", "INT8", "INT8_SIGMA4")))
    assert rows == quality_sheets.paper(plain, reference).rows


def test_adaptive_cells_alone_have_a_page_and_figures():
    alone = [adapted(format=name) for name in ("FP32", "INT8")]
    (section,) = sections(alone)
    assert "Adaptive T: passes spent" in page(alone)
    drawn_names = {figure.name for figure in figures(section)}
    assert "reliability" in drawn_names
    assert not drawn_names & {"mc", "latency"}


def test_scripts_get_all_of_it(mixed):
    shown = json.loads("\n".join(table.json_lines(mixed)))
    found = [one["adaptive"] for one in shown if one["adaptive"] is not None]
    assert len(found) == 6
    assert found[0]["images"][0] == [9000, 500, 200, 100, 100, 50, 50]
    rows = list(csv.DictReader(io.StringIO(table.csv(mixed))))
    fixed, auto = (
        next(row for row in rows if row["stopping"].startswith(kind)) for kind in ("fixed", "auto")
    )
    assert fixed["mean_passes"] == ""
    assert float(auto["mean_passes"]) == pytest.approx(6.2)
    assert float(auto["nll_difference"]) == pytest.approx(-0.0037)
