"""Sampled weights of the formats: their range, and their noise.

The 2021 paper explains why fewer bits of σ do no harm by the sampled weights, which "have a similar
range of values" (section 5). Here is what can be said about that: the range in real units, beside
the noise alone, w − μ. Where |μ| is much larger than σ the range is that of μ, and says little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.waiting import Report, warn_if_long
from ...records.weights_record import (
    REFERENCE,
    LayerRange,
    WeightCounts,
    WeightsBody,
    WeightsSubject,
)
from ...workload.prepare import prepare
from ..study import Measured, Surroundings, Task

if TYPE_CHECKING:
    from ...backends.base import Predictor
    from ...quantize.artefact import Artefact, Layer
    from .plan import WeightsPlan

WEIGHT_BINS = 61
NOISE_BINS = 49
NOISE_END = 6.125  # σ; the middle bin has 0 in its middle
_TAILS = (0.1, 99.9)  # %


def measurer(
    plan: WeightsPlan, tasks: Sequence[Task[WeightsSubject]], surroundings: Surroundings
) -> WeightsMeasurer:
    """Quantize every format in every range, and say how long sampling takes."""
    report = surroundings.report
    report("Calibrating and quantizing", 0, 1)
    prepared = prepare(plan.base)
    artefacts = {
        label: prepared.artefact(format, plan.options[name])
        for label, format, name in plan.labels()
    }
    predictors = {
        label: BACKENDS.get(plan.base.backend_of(artefact.format)).load(artefact, threads=1)
        for label, artefact in artefacts.items()
    }
    made = WeightsMeasurer(artefacts, predictors)
    subjects = [subject for task in tasks for subject in task.subjects]
    made.announce(report, subjects)
    return made


@dataclass(frozen=True, eq=False)
class WeightsMeasurer:
    """Samples layers in every format and describes what comes out.

    Attributes:
        artefacts: label to model; one of them, the reference, is in FP32.
        predictors: label to what was loaded from it.
    """

    artefacts: Mapping[str, Artefact]
    predictors: Mapping[str, Predictor]

    def __call__(self, task: Task[WeightsSubject]) -> Iterator[Measured[WeightsSubject]]:
        """Sample the layer of a task, whose place in the network the task is about.

        Raises:
            UserError: a format samples no such layer.
        """
        for one in task.subjects:
            ranges = self.layer(one.layer, one.passes, one.seed)
            yield Measured(one, WeightsBody(task.about, tuple(ranges)))

    def close(self) -> None:
        """Nothing is held."""

    def layer(self, name: str, passes: int, seed: int) -> list[LayerRange]:
        """One layer in every format, in the order of the labels."""
        base = self._base
        layer = self.artefacts[base].layers[name]
        sampled = _sampled(self.predictors[base], layer, name, seed, range(2 * passes))
        ground = _Ground(layer.real_std(), np.sort(sampled[:passes], axis=None), sampled[passes:])
        found = []
        for label, other in self.artefacts.items():
            its, own = _layer(other, name, label), sampled[:passes]
            if label != base:
                own = _sampled(self.predictors[label], its, name, seed, range(passes))
            found.append(_describe(label, other.format.name, name, its, own, ground))
        return found

    def announce(self, report: Report, subjects: Sequence[WeightsSubject]) -> None:
        """Say how long sampling takes, if that is long."""
        warn_if_long(report, "Sampling layers", self.seconds(subjects))
        report("Sampling layers", 0, len(subjects))

    def seconds(self, subjects: Sequence[WeightsSubject]) -> float:
        """What all layers take, by two passes of one of middle size."""
        layers = self.artefacts[self._base].layers
        sizes = {one: layers[one.layer].mean.size for one in subjects}
        middle = sorted(subjects, key=lambda one: sizes[one])[len(subjects) // 2]
        start = time.perf_counter()
        self.layer(middle.layer, 2, middle.seed)
        each = (time.perf_counter() - start) / (2 * sizes[middle])
        return each * sum(one.passes * size for one, size in sizes.items())

    @property
    def _base(self) -> str:
        return next(n for n, one in self.artefacts.items() if one.format.name == REFERENCE)


@dataclass(frozen=True, eq=False)
class _Ground:
    """FP32's side of a layer: σ, its sampled weights (flat, ascending), and as many others."""

    std: NDArray[np.float32]
    pooled: NDArray[np.float32]
    others: NDArray[np.float32]


def _layer(artefact: Artefact, name: str, label: str) -> Layer:
    layer = artefact.layers.get(name)
    if layer is None or (layer.std is None and layer.sigma_q is None):
        raise UserError(
            f"{label} samples no layer {name}, which FP32 does; give formats of one posterior that "
            "sample their weights."
        )
    return layer


def _sampled(
    predictor: Predictor, layer: Layer, name: str, seed: int, passes: range
) -> NDArray[np.float32]:
    """[P, O, I, KH, KW] sampled weights in real units."""
    scale = layer.weight_scale.reshape(-1, 1, 1, 1)
    return np.stack([predictor.sample(name, seed, mc) * scale for mc in passes])


def _describe(
    label: str,
    format: str,
    name: str,
    layer: Layer,
    sampled: NDArray[np.float32],
    ground: _Ground,
) -> LayerRange:
    noise = sampled - layer.real_mean()
    noise_std = _rms(noise)
    p001, p999 = np.percentile(sampled, _TAILS)
    other = ground.others if format == REFERENCE else sampled
    moving = ground.std > 0
    ends = ground.pooled[0], ground.pooled[-1]
    return LayerRange(
        layer=name,
        label=label,
        format=format,
        weights=layer.mean.size,
        passes=len(sampled),
        low=float(sampled.min()),
        high=float(sampled.max()),
        p001=float(p001),
        p999=float(p999),
        std=float(sampled.std(dtype=np.float64)),
        noise_std=noise_std,
        noise_ratio=noise_std / _rms(ground.std),
        at_mean=float((noise == 0).mean()),
        still=float((sampled == sampled[0]).all(axis=0).mean()),
        wasserstein=_wasserstein(ground.pooled, other),
        weights_histogram=_histogram(sampled, *_widened(*ends), WEIGHT_BINS),
        noise_histogram=_histogram(
            noise[:, moving] / ground.std[moving], -NOISE_END, NOISE_END, NOISE_BINS
        ),
    )


def _wasserstein(ascending: NDArray[np.float32], others: NDArray[np.float32]) -> float:
    """1-Wasserstein distance of two samples of one size, the mean gap of their order statistics:
    12 bytes per draw, where SciPy's, for samples of any sizes, takes 150."""
    gaps = np.subtract(ascending, np.sort(others, axis=None), dtype=np.float64)
    return float(np.abs(gaps, out=gaps).mean())


def _widened(low: float, high: float) -> tuple[float, float]:
    """By a tenth on each side, so that ranges a little wider than FP32's are seen whole."""
    more = 0.1 * (high - low)
    return float(low - more), float(high + more)


def _histogram(values: NDArray[np.float32], low: float, high: float, bins: int) -> WeightCounts:
    edges = np.linspace(low, high, bins + 1)
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    return WeightCounts(tuple(edges.tolist()), tuple(counts.tolist()))


def _rms(values: NDArray[Any]) -> float:
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))
