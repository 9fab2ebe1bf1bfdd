"""Activation ranges, observed on training images.

The paper calibrates the mean network alone. Where σ is wide against |μ|, sampled activations exceed
its range, so ranges can also be observed over K sampled passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..core.errors import UserError
from ..data.given import Given, as_input
from ..data.splits import Split
from ..machine.memory_limit import require
from ..machine.torch_state import plain
from .fold import FloatModel, mean_weights
from .forward import Weights, forward
from .functions import signs
from .graph import Conv, Graph, Pool
from .need import FLOAT, observed
from .observers import BINS, OBSERVERS, Magnitudes
from .selection import only_selects

BATCH = 256
BATCH_BYTES = 1 << 25  # of the largest activation: the C library keeps what is smaller
SAMPLED_PASSES = 8
MINIMUM_IMAGES = 512
SATURATION_VALUES = 1 << 24  # of the largest activation: more would tell the share no better


@dataclass(frozen=True)
class Calibration:
    """What was observed.

    Attributes:
        observer: which observer chose the ranges.
        sampled: whether sampled passes were observed beside the mean network.
        graph: the graph, every activation but the logits with its scale.
        saturation: share of the values of sampled passes beyond their range, by activation.
        mean_saturation: the same of the mean network, which is all that deterministic formats run.
    """

    observer: str
    sampled: bool
    graph: Graph
    saturation: dict[str, float]
    mean_saturation: dict[str, float]


@plain
def calibrate(
    model: FloatModel,
    images: Given | Split,
    observer: str = "minmax",
    sampled: bool = False,
    seed: int = 0,
) -> Calibration:
    """Choose a scale for every activation.

    Args:
        model: folded float model.
        images: *training* images, N >= 512; a tensor or NumPy array is float32 [N, C, H, W],
            normalised, a split is read a batch at a time, and several times.
        observer: name in `OBSERVERS`.
        sampled: observe `SAMPLED_PASSES` sampled passes too, not the mean network alone.
        seed: of the sampled passes.

    Raises:
        UserError: there are too few images, an activation is not finite, or there is too little
            memory.
    """
    if not isinstance(images, Split):
        images = as_input(images, model.graph.activations[model.graph.input].shape)
    if len(images) < MINIMUM_IMAGES:
        raise UserError(
            f"Calibration got {len(images)} images; give at least {MINIMUM_IMAGES} training images."
        )
    return observe_ranges(model, images, observer, sampled, seed)


@plain
def observe_ranges(
    model: FloatModel, images: Given | Split, observer: str, sampled: bool = False, seed: int = 0
) -> Calibration:
    """`calibrate` on as many images as there are; what a timing needs, and no more."""
    choose = OBSERVERS.get(observer)
    _require_memory(model)
    if not isinstance(images, Split):
        images = as_input(images, model.graph.activations[model.graph.input].shape)
    draws, mean = sampled_passes(model, seed), [mean_weights(model)]
    passes = [*mean, *(draws if sampled else ())]
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
    graph = inherit_ranges(model, replace(model.graph, activations=activations))
    of_mean = saturation(model, graph, mean, images)
    # Draws of a deterministic network are all its mean.
    of_draws = saturation(model, graph, draws, images) if _drawn(model) else of_mean
    return Calibration(observer, sampled, graph, of_draws, of_mean)


def _drawn(model: FloatModel) -> bool:
    """Whether any weight varies."""
    return any(bool(x.any()) for one in model.layers.values() for x in (one.std, one.bias_std))


def inherit_ranges(model: FloatModel, graph: Graph) -> Graph:
    """A pool, and a layer that only selects, has scale and sign of what it reads."""
    activations = dict(graph.activations)
    for node in graph.nodes:
        if isinstance(node, Pool) or (isinstance(node, Conv) and _only_selects(model, node)):
            source = activations[node.input]
            activations[node.name] = replace(source, shape=activations[node.name].shape)
    return replace(graph, activations=activations)


def _only_selects(model: FloatModel, conv: Conv) -> bool:
    layer = model.layers[conv.name]
    return conv.name not in model.graph.outputs and only_selects(conv, layer.mean, layer.bias)


def _float32(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float32))


def sampled_passes(model: FloatModel, seed: int = 0) -> list[Weights]:
    """Weights of the `SAMPLED_PASSES` passes that are observed."""
    return [_draw(model, seed, index) for index in range(SAMPLED_PASSES)]


def _draw(model: FloatModel, seed: int, index: int) -> Weights:
    generator = torch.Generator().manual_seed(seed + index)

    def normal(mean: Tensor, std: Tensor) -> Tensor:
        return torch.addcmul(mean, std, torch.randn(mean.shape, generator=generator))

    return {
        name: (normal(layer.mean, layer.std), normal(layer.bias, layer.bias_std))
        for name, layer in model.layers.items()
    }


def _require_memory(model: FloatModel) -> None:
    """Raises UserError, with both figures, before anything is drawn or computed."""
    shapes = {name: tuple(one.shape) for name, one in model.constants.items()}
    weights = sum(layer.mean.numel() for layer in model.layers.values())
    batch = _batch(model.graph)
    needed = FLOAT * weights * (1 + SAMPLED_PASSES) + batch * observed(model.graph, shapes)
    require(f"Calibration on {batch} of the images at a time", needed)


def _batch(graph: Graph) -> int:
    largest = FLOAT * max(math.prod(activation.shape) for activation in graph.activations.values())
    return max(1, min(BATCH, BATCH_BYTES // largest))


def _run(
    model: FloatModel,
    passes: Sequence[Weights],
    images: Tensor | Split,
    observe: Callable[[str, Tensor], None],
) -> None:
    graph, batch = model.graph, _batch(model.graph)
    with torch.inference_mode():
        for weights in passes:
            for at in range(0, len(images), batch):
                part = slice(at, at + batch)
                x = images.batch(part) if isinstance(images, Split) else images[part]
                forward(graph, weights, x, observe, model.constants)


def _histograms(
    model: FloatModel, passes: Sequence[Weights], images: Tensor | Split
) -> dict[str, Magnitudes]:
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
    return {name: Magnitudes(value, tops[name]) for name, value in counts.items()}


def saturation(
    model: FloatModel, graph: Graph, passes: Sequence[Weights], images: Tensor | Split
) -> dict[str, float]:
    """Share of the float values that the ranges cut off, of every activation that is quantized.

    Args:
        model: folded float model.
        graph: its graph with ranges.
        passes: weights of the passes that are counted.
        images: as in `calibrate`; the first are used, fewer where activations are large.

    Returns:
        The shares by activation: the input, sums with a residual, pools and joins included; the
        logits and other outputs that stay float are not.
    """
    largest = max(math.prod(activation.shape) for activation in graph.activations.values())
    few = min(MINIMUM_IMAGES, max(1, SATURATION_VALUES // largest))
    first = images.limit(few) if isinstance(images, Split) else images[:few]
    cut: dict[str, int] = {}
    total: dict[str, int] = {}

    def count(name: str, value: Tensor) -> None:
        activation = graph.activations[name]
        if activation.scale:
            low, high = (-128, 127) if activation.signed else (0, 255)
            beyond = (value > (high + 0.5) * activation.scale) | (
                value < (low - 0.5) * activation.scale
            )
            cut[name] = cut.get(name, 0) + int(beyond.sum())
            total[name] = total.get(name, 0) + value.numel()

    _run(model, passes, first, count)
    return {name: cut[name] / total[name] for name in cut}
