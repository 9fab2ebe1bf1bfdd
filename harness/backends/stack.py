"""What the `float` backend computes with: drawn weights, and several MC passes as one network.

Everything lies as the operators read it fastest: maps and kernels channels last (NHWC), weights of
linear layers [features, outputs], the same tensor of successive passes side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .. import native
from ..quantize.artefact import Artefact
from ..quantize.forward import covers_input
from ..quantize.graph import Conv, Graph, Pool

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


@lru_cache(maxsize=1)
def noise_source() -> str:
    """`normal` where the compiled sampler has AES and vector instructions, else `normal-torch`:
    then PyTorch's generator is the faster one."""
    paths = [] if native.unavailable() else native.load().normal_paths()
    return "normal" if paths and paths[0] != "portable" else "normal-torch"


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
        self._native = None
        self.noise = self.sampler = noise_source()
        if self.noise == "normal":
            sizes = [slot.size for pair in self.slots.values() for slot in pair]
            self._native = native.load().NormalTensors(mean, std, sizes)
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
                self._generator.manual_seed(pass_seed(seed, mc))
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
    reads = [node.input for node in graph.nodes] + [graph.output]
    reads += [conv.residual for conv in graph.convs if conv.residual is not None]
    pooled = {node.input for node in graph.nodes if isinstance(node, Pool) and node.kind == "max"}
    return frozenset(
        c.name for c in graph.convs if c.relu and c.name in pooled and reads.count(c.name) == 1
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
        self._late_relu = _behind_pool(graph)
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
            source = values[node.input]
            if isinstance(node, Pool):
                values[node.name] = self._pool(node, source)
            elif node.name in self.draws.linear:
                values[node.name] = self._finish(node, self._linear(node, source), values)
            else:
                values[node.name] = self._finish(node, self._conv(node, source), values)
        logits = values[self.graph.output]
        if logits.dim() == 4:
            logits = logits.reshape(len(x), self.count, -1).transpose(0, 1)
        return logits.float()

    def _conv(self, conv: Conv, x: Tensor) -> Tensor:
        weight, bias = self._weights[conv.name]
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
            y = y.add_(values[conv.residual])
        return torch.relu_(y) if conv.relu and conv.name not in self._late_relu else y

    def _pool(self, pool: Pool, x: Tensor) -> Tensor:
        if pool.kind == "avg":
            return functional.avg_pool2d(
                x, pool.kernel, pool.stride, pool.padding, count_include_pad=False
            )
        if pool.padding == (0, 0) and max(pool.kernel) <= SLICED_POOL:
            y = max_pool(x, pool.kernel, pool.stride)
        else:
            y = functional.max_pool2d(x, pool.kernel, pool.stride, pool.padding)
        return torch.relu_(y) if pool.input in self._late_relu else y
