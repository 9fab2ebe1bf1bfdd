"""Figures of a shift study: that they are drawn from the records, and survive what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from shift import shift_factory
from sklearn.metrics import roc_auc_score

from sigmabench.harness.data.units import Units
from sigmabench.harness.metrics.calibration import reliability_diagram
from sigmabench.harness.metrics.risk_coverage import THRESHOLDS
from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.report.lines import editions
from sigmabench.harness.report.style import format_look
from sigmabench.harness.stats.significance import wilson
from sigmabench.harness.studies.shift.boxes import severity, severity_uce_brier, twins
from sigmabench.harness.studies.shift.image_figures import (
    DRAW_SEED,
    auroc,
    binned,
    out_of_distribution,
    reliability,
)
from sigmabench.harness.studies.shift.shift_figures import (
    SHIFT_DRAWINGS,
    against_mc,
    confidence,
    shift_figures,
)

FORMATS = ("FP32", "INT8", "DNN_INT8")
TYPES = ("fog", "gaussian_blur", "gaussian_noise")


@pytest.fixture(scope="module")
def records():
    return shift_factory.study(FORMATS, TYPES, (1, 3, 5), images=60, seeds=(0, 1))


@pytest.fixture(scope="module")
def edition(records):
    (found,) = editions(records)
    return found


def chosen(records, **fields):
    return [r for r in records if all(getattr(r.cell, k) == v for k, v in fields.items())]


def drawings(records):
    """Names of the figures that records give."""
    return [d.name for e in editions(records) for d in SHIFT_DRAWINGS if d.draw(e)]


def test_every_figure_is_written_twice_with_the_same_bytes_in_any_order(records, tmp_path):
    first = shift_figures(records, tmp_path / "a", "my study")
    second = shift_figures(records[::-1], tmp_path / "b", "my study")
    assert [p.name for p in first] == [
        f"my-study-{d.name}.{kind}" for d in SHIFT_DRAWINGS for kind in ("svg", "png")
    ]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(p.name for p in first)
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.read_bytes().startswith(b"\x89PNG" if one.suffix == ".png" else b"<?xml")


def test_what_is_missing_is_left_out(records):
    assert drawings([]) == []
    clean = chosen(records, corruption="none")
    assert drawings(clean) == [
        "confidence", "severity", "severity-uce-brier", "twins", "reliability", "mc"
    ]  # fmt: skip
    assert drawings(chosen(clean, format="FP32")) == [
        "confidence", "severity", "severity-uce-brier", "reliability", "mc"
    ]  # fmt: skip
    assert drawings(chosen(clean, format="DNN_INT8")) == ["confidence", "twins", "reliability"]
    assert drawings(chosen(records, corruption="ood:svhn")) == []
    assert drawings(chosen(records, corruption="fog")) == [
        "severity", "severity-uce-brier", "twins", "reliability"
    ]  # fmt: skip
    without = [replace(r, scores={k: v for k, v in r.scores.items() if k != "nll"}) for r in clean]
    (found,) = editions(without)
    assert [panel.get_ylabel() for panel in severity(found).axes] == ["accuracy, %", "ECE, %"]


def test_a_gap_in_the_types_is_told(records):
    some = [r for r in records if (r.cell.corruption, r.cell.severity) != ("fog", 5)]
    (found,) = editions(some)
    assert severity(found).axes[-1].get_xlabel() == "severity, boxes over 2–3 types"


def test_curves_of_confidence_are_counts_of_images(records, edition):
    drawn = confidence(edition)
    assert len(drawn.axes) == 4
    for column, (corruption, level) in enumerate((("none", 0), ("gaussian_blur", 3))):
        own = chosen(records, format="INT8", corruption=corruption, severity=level)
        assert len(own) == 2
        accuracies, shares = [], []
        for record in own:
            stated = record.array("confidence").astype(float)
            right = record.array("correct").tolist()
            kept = [[r for c, r in zip(stated, right, strict=True) if c >= t] for t in THRESHOLDS]
            accuracies.append([100 * sum(k) / len(k) if k else np.nan for k in kept])
            shares.append([100 * len(k) / len(right) for k in kept])
        for row, expected in enumerate((accuracies, shares)):
            panel = drawn.axes[2 * row + column]
            (line,) = [
                found
                for found in panel.lines
                if len(found.get_xdata()) == len(THRESHOLDS)
                and found.get_color() == format_look("INT8").color
                and found.get_fillstyle() == "full"  # its twin's is empty
            ]
            assert line.get_xdata() == pytest.approx(100 * np.array(THRESHOLDS))
            assert line.get_ydata() == pytest.approx(np.mean(expected, axis=0), nan_ok=True)


def whiskers(panel, color):
    """(quartile, end) of every whisker of a colour, in order of drawing."""
    found = [line for line in panel.lines if line.get_color() == color]
    return [
        tuple(line.get_ydata())
        for line in found
        if len(line.get_xdata()) == 2 and line.get_xdata()[0] == line.get_xdata()[1]
    ]


@pytest.mark.parametrize(
    ("draw", "format", "metric", "place"),
    [
        (severity, "INT8", "accuracy", 0),
        (severity, "FP32", "nll", 2),
        (severity_uce_brier, "FP32", "uce", 0),
        (twins, "DNN_INT8", "ece", 1),
    ],
)
def test_boxes_are_quartiles_over_types_of_means_over_seeds(
    records, edition, draw, format, metric, place
):
    panel = draw(edition).axes[place]
    expected = []
    for level in (1, 3, 5):
        scores = []
        for type in TYPES:
            own = chosen(records, format=format, corruption=type, severity=level)
            scores.append(sum(r.score(metric) for r in own) / len(own))
        low, middle, high = sorted(scores)
        expected += [((low + middle) / 2, low), ((middle + high) / 2, high)]
    assert whiskers(panel, format_look(format).color) == [pytest.approx(e) for e in expected]


def test_against_t_shows_mean_and_deviation_over_seeds(records, edition):
    accuracy, nll = against_mc(edition).axes
    own = chosen(records, format="FP32", corruption="none")
    for panel, metric in ((accuracy, "accuracy"), (nll, "nll")):
        scores = np.array([r.scores[metric] for r in own])
        bars = panel.containers[0]
        assert bars[0].get_ydata() == pytest.approx(scores.mean(axis=0))
        segments = bars[2][0].get_segments()
        half = [(high[1] - low[1]) / 2 for low, high in segments]
        assert half == pytest.approx(scores.std(axis=0, ddof=1))


def test_one_seed_has_no_bars(records):
    (found,) = editions(chosen(records, seed=0, corruption="none"))
    segments = against_mc(found).axes[0].containers[0][2][0].get_segments()
    assert not any(len(segment) for segment in segments)  # a NaN has no end


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(0, 1)), min_size=1, max_size=30))
def test_bins_are_those_of_the_reliability_diagram(images):
    predictive = Predictive((1,), deterministic=True)
    logits = np.array([[[gap, 0.0] for gap, _ in images]])
    predictive.update(torch.from_numpy(logits))
    summary = predictive.summaries()[1]
    labels = torch.tensor([label for _, label in images])
    expected = reliability_diagram(summary, labels)
    units = np.arange(len(images)) // 2
    confidence, correct = summary.confidence.numpy(), summary.correct(labels).numpy()
    count, independent, stated, right = binned(confidence, correct, units)
    assert tuple(count) == expected.count
    place = np.minimum((confidence * 15 + 1e-12).astype(int), 14)
    assert independent.tolist() == [len(set(units[place == b])) for b in np.unique(place)]
    assert stated == pytest.approx([c for c in expected.confidence if c is not None])
    assert right == pytest.approx([a for a in expected.accuracy if a is not None])


def test_reliability_pools_the_types_of_the_first_seed(records, edition):
    drawn = reliability(edition)
    top, bottom = drawn.axes[1], drawn.axes[3]
    own = [r for t in TYPES for r in chosen(records, format="FP32", corruption=t, severity=5)[::2]]
    assert [r.cell.seed for r in own] == [0, 0, 0]
    stated = np.concatenate([r.array("confidence") for r in own]).astype(float)
    right = np.concatenate([r.array("correct") for r in own])
    place = np.minimum((stated * 15).astype(int), 14)
    count = [int((place == b).sum()) for b in range(15)]
    assert [bar.get_height() for bar in bottom.patches] == count
    filled = [b for b in range(15) if count[b]]
    accuracy = np.array([right[place == b].mean() for b in filled])
    (points,) = [line for line in top.lines if line.get_marker() == "o"]
    assert points.get_ydata() == pytest.approx(100 * accuracy)
    images = np.tile(np.arange(60), len(TYPES))
    low, high = wilson(accuracy, np.array([len(set(images[place == b])) for b in filled]))
    ends = [(segment[0, 1], segment[1, 1]) for segment in top.containers[0][2][0].get_segments()]
    assert ends == [
        pytest.approx((100 * min(a, b), 100 * max(a, c)))
        for a, b, c in zip(accuracy, low, high, strict=True)
    ]


scores = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=12)


@given(scores, scores)
def test_auroc_is_that_of_sklearn(inside, outside):
    units = (Units.of(len(inside)), Units.of(len(outside)))
    area, draws = auroc(np.array(inside), np.array(outside), units, draws=3)
    truth = [0] * len(inside) + [1] * len(outside)
    assert area == pytest.approx(roc_auc_score(truth, inside + outside))
    generator = np.random.Generator(np.random.PCG64(DRAW_SEED))
    for draw in draws:
        one, other = (
            [given[i] for i in generator.integers(0, len(given), len(given))]
            for given in (inside, outside)
        )
        assert draw == pytest.approx(roc_auc_score(truth, one + other))


def test_copies_of_images_tell_no_more_of_detection():
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(0, 1, 20), rng.normal(1, 1, 30)
    once = auroc(inside, outside, (Units.of(20), Units.of(30)), draws=50)
    copied = np.repeat(np.arange(20), 8)
    eight = auroc(inside[copied], outside, (Units.of(160, copied), Units.of(30)), draws=50)
    assert eight[0] == pytest.approx(once[0])
    np.testing.assert_allclose(eight[1], once[1])


def test_detection_is_the_mean_over_seeds_and_twins_have_entropy_alone(records, edition):
    (panel,) = out_of_distribution(edition).axes
    middles = [bars[0].get_xdata()[0] for bars in panel.containers]
    expected = []
    for format, kinds in (
        ("FP32", ("entropy", "mutual_information")),
        ("INT8", ("entropy", "mutual_information")),
        ("DNN_INT8", ("entropy",)),
    ):
        for kind in kinds:
            inside = chosen(records, format=format, corruption="none")
            outside = chosen(records, format=format, corruption="ood:svhn")
            areas = [
                roc_auc_score([0] * 60 + [1] * 60, np.concatenate([a.array(kind), b.array(kind)]))
                for a, b in zip(inside, outside, strict=True)
            ]
            expected.append(np.mean(areas))
    assert middles == pytest.approx(expected)
    for bars in panel.containers:
        ((start, end),) = bars[2][0].get_segments()
        assert start[0] <= bars[0].get_xdata()[0] <= end[0]


def relabelled(records, **fields):
    return [replace(r, cell=replace(r.cell, **fields)) for r in records]


@pytest.fixture(scope="module")
def clean(records):
    return chosen(records, corruption="none", seed=0)


def test_a_few_variants_share_a_figure_and_are_told_apart(clean):
    paper = relabelled(chosen(clean, format="INT8"), range="paper")
    (found,) = editions(paper + clean)
    assert found.slug == ""
    assert [line.label for line in found.lines[:3]] == ["FP32", "INT8", "INT8 paper"]
    one, other = found.lines[1:3]
    assert one.look.color == other.look.color
    assert one.look.marker != other.look.marker
    assert (one.open, other.open) == (False, True)


def test_many_variants_have_a_figure_each(clean):
    int8 = chosen(clean, format="INT8")
    bits = [r for n in (1, 2, 4) for r in relabelled(int8, format=f"INT8_SIGMA{n}")]
    twin = relabelled(chosen(clean, format="DNN_INT8"), range="paper")  # as every twin
    others = [*chosen(clean, format="FP32"), *int8, *bits]
    found = editions([*others, *twin, *relabelled(int8 + bits, range="paper")])
    assert [e.slug for e in found] == ["", "paper"]
    formats = ["FP32", "INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1", "DNN_INT8"]
    for edition, name in zip(found, ("headroom", "paper"), strict=True):
        assert [line.format for line in edition.lines] == formats
        quantized = edition.bayesian[1:]
        assert {r.cell.range for line in quantized for r in line.records} == {name}
        assert not any(line.open for line in edition.bayesian)


def test_floats_of_a_posterior_are_drawn_with_what_is_made_of_it(clean):
    base = [*chosen(clean, format="FP32"), *chosen(clean, format="INT8")]
    base += relabelled(chosen(clean, format="INT8"), format="INT8_SIGMA1")
    more = [r for name in "ABC" for r in relabelled(base, posterior=name)]
    found = editions([*more, *chosen(clean, format="DNN_INT8")])
    assert [e.slug for e in found] == ["a", "b", "c"]
    for edition, name in zip(found, "ABC", strict=True):
        assert {r.cell.posterior for line in edition.bayesian for r in line.records} == {name}
        assert [line.format for line in edition.bayesian] == ["FP32", "INT8", "INT8_SIGMA1"]
        assert [line.format for line in edition.twins] == ["DNN_INT8"]
        letter = edition.slug
        assert edition.note == f"{letter}: posterior {name}"
        notes = [one.get_title().get_text() for one in severity(edition).legends]
        assert edition.note in notes


def test_a_letter_means_the_same_in_every_format(clean):
    """FP32 has the posteriors A and B, INT8 B and C: no figure mixes A with B."""
    floats, int8 = (chosen(clean, format=name) for name in ("FP32", "INT8"))
    made = [r for name in "AB" for r in relabelled(floats, posterior=name)]
    made += [r for name in "BC" for r in relabelled(int8, posterior=name)]
    bits = [r for n in (1, 2, 4) for r in relabelled(int8, format=f"INT8_SIGMA{n}")]
    made += [r for name in "BC" for r in relabelled(bits, posterior=name)]
    for edition in editions(made):
        assert len({r.cell.posterior for line in edition.lines for r in line.records}) == 1


def test_a_legend_of_long_names_fits_its_figure(clean):
    names = ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")
    int8 = relabelled(chosen(clean, format="INT8"), range="paper")
    made = [r for name in names for r in relabelled(int8, format=name)]
    (edition,) = editions([*chosen(clean, format="FP32"), *made])
    drawn = severity(edition)
    drawn.canvas.draw()
    (legend,) = drawn.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= drawn.bbox.width


def test_studies_have_figures_of_their_own(clean):
    found = editions([*clean, *relabelled(clean, workload="other")])
    names = ["other-test-split-60-images", "synthetic-test-split-60-images"]
    assert [e.slug for e in found] == names
