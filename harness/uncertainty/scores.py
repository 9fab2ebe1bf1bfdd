"""Accuracy, proper scoring rules and mean uncertainties."""

from __future__ import annotations

import math

from torch import Tensor

from .metrics import Metric
from .predictive import Summary


def exact_mean(values: Tensor) -> float:
    """Mean of [N] float64, summed exactly: the same for any order of images and any threads."""
    return math.fsum(values.tolist()) / len(values)


def accuracy(summary: Summary, labels: Tensor) -> float:
    """Share of images whose largest p̄_c is that of the label, %."""
    return 100.0 * int(summary.correct(labels).sum()) / summary.images


def error(summary: Summary, labels: Tensor) -> float:
    """Share of images predicted wrongly, %: 100 − accuracy."""
    return 100.0 * int((~summary.correct(labels)).sum()) / summary.images


def nll(summary: Summary, labels: Tensor) -> float:
    """Negative log-likelihood, mean −log p̄_y in nats; finite for saturated logits."""
    return exact_mean(-summary.log_probs.gather(1, labels.long()[:, None]).flatten())


def brier(summary: Summary, labels: Tensor) -> float:
    """Brier score summed over classes, mean Σ_c (p̄_c − 1[c = y])², in 0 … 2 (Brier, 1950)."""
    residual = summary.probs.clone()
    residual[range(summary.images), labels.long()] -= 1.0
    return exact_mean(residual.square().sum(dim=1))


def entropy(summary: Summary, labels: Tensor) -> float:
    """Mean predictive entropy, nats; labels play no part."""
    return exact_mean(summary.entropy)


def mutual_information(summary: Summary, labels: Tensor) -> float:
    """Mean mutual information of label and weights, nats; labels play no part.

    Raises:
        ValueError: it is not defined for this summary.
    """
    if summary.mutual_information is None:
        raise ValueError("mutual information is defined only for several passes of a random net")
    return exact_mean(summary.mutual_information)


ACCURACY = Metric("accuracy", "%", False, False, "images predicted rightly", accuracy)
ERROR = Metric("error", "%", True, False, "images predicted wrongly", error)
NLL = Metric("nll", "nats", True, False, "negative log-likelihood of the label", nll)
BRIER = Metric("brier", "", True, False, "Brier score, summed over classes", brier)
ENTROPY = Metric("entropy", "nats", None, False, "mean predictive entropy", entropy)
MUTUAL_INFORMATION = Metric(
    "mutual_information",
    "nats",
    None,
    True,
    "mean mutual information of label and weights",
    mutual_information,
)
