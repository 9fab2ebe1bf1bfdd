"""`reference`: int8 arithmetic in numpy integers. Slow, and the definition of the bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.given import Given
from ..quantize import functions, noise
from ..quantize.artefact import Artefact, Layer
from ..quantize.graph import Activation, Conv, Graph, GroupNorm, Join, Pool, reads
from ..quantize.need import integer
from .base import Traffic, check_call, check_finite
from .divided import DividedPredictor

I8 = NDArray[np.int8]
F32 = NDArray[np.float32]
Integers = NDArray[Any]


def quantize_activation(x: F32, activation: Activation) -> Integers:
    """rint(x / s), saturated: int8 [-128, 127] or uint8 [0, 255]."""
    low, high, kind = (-128, 127, np.int8) if activation.signed else (0, 255, np.uint8)
    return np.clip(np.rint(x / np.float32(activation.scale)), low, high).astype(kind)


def windows(x: NDArray[Any], conv: Conv | Pool, fill: int = 0) -> NDArray[Any]:
    """Every kernel window of x [N, C, H, W]: a view [N, C, OH, OW, KH, KW], padded with `fill`."""
    dilation = conv.dilation
    kernel = conv.shape[2:] if isinstance(conv, Conv) else conv.kernel
    extent = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    (top, left), (down, across) = conv.padding, conv.stride
    bottom, right = conv.padding
    if isinstance(conv, Pool):  # as far as the last window reaches
        height, width = x.shape[2:]
        rows, columns = conv.size((height, width))
        bottom = max(bottom, (rows - 1) * down + extent[0] - height - top)
        right = max(right, (columns - 1) * across + extent[1] - width - left)
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(padded, extent, axis=(2, 3))
    return view[:, :, ::down, ::across, :: dilation[0], :: dilation[1]]


def accumulate(x: Integers, w: I8, conv: Conv) -> NDArray[np.int32]:
    """The int32 accumulators of a layer, [N, O, OH, OW]; x uint8 or int8 [N, C, H, W]."""
    groups = conv.groups
    patches = windows(x, conv).astype(np.int32)
    n, c, height, width = patches.shape[:4]
    grouped = patches.reshape(n, groups, c // groups, height, width, *conv.shape[2:])
    kernels = w.astype(np.int32).reshape(groups, -1, *conv.shape[1:])
    out = np.einsum("ngchwkl,gockl->ngohw", grouped, kernels, optimize=True)
    return out.reshape(n, -1, height, width).astype(np.int32)


def drawn_bias(layer: Layer, seed: int, mc: int, ordinal: int) -> F32:
    """The bias of one pass, float32 [O]; `ordinal` is the layer's in its graph."""
    if not layer.bias_std.any():
        return layer.bias
    epsilon = noise.bias_noise(len(layer.bias), seed, mc, 2 * ordinal + 1)
    return noise.perturb_bias(layer.bias, noise.bias_step(layer.bias_std), epsilon)


class ReferencePredictor:
    """See `Predictor`. One pass at a time, one thread."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self.threads = 1
        self.isa = "numpy"
        self.kernels = {conv.name: "numpy int32" for conv in artefact.graph.convs}
        self.draws = 0
        self.need = integer(artefact.graph)
        self._ordinal = artefact.ordinals

    def sample(self, layer: str, seed: int, mc: int) -> I8:
        """w_q of one pass, int8 [O, I, KH, KW]."""
        numbers = self.artefact.layers[layer]
        assert numbers.mean.dtype == np.int8
        mean: I8 = numbers.mean  # type: ignore[assignment]
        if numbers.sigma_q is None:
            return mean
        self.draws += mean.size
        ordinal = 2 * self._ordinal[layer]
        epsilon = noise.noise(mean.shape, seed, mc, ordinal)
        steps, shift = numbers.steps(), numbers.shift
        if self.artefact.header.rounding == "nearest":
            return noise.move(mean, steps, shift, epsilon)
        dither = noise.dither(mean.shape, seed, mc, ordinal)
        return noise.move(mean, steps, shift, epsilon, dither)

    def sample_bias(self, layer: str, seed: int, mc: int) -> F32:
        """The bias of one pass, float32 [O]."""
        return drawn_bias(self.artefact.layers[layer], seed, mc, self._ordinal[layer])

    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        x = check_call(x, self.artefact.graph, seed, passes)
        self.need.check(len(x), len(passes))
        output = self.artefact.graph.output
        logits = [self.activations(x, seed, mc)[output] for mc in passes]
        return torch.from_numpy(np.stack(logits).reshape(len(passes), len(x), -1))

    def activations(self, x: Tensor, seed: int, mc: int) -> dict[str, NDArray[Any]]:
        """Every activation of one pass, integers [N, C, H, W]; the logits float32."""
        graph = self.artefact.graph
        x = check_call(x, graph, seed, range(mc, mc + 1))
        check_finite(x)
        values: dict[str, NDArray[Any]] = {
            graph.input: quantize_activation(x.numpy(), graph.activations[graph.input])
        }
        for node in graph.nodes:
            if isinstance(node, Conv):
                values[node.name] = self._layer(node, values, seed, mc)
            elif isinstance(node, Pool):
                values[node.name] = _pool(node, values[node.input])
            elif isinstance(node, GroupNorm):
                values[node.name] = _group_norm(node, values[node.input], graph)
            else:
                values[node.name] = _join(node, values, graph)
        return values

    def _layer(
        self, conv: Conv, values: dict[str, NDArray[Any]], seed: int, mc: int
    ) -> NDArray[Any]:
        graph, numbers = self.artefact.graph, self.artefact.layers[conv.name]
        source, target = graph.activations[conv.input], graph.activations[conv.name]
        weight = self.sample(conv.name, seed, mc)
        accumulators = accumulate(values[conv.input], weight, conv)
        scale = (np.float32(source.scale) * numbers.weight_scale).reshape(1, -1, 1, 1)
        bias = self.sample_bias(conv.name, seed, mc).reshape(1, -1, 1, 1)
        y = accumulators.astype(np.float32) * scale + bias
        if conv.residual is not None:
            step = np.float32(graph.activations[conv.residual].scale)
            y = y + values[conv.residual].astype(np.float32) * step
        if conv.relu:
            y = np.maximum(y, np.float32(0))
        return y if conv.name == graph.output else quantize_activation(y, target)

    def traffic(self, batch: int) -> Traffic:
        """As if every operand were read once from memory and every result written once."""
        graph, layers = self.artefact.graph, self.artefact.layers
        weights = self.artefact.sampled_weights
        sizes = {name: int(np.prod(a.shape)) for name, a in graph.activations.items()}
        sizes[graph.output] *= 4
        moved = sum(sizes[name] for node in graph.nodes for name in (*reads(node), node.name))
        return Traffic(
            mean=sum(layer.mean.size for layer in layers.values()),
            std=weights,
            sampled=2 * weights,
            activations=batch * moved,
        )


def _pool(pool: Pool, x: NDArray[Any]) -> NDArray[Any]:
    if pool.out is not None:
        return _adaptive_pool(pool.out, x)
    if pool.kind == "max":
        lowest = int(np.iinfo(x.dtype).min)
        return windows(x, pool, fill=lowest).max(axis=(4, 5))
    total = windows(x.astype(np.int32), pool).sum(axis=(4, 5))
    ones = np.ones((1, 1, *x.shape[2:]), np.int32)
    count = windows(ones, pool).sum(axis=(4, 5))
    return np.rint(total.astype(np.float32) / count.astype(np.float32)).astype(x.dtype)


def _adaptive_pool(out: tuple[int, int], x: NDArray[Any]) -> NDArray[Any]:
    """Averages over windows that divide the map as evenly as they can (`Pool.out`)."""
    total, count = x.astype(np.int64), np.ones(1, np.int64)
    for axis, after in zip((2, 3), out, strict=True):
        before, at = x.shape[axis], np.arange(after, dtype=np.int64)
        first, last = at * before // after, -(-(at + 1) * before // after)
        to_there = np.insert(total.cumsum(axis), 0, 0, axis)  # of what lies before each place
        total = to_there.take(last, axis) - to_there.take(first, axis)
        count = np.multiply.outer(count, last - first)
    mean = total.astype(np.float32) / count[0].astype(np.float32)
    return np.rint(mean).astype(x.dtype)


def _group_norm(norm: GroupNorm, x: NDArray[Any], graph: Graph) -> NDArray[Any]:
    """saturate(rint(float32(n·q - Σq) · f)) of each group's n integers q, whose sums are exact;
    f = s / (√(s²·(n·Σq² - (Σq)²) + eps·n·n) · s_out), in float64 and this order, then float32, at
    most its largest number."""
    scale, step = (
        np.float64(np.float32(graph.activations[name].scale)) for name in (norm.input, norm.name)
    )
    q = x.reshape(len(x), norm.groups, -1).astype(np.int64)
    n = q.shape[2]
    total, squares = q.sum(2), (q * q).sum(2)
    spread = (n * squares - total * total).astype(np.float64)
    with np.errstate(over="ignore"):
        root = np.sqrt(scale * scale * spread + norm.eps * np.float64(n) * np.float64(n))
        factor = np.minimum(scale / (root * step), np.finfo(np.float32).max).astype(np.float32)
        y = (n * q - total[:, :, None]).astype(np.float32) * factor[:, :, None]
    return np.clip(np.rint(y), -128, 127).astype(np.int8).reshape(x.shape)


def _join(join: Join, values: dict[str, NDArray[Any]], graph: Graph) -> NDArray[Any]:
    sources = zip(join.inputs, functions.tables(join, graph), strict=True)
    parts = [table[values[name].view(np.uint8)] for name, table in sources]
    return np.concatenate(parts, 1).view(
        np.int8 if graph.activations[join.name].signed else np.uint8
    )


def load(artefact: Artefact) -> ReferencePredictor | DividedPredictor:
    """See `Backend.load`; the format is an int8 one."""
    if artefact.graph.steps:
        return DividedPredictor(artefact, _predictor)
    return _predictor(artefact)


def _predictor(artefact: Artefact) -> ReferencePredictor:
    integer(artefact.graph).check_load(artefact)
    return ReferencePredictor(artefact)
