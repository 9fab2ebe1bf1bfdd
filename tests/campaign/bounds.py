"""A float network in float64, and how far the arithmetic of a format may be from it.

Every number comes with the size of its error: what its operands' errors become, half a unit of the
last place where a number is stored, and that of float32 for each term of a sum. Errors of different
numbers are taken to be independent: their worst case together would be larger than the logits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional

from sigmabench.harness.quantize import functions
from sigmabench.harness.quantize.graph import Conv, Graph, GroupNorm, Join, Pool

#: Half a unit of the last place, relative to the number.
ROUNDING = {"fp32": 2.0**-24, "bf16": 2.0**-9}
#: Smaller numbers may be taken for 0.
TINY = 2.0**-126
#: Of terms in between: beyond it, float32 may overflow.
LARGEST = 2.0**126
#: Sizes of an error that a logit may be off.
MOST = 3.0
#: Where a function is looked at between its argument's bounds.
PLACES = torch.linspace(-1, 1, 9, dtype=torch.float64)


class OverflowsError(Exception):
    """A number is beyond what float32 holds, or what its error may make of it."""


@dataclass(frozen=True)
class Bounded:
    """Numbers and the sizes of their errors, float64 of one shape."""

    value: Tensor
    error: Tensor

    def __post_init__(self) -> None:
        if not bool((self.value.abs() + self.error <= LARGEST).all()):  # NaN too
            raise OverflowsError

    def may_be(self, other: Tensor) -> bool:
        """Whether no number is further off than `MOST` sizes of its error."""
        return bool(((other.double() - self.value).abs() <= MOST * self.error).all())


def bounded(
    graph: Graph, weights: Mapping[str, tuple[Tensor, Tensor]], x: Tensor, arithmetic: str
) -> Bounded:
    """Logits [N, classes] of one pass.

    Args:
        graph: undivided.
        weights: of every layer, as they were drawn.
        x: images, float32 [N, C, H, W].
        arithmetic: `fp32` or `bf16`.

    Raises:
        OverflowsError: float32 may overflow on the way.
    """
    half = ROUNDING[arithmetic]
    values = {graph.input: _stored(x.double(), torch.zeros(()), half)}
    for node in graph.nodes:
        if isinstance(node, Conv):
            values[node.name] = _layer(node, weights[node.name], values, half)
        elif isinstance(node, Pool):
            values[node.name] = _pool(node, values[node.input], half)
        elif isinstance(node, GroupNorm):
            values[node.name] = _group_norm(node, values[node.input], half)
        else:
            values[node.name] = _join(node, [values[name] for name in node.inputs], half)
    found = values[graph.output]
    return Bounded(found.value.flatten(1), found.error.flatten(1))


def _stored(value: Tensor, error: Tensor, half: float) -> Bounded:
    return Bounded(value, _together(error, half * value.abs(), torch.tensor(TINY)))


def _together(*errors: Tensor) -> Tensor:
    """Of independent errors; no square underflows."""
    return reduce(torch.hypot, (one.double() for one in errors))


def _layer(
    conv: Conv, drawn: tuple[Tensor, Tensor], values: Mapping[str, Bounded], half: float
) -> Bounded:
    x, (weight, bias) = values[conv.input], (one.double() for one in drawn)
    how = (conv.stride, conv.padding, conv.dilation, conv.groups)
    y = functional.conv2d(x.value, weight, bias, *how)
    reach = x.value.abs() + x.error
    sums = functional.conv2d(reach, weight.abs(), bias.abs(), *how)
    flushed = functional.conv2d(reach + 1, weight.abs() + 1, None, *how)
    inherited = functional.conv2d(x.error.square(), weight.square(), None, *how).sqrt()
    if conv.residual is not None:
        other = values[conv.residual]
        sums = sums + other.value.abs() + other.error
        y, inherited = y + other.value, _together(inherited, other.error, half * y)
    lost = math.sqrt(weight[0].numel() + 2) * ROUNDING["fp32"] * sums
    Bounded(sums, TINY * flushed)
    error = _together(inherited, lost, half * y) + TINY * flushed
    return _stored(y.clamp(0.0, conv.ceiling) if conv.relu else y, error, half)


def _pool(pool: Pool, x: Bounded, half: float) -> Bounded:
    how = (pool.kernel, pool.stride, pool.padding)
    if pool.kind == "max":

        def most(of: Tensor) -> Tensor:
            return functional.max_pool2d(of, *how, pool.dilation, ceil_mode=pool.ceil)

        return _stored(most(x.value), most(x.error), half)

    def mean(of: Tensor) -> Tensor:
        if pool.out is not None:
            return functional.adaptive_avg_pool2d(of, pool.out)
        return functional.avg_pool2d(of, *how, pool.ceil, count_include_pad=False)

    window = pool.kernel[0] * pool.kernel[1]
    if pool.out is not None:
        window = math.prod(x.value.shape[2:])
    lost = window * ROUNDING["fp32"] * mean(x.value.abs())
    return _stored(mean(x.value), mean(x.error) + lost, half)


def _group_norm(norm: GroupNorm, x: Bounded, half: float) -> Bounded:
    """The derivative to a group's numbers is (1 - 1/n - y yᵀ/n) / √(var + eps)."""
    shape = (len(x.value), norm.groups, -1)
    value, error = (one.double().expand(x.value.shape).reshape(shape) for one in (x.value, x.error))
    n = value.shape[2]
    Bounded(n * (value.abs() + error).square(), torch.zeros(()))  # what float32 adds up
    spread = (value.var(2, correction=0, keepdim=True) + norm.eps).sqrt()
    y = (value - value.mean(2, keepdim=True)) / spread
    together = error.square().sum(2, keepdim=True).sqrt()
    moved = (error + together * (1 / math.sqrt(n) + y.abs() / math.sqrt(n))) / spread
    reach = value.abs().amax(2, keepdim=True) / spread
    lost = n * ROUNDING["fp32"] * (1 + y.abs()) * (1 + reach).square()
    return _stored(y.reshape(x.value.shape), (moved + lost).reshape(x.value.shape), half)


def _join(join: Join, sources: list[Bounded], half: float) -> Bounded:
    value = torch.cat([one.value for one in sources], 1)
    error = torch.cat([one.error for one in sources], 1)
    function, parameter = functions.get(join.function), functions.parameter(join)

    def exact(x: Tensor) -> Tensor:
        return torch.from_numpy(function.exact(x.numpy(), parameter))

    y = exact(value)
    moved = torch.stack([(exact(value + at * error) - y).abs() for at in PLACES]).amax(0)
    if functions.bounds(join) is None:  # steps in between are rounded too
        moved = moved + half * (value.abs() + 1)
    return _stored(y, moved, half)
