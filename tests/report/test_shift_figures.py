"""Figures of a shift study: that they are drawn from the records, and survive what is missing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from records_made import changed
from shift import shift_factory
from sklearn.metrics import roc_auc_score

from sigmabench.harness.core.figure import Boxes, Points
from sigmabench.harness.data.units import Units
from sigmabench.harness.metrics.calibration import reliability_diagram
from sigmabench.harness.metrics.risk_coverage import THRESHOLDS
from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.report.draw import drawn
from sigmabench.harness.report.lines import editions
from sigmabench.harness.report.style import colour, hollow, marked
from sigmabench.harness.stats.significance import wilson
from sigmabench.harness.studies.shift.boxes import severity, severity_uce_brier, twins
from sigmabench.harness.studies.shift.image_figures import (
    DRAW_SEED,
    auroc,
    binned,
    out_of_distribution,
    reliability,
)
from sigmabench.harness.studies.shift.shift_figures import against_mc, confidence, shift_figures

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
    return [r for r in records if all(getattr(r.subject, k) == v for k, v in fields.items())]


def names(records):
    """Of the figures that records give."""
    return [figure.name for figure in shift_figures(records)]


def points(panel):
    """Marks of points, without entries of the legend."""
    return [mark for mark in panel.marks if isinstance(mark, Points) and mark.x]


def test_the_figures_are_those_of_the_records_in_any_order(records):
    assert shift_figures(records) == shift_figures(records[::-1])


def test_what_is_missing_is_left_out(records):
    assert names([]) == []
    clean = chosen(records, corruption="none")
    assert names(clean) == [
        "confidence", "severity", "severity-uce-brier", "twins", "reliability", "mc"
    ]  # fmt: skip
    assert names(chosen(clean, format="FP32")) == [
        "confidence", "severity", "severity-uce-brier", "reliability", "mc"
    ]  # fmt: skip
    assert names(chosen(clean, format="DNN_INT8")) == ["confidence", "twins", "reliability"]
    assert names(chosen(records, corruption="ood:svhn")) == []
    assert names(chosen(records, corruption="fog")) == [
        "severity", "severity-uce-brier", "twins", "reliability"
    ]  # fmt: skip
    without = [
        changed(r, scores={k: v for k, v in r.body.scores.items() if k != "nll"}) for r in clean
    ]
    (found,) = editions(without)
    assert [panel.y.label for panel in severity(found).panels] == ["accuracy, %", "ECE, %"]


def test_a_gap_in_the_types_is_told(records):
    some = [r for r in records if (r.subject.corruption, r.subject.severity) != ("fog", 5)]
    (found,) = editions(some)
    assert severity(found).panels[-1].x.label == "severity, boxes over 2–3 types"


def test_curves_of_confidence_are_counts_of_images(records, edition):
    figure = confidence(edition)
    assert len(figure.panels) == 4
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
            panel = figure.panels[2 * row + column]
            (line,) = [mark for mark in points(panel) if mark.look.format == "INT8"]
            assert line.x == pytest.approx(100 * np.array(THRESHOLDS))
            shown = np.array(line.y, dtype=float)
            assert shown == pytest.approx(np.mean(expected, axis=0), nan_ok=True)


@pytest.mark.parametrize(
    ("make", "format", "metric", "place"),
    [
        (severity, "INT8", "accuracy", 0),
        (severity, "FP32", "nll", 2),
        (severity_uce_brier, "FP32", "uce", 0),
        (twins, "DNN_INT8", "ece", 1),
    ],
)
def test_boxes_are_quartiles_over_types_of_means_over_seeds(
    records, edition, make, format, metric, place
):
    (boxes,) = [
        mark
        for mark in make(edition).panels[place].marks
        if isinstance(mark, Boxes) and mark.look.format == format
    ]
    assert [round(at) for at in boxes.at] == [1, 3, 5]
    for level, found in zip((1, 3, 5), boxes.quartiles, strict=True):
        scores = []
        for type in TYPES:
            own = chosen(records, format=format, corruption=type, severity=level)
            scores.append(sum(r.score(metric) for r in own) / len(own))
        low, middle, high = sorted(scores)
        assert found == pytest.approx((low, (low + middle) / 2, middle, (middle + high) / 2, high))


def test_against_t_shows_mean_and_deviation_over_seeds(records, edition):
    accuracy, nll = against_mc(edition).panels
    own = chosen(records, format="FP32", corruption="none")
    for panel, metric in ((accuracy, "accuracy"), (nll, "nll")):
        scores = np.array([r.body.scores[metric] for r in own])
        line = points(panel)[0]
        assert line.y == pytest.approx(scores.mean(axis=0))
        half = (np.array(line.high) - np.array(line.low)) / 2
        assert half == pytest.approx(scores.std(axis=0, ddof=1))


def test_one_seed_has_no_bars(records):
    (found,) = editions(chosen(records, seed=0, corruption="none"))
    line = points(against_mc(found).panels[0])[0]
    assert set(line.low) == set(line.high) == {None}


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
    _, top, _, bottom = reliability(edition).panels[:4]
    own = [r for t in TYPES for r in chosen(records, format="FP32", corruption=t, severity=5)[::2]]
    assert [r.subject.seed for r in own] == [0, 0, 0]
    stated = np.concatenate([r.array("confidence") for r in own]).astype(float)
    right = np.concatenate([r.array("correct") for r in own])
    place = np.minimum((stated * 15).astype(int), 14)
    count = [int((place == b).sum()) for b in range(15)]
    (bars,) = bottom.marks
    assert list(bars.sizes) == count
    filled = [b for b in range(15) if count[b]]
    accuracy = np.array([right[place == b].mean() for b in filled])
    (shown,) = points(top)
    assert shown.y == pytest.approx(100 * accuracy)
    images = np.tile(np.arange(60), len(TYPES))
    low, high = wilson(accuracy, np.array([len(set(images[place == b])) for b in filled]))
    assert shown.low == pytest.approx(100 * np.minimum(accuracy, low))
    assert shown.high == pytest.approx(100 * np.maximum(accuracy, high))


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
    (panel,) = out_of_distribution(edition).panels
    middles = [mark.x[0] for mark in points(panel)]
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
    for mark in points(panel):
        assert mark.left < mark.x < mark.right


def relabelled(records, **fields):
    return [changed(r, subject=replace(r.subject, **fields)) for r in records]


@pytest.fixture(scope="module")
def clean(records):
    return chosen(records, corruption="none", seed=0)


def test_a_few_variants_share_a_figure_and_are_told_apart(clean):
    paper = relabelled(chosen(clean, format="INT8"), range="paper")
    (found,) = editions(paper + clean)
    assert found.slug == ""
    assert [line.label for line in found.lines[:3]] == ["FP32", "INT8", "INT8 paper"]
    one, other = found.lines[1:3]
    assert colour(one.look) == colour(other.look)
    assert marked(one.look)["marker"] != marked(other.look)["marker"]
    assert (hollow(one.look), hollow(other.look)) == (False, True)


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
        assert {r.subject.range for line in quantized for r in line.records} == {name}
        assert not any(hollow(line.look) for line in edition.bayesian)


def test_floats_of_a_posterior_are_drawn_with_what_is_made_of_it(clean):
    base = [*chosen(clean, format="FP32"), *chosen(clean, format="INT8")]
    base += relabelled(chosen(clean, format="INT8"), format="INT8_SIGMA1")
    more = [r for name in "ABC" for r in relabelled(base, posterior=name)]
    found = editions([*more, *chosen(clean, format="DNN_INT8")])
    assert [e.slug for e in found] == ["a", "b", "c"]
    for edition, name in zip(found, "ABC", strict=True):
        assert {r.subject.posterior for line in edition.bayesian for r in line.records} == {name}
        assert [line.format for line in edition.bayesian] == ["FP32", "INT8", "INT8_SIGMA1"]
        assert [line.format for line in edition.twins] == ["DNN_INT8"]
        letter = edition.slug
        assert edition.note == f"{letter}: posterior {name}"
        assert severity(edition).note == edition.note


def test_a_letter_means_the_same_in_every_format(clean):
    """FP32 has the posteriors A and B, INT8 B and C: no figure mixes A with B."""
    floats, int8 = (chosen(clean, format=name) for name in ("FP32", "INT8"))
    made = [r for name in "AB" for r in relabelled(floats, posterior=name)]
    made += [r for name in "BC" for r in relabelled(int8, posterior=name)]
    bits = [r for n in (1, 2, 4) for r in relabelled(int8, format=f"INT8_SIGMA{n}")]
    made += [r for name in "BC" for r in relabelled(bits, posterior=name)]
    for edition in editions(made):
        assert len({r.subject.posterior for line in edition.lines for r in line.records}) == 1


def test_a_legend_of_long_names_fits_its_figure(clean):
    names = ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")
    int8 = relabelled(chosen(clean, format="INT8"), range="paper")
    made = [r for name in names for r in relabelled(int8, format=name)]
    (edition,) = editions([*chosen(clean, format="FP32"), *made])
    made = drawn(severity(edition))
    made.canvas.draw()
    (legend,) = made.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= made.bbox.width


def test_studies_have_figures_of_their_own(clean):
    found = editions([*clean, *relabelled(clean, workload="other")])
    names = ["other-test-split-60-images", "synthetic-test-split-60-images"]
    assert [e.slug for e in found] == names
