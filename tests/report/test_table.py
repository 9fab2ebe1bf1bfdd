"""Tables: what they say, and that it fits."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import factory
import pytest
from records_made import changed
from rich.console import Console

from sigmabench.harness.core import words as text
from sigmabench.harness.core.sheet import Column, RichSheet, Sheet
from sigmabench.harness.metrics.metric import METRICS, shown_metrics
from sigmabench.harness.report import cost_sheets, quality_sheets, sheets, table
from sigmabench.harness.report.rows import sections


def drawn(renderable, width=80):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue()


def whole(output, sheet):
    """Whether each row's cells, group columns aside, end a line of the output, in order, whole."""
    lines = [line.split() for line in output.splitlines()]
    rows = [" ".join(row[sheet.grouped :]).split() for row in sheet.rows]
    return all(any(line[-len(row) :] == row for line in lines) for row in rows)


def extreme(records):
    """The widest cells that can be expected."""
    wide = []
    for record in records:
        timing = replace(
            record.body.timing,
            percentiles_ns={"p50": 98_765_432_100.0, "p90": 98_765_432_100.0, "p99": 9.9e10},
            images_per_second=987_654.0,
        )
        cell = replace(record.subject, mc=record.subject.mc * 20, batch=record.subject.batch * 32)
        bandwidth = replace(record.body.bandwidth, pass_bytes=987_654_321, achieved_gb_per_s=1234.0)
        size = replace(record.body.size, file_bytes=987_654_321, weight_bytes=987_654_321)
        parts = {"subject": cell, "timing": timing, "bandwidth": bandwidth, "size": size}
        made = factory.fingerprint(machine=factory.machine(L1d="32K"))
        wide.append(changed(record, **parts, fingerprint=made))
    return wide


@pytest.mark.parametrize("widest", [False, True])
def test_narrow_fits_80_columns_with_every_cell_whole(records, widest):
    shown = extreme(records) if widest else list(records)
    shown += [
        changed(r, subject=replace(r.subject, range="paper")) for r in shown if r.body.fidelity
    ]
    output = drawn(table.narrow(shown))
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= 80
    (section,) = sections(shown)
    quality, speed, size = (
        quality_sheets.quality(section),
        cost_sheets.speed(section),
        cost_sheets.size(section),
    )
    for sheet in (quality, *quality_sheets.paired(section), speed, size):
        assert whole(output, sheet), sheet.title


def test_wide_fits_180_columns_with_one_row_a_cell(records):
    output = drawn(table.wide(records), 180)
    assert "…" not in output
    (section,) = sections(records)
    sheet = sheets.everything(section)
    assert len(sheet.rows) == len(records)
    assert whole(output, sheet)


def test_fidelity_and_size_and_paper_fit_80_columns(records, reference):
    (section,) = sections(records)
    for renderable, sheet in (
        (table.fidelity(records), sheets.fidelity(section)),
        (table.size(records), cost_sheets.size(section)),
        (table.paper(records, reference), quality_sheets.paper(section, reference)),
    ):
        output = drawn(renderable)
        assert "…" not in output
        assert sheet.rows
        assert whole(output, sheet), sheet.title


def test_long_layer_names_fold_and_lose_nothing():
    names = ("layer4.2.downsample.0", "stages.3.blocks.11.attention.projection.weight")
    layers = tuple(replace(factory.layer(n, 0.9), weights=2_359_296) for n in names)
    output = drawn(table.fidelity([changed(factory.record(format="INT8"), fidelity=layers)]))
    assert "…" not in output
    assert max(map(len, output.splitlines())) <= 80
    first_column = "".join(line.split(" ")[0] for line in output.splitlines())
    assert all(name in first_column for name in names)
    assert output.count("2,359,296") == 2


def test_a_terminal_that_is_too_narrow_shows_the_left_part_whole(records):
    full, cut = (drawn(table.narrow(records), width).splitlines() for width in (80, 60))
    assert max(map(len, cut)) <= 60
    rows, left = (
        [" ".join(line.split()) for line in lines if "INT8_SIGMA4" in line.split()[:2]]
        for lines in (full, cut)
    )
    assert len(rows) == len(left) == 3 + 3 + 6 + 1
    # Columns stand closer where all of them just fit.
    assert all(row.startswith(part) for row, part in zip(rows, left, strict=True))


def test_one_row_a_cell_in_speed_and_a_format_and_t_in_quality(records):
    (section,) = sections(records)
    assert len(cost_sheets.speed(section).rows) == len(records) == 36
    assert len(quality_sheets.quality(section).rows) == 18
    assert len(cost_sheets.size(section).rows) == 6


def test_batches_that_score_differently_have_a_row_each(records):
    quality = records[0].body.quality
    scores = {**quality.scores, "accuracy": (90.0, 90.0, 90.0)}
    other = changed(records[0], quality=replace(quality, scores=scores))
    (section,) = sections([other, *records[1:]])
    sheet = quality_sheets.quality(section)
    assert len(sheet.rows) == 19
    assert "twice" in " ".join(sheet.notes)


def test_speed_ratio_is_to_fp32_at_the_same_t_and_batch():
    records = factory.grid(formats=("FP32", "INT8"), mcs=(10,))
    (section,) = sections(records)
    p50 = {
        (r.subject.format, r.subject.batch): r.body.timing.percentiles_ns["p50"] for r in records
    }
    for row in section.rows:
        cell = row.record.subject
        assert row.speedup == pytest.approx(p50["FP32", cell.batch] / p50[cell.format, cell.batch])


def test_an_invalid_baseline_is_none():
    records = factory.grid(formats=("FP32", "INT8"), mcs=(10,))
    records[0] = factory.with_verdict(records[0], noise="fail: 40 %")
    (section,) = sections(records)
    of = {(row.label, row.record.subject.batch): row.speedup for row in section.rows}
    assert of["FP32", 1] is None
    assert of["INT8", 1] is None
    assert of["INT8", 32] > 1


def test_the_machine_is_that_of_all_records():
    other = factory.fingerprint(
        packages={"torch": "2.9.0", "sigmabench": "0.1.0"}, commit=f"{'12' * 20}+dirty.9f9f9f9f"
    )
    records = [factory.record(), factory.record(format="INT8", machine=other)]
    (section,) = sections(records)
    assert "sigmabench 0.1.0, torch 2.8.0 or 2.9.0, oneDNN 3.2 or –" in section.machine
    bundled = factory.fingerprint(packages={"torch-onednn": "3.12", "numpy": "2.4"})
    assert (
        "torch-onednn 3.12, abcdef012345" in sections([factory.record(machine=bundled)])[0].machine
    )
    assert "121212121212+dirty.9f9f9f9f or abcdef012345" in section.machine


def test_how_to_read_a_table_is_said_once(records):
    shifted = factory.grid(("FP32",), corruption="fog", severity=3)
    output = " ".join(drawn(table.narrow([*records, *shifted])).split())
    assert output.count("fog severity 3") == 1
    for words in ("Floor: the ECE that", "Latency of one query:", "× FP32: speed in units"):
        assert output.count(words) == 1


@pytest.mark.parametrize("metric", [metric.name for metric in shown_metrics()])
def test_units_and_decimals_are_those_of_the_metric(records, metric):
    (section,) = sections(records)
    unit = METRICS.get(metric).unit
    for sheet in (quality_sheets.quality(section), sheets.everything(section)):
        at = [column.name for column in sheet.columns].index(METRICS.get(metric).called)
        assert sheet.columns[at].unit == unit
        decimals = sheet.rows[0][at].partition(".")[2].partition("(")[0].partition(" ")[0]
        assert len(decimals) == (2 if unit == "%" else 4)


def test_no_fp32_no_ratio():
    (section,) = sections(factory.grid(formats=("INT8",)))
    assert {row.speedup for row in section.rows} == {None}


def test_findings_and_failures_stand_once_with_their_counts(records):
    output = " ".join(drawn(table.narrow(records)).split())
    assert output.count("of its deviation") == 1
    assert "layer fc1 keeps 0.812–0.835 of its deviation (24 cells:" in output
    assert output.count("amx was asked for, avx2 ran") == 1
    assert "✗ 34 of 36 cells valid: speed of 2 is invalid." in output
    assert output.count("no access to performance counters") == 1
    assert "(all cells)" in output


def test_what_is_said_of_many_layers_is_one_line():
    (record,) = factory.grid(("INT8",))[:1]
    one = record.body.fidelity[0]

    def notes(layers: int) -> list[str]:
        found = [f"l{i}.conv1: {i + 7}.5% of weights cannot move" for i in range(layers)]
        verdict = replace(record.verdict, findings=(*found, "weights are from a file"))
        fidelity = tuple(replace(one, layer=f"l{i}.conv1") for i in range(8))
        (section,) = sections([changed(record, verdict=verdict, fidelity=fidelity)])
        return [note.text for note in section.notes if note.kind == "finding"]

    assert notes(6) == [
        "6 of 8 layers: 7.5–12.5% of weights cannot move",
        "weights are from a file",
    ]
    assert notes(2) == [
        "l0.conv1: 7.5% of weights cannot move",
        "l1.conv1: 8.5% of weights cannot move",
        "weights are from a file",
    ]


def test_invalid_cells_are_marked(records):
    (section,) = sections(records)
    marks = [row[-1] for row in cost_sheets.speed(section).rows]
    assert marks.count("✗") == 2
    assert marks.count("✓") == 34


def test_variants_of_a_format_are_told_apart(records):
    both = [*records, *factory.grid(("INT8",), range="paper")]
    (section,) = sections(both)
    assert section.variants == {"a": "range headroom", "b": "range paper"}
    assert {r.label for r in section.rows if r.record.subject.format == "INT8"} == {
        "INT8 a",
        "INT8 b",
    }
    assert {r.label for r in section.rows if r.record.subject.format == "FP32"} == {"FP32"}


def test_variants_of_installed_code_without_a_commit_are_told_apart():
    prints = [factory.fingerprint(commit=None, code=code * 16) for code in "ab"]
    (section,) = sections([factory.record(machine=machine) for machine in prints])
    assert section.variants == {"a": f"code {'a' * 16}", "b": f"code {'b' * 16}"}


def test_subjects_and_machines_never_share_a_table(records):
    shifted = factory.grid(("FP32",), corruption="fog", severity=3)
    moved = factory.grid(("FP32",), machine=factory.fingerprint(cpu="Another"))
    found = sections([*records, *shifted, *moved])
    assert [len(s.rows) for s in found] == [36, 6, 6]
    assert len({s.slug for s in found}) == 3


def test_missing_values_are_dashes():
    record = factory.record(mc=1)
    quality = replace(record.body.quality, scores={"accuracy": (None, None, None)})
    timing = replace(record.body.timing, percentiles_ns={"p50": None})
    size = replace(record.body.size, ratio_file=None)
    (section,) = sections([changed(record, quality=quality, timing=timing, size=size)])
    row = sheets.everything(section).rows[0]
    dashes = [i for i, cell in enumerate(row) if cell == "–"]
    columns = [f"{c.name} {c.unit}".strip() for c in sheets.everything(section).columns]
    assert [columns[i] for i in dashes] == [
        "accuracy %",
        "ECE %",
        "UCE %",
        "NLL nats",
        "Brier",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "× FP32",
        "moved from",
        "disk ÷",
    ]


def test_percentiles_without_samples_are_dashes(records):
    (section,) = sections(records)
    columns = [c.name for c in cost_sheets.speed(section).columns]
    assert {row[columns.index("p99")] for row in cost_sheets.speed(section).rows} == {"–"}


def test_paper_differences_are_ours_minus_theirs(records, reference):
    (section,) = sections(records)
    sheet = quality_sheets.paper(section, reference)
    assert list(sheet.headings.values()) == ["accuracy %", "ECE %", "NLL nats", "Brier"]
    ours = next(
        r for r in records if r.subject.format == "INT8" and r.subject.mc == 50
    ).body.quality.scores
    accuracy = sum(ours["accuracy"]) / 3
    row = sheet.rows[1]
    assert row[0] == "INT8"
    assert float(row[3].replace("−", "-")) == pytest.approx(accuracy - 99.36, abs=0.0051)
    assert row[5] == "−0.04"
    assert sheet.rows[7][2:4] == ("–", "–")  # the paper's Brier of INT8 is not in the reference


def test_size_ratio_of_weights_is_measured_and_matches_the_closed_form(records):
    (section,) = sections(records)
    rows = {row[0]: row for row in cost_sheets.size(section, exact=True).rows}
    for name in ("INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1"):
        assert rows[name][7] == rows[name][8]
    assert rows["INT8_SIGMA4"][2] == f"{factory.WEIGHTS * 12 // 8:,}"


def test_json_has_one_object_a_cell(records):
    shown = json.loads("".join(table.json_lines(records)))
    assert {item["key"] for item in shown} == {r.subject.key for r in records}
    first = next(item for item in shown if item["key"] == records[0].subject.key)
    expected = sum(records[0].body.quality.scores["nll"]) / 3
    assert first["scores"]["nll"]["mean"] == pytest.approx(expected)
    assert first["scores"]["mutual_information"] == {"mean": None, "std": None, "seeds": 0}
    assert first["scores"]["nll"]["seeds"] == 3
    assert first["timing"]["p99_ns"] is None


def test_csv_has_one_line_a_cell_and_every_field_of_it(records):
    lines = list(csv.DictReader(io.StringIO(table.csv(records))))
    assert len(lines) == len(records)
    by_key = {line["key"]: line for line in lines}
    for record in records:
        line = by_key[record.subject.key]
        assert all(line[k] == str(v) for k, v in vars(record.subject).items())
        assert float(line["p50_ns"]) == record.body.timing.percentiles_ns["p50"]


def test_markdown_tables_are_rectangular_and_escaped(records, reference):
    hostile = [changed(r, subject=replace(r.subject, format="A|B")) for r in records[:1]]
    output = table.markdown([*records, *hostile], reference)
    assert "A\\|B" in output
    blocks = output.replace("\\|", "").split("\n\n")
    tables = [b.splitlines() for b in blocks if b.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1


def test_markdown_is_escaped_everywhere():
    hostile = "*a* <b> [c](d) `e` _f_ &amp; > | $g$ ~h~ #9"
    record = factory.record(format="INT8", workload=hostile, noise=hostile)
    record = factory.with_verdict(record, (hostile,), instruction_set=f"fail: {hostile}")
    record = changed(record, fingerprint=factory.fingerprint(cpu=hostile))
    output = table.markdown([record, factory.record(format="INT8", workload=hostile)])
    escaped = re.sub(r"([*<>\[\]`_&|$~#])", r"\\\1", hostile)
    assert output.count(escaped) == 5  # title, machine, variant, failure, finding
    assert hostile not in output
    bare = re.sub(r"\\.", "", re.sub(r"(?m)^(## |\|.*|\*\*.*\*\*$)", "", output))
    assert not re.search(r"[*<>\[\]`_&|$~#]", bare)


def test_no_records_say_so():
    assert drawn(table.narrow([])).strip() == "There are no records."
    assert json.loads("".join(table.json_lines([]))) == []


def test_differences_name_what_they_are_to_and_what_is_kept():
    records = factory.grid(("DNN_FP32", "FP32", "INT8"), mcs=(50,), batches=(1,))
    (section,) = sections(records)
    (sheet,) = quality_sheets.paired(section)
    rows = {row[1]: row for row in sheet.rows}
    assert list(rows) == ["FP32", "INT8"], "DNN_FP32 is compared with nothing"
    assert rows["INT8"][2:5] == ("FP32", "−0.12 ± 0.30", "+0.0021 ± 0.3000")
    mine, whole = (
        text.mean(row.record.body.quality.scores["mutual_information"])
        for row in sorted(section.rows, key=lambda row: row.label, reverse=True)
        if row.label in ("INT8", "FP32")
    )
    assert rows["INT8"][7] == f"{100 * mine / whole:.0f}"
    assert rows["FP32"][7] == "–"
    assert "1 image is 0.01 points" in sheet.notes[0]


def test_older_records_have_no_differences():
    records = [changed(r, paired=None) for r in factory.grid(("FP32", "INT8"))]
    (section,) = sections(records)
    assert quality_sheets.paired(section) == []
    assert "image by image" not in drawn(table.narrow(records))


def test_a_heading_wider_than_its_column_cuts_no_number():
    columns = (Column("format", numeric=False), *(Column("AURC", "− float") for _ in range(6)))
    row = ("INT8", *["+12.34567"] * 6)
    output = drawn(RichSheet(Sheet("Areas", columns, (row,), {0: "held-out-slides"})))
    assert "…" not in output
    assert output.count("+12.34567") == 6
    assert max(map(len, output.splitlines())) <= 80
