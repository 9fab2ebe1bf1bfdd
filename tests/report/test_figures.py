"""Figures: that they are there, the same each time, and drawn from the records."""

from __future__ import annotations

import re
from dataclasses import replace

import factory
import numpy as np
import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.report.figures import (
    DRAWINGS,
    accuracy_against_confidence,
    against_mc,
    figures,
    latency,
    model_size,
    reliability,
)
from sigmabench.harness.report.rows import sections
from sigmabench.harness.report.style import look, render
from sigmabench.harness.stats.significance import wilson

SMALL = ("FP32", "INT8")


@pytest.fixture(scope="module")
def small():
    return factory.grid(SMALL)


def test_every_figure_is_written_twice_with_the_same_bytes(small, tmp_path):
    first = figures(small, tmp_path / "a")
    second = figures(small, tmp_path / "b")
    assert len(first) == 2 * len(DRAWINGS)
    assert [p.name for p in first] == [p.name for p in second]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(p.name for p in first)
    for one, other in zip(first, second, strict=True):
        content = one.read_bytes()
        assert content == other.read_bytes()
        assert content.startswith(b"\x89PNG" if one.suffix == ".png" else b"<?xml")
        assert b"dc:date" not in content


def test_other_records_give_other_figures(small):
    (one,), (other,) = sections(small), sections(factory.grid(SMALL, slowdown=1.5))
    assert render(latency(one), "svg", "salt") == render(latency(one), "svg", "salt")
    assert render(latency(one), "svg", "salt") != render(latency(other), "svg", "salt")


def test_a_directory_that_cannot_be_made_is_a_user_error(small, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another place"):
        figures(small, tmp_path / "file" / "figures")


def test_reliability_leaves_out_empty_bins_and_counts_the_rest(small):
    (section,) = sections(small)
    drawn = reliability(section)
    top, counts = drawn.axes[0], drawn.axes[2]
    expected = section.rows[0].record.quality.reliability["count"]
    assert [bar.get_height() for bar in counts.patches] == list(expected)
    points = next(line for line in top.lines if len(line.get_xdata()) > 2)
    assert len(points.get_xdata()) == sum(c > 0 for c in expected)
    assert max(points.get_xdata()) == pytest.approx(100 * 13.5 / 15)


def test_bars_of_reliability_count_independent_images(small):
    """80 and 160 images in two bins, of which one in eight is independent: 10 and 20."""
    record = small[0]
    none = (None,) * 13
    diagram = {
        "count": (0.0,) * 13 + (80.0, 160.0),
        "confidence": (*none, 0.9, 0.95),
        "accuracy": (*none, 0.5, 0.9),
    }
    quality = replace(record.quality, images=240, units=30, reliability=diagram)
    (section,) = sections([replace(record, quality=quality)])
    (bars,) = reliability(section).axes[0].containers
    ends = [(segment[0, 1], segment[1, 1]) for segment in bars[2][0].get_segments()]
    expected = np.stack(wilson(np.array([0.5, 0.9]), np.array([10.0, 20.0])), axis=1)
    np.testing.assert_allclose(ends, 100 * expected)


def test_accuracy_against_t_shows_the_mean_over_seeds(small):
    (section,) = sections(small)
    drawn = against_mc(section)
    accuracy, nll = drawn.axes
    assert accuracy.get_ylabel() == "accuracy, %"
    assert nll.get_ylabel() == "NLL, nats"
    fp32 = [r for r in small if r.cell.format == "FP32" and r.cell.batch == 1]
    expected = [np.mean(r.quality.scores["accuracy"]) for r in fp32]
    assert any(
        np.allclose(line.get_ydata(), expected)
        for line in accuracy.lines
        if len(line.get_ydata()) == 3
    )


@pytest.mark.parametrize(("seeds", "bars"), [(1, 0), (3, 3)])
def test_a_single_seed_has_no_error_bar(seeds, bars):
    (section,) = sections(factory.grid(("FP32",), seeds=seeds))
    for panel in against_mc(section).axes:
        (container,) = panel.containers
        (drawn,) = container.lines[2]
        assert sum(np.isfinite(path.vertices).all() for path in drawn.get_paths()) == bars
        assert np.isfinite(container.lines[0].get_ydata(orig=False)).all()


def test_no_axis_of_shares_goes_beyond_100():
    sure = factory.record()
    quality = replace(
        sure.quality,
        scores={**sure.quality.scores, "accuracy": (100.0,) * 3},
        accuracy_vs_confidence={"threshold": (0.0, 0.5), "accuracy": (1.0, 1.0), "share": (1, 1)},
    )
    (section,) = sections([replace(sure, quality=quality)])
    panels = [against_mc(section).axes[0], *accuracy_against_confidence(section).axes]
    assert all(100 in panel.get_yticks() for panel in panels)
    assert all(90 < panel.get_ylim()[0] < 100 < panel.get_ylim()[1] < 101 for panel in panels)


@pytest.mark.parametrize(("factor", "cut"), [(1.2, False), (40.0, True)])
def test_a_wide_interval_does_not_dwarf_the_medians(factor, cut):
    record = factory.record(batch=1, mc=1)
    median = record.timing.percentiles_ns["p50"]
    wide = replace(record.timing, p50_ci95_ns=(median / 2, factor * median))
    (section,) = sections([replace(record, timing=wide)])
    end = latency(section).axes[0].get_xlim()[1]
    assert (end == pytest.approx(1.5 * median / 1e6)) == cut
    assert cut or end > factor * median / 1e6


def test_curves_say_that_they_are_of_the_first_seed():
    (section,) = sections(factory.grid(SMALL))
    for drawing in DRAWINGS:
        curve = drawing.name in ("reliability", "confidence", "risk-coverage")
        drawn = drawing.draw(section)
        labels = " ".join([drawn.get_supxlabel(), *(panel.get_xlabel() for panel in drawn.axes)])
        for words in (drawing.title, drawing.description, labels):
            assert ("first seed" in words) == curve


def test_shares_are_in_percent_everywhere(small):
    (section,) = sections(small)
    labelled = {
        axis.get_label_text(): axis.get_view_interval()[1]
        for drawing in DRAWINGS
        for panel in drawing.draw(section).axes
        for axis in (panel.xaxis, panel.yaxis)
    }
    shares = {name: top for name, top in labelled.items() if re.search("acc|conf|share|cov", name)}
    assert len(shares) == 4
    assert all("%" in name and top > 90 for name, top in shares.items())


def test_dollars_are_no_mathematics(tmp_path):
    hostile = "$\\foo{$"
    section = sections([factory.record(format=hostile, mc=mc) for mc in (1, 10)])[0]
    for drawing in DRAWINGS:
        svg = render(drawing.draw(section), "svg", "salt", fonttype="none").decode()
        assert hostile in svg
        assert "mathdefault" not in svg


def test_accuracy_against_confidence_is_in_percent_with_gaps(small):
    (section,) = sections(small)
    accuracy, share = accuracy_against_confidence(section).axes
    curve = section.rows[0].record.quality.accuracy_vs_confidence
    assert curve["accuracy"][-1] is None
    shown = accuracy.lines[0].get_ydata()
    assert np.isnan(shown[-1])
    assert 99.0 < shown[0] < 100.0
    assert share.lines[0].get_ydata()[0] == 100.0


def test_latency_is_of_a_pass(small):
    (section,) = sections(small)
    drawn = latency(section)
    one = next(r for r in small if r.cell.mc == 50 and r.cell.batch == 1)
    points = {float(line.get_xdata()[0]) for line in drawn.axes[0].lines if len(line.get_xdata())}
    expected = one.timing.percentiles_ns["p50"] / 50 / 1e6
    assert min(abs(x - expected) for x in points) < 1e-12


def test_size_bars_add_up_to_the_file(small):
    (section,) = sections(small)
    panel = model_size(section).axes[0]
    ends = {round(bar.get_y(), 3): 0.0 for bar in panel.patches}
    for bar in panel.patches:
        ends[round(bar.get_y(), 3)] += bar.get_width()
    files = {r.size.file_bytes / 1e3 for r in small}
    assert sorted(ends.values()) == pytest.approx(sorted(files))


def test_records_without_curves_or_medians_have_fewer_figures(tmp_path):
    record = factory.record()
    bare = replace(
        record,
        quality=replace(
            record.quality, reliability={}, accuracy_vs_confidence={}, risk_coverage={}
        ),
        timing=replace(record.timing, percentiles_ns={"p50": None}),
    )
    names = [p.name for p in figures([bare], tmp_path) if p.suffix == ".svg"]
    assert [n.removeprefix("synthetic-test-") for n in names] == [
        "mc.svg",
        "latency.svg",
        "size.svg",
    ]


def test_formats_look_different():
    (section,) = sections([*factory.grid(), *factory.grid(("INT8",), range="paper")])
    looks = {row.label: look(row) for row in section.rows}
    assert len(set(looks.values())) == len(looks) == 7
