"""Figures of records as data: what they show of the records."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import factory
import numpy as np
import pytest
from records_made import changed

from sigmabench.harness.core.figure import Bars, Points
from sigmabench.harness.report.draw import drawn, render, save
from sigmabench.harness.report.figures import (
    FIGURES,
    accuracy_against_confidence,
    against_mc,
    figures,
    latency,
    model_size,
    reliability,
    row_look,
)
from sigmabench.harness.report.rows import sections
from sigmabench.harness.report.style import marked
from sigmabench.harness.stats.significance import wilson

SMALL = ("FP32", "INT8")


@pytest.fixture(scope="module")
def small():
    return factory.grid(SMALL)


def points(panel):
    """Marks of points that are drawn, without entries of the legend."""
    return [mark for mark in panel.marks if isinstance(mark, Points) and mark.x]


def labels(figure):
    """All that is said below the panels."""
    return " ".join([figure.label, figure.caption, *(panel.x.label for panel in figure.panels)])


def test_every_section_has_every_figure(small, tmp_path):
    (section,) = sections(small)
    shown = list(figures(section))
    assert len(shown) == len(FIGURES) == len({figure.name for figure in shown})
    names = [path.name for path in save(shown, tmp_path, section.slug)]
    assert names == [f"synthetic-test-{f.name}.{kind}" for f in shown for kind in ("svg", "png")]


def test_other_records_give_other_figures(small):
    (one,), (other,) = sections(small), sections(factory.grid(SMALL, slowdown=1.5))
    assert latency(one) == latency(one)
    assert latency(one) != latency(other)


def test_reliability_leaves_out_empty_bins_and_counts_the_rest(small):
    (section,) = sections(small)
    top, _, counts, _ = reliability(section).panels
    expected = section.rows[0].record.body.quality.reliability["count"]
    (bars,) = counts.marks
    assert bars.sizes == expected
    (shown,) = points(top)
    assert len(shown.x) == sum(c > 0 for c in expected)
    assert max(shown.x) == pytest.approx(100 * 13.5 / 15)


def test_an_odd_number_of_diagrams_leaves_a_place_empty(small):
    (section,) = sections([record for record in small if record.subject.format == "FP32"])
    figure = reliability(section)
    assert [bool(panel.marks) for panel in figure.panels] == [True, False, True, False]


def test_bars_of_reliability_count_independent_images(small):
    """80 and 160 images in two bins, of which one in eight is independent: 10 and 20."""
    record = small[0]
    none = (None,) * 13
    diagram = {
        "count": (0.0,) * 13 + (80.0, 160.0),
        "confidence": (*none, 0.9, 0.95),
        "accuracy": (*none, 0.5, 0.9),
    }
    quality = replace(record.body.quality, images=240, units=30, reliability=diagram)
    (section,) = sections([changed(record, quality=quality)])
    (bars,) = points(reliability(section).panels[0])
    expected = wilson(np.array([0.5, 0.9]), np.array([10.0, 20.0]))
    np.testing.assert_allclose((bars.low, bars.high), 100 * np.stack(expected))


def test_accuracy_against_t_shows_the_mean_over_seeds(small):
    (section,) = sections(small)
    accuracy, nll = against_mc(section).panels
    assert accuracy.y.label == "accuracy, %"
    assert nll.y.label == "NLL, nats"
    fp32 = [r for r in small if r.subject.format == "FP32" and r.subject.batch == 1]
    expected = [np.mean(r.body.quality.scores["accuracy"]) for r in fp32]
    (line,) = [mark for mark in points(accuracy) if mark.label == "FP32"]
    assert line.y == pytest.approx(expected)


@pytest.mark.parametrize(("seeds", "bars"), [(1, 0), (3, 3)])
def test_a_single_seed_has_no_error_bar(seeds, bars):
    (section,) = sections(factory.grid(("FP32",), seeds=seeds))
    for panel in against_mc(section).panels:
        (line,) = points(panel)
        assert sum(low is not None for low in line.low) == bars
        assert sum(high is not None for high in line.high) == bars
        assert None not in line.y


def test_no_axis_of_shares_goes_beyond_100():
    sure = factory.record()
    quality = replace(
        sure.body.quality,
        scores={**sure.body.quality.scores, "accuracy": (100.0,) * 3},
        accuracy_vs_confidence={"threshold": (0.0, 0.5), "accuracy": (1.0, 1.0), "share": (1, 1)},
    )
    (section,) = sections([changed(sure, quality=quality)])
    shown = [drawn(against_mc(section)).axes[0], *drawn(accuracy_against_confidence(section)).axes]
    assert all(100 in panel.get_yticks() for panel in shown)
    assert all(90 < panel.get_ylim()[0] < 100 < panel.get_ylim()[1] < 101 for panel in shown)


@pytest.mark.parametrize(("factor", "cut"), [(1.2, False), (40.0, True)])
def test_a_wide_interval_does_not_dwarf_the_medians(factor, cut):
    record = factory.record(batch=1, mc=1)
    median = record.body.timing.percentiles_ns["p50"]
    wide = replace(record.body.timing, p50_ci95_ns=(median / 2, factor * median))
    (section,) = sections([changed(record, timing=wide)])
    end = drawn(latency(section)).axes[0].get_xlim()[1]
    assert (end == pytest.approx(1.5 * median / 1e6)) == cut
    assert cut or end > factor * median / 1e6


def test_curves_say_that_they_are_of_the_first_seed():
    (section,) = sections(factory.grid(SMALL))
    for figure in figures(section):
        curve = figure.name in ("reliability", "confidence", "risk-coverage")
        for words in (figure.title, figure.description, labels(figure)):
            assert ("first seed" in words) == curve


def test_shares_are_in_percent_everywhere(small):
    (section,) = sections(small)
    labelled = {
        axis.get_label_text(): axis.get_view_interval()[1]
        for figure in figures(section)
        for panel in drawn(figure).axes
        for axis in (panel.xaxis, panel.yaxis)
    }
    shares = {name: top for name, top in labelled.items() if re.search("acc|conf|share|cov", name)}
    assert len(shares) == 4
    assert all("%" in name and top > 90 for name, top in shares.items())


def test_dollars_are_no_mathematics():
    hostile = "$\\foo{$"
    section = sections([factory.record(format=hostile, mc=mc) for mc in (1, 10)])[0]
    for figure in figures(section):
        svg = render(figure, "svg", fonttype="none").decode()
        assert hostile in svg
        assert "mathdefault" not in svg


def test_accuracy_against_confidence_is_in_percent_with_gaps(small):
    (section,) = sections(small)
    accuracy, share = accuracy_against_confidence(section).panels
    curve = section.rows[0].record.body.quality.accuracy_vs_confidence
    assert curve["accuracy"][-1] is None
    shown = points(accuracy)[0].y
    assert shown[-1] is None
    assert 99.0 < shown[0] < 100.0
    assert points(share)[0].y[0] == 100.0


def test_latency_is_of_a_pass(small):
    (section,) = sections(small)
    one = next(r for r in small if r.subject.mc == 50 and r.subject.batch == 1)
    shown = {mark.x[0] for mark in points(latency(section).panels[0])}
    expected = one.body.timing.percentiles_ns["p50"] / 50 / 1e6
    assert min(abs(x - expected) for x in shown) < 1e-12


def test_size_bars_add_up_to_the_file(small):
    (section,) = sections(small)
    bars = [mark for mark in model_size(section).panels[0].marks if isinstance(mark, Bars)]
    for below, above in pairwise(bars):
        assert above.starts == pytest.approx(np.add(below.starts, below.sizes))
    files = {r.body.size.file_bytes / 1e3 for r in small}
    assert sorted(np.add(bars[-1].starts, bars[-1].sizes)) == pytest.approx(sorted(files))
    assert len(bars[-1].ends) == len(files)


def test_records_without_curves_or_medians_have_fewer_figures():
    record = factory.record()
    bare = changed(
        record,
        quality=replace(
            record.body.quality, reliability={}, accuracy_vs_confidence={}, risk_coverage={}
        ),
        timing=replace(record.body.timing, percentiles_ns={"p50": None}),
    )
    (section,) = sections([bare])
    assert [figure.name for figure in figures(section)] == ["mc", "latency", "size"]


def test_formats_look_different():
    (section,) = sections([*factory.grid(), *factory.grid(("INT8",), range="paper")])
    looks = {row.label: tuple(marked(row_look(row)).values()) for row in section.rows}
    assert len(set(looks.values())) == len(looks) == 7
