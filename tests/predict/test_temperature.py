"""Temperatures: known answers, and a bootstrap of the fit against fitting again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.predict.loop import summarise
from sigmabench.harness.predict.newton import moved, refitted
from sigmabench.harness.predict.temperature import (
    AVERAGE,
    PASSES,
    Temperature,
    derivatives,
    fit_temperature,
    fit_vector_scaling,
    tempered,
)


def drawn(
    images: int = 3000, classes: int = 4, passes: int = 1, spread: float = 0.7, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of passes, and labels drawn from the softmax of what they have in common."""
    generator = torch.Generator().manual_seed(seed)
    common = 2 * torch.randn(images, classes, generator=generator, dtype=torch.float64)
    labels = torch.multinomial(common.softmax(dim=1), 1, generator=generator).flatten()
    noise = torch.randn(passes, images, classes, generator=generator, dtype=torch.float64)
    return common + spread * noise * (passes > 1), labels


def brute(logits: np.ndarray, labels: np.ndarray, tau: float, form: str) -> np.ndarray:
    """NLL of each image, from the definitions."""
    if form == PASSES:
        probs = np.exp(log_softmax(logits / tau, axis=2)).mean(axis=0)
    else:
        probs = np.exp(log_softmax(logits, axis=2)).mean(axis=0) ** (1 / tau)
        probs /= probs.sum(axis=1, keepdims=True)
    return -np.log(probs[np.arange(len(labels)), labels])


def test_logits_of_the_law_of_the_labels_need_none() -> None:
    logits, labels = drawn(20_000)
    found = fit_temperature(logits, labels)
    assert found.tau == pytest.approx(1, abs=0.05)
    assert found.form == PASSES
    assert found.images == 20_000


@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_logits_that_are_larger_need_as_much_more(factor: float) -> None:
    logits, labels = drawn()
    one = fit_temperature(logits, labels)
    other = fit_temperature(factor * logits, labels)
    assert other.tau == pytest.approx(factor * one.tau, rel=1e-4)
    assert other.nll == pytest.approx(one.nll, abs=1e-9)


@pytest.mark.parametrize("passes", [1, 6])
def test_it_is_the_best_of_a_fine_grid_of_both_forms(passes: int) -> None:
    logits, labels = drawn(400, passes=passes)
    found = fit_temperature(logits, labels)
    grid = [
        (brute(logits.numpy(), labels.numpy(), tau, form).mean(), form)
        for form in (PASSES, AVERAGE)
        for tau in np.geomspace(0.2, 5, 801)
    ]
    best, form = min(grid)
    assert found.nll <= best + 1e-12
    assert found.nll == pytest.approx(best, abs=1e-5)
    assert passes == 1 or found.form == form
    at_one = brute(logits.numpy(), labels.numpy(), 1.0, PASSES).mean()
    assert found.nll_without == pytest.approx(at_one, abs=1e-12)


@pytest.mark.parametrize("form", [PASSES, AVERAGE])
def test_summaries_are_those_of_the_definitions(form: str) -> None:
    logits, labels = drawn(50, passes=7)
    found = tempered(logits, Temperature(1.7, form, 0.0, 0.0, 50))
    expected = brute(logits.numpy(), labels.numpy(), 1.7, form)
    np.testing.assert_allclose(found.nll(labels), expected, rtol=1e-12)
    np.testing.assert_allclose(found.probs.sum(dim=1), 1, rtol=1e-12)
    entropy = -(found.probs * found.probs.log()).sum(dim=1)
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-12)
    assert (found.mutual_information is None) == (form == AVERAGE)


def test_at_one_nothing_changes() -> None:
    logits, _ = drawn(20, passes=3)
    plain = summarise(logits)
    for form in (PASSES, AVERAGE):
        found = tempered(logits, Temperature(1.0, form, 0.0, 0.0, 20))
        np.testing.assert_allclose(found.probs, plain.probs, rtol=1e-12)
        np.testing.assert_allclose(found.entropy, plain.entropy, rtol=1e-12)


@pytest.mark.parametrize("form", [PASSES, AVERAGE])
def test_derivatives_are_those_of_differences(form: str) -> None:
    logits, labels = drawn(40, passes=5)
    found = derivatives(logits, labels, Temperature(1.3, form, 0.0, 0.0, 40))
    step = 1e-4
    low, at, high = (
        brute(logits.numpy(), labels.numpy(), 1.3 * math.exp(move), form)
        for move in (-step, 0.0, step)
    )
    np.testing.assert_allclose(found.nll, at, rtol=1e-12)
    np.testing.assert_allclose(found.slope, (high - low) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(found.curvature, (high - 2 * at + low) / step**2, atol=1e-5)


@pytest.mark.parametrize("form", [PASSES, AVERAGE])
def test_one_step_is_what_fitting_again_would_give(form: str) -> None:
    logits, labels = drawn(2000, passes=4)
    fitted = fit_temperature(logits, labels, (form,))
    found = derivatives(logits, labels, fitted)
    rng = np.random.default_rng(3)
    chosen = rng.integers(0, 2000, (8, 2000))
    weights = np.stack([np.bincount(one, minlength=2000) for one in chosen]).astype(float)
    changes = refitted(found, weights)
    for one, change in zip(chosen, changes, strict=True):
        again = fit_temperature(logits[:, one], labels[one], (form,))
        exact = math.log(again.tau / fitted.tau)
        assert change == pytest.approx(exact, rel=0.05, abs=1e-3)
    assert np.abs(changes).max() > 1e-2
    expansion = moved(found, changes, weights)
    for one, change, value in zip(chosen, changes, expansion, strict=True):
        tau = fitted.tau * math.exp(change)
        nll = brute(logits[:, one].numpy(), labels[one].numpy(), tau, fitted.form).mean()
        assert value == pytest.approx(nll, abs=2e-5)


def test_without_curvature_it_stays() -> None:
    logits = torch.zeros(1, 3, 2)
    found = derivatives(logits, torch.tensor([0, 1, 0]), Temperature(1.0, PASSES, 0.0, 0.0, 3))
    assert refitted(found, np.ones((2, 3))).tolist() == [0.0, 0.0]


def test_vector_scaling_is_a_regression_on_each_class_s_logit() -> None:
    """With two classes only the difference of both counts: scikit-learn's logistic regression."""
    (logits,), labels = drawn(500, classes=2)
    found = fit_vector_scaling(logits, labels)
    features = np.stack([-logits[:, 0], logits[:, 1]], axis=1)
    oracle = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(features, labels)
    np.testing.assert_allclose(found.scale, oracle.coef_[0], atol=1e-4)
    assert float(found.bias[1] - found.bias[0]) == pytest.approx(oracle.intercept_[0], abs=1e-4)
    assert float(found.bias.sum()) == pytest.approx(0, abs=1e-12)
    assert found.nll <= fit_temperature(logits[None], labels).nll
    assert torch.equal(found.applied(logits), logits * found.scale + found.bias)


def test_what_cannot_be_fitted_is_one_sentence() -> None:
    (logits,), labels = drawn(6, classes=3)
    with pytest.raises(UserError, match="There is no validation image"):
        fit_temperature(logits[None, :0], labels[:0])
    with pytest.raises(UserError, match="give logits of shape"):
        fit_temperature(logits, labels)
    with pytest.raises(UserError, match="1 of 3 classes have no validation image"):
        fit_vector_scaling(logits, torch.tensor([0, 1, 0, 1, 0, 1]))
