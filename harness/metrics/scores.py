"""Accuracy, proper scoring rules and mean uncertainties."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from ..predict.predicted import Predicted


def exact_mean(values: Tensor) -> float:
    """Mean of [N] float64, summed exactly: the same for any order of images and any threads."""
    return math.fsum(values.tolist()) / len(values)


def accuracy(summary: Predicted, labels: Tensor) -> float:
    """Share of images whose largest p̄_c is that of the label, %."""
    return 100.0 * int(summary.correct(labels).sum()) / summary.images


def error(summary: Predicted, labels: Tensor) -> float:
    """Share of images predicted wrongly, %: 100 − accuracy."""
    return 100.0 * int((~summary.correct(labels)).sum()) / summary.images


def nll(summary: Predicted, labels: Tensor) -> float:
    """Negative log-likelihood, mean −log p̄_y in nats; finite for saturated logits."""
    return exact_mean(summary.nll(labels))


def brier(summary: Predicted, labels: Tensor) -> float:
    """Brier score summed over classes, mean Σ_c (p̄_c − 1[c = y])², in 0 … 2 (Brier, 1950)."""
    return exact_mean(summary.brier(labels))


def entropy(summary: Predicted, labels: Tensor) -> float:
    """Mean predictive entropy, nats; labels play no part."""
    return exact_mean(summary.entropy)


def mutual_information(summary: Predicted, labels: Tensor) -> float:
    """Mean mutual information of label and weights, nats; labels play no part.

    Raises:
        ValueError: it is not defined for this summary.
    """
    if summary.mutual_information is None:
        raise ValueError("mutual information is defined only for several passes of a random net")
    return exact_mean(summary.mutual_information)


ACCURACY = Metric(
    "accuracy", "%", False, False, "images predicted rightly", accuracy, per_image=True
)
ERROR = Metric("error", "%", True, False, "images predicted wrongly", error, per_image=True)
NLL = Metric(
    "nll", "nats", True, False, "negative log-likelihood of the label", nll, per_image=True
)
BRIER = Metric("brier", "", True, False, "Brier score, summed over classes", brier, per_image=True)
ENTROPY = Metric("entropy", "nats", None, False, "mean predictive entropy", entropy, per_image=True)
MUTUAL_INFORMATION = Metric(
    "mutual_information",
    "nats",
    None,
    True,
    "mean mutual information of label and weights",
    mutual_information,
    per_image=True,
)
