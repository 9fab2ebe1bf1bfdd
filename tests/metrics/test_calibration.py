from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import from_confidence, make_case, summarise
from torchmetrics.functional.classification import multiclass_calibration_error

from sigmabench.harness.metrics.calibration import ece, ece_floor, reliability_diagram, uce


def brute_force_gap(binned: list[float], stated: list[float], observed: list[bool]) -> float:
    """Σ_b (n_b / N) |observed_b − stated_b| in %, bin after bin and image after image."""
    total = 0.0
    for b in range(15):
        last = b == 14
        inside = [i for i, v in enumerate(binned) if b / 15 <= v and (last or v < (b + 1) / 15)]
        if inside:
            mean_stated = sum(stated[i] for i in inside) / len(inside)
            mean_observed = sum(observed[i] for i in inside) / len(inside)
            total += len(inside) * abs(mean_observed - mean_stated)
    return 100 * total / len(binned)


@pytest.mark.parametrize("seed", range(4))
def test_ece_agrees_with_torchmetrics(seed: int) -> None:
    summary, labels = make_case(seed, scale=1.0 + seed)
    # torchmetrics puts a confidence of exactly 1 in a bin of its own; there is none here.
    assert summary.confidence.max() < 1
    oracle = multiclass_calibration_error(
        summary.probs, labels, num_classes=summary.classes, n_bins=15, norm="l1"
    )
    assert ece(summary, labels) == pytest.approx(100 * float(oracle), abs=2e-5)


@given(seed=st.integers(0, 500), C=st.integers(2, 12), scale=st.floats(0.1, 60.0))
def test_ece_and_uce_agree_with_brute_force(seed: int, C: int, scale: float) -> None:
    summary, labels = make_case(seed, N=60, C=C, scale=scale)
    right = (summary.prediction == labels).tolist()
    confidence = summary.confidence.tolist()
    uncertainty = [h / math.log(C) for h in summary.entropy.tolist()]
    assert ece(summary, labels) == pytest.approx(
        brute_force_gap(confidence, confidence, right), abs=1e-9
    )
    assert uce(summary, labels) == pytest.approx(
        brute_force_gap(uncertainty, uncertainty, [not r for r in right]), abs=1e-9
    )


def test_certainty_shares_the_last_bin() -> None:
    summary = from_confidence([1.0, 0.95])
    labels = torch.tensor([1, 0])
    # One bin of mean confidence 0.975 and accuracy 0.5; bins apart it would be (1 + 0.05) / 2.
    assert ece(summary, labels) == pytest.approx(47.5)
    assert reliability_diagram(summary, labels).count == (0,) * 14 + (2,)


@pytest.mark.parametrize(("label", "expected"), [(0, 0.0), (1, 100.0)])
def test_certain_prediction_is_calibrated_or_wholly_not(label: int, expected: float) -> None:
    logits = torch.tensor([1e4, 0.0, 0.0]).repeat(2, 9, 1)
    labels = torch.full((9,), label)
    summary = summarise(logits)
    assert ece(summary, labels) == expected
    assert uce(summary, labels) == expected


@given(seed=st.integers(0, 500), T=st.integers(1, 3), scale=st.floats(0.0, 1e4))
def test_are_percentages(seed: int, T: int, scale: float) -> None:
    summary, labels = make_case(seed, T=T, N=30, C=4, scale=scale)
    for metric in (ece, uce, ece_floor):
        assert 0 <= metric(summary, labels) <= 100


def test_reliability_diagram_by_hand() -> None:
    summary = from_confidence([0.42, 0.44, 0.91, 0.92, 0.93])
    diagram = reliability_diagram(summary, torch.tensor([0, 2, 0, 0, 1]), bins=10)
    assert diagram.edges == pytest.approx([i / 10 for i in range(11)])
    assert diagram.count == (0, 0, 0, 0, 2, 0, 0, 0, 0, 3)
    assert diagram.accuracy[4] == 0.5
    assert diagram.accuracy[9] == pytest.approx(2 / 3)
    assert diagram.confidence[4] == pytest.approx(0.43)
    assert diagram.confidence[9] == pytest.approx(0.92)
    assert diagram.confidence[0] is None
    assert diagram.accuracy[0] is None


def test_bins_are_closed_below_and_open_above() -> None:
    summary = from_confidence([0.5, 0.74, 0.75, 1.0])
    diagram = reliability_diagram(summary, torch.zeros(4, dtype=torch.int64), bins=4)
    assert diagram.count == (0, 0, 2, 2)


def test_fraction_of_certain_passes_opens_the_bin_that_it_is_the_edge_of() -> None:
    # 11 of 15 certain passes agree: the confidence is the lower edge of the bin from 11/15.
    logits = torch.tensor([[1e4, 0.0]] * 11 + [[0.0, 1e4]] * 4)[:, None]
    diagram = reliability_diagram(summarise(logits), torch.tensor([0]))
    assert diagram.count.index(1) == 11


def test_reliability_diagram_carries_the_ece() -> None:
    summary, labels = make_case(7)
    d = reliability_diagram(summary, labels)
    assert sum(d.count) == summary.images
    gaps = sum(
        n * abs(a - c)
        for n, a, c in zip(d.count, d.accuracy, d.confidence, strict=True)
        if a is not None and c is not None
    )
    assert 100 * gaps / summary.images == pytest.approx(ece(summary, labels), rel=1e-12)


def test_floor_of_one_bin_is_the_binomials_mean_deviation() -> None:
    n, p = 40, 0.9
    deviation = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) * abs(k / n - p) for k in range(n + 1)
    )
    floor = ece_floor(from_confidence([p] * n), torch.zeros(n))
    # 200 draws: the mean's standard error is about 5 % of it.
    assert floor == pytest.approx(100 * deviation, rel=0.2)


def test_floor_is_the_mean_ece_of_200_calibrated_draws_of_one_stream() -> None:
    """Every draw scored image after image; 200 draws of seed 0 are what records hold."""
    summary, _ = make_case(4, N=37, C=3)
    confidence = sorted(summary.confidence.tolist())
    generator = np.random.Generator(np.random.PCG64(0))
    shown = []
    for _ in range(200):
        right = [u < c for u, c in zip(generator.random(37).tolist(), confidence, strict=True)]
        shown.append(brute_force_gap(confidence, confidence, right))
    assert ece_floor(summary, torch.zeros(37)) == pytest.approx(sum(shown) / 200, rel=1e-12)


def test_floor_is_what_calibrated_labels_show() -> None:
    summary, _ = make_case(11, N=500, C=10)
    generator = torch.Generator().manual_seed(5)
    shown = [
        ece(summary, torch.multinomial(summary.probs, 1, generator=generator).flatten())
        for _ in range(200)
    ]
    assert ece_floor(summary, torch.zeros(500)) == pytest.approx(sum(shown) / 200, rel=0.06)


def test_floor_falls_with_the_root_of_the_number_of_images() -> None:
    # Confidences of mean 0.91, spread over most bins, as of a network of 91 % accuracy.
    spread = (torch.arange(500, dtype=torch.float64) + 0.5) / 500
    confidence = (1 - 0.75 * spread**7.33).tolist()
    assert sum(confidence) / 500 == pytest.approx(0.91, abs=1e-3)
    few = ece_floor(from_confidence(confidence), torch.zeros(500))
    many = ece_floor(from_confidence(confidence * 20), torch.zeros(10_000))
    assert 1.5 < few < 3.0
    assert 0.3 < many < 0.7
    assert few / many == pytest.approx(math.sqrt(20), rel=0.2)


def test_floor_of_certainty_is_zero() -> None:
    assert ece_floor(from_confidence([1.0] * 10), torch.zeros(10)) == 0.0
