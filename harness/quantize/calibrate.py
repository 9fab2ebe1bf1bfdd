"""Activation ranges, observed on training images.

The paper calibrates the mean network alone. Where σ is wide against |μ|, sampled activations exceed
its range, so ranges can also be observed over K sampled passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..data import Split
from ..errors import UserError
from ..registry import Registry
from .fold import FloatModel, mean_weights
from .forward import Weights, forward
from .functions import signs
from .graph import Activation, Conv, Graph, Pool
from .selection import only_selects

BINS = 4096
BATCH = 256
BATCH_BYTES = 1 << 25  # of the largest activation: the C library keeps what is smaller
SAMPLED_PASSES = 8
MINIMUM_IMAGES = 512
SATURATION_VALUES = 1 << 24  # of the largest activation: more would tell the share no better


@dataclass(frozen=True, eq=False)
class Histogram:
    """Distribution of |x| of one activation.

    Attributes:
        counts: float64 [BINS], of bins of equal width over [0, top].
        top: largest |x| seen.
    """

    counts: Tensor
    top: float

    @property
    def centres(self) -> Tensor:
        """Centres of the bins, float64 [BINS]."""
        return (torch.arange(BINS, dtype=torch.float64) + 0.5) * (self.top / BINS)


#: (histogram, integer levels above zero) -> largest |x| that is represented
Observer = Callable[[Histogram, int], float]


def minmax(histogram: Histogram, levels: int) -> float:
    """Nothing seen is cut off."""
    return histogram.top


def percentile(histogram: Histogram, levels: int) -> float:
    """The smallest range that holds 99.99 % of the values seen."""
    share = histogram.counts.cumsum(0) / histogram.counts.sum()
    index = int(torch.searchsorted(share, torch.tensor(0.9999, dtype=torch.float64)))
    return (index + 1) * histogram.top / BINS


def mse(histogram: Histogram, levels: int) -> float:
    """The range whose rounding and clipping lose least in mean square, of 128 candidates."""
    tops = histogram.top * torch.arange(1, 129, dtype=torch.float64) / 128
    centres = histogram.centres
    scales = (tops / levels)[:, None]
    restored = (centres / scales).round().clamp(max=levels) * scales
    errors = ((restored - centres) ** 2 * histogram.counts).sum(dim=1)
    return float(tops[int(errors.argmin())])


OBSERVERS: Registry[Observer] = Registry(
    "observer",
    {name: f"{__name__}:{name}" for name in ("minmax", "percentile", "mse")},
    callable,
)


@dataclass(frozen=True)
class Calibration:
    """What was observed.

    Attributes:
        observer: which observer chose the ranges.
        sampled: whether sampled passes were observed beside the mean network.
        graph: the graph, every activation but the logits with its scale.
        saturation: share of values at the end of their range over sampled passes, by activation.
    """

    observer: str
    sampled: bool
    graph: Graph
    saturation: dict[str, float]


def calibrate(
    model: FloatModel,
    images: Tensor | Split,
    observer: str = "minmax",
    sampled: bool = False,
    seed: int = 0,
) -> Calibration:
    """Choose a scale for every activation.

    Args:
        model: folded float model.
        images: *training* images, N >= 512; a tensor is float32 [N, C, H, W], normalised, a split
            is read a batch at a time, and several times.
        observer: name in `OBSERVERS`.
        sampled: observe `SAMPLED_PASSES` sampled passes too, not the mean network alone.
        seed: of the sampled passes.

    Raises:
        UserError: there are too few images, or an activation is not finite.
    """
    if len(images) < MINIMUM_IMAGES:
        raise UserError(
            f"Calibration got {len(images)} images; give at least {MINIMUM_IMAGES} training images."
        )
    return observe_ranges(model, images, observer, sampled, seed)


def observe_ranges(
    model: FloatModel, images: Tensor | Split, observer: str, sampled: bool = False, seed: int = 0
) -> Calibration:
    """`calibrate` on as many images as there are; what a timing needs, and no more."""
    choose = OBSERVERS.get(observer)
    draws = [_draw(model, seed, index) for index in range(SAMPLED_PASSES)]
    passes = [mean_weights(model), *(draws if sampled else ())]
    signed = signs(model.graph)
    ceilings = {c.name: c.ceiling for c in model.graph.convs if c.ceiling is not None}
    histograms = _histograms(model, passes, images)
    activations = dict(model.graph.activations)
    for name, histogram in histograms.items():
        levels = 127 if signed[name] else 255
        top = min(choose(histogram, levels) or levels, ceilings.get(name, math.inf))
        activations[name] = replace(
            activations[name], scale=_float32(top / levels), signed=signed[name]
        )
    for node in model.graph.nodes:
        if isinstance(node, Pool) or (isinstance(node, Conv) and _only_selects(model, node)):
            source = activations[node.input]
            activations[node.name] = Activation(
                activations[node.name].shape, source.scale, source.signed
            )
    graph = replace(model.graph, activations=activations)
    largest = max(math.prod(activation.shape) for activation in activations.values())
    few = min(MINIMUM_IMAGES, max(1, SATURATION_VALUES // largest))
    first = images.limit(few) if isinstance(images, Split) else images[:few]
    saturation = _saturation(model, graph, draws, first)
    return Calibration(observer, sampled, graph, saturation)


def _only_selects(model: FloatModel, conv: Conv) -> bool:
    layer = model.layers[conv.name]
    return conv.name not in model.graph.outputs and only_selects(conv, layer.mean, layer.bias)


def _float32(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float32))


def _draw(model: FloatModel, seed: int, index: int) -> Weights:
    generator = torch.Generator().manual_seed(seed + index)

    def normal(mean: Tensor, std: Tensor) -> Tensor:
        return torch.addcmul(mean, std, torch.randn(mean.shape, generator=generator))

    return {
        name: (normal(layer.mean, layer.std), normal(layer.bias, layer.bias_std))
        for name, layer in model.layers.items()
    }


def _run(
    model: FloatModel,
    passes: list[Weights],
    images: Tensor | Split,
    observe: Callable[[str, Tensor], None],
) -> None:
    graph = model.graph
    largest = 4 * max(math.prod(activation.shape) for activation in graph.activations.values())
    batch = max(1, min(BATCH, BATCH_BYTES // largest))
    with torch.inference_mode():
        for weights in passes:
            for at in range(0, len(images), batch):
                part = slice(at, at + batch)
                x = images.batch(part) if isinstance(images, Split) else images[part]
                forward(graph, weights, x, observe, model.constants)


def _histograms(
    model: FloatModel, passes: list[Weights], images: Tensor | Split
) -> dict[str, Histogram]:
    """Two runs, the first for the largest value: bins then never have to be merged."""
    graph = model.graph
    tops: dict[str, float] = {}
    counts: dict[str, Tensor] = {}
    skipped = {*graph.outputs, *(n.name for n in graph.nodes if isinstance(n, Pool))}

    def largest(name: str, value: Tensor) -> None:
        top = float(value.abs().max())
        if not top < float("inf"):
            raise UserError(
                f"The activation {name} is not finite on the calibration images; check the "
                "posterior and the images."
            )
        tops[name] = max(tops.get(name, 0.0), top)

    def count(name: str, value: Tensor) -> None:
        if name not in skipped:
            found = torch.histc(value.abs(), BINS, 0.0, tops[name] or 1.0).double()
            counts[name] = counts.get(name, 0.0) + found

    _run(model, passes, images, largest)
    _run(model, passes, images, count)
    return {name: Histogram(value, tops[name]) for name, value in counts.items()}


def _saturation(
    model: FloatModel, graph: Graph, draws: list[Weights], images: Tensor | Split
) -> dict[str, float]:
    """Share of sampled activations that the chosen ranges cut off, by layer."""
    cut: dict[str, float] = {}
    total: dict[str, int] = {}

    def count(name: str, value: Tensor) -> None:
        activation = graph.activations[name]
        if activation.scale:
            end = activation.scale * ((127 if activation.signed else 255) + 0.5)
            cut[name] = cut.get(name, 0.0) + float((value.abs() > end).sum())
            total[name] = total.get(name, 0) + value.numel()

    _run(model, draws, images, count)
    return {name: cut[name] / total[name] for name in cut}
