"""`float`: FP32 and BF16 by PyTorch, built to be hard to beat.

Batch norm is folded, σ is computed ahead, draws fill one contiguous buffer by the vectorized
generator, and small batches stack several MC passes into one grouped convolution and one batched
matrix product, so that the interpreter's overhead is paid once a stack instead of once a pass.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..errors import UserError
from ..formats import FORMATS
from ..quantize.artefact import Artefact
from ..quantize.forward import covers_input
from ..quantize.graph import Conv, Graph, Pool
from .base import Traffic, check_call

STACK_IMAGES = 64  # images x passes that one call stacks at most
THREAD_TRIALS = 3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies in the flat buffers: [start, stop)."""

    start: int
    stop: int


@contextmanager
def _intra_op_threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads != before:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads != before:
            torch.set_num_threads(before)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def pass_seed(seed: int, mc: int) -> int:
    """A seed for pass `mc` alone, so that pass t draws the same whatever was drawn before.

    SplitMix64's finalizer (Steele, Lea and Flood 2014) over seed + (mc + 1)·golden ratio.
    """
    mask = (1 << 64) - 1
    z = (seed + (mc + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


class FloatPredictor:
    """See `Predictor`."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        self.artefact = artefact
        self.graph: Graph = artefact.graph
        self.threads = threads
        self.dtype = DTYPES[artefact.format.arithmetic]
        self.isa = torch.backends.cpu.get_cpu_capability().lower()
        self.draws = 0
        self._convs = {conv.name: conv for conv in self.graph.convs}
        self._slots: dict[str, tuple[Slot, Slot]] = {}
        self._flatten()
        self._generator = torch.Generator()
        self._stack_of: dict[int, _Stack] = {}
        self._threads_of: dict[tuple[int, int], int] = {}
        self.kernels = {name: f"ATen {self.dtype}".replace("torch.", "") for name in self._convs}

    def _flatten(self) -> None:
        means, stds, at = [], [], 0
        for conv in self.graph.convs:
            layer = self.artefact.layers[conv.name]
            slots = []
            for mean, std in ((layer.mean, layer.real_std()), (layer.bias, layer.bias_std)):
                means.append(torch.from_numpy(np.ascontiguousarray(mean)).reshape(-1))
                stds.append(torch.from_numpy(np.ascontiguousarray(std)).reshape(-1))
                slots.append(Slot(at, at + mean.size))
                at += mean.size
            self._slots[conv.name] = (slots[0], slots[1])
        self._mean = torch.cat(means).float()
        self._std = torch.cat(stds).float()
        self._stochastic = bool(self._std.any())

    def _draw(self, seed: int, mc: int, out: Tensor) -> None:
        self._generator.manual_seed(pass_seed(seed, mc))
        out.normal_(generator=self._generator)

    def logits(self, x: Tensor, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        check_call(x, self.graph, seed, passes)
        stack = max(1, min(len(passes), STACK_IMAGES // len(x)))
        with _intra_op_threads(self._threads(x, seed, stack)):
            return self._logits(x, seed, passes, stack)

    def _threads(self, x: Tensor, seed: int, stack: int) -> int:
        """One core or all of them, whichever is faster for this shape; measured once.

        Operators on small tensors take longer to hand to other cores than to compute.
        """
        shape = (len(x), stack)
        if shape not in self._threads_of:
            passes, draws = range(stack), self.draws
            seconds = {}
            for threads in {1, self.threads}:
                with _intra_op_threads(threads):
                    self._logits(x, seed, passes, stack)
                    seconds[threads] = min(
                        _seconds(lambda: self._logits(x, seed, passes, stack))
                        for _ in range(THREAD_TRIALS)
                    )
            self.draws = draws
            self._threads_of[shape] = min(seconds, key=lambda threads: seconds[threads])
        return self._threads_of[shape]

    def _logits(self, x: Tensor, seed: int, passes: range, stack: int) -> Tensor:
        classes = self.graph.activations[self.graph.output].shape[0]
        out = torch.empty(len(passes), len(x), classes)
        with torch.inference_mode():
            images = x.to(self.dtype)
            for start in range(0, len(passes), stack):
                chunk = passes[start : start + stack]
                out[start : start + len(chunk)] = self._stack(len(chunk)).run(images, seed, chunk)
        self.draws += len(passes) * self.artefact.sampled_weights
        return out

    def _stack(self, count: int) -> _Stack:
        if count not in self._stack_of:
            self._stack_of[count] = _Stack(self, count)
        return self._stack_of[count]

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The weights of one pass in real units, float32 [O, I, KH, KW]."""
        return self._sample(self._slots[layer][0], seed, mc).reshape(self._convs[layer].shape)

    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of one pass, float32 [O]."""
        return self._sample(self._slots[layer][1], seed, mc)

    def _sample(self, slot: Slot, seed: int, mc: int) -> NDArray[np.float32]:
        noise = torch.zeros_like(self._mean)
        if self._stochastic:
            self._draw(seed, mc, noise)
        part = slice(slot.start, slot.stop)
        drawn = torch.addcmul(self._mean[part], self._std[part], noise[part])
        weights: NDArray[np.float32] = drawn.to(self.dtype).float().numpy()
        return weights

    def traffic(self, batch: int) -> Traffic:
        """μ, σ and noise read, noise and sampled weights written, sampled weights read again."""
        width = self.dtype.itemsize
        weights = sum(layer.mean.size for layer in self.artefact.layers.values())
        sizes = {name: math.prod(a.shape) for name, a in self.graph.activations.items()}
        moved = sum(sizes[node.input] + sizes[node.name] for node in self.graph.nodes)
        noise = 2 * 4 * self.artefact.sampled_weights
        return Traffic(
            mean=4 * weights,
            std=4 * self.artefact.sampled_weights,
            sampled=noise + 2 * width * self.artefact.sampled_weights,
            activations=width * batch * moved,
        )


class _Stack:
    """Buffers and shapes for `count` passes computed in one go."""

    def __init__(self, owner: FloatPredictor, count: int) -> None:
        self.owner = owner
        self.count = count
        self.noise = torch.empty(count, len(owner._mean))
        self.weights: dict[str, tuple[Tensor, Tensor]] = {}
        self.drawn = False
        for name, slots in owner._slots.items():
            buffers = [
                torch.empty(count, slot.stop - slot.start, dtype=owner.dtype) for slot in slots
            ]
            self.weights[name] = (buffers[0], buffers[1])

    def run(self, x: Tensor, seed: int, passes: range) -> Tensor:
        """Float32 [count, N, classes]."""
        self._sample(seed, passes)
        graph, values = self.owner.graph, {self.owner.graph.input: x}
        for node in graph.nodes:
            source = values[node.input]
            if isinstance(node, Conv):
                values[node.name] = self._layer(node, source, values, source is x)
            else:
                values[node.name] = self._pool(node, source)
        n, classes = len(x), graph.activations[graph.output].shape[0]
        logits = values[graph.output]
        if logits.dim() == 4:
            logits = logits.reshape(n, self.count, classes).transpose(0, 1)
        return logits.float()

    def _sample(self, seed: int, passes: range) -> None:
        owner = self.owner
        if self.drawn and not owner._stochastic:
            return
        if owner._stochastic:
            for row, mc in zip(self.noise, passes, strict=True):
                owner._draw(seed, mc, row)
        else:
            self.noise.zero_()
        for name, slots in owner._slots.items():
            for slot, buffer in zip(slots, self.weights[name], strict=True):
                part = slice(slot.start, slot.stop)
                mean, std, noise = owner._mean[part], owner._std[part], self.noise[:, part]
                if owner.dtype is torch.float32:
                    torch.addcmul(mean, std, noise, out=buffer)
                else:
                    buffer.copy_(torch.addcmul(mean, std, noise))
        self.drawn = True

    def _layer(self, conv: Conv, x: Tensor, values: dict[str, Tensor], shared: bool) -> Tensor:
        """Maps are [N, count·C, H, W], or [count, N, C] behind a linear layer."""
        weight, bias = self.weights[conv.name]
        stacked = self.count if not shared else 1
        if covers_input(conv, self._size(x)):
            y = self._linear(conv, x, weight, bias)
        else:
            y = functional.conv2d(
                x,
                weight.view(-1, *conv.shape[1:]),
                bias.view(-1),
                conv.stride,
                conv.padding,
                conv.dilation,
                conv.groups * stacked,
            )
        if conv.residual is not None:
            y = y.add_(values[conv.residual])
        return torch.relu_(y) if conv.relu else y

    @staticmethod
    def _size(x: Tensor) -> tuple[int, ...]:
        return tuple(x.shape[2:]) if x.dim() == 4 else (1, 1)

    def _linear(self, conv: Conv, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        outputs = conv.shape[0]
        features = math.prod(conv.shape[1:])
        if self.count == 1:
            flat = x.reshape(-1, features)
            return functional.linear(flat, weight.view(outputs, features), bias[0])[None]
        if x.dim() == 4:
            x = x.reshape(len(x), -1, features).transpose(0, 1)
        kernel = weight.view(self.count, outputs, features).transpose(1, 2)
        return torch.baddbmm(bias[:, None], x.expand(self.count, -1, -1), kernel)

    @staticmethod
    def _pool(pool: Pool, x: Tensor) -> Tensor:
        if pool.kind == "max":
            return functional.max_pool2d(x, pool.kernel, pool.stride, pool.padding)
        return functional.avg_pool2d(
            x, pool.kernel, pool.stride, pool.padding, count_include_pad=False
        )


class FloatBackend:
    """See `Backend`."""

    name = "float"
    description = "FP32 and BF16 by PyTorch: folded, stacked passes, vectorized draws"

    def unavailable(self) -> str | None:
        """It runs wherever PyTorch does."""
        return None

    def supports(self, format: str) -> bool:
        """The float formats."""
        return not FORMATS.get(format).quantized

    def load(self, artefact: Artefact, threads: int) -> FloatPredictor:
        """See `Backend.load`."""
        if not self.supports(artefact.header.format):
            raise UserError(
                f"The float backend computes FP32 and BF16, not {artefact.header.format}; use "
                "--backend native or reference."
            )
        return FloatPredictor(artefact, threads)


BACKEND = FloatBackend()
