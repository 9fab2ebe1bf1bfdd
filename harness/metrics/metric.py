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
        heading: of its column; its name where empty.
        title: on an axis of a figure; its heading where empty.
        shown: it has a column in every table of scores.
        of_image: a function of (summary, labels) that gives [N] float64, whose mean the score is;
            None where it is not a mean over images. Formats are compared by it image by image.
        most: by how much one image can differ in it at most; None where there is no end.
        margin: largest change that does not matter, fixed beforehand, in its unit: where there is
            one, whether quantization harms it is judged under shift. It takes `of_image`.
        matters: a change of it that two sets of records are compared for, in its unit.
    """

    name: str
    unit: str
    lower_is_better: bool | None
    needs_mc: bool
    description: str
    compute: Callable[[Any, Tensor], float]
    per_image: bool = False
    heading: str = ""
    title: str = ""
    shown: bool = True
    of_image: Callable[[Any, Tensor], Tensor] | None = None
    most: float | None = None
    margin: float | None = None
    matters: float = 0.0

    @property
    def called(self) -> str:
        """In a table's head."""
        return self.heading or self.name.replace("_", " ")

    @property
    def decimals(self) -> int:
        """That a table shows."""
        return 2 if self.unit == "%" else 4

    @property
    def field(self) -> str:
        """Its name in records with the unit of a difference in it: `accuracy_percent`."""
        unit = {"%": "percent"}.get(self.unit, self.unit)
        return f"{self.name}_{unit}" if unit else self.name

    @property
    def harm(self) -> float:
        """1 where more of it is worse, −1 where less is."""
        return -1.0 if self.lower_is_better is False else 1.0


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


def shown_metrics(*first: str) -> list[Metric]:
    """The columns of a table of scores.

    Args:
        first: our own metrics that it shows, in this order; by default all that are shown.

    Returns:
        These, and after them what other packages show.
    """
    shown = [metric for metric in METRICS.usable().values() if metric.shown]
    if not first:
        return shown
    foreign = [metric for metric in shown if METRICS.built_in(metric.name) is None]
    return [*map(METRICS.get, first), *foreign]


def compared_metrics() -> list[Metric]:
    """Those whose formats are compared image by image."""
    return [metric for metric in shown_metrics() if metric.of_image is not None]


def judged_metrics() -> dict[str, Metric]:
    """Those with a margin, by name: accuracy, NLL and ECE first."""
    found = shown_metrics("accuracy", "nll", "ece")
    return {metric.name: metric for metric in found if metric.margin is not None}


def of_images(metric: Metric, summary: Predicted, labels: Tensor) -> Tensor:
    """[N] float64: the metric of each image.

    Raises:
        ValueError: it is not a mean over images.
    """
    if metric.of_image is None:
        raise ValueError(f"{metric.name} is not a mean over images")
    return metric.of_image(_given(metric, summary), labels)


def whole_needed() -> bool:
    """Whether some metric needs whole outcomes."""
    return not all(metric.per_image for metric in METRICS.usable().values())


def _computed(metric: Metric, summary: Predicted, labels: Tensor) -> float:
    return metric.compute(_given(metric, summary), labels)


def _given(metric: Metric, summary: Predicted) -> Predicted:
    given = summary if metric.per_image else summary.whole
    if given is None:
        raise ValueError(f"{metric.name} needs whole outcomes")
    return given


def _finite(metric: Metric, value: float) -> float:
    if not math.isfinite(value):
        raise UserError(
            f"The metric {metric.name!r} gave {value}; correct the metric, or unregister it."
        )
    return value
