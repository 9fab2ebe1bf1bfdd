from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from metric_cases import make_case, make_logits, summarise
from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

from sigmabench.harness.metrics import scores
from sigmabench.harness.metrics.metric import score


@pytest.mark.parametrize("seed", range(3))
def test_agree_with_scikit_learn(seed: int) -> None:
    summary, labels = make_case(seed)
    y, p = labels.numpy(), summary.probs.numpy()
    classes = list(range(summary.classes))
    right = 100 * accuracy_score(y, p.argmax(1))
    assert scores.accuracy(summary, labels) == pytest.approx(right, rel=1e-14)
    assert scores.error(summary, labels) == pytest.approx(100 - right, rel=1e-12)
    assert scores.nll(summary, labels) == pytest.approx(log_loss(y, p, labels=classes), rel=1e-12)


def test_brier_of_two_classes_is_twice_scikit_learns() -> None:
    summary, labels = make_case(0, C=2)
    one_sided = brier_score_loss(labels.numpy(), summary.probs[:, 1].numpy())
    assert scores.brier(summary, labels) == pytest.approx(2 * one_sided, rel=1e-12)


def test_brier_and_means_by_brute_force() -> None:
    summary, labels = make_case(1, N=60)
    total = 0.0
    for row, label in zip(summary.probs.tolist(), labels.tolist(), strict=True):
        total += sum((p - (c == label)) ** 2 for c, p in enumerate(row))
    assert scores.brier(summary, labels) == pytest.approx(total / 60, rel=1e-12)
    assert scores.entropy(summary, labels) == pytest.approx(
        np.mean(summary.entropy.tolist()), rel=1e-12
    )
    assert scores.mutual_information(summary, labels) == pytest.approx(
        np.mean(summary.mutual_information.tolist()), rel=1e-12
    )


def test_uniform_prediction_has_known_scores() -> None:
    summary = summarise(torch.zeros(3, 8, 4))
    labels = torch.arange(8) % 4
    got = score(summary, labels)
    assert got["accuracy"] == 25.0
    assert got["error"] == 75.0
    assert got["ece"] == pytest.approx(0.0, abs=1e-12)
    assert got["uce"] == pytest.approx(25.0)
    assert got["nll"] == pytest.approx(math.log(4))
    assert got["brier"] == pytest.approx(0.75)
    assert got["entropy"] == pytest.approx(math.log(4))
    assert got["mutual_information"] == pytest.approx(0.0, abs=1e-15)


@given(seed=st.integers(0, 100), T=st.integers(1, 5), scale=st.sampled_from([1e3, 1e4, 1e30]))
def test_nll_is_finite_for_saturated_logits(
    seed: int,
    T: int,
    scale: float,
) -> None:
    logits = make_logits(seed, T, 20, 5, scale)
    assert logits.abs().max() > 1e3
    least_likely = logits.mean(0).argmin(-1)
    summary = summarise(logits)
    assert (summary.probs == 0).any()
    assert math.isfinite(scores.nll(summary, least_likely))


def test_nll_of_a_saturated_error_is_the_gap_of_logits() -> None:
    logits = torch.tensor([[[1e4, -1e4]]]).repeat(4, 1, 1)
    assert scores.nll(summarise(logits), torch.tensor([1])) == pytest.approx(2e4, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_any_integer_labels_serve(dtype: torch.dtype) -> None:
    summary, labels = make_case(3, N=50)
    assert score(summary, labels.to(dtype)) == score(summary, labels)


def test_mean_is_exact() -> None:
    values = torch.tensor([1e16, 1.0, -1e16], dtype=torch.float64)
    assert scores.exact_mean(values) == 1 / 3


def test_mutual_information_itself_refuses_one_pass() -> None:
    with pytest.raises(ValueError, match="several passes"):
        scores.mutual_information(*make_case(0, T=1))
