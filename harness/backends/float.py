"""`float`: FP32 and BF16, built to be hard to beat.

Where the extension is there, the compiled program of `float_program` runs: on every network and at
every batch size that was measured it is the faster engine. Elsewhere PyTorch computes, as follows.

Batch norm is folded, σ is computed ahead, weights are drawn straight into the layout that is read,
and small batches stack several MC passes into one grouped convolution and one batched matrix
product, so that the interpreter's overhead is paid once per stack instead of once per pass. How
many passes, how many cores and whether oneDNN is worth its fixed cost per call is measured once for
each batch size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.given import Given
from ..machine.torch_state import plain
from ..quantize.artefact import Artefact
from ..quantize.graph import Graph, reads
from ..quantize.need import stacked
from .base import Traffic, check_call, check_finite
from .divided import DividedPredictor
from .float_program import ProgramPredictor, load_program
from .stack import Draws, Slot, Stack

STACK_IMAGES = 1024  # images x passes that one call stacks at most
STACK_WEIGHTS = 1 << 22  # weights x passes
FEW_IMAGES = 4  # up to here, a plan without oneDNN is tried
TRIALS = 5  # of a plan, or as many as take TRIAL_SECONDS
TRIAL_SECONDS = 0.2
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Schedule:
    """How passes are computed: so many at once, on so many cores, by oneDNN where ATen would use
    it, or not."""

    stack: int
    threads: int
    onednn: bool

    def __str__(self) -> str:
        library = "oneDNN" if self.onednn else "no oneDNN"
        return f"{self.stack} at once, {self.threads} threads, {library}"


@contextmanager
def _settings(plan: Schedule) -> Iterator[None]:
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    if plan.threads != threads:
        torch.set_num_threads(plan.threads)
    if plan.onednn != onednn:
        torch.backends.mkldnn.enabled = plan.onednn  # type: ignore[assignment]
    try:
        yield
    finally:
        if plan.threads != threads:
            torch.set_num_threads(threads)
        if plan.onednn != onednn:
            torch.backends.mkldnn.enabled = onednn


def _best_seconds(call: Callable[[], object]) -> float:
    """The shortest of a few calls; one that takes long is repeated less often."""
    best, spent = math.inf, 0.0
    for _ in range(TRIALS):
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        best, spent = min(best, seconds), spent + seconds
        if spent > TRIAL_SECONDS:
            break
    return best


class FloatPredictor:
    """See `Predictor`; by PyTorch. `noise` says whose normal numbers are drawn, see `Draws`."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        self.artefact = artefact
        self.graph: Graph = artefact.graph
        self.threads = threads
        self.dtype = DTYPES[artefact.format.arithmetic]
        self.isa = torch.backends.cpu.get_cpu_capability().lower()
        self._convs = {conv.name: conv for conv in self.graph.convs}
        self.need = stacked(self.graph, max(1, STACK_WEIGHTS // max(1, artefact.weights)))
        self.need.check_load(artefact)
        self._weights = Draws(artefact, self.dtype)
        self._stacks: dict[int, Stack] = {}
        self._seconds: dict[tuple[int, Schedule], float] = {}
        self._plans: dict[tuple[int, int], Schedule] = {}
        self.noise = self._weights.noise
        self.kernels: dict[str, str] = {}

    @plain
    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        x = check_call(x, self.graph, seed, passes)
        self.need.check(len(x), len(passes))
        check_finite(x)
        plan = self._plan(x, seed, len(passes))
        with _settings(plan):
            out = self._logits(x, seed, passes, plan)
        kernel = f"ATen {self.dtype}, {self._weights.sampler}, {plan}".replace("torch.", "")
        self.kernels = dict.fromkeys(self._convs, kernel)
        return out

    @property
    def draws(self) -> int:
        """See `Predictor`; counted where the weights are drawn."""
        return self._weights.drawn

    def _plan(self, x: Tensor, seed: int, count: int) -> Schedule:
        """The fastest plan for `count` passes of this batch size, its stack evened out."""
        shape = (len(x), count)
        if shape not in self._plans:
            plans = self._candidates(*shape)
            for plan in plans:
                if (len(x), plan) not in self._seconds:
                    self._seconds[len(x), plan] = self._measure(x, seed, plan)
            best = min(plans, key=lambda plan: self._seconds[len(x), plan])
            stack = math.ceil(count / math.ceil(count / best.stack))
            self._plans[shape] = replace(best, stack=stack)
        return self._plans[shape]

    def _candidates(self, images: int, count: int) -> list[Schedule]:
        most = max(1, min(count, STACK_IMAGES // images, STACK_WEIGHTS // self._weights.size))
        stacks = {1 << power for power in range(most.bit_length())} | {most}
        return [
            Schedule(stack, threads, onednn)
            for stack in sorted(stacks)
            for threads in sorted({1, self.threads})
            for onednn in (True, False)
            if onednn or (stack == 1 and images <= FEW_IMAGES)
        ]

    def _measure(self, x: Tensor, seed: int, plan: Schedule) -> float:
        """Seconds per pass; drawing the weights does not count."""
        passes, drawn = range(plan.stack), self._weights.drawn
        with _settings(plan):
            self._logits(x, seed, passes, plan)
            seconds = _best_seconds(lambda: self._logits(x, seed, passes, plan))
        self._stacks.clear()
        self._weights.drawn = drawn
        return seconds / plan.stack

    def _logits(self, x: Tensor, seed: int, passes: range, plan: Schedule) -> Tensor:
        numbers = math.prod(self.graph.activations[self.graph.output].shape)
        out = torch.empty(len(passes), len(x), numbers)
        with torch.inference_mode():
            # ATen's own convolution is faster on planes, at least the first one with one channel.
            layout = torch.channels_last if plan.onednn else torch.contiguous_format
            images = x.to(self.dtype, memory_format=layout)
            for start in range(0, len(passes), plan.stack):
                chunk = passes[start : start + plan.stack]
                out[start : start + len(chunk)] = self._stack(len(chunk)).run(images, seed, chunk)
        return out

    def _stack(self, count: int) -> Stack:
        if count not in self._stacks:
            self._stacks[count] = Stack(self.graph, self._weights, count)
        return self._stacks[count]

    @plain
    def sample(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The weights of one pass in real units, float32 [O, I, KH, KW]."""
        order = self._weights.order(layer)
        stored = self._sample(self._weights.slots[layer][0], seed, mc)
        return np.ascontiguousarray(stored.transpose(np.argsort(order)))

    @plain
    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of one pass, float32 [O]."""
        return self._sample(self._weights.slots[layer][1], seed, mc)

    def _sample(self, slot: Slot, seed: int, mc: int) -> NDArray[np.float32]:
        drawn = torch.empty(self._weights.size, dtype=self.dtype)
        self._weights.fill(drawn, seed, range(mc, mc + 1))
        weights: NDArray[np.float32] = self._weights.part(drawn, slot, 1)[0].float().numpy()
        return weights

    def traffic(self, batch: int) -> Traffic:
        """μ and σ read, sampled weights written and read again; the noise too, if it does not stay
        in registers."""
        return float_traffic(self.artefact, batch, 0 if self.noise == "normal" else 2 * 4)


def float_traffic(artefact: Artefact, batch: int, noise_bytes: int) -> Traffic:
    """Of a float format whose noise moves so many bytes per weight; see `Predictor.traffic`."""
    width, graph = DTYPES[artefact.format.arithmetic].itemsize, artefact.graph
    sizes = {name: math.prod(a.shape) for name, a in graph.activations.items()}
    moved = sum(sizes[name] for node in graph.nodes for name in (*reads(node), node.name))
    return Traffic(
        mean=4 * artefact.weights,
        std=4 * artefact.sampled_weights,
        sampled=(noise_bytes + 2 * width) * artefact.sampled_weights,
        activations=width * batch * moved,
    )


def load(
    artefact: Artefact, threads: int, team: int
) -> ProgramPredictor | FloatPredictor | DividedPredictor:
    """See `Backend.load`; the format is a float one."""
    if artefact.graph.steps:
        return DividedPredictor(artefact, lambda part: load(part, threads, team))
    return load_program(artefact, threads, team) or FloatPredictor(artefact, threads)
