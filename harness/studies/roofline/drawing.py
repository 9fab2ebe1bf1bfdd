"""Other ways to draw a network's weights, by PyTorch's operators: what the papers' claim on
bandwidth is held against.

Bytes are those of every operator's operands: each input is read once, each output written once, and
the layer reads the weights. How often an operator goes over them inside is not counted.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median

import torch
from torch import Tensor

from ...measure.clock import Samples
from ...quantize.artefact import Artefact
from ...quantize.graph import Conv
from ...records.roofline_record import BAYESIAN_TORCH, NAIVE, Drawing

#: w = μ + σ·ε, an operator each: ε is written; ε and σ are read and σ·ε is written; σ·ε and μ are
#: read and w is written; the layer reads w.
NAIVE_BYTES = 4 * (1 + 3 + 3 + 1)
#: `QuantizedConv2dReparameterization.forward` of bayesian-torch 0.5.0: ε is written as float32,
#: then read and written in 8 bits, as all else is; σ and ε are read and σ·ε is written; σ·ε and μ
#: are read and w is written; w is read, and written in the order that the layer reads.
BAYESIAN_TORCH_BYTES = 4 * 2 + 1 + 3 + 3 + 2 + 1
_EPSILON_SCALE = 6 / 255
_BYTES = {NAIVE: NAIVE_BYTES, BAYESIAN_TORCH: BAYESIAN_TORCH_BYTES}


@dataclass(eq=False)
class Eager:
    """Draws all layers, one after the other, as a task of `clock.interleave`.

    Attributes:
        scheme: its name.
        layers: names, numbers of weights and what draws them.
        reports: of each call the nanoseconds by layer.
    """

    scheme: str
    layers: Sequence[tuple[str, int, Callable[[], object]]]
    reports: list[list[int]] = field(default_factory=list)

    def __call__(self, index: int) -> int:
        """A pass; gives its nanoseconds."""
        times = []
        for _, _, draw in self.layers:
            start = time.perf_counter_ns()
            draw()
            times.append(time.perf_counter_ns() - start)
        self.reports.append(times)
        return sum(times)

    def drawing(self, samples: Samples) -> Drawing:
        """What the timed calls say."""
        columns = zip(*self.reports[samples.warmup :], strict=True)
        return Drawing(
            scheme=self.scheme,
            layers=tuple(name for name, _, _ in self.layers),
            bytes=tuple(_BYTES[self.scheme] * count for _, count, _ in self.layers),
            layer_us=tuple(median(column) / 1e3 for column in columns),
        )


def eager_drawings(artefact: Artefact) -> list[Eager]:
    """The ways that this PyTorch has; none for a deterministic artefact.

    Args:
        artefact: whose layers are drawn.
    """
    convs = [conv for conv in artefact.graph.convs if artefact.sampled(conv)]
    found = []
    for scheme, of in ((NAIVE, _naive), (BAYESIAN_TORCH, _bayesian_torch)):
        try:
            layers = [(conv.name, conv.weights, of(artefact, conv)) for conv in convs]
        except (AttributeError, RuntimeError):  # quantized tensors are to leave PyTorch
            continue
        if layers:
            found.append(Eager(scheme, layers))
    return found


def _numbers(artefact: Artefact, conv: Conv) -> tuple[Tensor, Tensor]:
    layer = artefact.layers[conv.name]
    return torch.from_numpy(layer.real_mean()), torch.from_numpy(layer.real_std())


def _naive(artefact: Artefact, conv: Conv) -> Callable[[], object]:
    mean, std = (one.float().contiguous() for one in _numbers(artefact, conv))
    return lambda: mean + std * torch.randn_like(mean)


def _bayesian_torch(artefact: Artefact, conv: Conv) -> Callable[[], object]:
    mean, std = (one.float().contiguous() for one in _numbers(artefact, conv))
    noise = torch.empty_like(mean)
    operators = torch.ops.quantized
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that they are deprecated
        mean_q, std_q = (_quantized(one) for one in (mean, std))
    scale = max(mean_q.q_scale(), std_q.q_scale() * _EPSILON_SCALE)
    stride, padding, dilation = list(conv.stride), list(conv.padding), list(conv.dilation)

    def draw() -> object:
        noise.normal_()
        epsilon = torch.quantize_per_tensor(noise, _EPSILON_SCALE, 0, torch.qint8)
        spread = operators.mul(std_q, epsilon, scale, 0)
        weight = operators.add(spread, mean_q, scale, 0)
        return operators.conv2d_prepack(weight, None, stride, padding, dilation, conv.groups)

    draw()  # raises now what it cannot do
    return draw


def _quantized(numbers: Tensor) -> Tensor:
    scale = max(float(numbers.abs().max()) * 2 / 255, 1e-6)
    return torch.quantize_per_tensor(numbers, scale, 0, torch.qint8)
