"""Sampled weights of the formats: their range, and their noise.

The 2021 paper explains why fewer bits of σ do no harm by the sampled weights, which "have a similar
range of values" (section 5). Here is what can be said about that: the range in real units, beside
the noise alone, w − μ. Where |μ| is much larger than σ the range is that of μ, and says little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.waiting import Report, warn_if_long

if TYPE_CHECKING:
    from ...backends.base import Predictor
    from ...quantize.artefact import Artefact, Layer
    from ...quantize.graph import Conv

REFERENCE = "FP32"
WEIGHT_BINS = 61
NOISE_BINS = 49
NOISE_END = 6.125  # σ; the middle bin has 0 in its middle
_TAILS = (0.1, 99.9)  # %


@dataclass(frozen=True)
class WeightCounts:
    """Counts between edges; what lies beyond the outer ones is counted in the outer bins.

    Attributes:
        edges: ascending, one more than bins.
        counts: of each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class LayerRange:
    """Sampled weights of one layer in one format, over all passes; real units.

    Attributes:
        layer: its name.
        label: what the caller calls the format and its variant.
        format: numeric format.
        weights: how many there are.
        passes: over which they were sampled.
        low: least.
        high: greatest.
        p001: 0.1 % quantile.
        p999: 99.9 % quantile.
        std: standard deviation of all of them.
        noise_std: root mean square of w − μ, μ the format's own.
        noise_ratio: `noise_std` over the root mean square of FP32's σ.
        at_mean: share of the draws that are μ itself: the noise was rounded away.
        still: share of weights that had the same value in every pass.
        wasserstein: 1-Wasserstein distance to FP32's sampled weights; for FP32 itself, that between
            its passes and as many others: what sampling alone makes of it.
        weights_histogram: of the sampled weights; the edges are the same for every format.
        noise_histogram: of w − μ over the weight's σ in FP32; weights without σ are left out.
    """

    layer: str
    label: str
    format: str
    weights: int
    passes: int
    low: float
    high: float
    p001: float
    p999: float
    std: float
    noise_std: float
    noise_ratio: float
    at_mean: float
    still: float
    wasserstein: float
    weights_histogram: WeightCounts
    noise_histogram: WeightCounts

    @property
    def mean_share(self) -> float:
        """Share of the sampled weights' variance that is not noise but differences of μ, 0 … 1."""
        return max(0.0, 1.0 - (self.noise_std / self.std) ** 2) if self.std else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a script."""
        return {**asdict(self), "mean_share": self.mean_share}


def weight_ranges(
    prepared_artefacts: Mapping[str, Artefact],
    predictors: Mapping[str, Predictor],
    passes: int,
    seed: int = 0,
    report: Report | None = None,
) -> list[LayerRange]:
    """Sample every layer in every format and describe what comes out.

    Args:
        prepared_artefacts: label to model; one of them, the reference, is in FP32.
        predictors: label to what was loaded from it.
        passes: P, at least 2; 2 P of the reference.
        seed: of the noise.
        report: progress, in layers.

    Returns:
        By layer, then in the order of the labels; layers without σ are left out.

    Raises:
        UserError: too few passes, no FP32, no σ, or a format with other layers than FP32.
    """
    if passes < 2:
        raise UserError(f"--passes {passes} does not show what moves; give at least 2.")
    base = _reference(prepared_artefacts)
    artefact = prepared_artefacts[base]
    sampling = _Sampling(prepared_artefacts, predictors, base, seed)
    convs = [c for c in artefact.graph.convs if artefact.layers[c.name].real_std().any()]
    if not convs:
        raise UserError(
            "No layer's weights have a σ, so there is no noise to look at; give another posterior."
        )
    if report:
        warn_if_long(report, "Sampling layers", sampling.seconds(convs, passes))
    found = []
    for done, conv in enumerate(convs):
        if report:
            report("Sampling layers", done, len(convs))
        found += sampling.layer(conv.name, passes)
    return found


@dataclass(frozen=True, eq=False)
class _Sampling:
    artefacts: Mapping[str, Artefact]
    predictors: Mapping[str, Predictor]
    base: str
    seed: int

    def layer(self, name: str, passes: int) -> list[LayerRange]:
        """One layer in every format."""
        layer = self.artefacts[self.base].layers[name]
        both = range(2 * passes)
        sampled = _sampled(self.predictors[self.base], layer, name, self.seed, both)
        ground = _Ground(layer.real_std(), np.sort(sampled[:passes], axis=None), sampled[passes:])
        found = []
        for label, other in self.artefacts.items():
            its, own = _layer(other, name, label), sampled[:passes]
            if label != self.base:
                own = _sampled(self.predictors[label], its, name, self.seed, range(passes))
            found.append(_describe(label, other.format.name, name, its, own, ground))
        return found

    def seconds(self, convs: Sequence[Conv], passes: int) -> float:
        """What all layers take, by two passes of one of middle size."""
        middle = sorted(convs, key=lambda conv: conv.weights)[len(convs) // 2]
        start = time.perf_counter()
        self.layer(middle.name, 2)
        each = (time.perf_counter() - start) / (2 * middle.weights)
        return each * passes * sum(conv.weights for conv in convs)


@dataclass(frozen=True, eq=False)
class _Ground:
    """FP32's side of a layer: σ, its sampled weights (flat, ascending), and as many others."""

    std: NDArray[np.float32]
    pooled: NDArray[np.float32]
    others: NDArray[np.float32]


def _reference(artefacts: Mapping[str, Artefact]) -> str:
    for label, artefact in artefacts.items():
        if artefact.format.name == REFERENCE:
            return label
    raise UserError("The ranges are held against FP32's; add FP32 to the formats.")


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
    12 bytes a draw, where SciPy's takes 150 for samples of any sizes."""
    gaps = np.subtract(ascending, np.sort(others, axis=None), dtype=np.float64)
    return float(np.abs(gaps, out=gaps).mean())


def _widened(low: float, high: float) -> tuple[float, float]:
    """By a tenth a side, so that ranges a little wider than FP32's are seen whole."""
    more = 0.1 * (high - low)
    return float(low - more), float(high + more)


def _histogram(values: NDArray, low: float, high: float, bins: int) -> WeightCounts:
    edges = np.linspace(low, high, bins + 1)
    counts, _ = np.histogram(np.clip(values, low, high), edges)
    return WeightCounts(tuple(edges.tolist()), tuple(counts.tolist()))


def _rms(values: NDArray) -> float:
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))
