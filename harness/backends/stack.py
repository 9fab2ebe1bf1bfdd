"""What the `float` backend computes with: drawn weights, and several MC passes as one network.

Everything lies as the operators read it fastest: maps and kernels channels last (NHWC), weights of
linear layers [features, outputs], the same tensor of successive passes side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .. import native
from ..native import noise_source
from ..quantize import functions
from ..quantize.artefact import Artefact
from ..quantize.forward import covers_input, pooled, rectified
from ..quantize.graph import Conv, Graph, GroupNorm, Join, Pool, reads

KERNEL_LAST = (0, 2, 3, 1)  # [O, I, KH, KW] to [O, KH, KW, I]
OUTPUT_LAST = (2, 3, 1, 0)  # to [KH, KW, I, O]: a linear layer
SLICED_POOL = 3  # the widest pooling window that is computed from slices


def pass_seed(seed: int, mc: int) -> int:
    """A seed for pass `mc` alone, so that pass t draws the same whatever was drawn before.

    SplitMix64's finalizer (Steele, Lea and Flood 2014) over seed + (mc + 1)·golden ratio.
    """
    mask = (1 << 64) - 1
    z = (seed + (mc + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


@dataclass(frozen=True)
class Slot:
    """Where a tensor lies in the flat posterior, and its shape there."""

    start: int
    size: int
    shape: tuple[int, ...]


class Draws:
    """A network's weights, drawn pass by pass: w = μ + σ·z.

    Attributes:
        dtype: of the drawn weights, float32 or bfloat16.
        noise: `normal` if z comes from the compiled sampler, `normal-torch` if from PyTorch's.
        sampler: the sampler with its instruction set.
        slots: of a layer's weight and of its bias, by layer name.
        size: weights and biases of one pass.
        stochastic: whether any σ is not zero.
        drawn: weights drawn so far, biases not counted.
    """

    def __init__(self, artefact: Artefact, dtype: torch.dtype) -> None:
        self.dtype = dtype
        graph = artefact.graph
        self.linear = {
            conv.name
            for conv in graph.convs
            if covers_input(conv, graph.activations[conv.input].shape[1:])
        }
        self.slots: dict[str, tuple[Slot, Slot]] = {}
        means: list[NDArray[np.float32]] = []
        stds: list[NDArray[np.float32]] = []
        self.size = 0
        for conv in graph.convs:
            layer = artefact.layers[conv.name]
            order = self.order(conv.name)
            weight = self._add(layer.mean, layer.real_std(), order, means, stds)
            bias = self._add(layer.bias, layer.bias_std, (0,), means, stds)
            self.slots[conv.name] = (weight, bias)
        mean, std = np.concatenate(means), np.concatenate(stds)
        self.stochastic = bool(std.any())
        self.drawn = 0
        self._sampled = artefact.sampled_weights
        self._mean, self._std = torch.from_numpy(mean), torch.from_numpy(std)
        self._generator = torch.Generator()
        # No pass of the network has such a number: its parts' draws are apart.
        self._other_pass = artefact.first_layer << 32
        self._native = None
        self.noise = self.sampler = noise_source()
        if self.noise == "normal":
            sizes = [slot.size for pair in self.slots.values() for slot in pair]
            self._native = native.load().NormalTensors(
                mean, std, sizes, ordinal=2 * artefact.first_layer
            )
            self.sampler = f"normal {self._native.path}"

    def order(self, layer: str) -> tuple[int, ...]:
        """How [O, I, KH, KW] is permuted in memory."""
        return OUTPUT_LAST if layer in self.linear else KERNEL_LAST

    def _add(
        self,
        mean: NDArray[Any],
        std: NDArray[np.float32],
        order: tuple[int, ...],
        means: list[NDArray[np.float32]],
        stds: list[NDArray[np.float32]],
    ) -> Slot:
        for values, to in ((mean, means), (std, stds)):
            moved = np.asarray(values, dtype=np.float32).transpose(order)
            to.append(np.ascontiguousarray(moved).reshape(-1))
        slot = Slot(self.size, mean.size, tuple(mean.shape[axis] for axis in order))
        self.size += mean.size
        return slot

    def fill(self, out: Tensor, seed: int, passes: range) -> None:
        """Draw the passes into `out`, flat [len(passes)·size] of `dtype`: one tensor after the
        other, and of each the passes one after the other."""
        count = len(passes)
        self.drawn += count * self._sampled
        if self._native is not None:
            bits = out if self.dtype is torch.float32 else out.view(torch.uint16)
            threads = torch.get_num_threads()
            self._native.fill(bits.numpy(), seed, passes.start, count, threads)
            return
        noise = torch.zeros(count, self.size)
        if self.stochastic:
            for row, mc in zip(noise, passes, strict=True):
                self._generator.manual_seed(pass_seed(seed, self._other_pass + mc))
                row.normal_(generator=self._generator)
        for pair in self.slots.values():
            for slot in pair:
                part = slice(slot.start, slot.start + slot.size)
                drawn = torch.addcmul(self._mean[part], self._std[part], noise[:, part])
                self.part(out, slot, count).copy_(drawn.view(count, *slot.shape))

    @staticmethod
    def part(out: Tensor, slot: Slot, count: int) -> Tensor:
        """One tensor of all passes, [count, *slot.shape]; a view."""
        start = count * slot.start
        return out[start : start + count * slot.size].view(count, *slot.shape)


def _behind_pool(graph: Graph) -> frozenset[str]:
    """Convolutions whose ReLU can wait for the max pool behind them, where it has fewer values to
    work on: max(relu(x)) = relu(max(x)), if nothing else reads x."""
    read = [name for node in graph.nodes for name in reads(node)] + [graph.output]
    pooled = {node.input for node in graph.nodes if isinstance(node, Pool) and node.kind == "max"}
    return frozenset(
        c.name for c in graph.convs if c.relu and c.name in pooled and read.count(c.name) == 1
    )


def max_pool(x: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """Max pooling without padding, rows then columns, from slices: PyTorch's own is scalar code
    where the channels are few."""
    for axis, window, step in zip((2, 3), kernel, stride, strict=True):
        count = (x.shape[axis] - window) // step + 1
        spans = (slice(k, k + (count - 1) * step + 1, step) for k in range(window))
        x = reduce(torch.maximum, [x[(slice(None),) * axis + (span,)] for span in spans])
    return x


class Stack:
    """`count` passes computed in one go, with buffers for their weights.

    Maps are [N, count·C, H, W], or [count, N, C] behind a linear layer.
    """

    def __init__(self, graph: Graph, draws: Draws, count: int) -> None:
        self.graph = graph
        self.draws = draws
        self.count = count
        late = _behind_pool(graph)
        self._late_relu = {conv.name: conv for conv in graph.convs if conv.name in late}
        self._buffer = torch.empty(count * draws.size, dtype=draws.dtype)
        self._drawn = False
        self._weights: dict[str, tuple[Tensor, Tensor]] = {}
        for conv in graph.convs:
            weight, bias = (draws.part(self._buffer, s, count) for s in draws.slots[conv.name])
            if conv.name in draws.linear:
                tensors = (weight.view(count, -1, conv.shape[0]), bias.view(count, 1, -1))
            elif conv.shape[1] == 1:  # either layout: let the input choose
                tensors = (weight.view(-1, *conv.shape[1:]), bias.view(-1))
            else:
                tensors = (weight.flatten(0, 1).permute(0, 3, 1, 2), bias.view(-1))
            self._weights[conv.name] = tensors

    def run(self, x: Tensor, seed: int, passes: range) -> Tensor:
        """Float32 [count, N, classes]; `x` is [N, C, H, W] in the draws' dtype."""
        if self.draws.stochastic or not self._drawn:
            self.draws.fill(self._buffer, seed, passes)
            self._drawn = True
        values = {self.graph.input: x}
        for node in self.graph.nodes:
            if isinstance(node, Join):
                values[node.name] = self._join(node, values)
            elif isinstance(node, Pool):
                values[node.name] = self._pool(node, self._maps(values[node.input]))
            elif isinstance(node, GroupNorm):
                values[node.name] = self._group_norm(node, self._maps(values[node.input]))
            elif node.name in self.draws.linear:
                y = self._linear(node, values[node.input])
                values[node.name] = self._finish(node, y, values)
            else:
                y = self._conv(node, self._maps(values[node.input]))
                values[node.name] = self._finish(node, y, values)
        logits = values[self.graph.output]
        if logits.dim() == 4:
            logits = logits.reshape(len(x), self.count, -1).transpose(0, 1)
        return logits.float()

    def _maps(self, x: Tensor) -> Tensor:
        """[N, count·C, H, W], of what lies behind a linear layer too."""
        return x if x.dim() == 4 else x.transpose(0, 1).flatten(1)[:, :, None, None]

    def _own_maps(self, x: Tensor, channels: int) -> Tensor:
        """The same, repeated where all passes read one map of so many channels."""
        x = self._maps(x)
        one = self.count > 1 and x.shape[1] == channels
        return x.repeat(1, self.count, 1, 1) if one else x

    def _join(self, join: Join, values: dict[str, Tensor]) -> Tensor:
        sources = [values[name] for name in join.inputs]
        if len(sources) == 1:
            return functions.apply(join, sources[0])
        sizes = [self.graph.activations[name].shape[0] for name in join.inputs]
        sources = [self._own_maps(x, size) for x, size in zip(sources, sizes, strict=True)]
        # Of each pass all sources, then the next pass: slices keep maps channels last.
        parts = [
            x[:, k * size : (k + 1) * size]
            for k in range(self.count)
            for x, size in zip(sources, sizes, strict=True)
        ]
        return functions.apply(join, torch.cat(parts, 1))

    def _conv(self, conv: Conv, x: Tensor) -> Tensor:
        weight, bias = self._weights[conv.name]
        if conv.groups > 1:  # whose outputs are pass by pass, not group by group
            x = self._own_maps(x, conv.shape[1] * conv.groups)
        stacked = x.shape[1] // (conv.shape[1] * conv.groups)  # 1 where all passes read one map
        groups = conv.groups * stacked
        return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, groups)

    def _linear(self, conv: Conv, x: Tensor) -> Tensor:
        weight, bias = self._weights[conv.name]
        if x.dim() == 4:
            maps = x.unflatten(1, (-1, conv.shape[1])).permute(1, 0, 3, 4, 2)
            x = maps.reshape(len(maps), len(x), -1).expand(self.count, -1, -1)
        return torch.baddbmm(bias, x, weight)

    def _finish(self, conv: Conv, y: Tensor, values: dict[str, Tensor]) -> Tensor:
        if conv.residual is not None:
            own = self._own_maps(values[conv.residual], conv.shape[0])
            if y.dim() == 3:
                own = own.reshape(len(own), self.count, -1).transpose(0, 1)
            y = y.add_(own)
        return y if conv.name in self._late_relu else rectified(conv, y)

    def _group_norm(self, norm: GroupNorm, x: Tensor) -> Tensor:
        stacked = x.shape[1] // self.graph.activations[norm.input].shape[0]
        return functional.group_norm(x, norm.groups * stacked, eps=norm.eps)

    def _pool(self, pool: Pool, x: Tensor) -> Tensor:
        if pool.kind == "avg":
            return pooled(pool, x)
        plain = pool.padding == (0, 0) and pool.dilation == (1, 1) and not pool.ceil
        sliced = plain and max(pool.kernel) <= SLICED_POOL
        y = max_pool(x, pool.kernel, pool.stride) if sliced else pooled(pool, x)
        return rectified(self._late_relu[pool.input], y) if pool.input in self._late_relu else y
