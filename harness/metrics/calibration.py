"""Calibration: reliability diagram, ECE with its noise floor, UCE.

Bins are 15 of equal width over [0, 1], each closed below and open above but for the last, which
holds 1 too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .metric import Metric

if TYPE_CHECKING:
    from torch import Tensor

    from ..predict.predicted import Predicted

BINS = 15
FLOOR_DRAWS = 200
FLOOR_SEED = 0


@dataclass(frozen=True)
class ReliabilityDiagram:
    """Confidence against accuracy, bin by bin; a tuple has one entry per bin.

    Attributes:
        edges: bin edges, one more than bins.
        count: images in the bin.
        confidence: their mean confidence in 0 … 1; None where the bin is empty.
        accuracy: the share of them predicted rightly in 0 … 1; None where the bin is empty.
    """

    edges: tuple[float, ...]
    count: tuple[int, ...]
    confidence: tuple[float | None, ...]
    accuracy: tuple[float | None, ...]


def reliability_diagram(summary: Predicted, labels: Tensor, bins: int = BINS) -> ReliabilityDiagram:
    """Reliability diagram of the confidence max_c p̄_c (Guo et al., ICML 2017, figure 1).

    Args:
        summary: over N images.
        labels: [N] integer class indices.
        bins: number of bins of equal width.

    Raises:
        UserError: the labels do not fit the summary.
    """
    import torch

    summary.check(labels)
    where = _bin_index(summary.confidence, bins)
    count = torch.bincount(where, minlength=bins).tolist()
    confidence = _sum_per_bin(where, summary.confidence, bins).tolist()
    right = _sum_per_bin(where, summary.correct(labels), bins).tolist()
    return ReliabilityDiagram(
        edges=tuple(_edges(bins).tolist()),
        count=tuple(count),
        confidence=tuple(c / n if n else None for c, n in zip(confidence, count, strict=True)),
        accuracy=tuple(r / n if n else None for r, n in zip(right, count, strict=True)),
    )


def ece(summary: Predicted, labels: Tensor) -> float:
    """Expected calibration error, %: Σ_b (n_b / N) |accuracy_b − confidence_b|.

    Naeini et al., AAAI 2015; Guo et al., ICML 2017, equation 5.
    """
    return _gap(summary.confidence, summary.confidence, summary.correct(labels))


def uce(summary: Predicted, labels: Tensor) -> float:
    """Expected uncertainty calibration error, %: Σ_b (n_b / N) |error_b − uncertainty_b|.

    Bins are of the normalised predictive entropy H[p̄] / log C, uncertainty_b is its mean in the
    bin (Laves et al., "Well-calibrated Model Uncertainty with Temperature Scaling for Dropout
    Variational Inference", 2019, equation 11).
    """
    uncertainty = summary.entropy / np.log(summary.classes)
    return _gap(uncertainty, uncertainty, ~summary.correct(labels))


def ece_floor(summary: Predicted, labels: Tensor) -> float:
    """Noise floor of the ECE, %: the ECE to expect were the model perfectly calibrated.

    Labels play no part: each image is right with the probability that its confidence states; the
    mean ECE over 200 such draws from a fixed seed. An ECE near or below it cannot be told from 0.
    """
    import torch

    # Sorted, the draw does not depend on the order of the images and each bin is one slice.
    confidence = summary.confidence.sort().values
    where = _bin_index(confidence, BINS)
    ends = torch.bincount(where, minlength=BINS).cumsum(0).numpy()
    values = confidence.numpy()
    expected = _per_slice(values, ends)
    generator = np.random.Generator(np.random.PCG64(FLOOR_SEED))
    gaps = [
        np.abs(_per_slice(generator.random(summary.images) < values, ends) - expected).sum()
        for _ in range(FLOOR_DRAWS)
    ]
    return 100.0 * float(np.mean(gaps)) / summary.images


def _edges(bins: int) -> Tensor:
    # Not linspace: its edges may be an ulp off the fractions that certain passes average to.
    import torch

    return torch.arange(bins + 1, dtype=torch.float64) / bins


def _bin_index(values: Tensor, bins: int) -> Tensor:
    import torch

    return torch.bucketize(values, _edges(bins)[1:-1], right=True)


def _sum_per_bin(where: Tensor, values: Tensor, bins: int) -> Tensor:
    import torch

    return torch.bincount(where, weights=values.double(), minlength=bins)


def _per_slice(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Sums of the consecutive slices of `values` that stop at `ends`; an empty slice has 0."""
    return np.diff(np.concatenate([[0.0], np.cumsum(values)])[ends], prepend=0.0)


def _gap(binned: Tensor, stated: Tensor, observed: Tensor, bins: int = BINS) -> float:
    """100/N Σ_b |Σ_(i in b) stated_i − observed_i|, %."""
    where = _bin_index(binned, bins)
    difference = _sum_per_bin(where, stated, bins) - _sum_per_bin(where, observed, bins)
    return 100.0 * float(difference.abs().sum()) / len(binned)


ECE = Metric(
    "ece",
    "%",
    True,
    False,
    "expected calibration error, 15 bins",
    ece,
    per_image=True,
    heading="ECE",
    most=100.0,
    margin=0.5,
    matters=0.1,
)
ECE_FLOOR = Metric(
    "ece_floor",
    "%",
    None,
    False,
    "ECE that a perfectly calibrated model would show",
    ece_floor,
    per_image=True,
    shown=False,
)
UCE = Metric(
    "uce",
    "%",
    True,
    False,
    "expected uncertainty calibration error, 15 bins",
    uce,
    per_image=True,
    heading="UCE",
)
