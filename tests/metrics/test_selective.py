from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import from_confidence, make_case

from sigmabench.harness.metrics.risk_coverage import (
    accuracy_against_confidence,
    aurc,
    eaurc,
    risk_coverage,
)


def brute_force_risks(confidence: list[float], wrong: list[bool]) -> np.ndarray:
    """Mean over all orders of the images that do not ascend in confidence."""
    n = len(wrong)
    curves = [
        [sum(wrong[i] for i in order[: k + 1]) / (k + 1) for k in range(n)]
        for order in itertools.permutations(range(n))
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order))
    ]
    return np.mean(curves, axis=0)


@given(
    st.lists(
        st.tuples(st.sampled_from([0.4, 0.6, 0.8, 0.99, 1.0]), st.booleans()),
        min_size=1,
        max_size=6,
    )
)
def test_curve_and_areas_agree_with_brute_force_over_tied_orders(
    images: list[tuple[float, bool]],
) -> None:
    confidence = [c for c, _ in images]
    wrong = [w for _, w in images]
    summary, labels = from_confidence(confidence), torch.tensor([int(w) for w in wrong])
    n = len(images)
    expected = brute_force_risks(confidence, wrong)
    curve = risk_coverage(summary, labels)
    np.testing.assert_allclose(curve.risk, expected, atol=1e-14)
    np.testing.assert_allclose(curve.coverage, np.arange(1, n + 1) / n)
    assert aurc(summary, labels) == pytest.approx(expected.mean(), abs=1e-14)
    best = [max(0, k - (n - sum(wrong))) / k for k in range(1, n + 1)]
    assert eaurc(summary, labels) == pytest.approx(expected.mean() - np.mean(best), abs=1e-14)
    assert eaurc(summary, labels) >= 0


def test_without_ties_it_is_the_running_error_rate() -> None:
    summary, labels = make_case(0)
    assert len(summary.confidence.unique()) == summary.images
    order = np.argsort(-summary.confidence.numpy())
    wrong = (summary.prediction != labels).numpy()[order]
    running = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
    np.testing.assert_allclose(risk_coverage(summary, labels).risk, running, atol=1e-14)


def test_whole_coverage_has_the_error_rate() -> None:
    summary, labels = make_case(4)
    curve = risk_coverage(summary, labels)
    assert curve.coverage[-1] == 1.0
    assert curve.risk[-1].item() == pytest.approx((summary.prediction != labels).double().mean())


def test_perfect_ranking_has_no_excess() -> None:
    summary = from_confidence([0.9, 0.8, 0.7, 0.6])
    assert eaurc(summary, torch.tensor([0, 0, 1, 1])) == 0.0
    assert aurc(summary, torch.tensor([0, 0, 1, 1])) == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert aurc(summary, torch.zeros(4, dtype=torch.int64)) == 0.0


def test_worst_ranking_by_hand() -> None:
    summary = from_confidence([0.9, 0.8])
    labels = torch.tensor([1, 0])
    assert aurc(summary, labels) == pytest.approx((1 + 1 / 2) / 2)
    assert eaurc(summary, labels) == pytest.approx((1 + 1 / 2) / 2 - (0 + 1 / 2) / 2)


@pytest.mark.parametrize("points", [1, 7, 50, 400, 1000])
def test_thinned_curve_is_points_of_it_up_to_the_last(points: int) -> None:
    curve = risk_coverage(*make_case(2))
    thin = curve.thin(points)
    assert len(thin.coverage) == min(points, 400)
    whole = dict(zip(curve.coverage.tolist(), curve.risk.tolist(), strict=True))
    for coverage, risk in zip(thin.coverage.tolist(), thin.risk.tolist(), strict=True):
        assert whole[coverage] == risk
    assert (thin.coverage.diff() > 0).all()
    assert thin.coverage[-1] == 1.0


def test_accuracy_against_confidence_by_hand() -> None:
    summary = from_confidence([0.5, 0.7, 0.7, 0.9])
    got = accuracy_against_confidence(summary, torch.tensor([1, 0, 1, 0]), (0.0, 0.7, 0.8, 0.95))
    assert got.threshold == (0.0, 0.7, 0.8, 0.95)
    assert got.share == (100.0, 75.0, 25.0, 0.0)
    assert got.accuracy == (50.0, pytest.approx(200 / 3), 100.0, None)


def test_accuracy_against_confidence_agrees_with_a_loop() -> None:
    summary, labels = make_case(9)
    got = accuracy_against_confidence(summary, labels)
    right = (summary.prediction == labels).tolist()
    for tau, accuracy, share in zip(got.threshold, got.accuracy, got.share, strict=True):
        kept = [r for r, c in zip(right, summary.confidence.tolist(), strict=True) if c >= tau]
        assert share == pytest.approx(100 * len(kept) / 400)
        assert accuracy == (pytest.approx(100 * np.mean(kept)) if kept else None)
    assert got.share[0] == 100.0
