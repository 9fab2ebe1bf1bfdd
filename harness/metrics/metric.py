"""The scalar metrics, by name. Importing this module imports no numerical library.

A metric is a function of (`Summary`, labels) wrapped in a `Metric`, in any module, and one line in
`METRICS`; another package adds one through the entry-point group `sigmabench.metrics`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..core.errors import UserError
from ..core.registry import Registry
from ..data.given import as_labels
from ..machine.torch_state import plain

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.given import GivenLabels
    from ..predict.predicted import Predicted


@dataclass(frozen=True)
class Metric:
    """One scalar score of a predictive distribution.

    Attributes:
        name: as in `METRICS` and in records.
        unit: `"%"`, `"nats"`, or `""` for a pure number.
        lower_is_better: None for a quantity that describes and does not rank.
        needs_mc: defined only for several passes of a network that draws its weights.
        description: one line.
        compute: the function of (summary, labels) with labels already checked.
        per_image: it needs of a `Summary` what `Outcomes` has. For others the probabilities of
            every class of every image are kept.
    """

    name: str
    unit: str
    lower_is_better: bool | None
    needs_mc: bool
    description: str
    compute: Callable[[Any, Tensor], float]
    per_image: bool = False


#: Mutual information (nats) up to which passes are all the same, but for rounding.
NO_INFORMATION = 1e-9

_HERE = "sigmabench.harness.metrics"

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "accuracy": f"{_HERE}.scores:ACCURACY",
        "error": f"{_HERE}.scores:ERROR",
        "ece": f"{_HERE}.calibration:ECE",
        "ece_floor": f"{_HERE}.calibration:ECE_FLOOR",
        "uce": f"{_HERE}.calibration:UCE",
        "nll": f"{_HERE}.scores:NLL",
        "brier": f"{_HERE}.scores:BRIER",
        "entropy": f"{_HERE}.scores:ENTROPY",
        "mutual_information": f"{_HERE}.scores:MUTUAL_INFORMATION",
        "aurc": f"{_HERE}.risk_coverage:AURC",
        "eaurc": f"{_HERE}.risk_coverage:EAURC",
    },
    lambda thing: isinstance(thing, Metric),
)


@plain
def score(
    summary: Predicted, labels: GivenLabels, names: Iterable[str] | None = None
) -> dict[str, float | None]:
    """Score a predictive distribution.

    Args:
        summary: over N images and C classes; outcomes have to be `whole` for metrics that are not
            `per_image`.
        labels: [N] integer class indices in 0 … C − 1: a tensor, an array or a list.
        names: which metrics, in this order; by default every one that is registered.

    Returns:
        The value of each metric in its unit, None where it is not defined (mutual information of
        one pass or of a deterministic network).

    Raises:
        UserError: a metric is unknown, or the labels do not fit the summary (`Summary.check`).
    """
    labels = as_labels(labels)
    summary.check(labels)
    metrics = [METRICS.get(name) for name in (METRICS.usable() if names is None else names)]
    undefined = summary.mutual_information is None
    return {
        m.name: None if m.needs_mc and undefined else _finite(m, _computed(m, summary, labels))
        for m in metrics
    }


def whole_needed() -> bool:
    """Whether some metric needs whole outcomes."""
    return not all(metric.per_image for metric in METRICS.usable().values())


def _computed(metric: Metric, summary: Predicted, labels: Tensor) -> float:
    given = summary if metric.per_image else summary.whole
    if given is None:
        raise ValueError(f"{metric.name} needs whole outcomes")
    return metric.compute(given, labels)


def _finite(metric: Metric, value: float) -> float:
    if not math.isfinite(value):
        raise UserError(
            f"The metric {metric.name!r} gave {value}; mend the metric, or unregister it."
        )
    return value
