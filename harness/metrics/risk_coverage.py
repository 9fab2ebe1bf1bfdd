"""Selective prediction: accuracy against confidence, risk–coverage curve, AURC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .metric import Metric
from .scores import exact_mean

if TYPE_CHECKING:
    from torch import Tensor

    from ..predict.predicted import Predicted

THRESHOLDS = (*(i / 20 for i in range(20)), 0.99)


@dataclass(frozen=True)
class AccuracyAgainstConfidence:
    """What is left, and how good it is, when images below a confidence are set aside.

    Attributes:
        threshold: τ, ascending as given, in 0 … 1.
        accuracy: accuracy of the images with confidence ≥ τ, %; None where there is none.
        share: the share of all images that they are, %.
    """

    threshold: tuple[float, ...]
    accuracy: tuple[float | None, ...]
    share: tuple[float, ...]


def accuracy_against_confidence(
    summary: Predicted, labels: Tensor, thresholds: Sequence[float] = THRESHOLDS
) -> AccuracyAgainstConfidence:
    """Accuracy of the images with max_c p̄_c ≥ τ, and their share, for each τ.

    Lakshminarayanan et al., "Simple and Scalable Predictive Uncertainty Estimation using Deep
    Ensembles", NeurIPS 2017, section 3.5.

    Args:
        summary: over N images.
        labels: [N] integer class indices.
        thresholds: τ, each in 0 … 1.

    Raises:
        UserError: the labels do not fit the summary.
    """
    summary.check(labels)
    confidence, correct = summary.confidence, summary.correct(labels)
    kept = [int((confidence >= tau).sum()) for tau in thresholds]
    right = [int(correct[confidence >= tau].sum()) for tau in thresholds]
    return AccuracyAgainstConfidence(
        threshold=tuple(thresholds),
        accuracy=tuple(100.0 * r / k if k else None for r, k in zip(right, kept, strict=True)),
        share=tuple(100.0 * k / summary.images for k in kept),
    )


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """Error rate of the most confident images, against how many of them are kept.

    Attributes:
        coverage: [K] float64, share of images kept, ascending, in (0, 1].
        risk: [K] float64, share of those kept that are predicted wrongly, in 0 … 1.
    """

    coverage: Tensor
    risk: Tensor

    def thin(self, points: int) -> RiskCoverage:
        """At most `points` of the points, evenly spread in coverage, the last always among them."""
        import torch

        K = len(self.coverage)
        last = torch.linspace(K / points, K, points).round().long() if points < K else None
        return self if last is None else RiskCoverage(self.coverage[last - 1], self.risk[last - 1])


def risk_coverage(summary: Predicted, labels: Tensor) -> RiskCoverage:
    """Risk–coverage curve of the confidence max_c p̄_c, one point for each k = 1 … N images kept.

    Images of equal confidence cannot be told apart, so the risk within such a group is the
    expectation over its orders: the curve does not depend on the order of the images.
    (El-Yaniv and Wiener, JMLR 2010; Geifman and El-Yaniv, NeurIPS 2017.)

    Args:
        summary: over N images.
        labels: [N] integer class indices.

    Raises:
        UserError: the labels do not fit the summary.
    """
    import torch

    summary.check(labels)
    kept = torch.arange(1, summary.images + 1, dtype=torch.float64)
    return RiskCoverage(kept / summary.images, _risks(summary.confidence, ~summary.correct(labels)))


def aurc(summary: Predicted, labels: Tensor) -> float:
    """Area under the risk–coverage curve, (1/N) Σ_k risk_k, in 0 … 1.

    Geifman, Uziel and El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural
    Classifiers", ICLR 2019, section 3.
    """
    return area(summary.confidence, ~summary.correct(labels))


def area(confidence: Tensor, wrong: Tensor) -> float:
    """`aurc` of [N] confidences and [N] bool, whether each prediction is wrong."""
    return exact_mean(_risks(confidence, wrong))


def eaurc(summary: Predicted, labels: Tensor) -> float:
    """Excess AURC: the AURC above that of the same predictions, ranked with every error last.

    Geifman, Uziel and El-Yaniv, ICLR 2019, equation 2, with the optimum in its exact discrete
    form and not the approximation r + (1 − r) log(1 − r).
    """
    wrong = ~summary.correct(labels)
    best = _risks(1.0 - wrong.double(), wrong)
    return max(0.0, exact_mean(_risks(summary.confidence, wrong) - best))


def _risks(confidence: Tensor, wrong: Tensor) -> Tensor:
    """[N] float64: expected error rate of the k most confident images, k = 1 … N."""
    import torch

    order = confidence.argsort(descending=True)
    _, group, size = torch.unique_consecutive(
        confidence[order], return_inverse=True, return_counts=True
    )
    errors = torch.bincount(group, weights=wrong[order].double())
    errors_before = errors.cumsum(0) - errors
    size_before = size.cumsum(0) - size
    kept = torch.arange(1, len(confidence) + 1, dtype=torch.float64)
    taken = (kept - size_before[group]) / size[group]
    found: Tensor = (errors_before[group] + errors[group] * taken) / kept
    return found


AURC = Metric(
    "aurc",
    "",
    True,
    False,
    "area under the risk–coverage curve",
    aurc,
    per_image=True,
    heading="AURC",
    shown=False,
)
EAURC = Metric(
    "eaurc",
    "",
    True,
    False,
    "AURC above that of the best ranking",
    eaurc,
    per_image=True,
    heading="E-AURC",
    shown=False,
)
