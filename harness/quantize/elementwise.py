"""Functions of one number: what each ATen operator that is one becomes in a graph."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.fx import Node as FxNode

from ..core.errors import UserError
from .builder import Builder
from .graph import Conv, Join, Pool

aten = torch.ops.aten
Handler = Callable[[Builder, FxNode], None]


def argument(node: FxNode, index: int, name: str, default: Any) -> Any:
    return node.args[index] if len(node.args) > index else node.kwargs.get(name, default)


def _relu(b: Builder, node: FxNode, end: float | None = None) -> None:
    """Into the layer before it, through a max pool too: max(relu(x)) = relu(max(x))."""
    source = b.source(node.args[0])
    layer = b.producer(source)
    while isinstance(layer, Pool) and layer.kind == "max" and len(b.readers(layer.input)) == 1:
        layer = b.producer(layer.input)
    if not isinstance(layer, Conv) or not b.free(source, node):
        _function(b, node, "relu", end)
        return
    ends = [value for value in (layer.ceiling, end) if value is not None]
    b.change(layer.name, relu=True, ceiling=min(ends, default=None))
    b.alias[node] = source


def _clamp(b: Builder, node: FxNode) -> None:
    low, high = argument(node, 1, "min", None), argument(node, 2, "max", None)
    if node.target in (aten.hardtanh.default, aten.hardtanh_.default):
        low = argument(node, 1, "min_val", -1)
        high = argument(node, 2, "max_val", 1)
    if low != 0 or (high is not None and high <= 0):
        raise UserError(f"{node.name} clamps from {low} to {high}; only from 0 up is supported.")
    _relu(b, node, None if high is None else float(high))


def _function(b: Builder, node: FxNode, name: str, parameter: float | None = None) -> None:
    """Of what is put side by side before it, or a node of its own."""
    source = b.source(node.args[0])
    before = b.producer(source)
    if isinstance(before, Join) and before.function == "identity" and b.free(source, node):
        b.change(source, function=name, parameter=parameter)
        b.alias[node] = source
    else:
        b.add_join(node, (source,), name, parameter)


def _leaky_relu(b: Builder, node: FxNode) -> None:
    _function(b, node, "leaky_relu", float(argument(node, 1, "negative_slope", 0.01)))


def _elu(b: Builder, node: FxNode) -> None:
    scales = (argument(node, 2, "scale", 1), argument(node, 3, "input_scale", 1))
    if scales != (1, 1):
        raise UserError(f"The ELU {node.name} has scales, which is not supported.")
    _function(b, node, "elu", float(argument(node, 1, "alpha", 1.0)))


def _softplus(b: Builder, node: FxNode) -> None:
    beta, threshold = argument(node, 1, "beta", 1), argument(node, 2, "threshold", 20)
    if beta <= 0 or threshold < 20:
        raise UserError(
            f"The softplus {node.name} has beta {beta} and threshold {threshold}; only a beta "
            "above 0 and a threshold of at least 20 are supported."
        )
    _function(b, node, "softplus", float(beta))


def _gelu(b: Builder, node: FxNode) -> None:
    exact = node.kwargs.get("approximate", "none") == "none"
    _function(b, node, "gelu" if exact else "gelu_tanh")


def _number(node: FxNode) -> float:
    """The number that an operation has beside the tensor it reads.

    Raises:
        UserError: there is none, the number comes first, or it is scaled.
    """
    first, second = node.args[0], node.args[1]
    if isinstance(second, FxNode):
        raise UserError(
            f"{node.name} ({node.target}) does not take one tensor and one number; nothing else is "
            "supported."
        )
    if not isinstance(first, FxNode) or node.kwargs:
        raise UserError(f"{node.name} has a number in a place that is not supported.")
    return float(second)  # type: ignore[arg-type]


def _scale(b: Builder, node: FxNode) -> None:
    factor = _number(node)
    if node.target in (aten.div.Tensor, aten.div_.Tensor):
        if factor == 0 or node.kwargs:
            raise UserError(f"The division {node.name} by {factor} is not supported.")
        factor = 1 / factor
    _function(b, node, "scale", factor)


def shift(b: Builder, node: FxNode) -> None:
    """A number is added."""
    number = _number(node)
    if number == 0:
        b.alias[node] = b.source(node.args[0])
    else:
        _function(b, node, "shift", number)


def _functions() -> dict[Any, Handler]:
    """Those without a parameter, in place and not."""
    handlers: dict[Any, Handler] = {}
    plain = ("sigmoid", "hardsigmoid", "silu", "hardswish", "tanh", "mish", "selu", "abs", "square")
    for name in plain:
        for spelled in (name, f"{name}_"):
            handlers[getattr(aten, spelled).default] = partial(_function, name=name)
    return handlers


#: By operator.
ELEMENTWISE: dict[Any, Handler] = {
    aten.relu.default: _relu,
    aten.relu_.default: _relu,
    aten.relu6.default: partial(_relu, end=6.0),
    aten.relu6_.default: partial(_relu, end=6.0),
    aten.hardtanh.default: _clamp,
    aten.hardtanh_.default: _clamp,
    aten.clamp.default: _clamp,
    aten.clamp_.default: _clamp,
    aten.clamp_min.default: _clamp,
    aten.clamp_min_.default: _clamp,
    aten.leaky_relu.default: _leaky_relu,
    aten.leaky_relu_.default: _leaky_relu,
    aten.elu.default: _elu,
    aten.elu_.default: _elu,
    aten.gelu.default: _gelu,
    aten.gelu_.default: _gelu,
    aten.softplus.default: _softplus,
    aten.mul.Tensor: _scale,
    aten.mul_.Tensor: _scale,
    aten.div.Tensor: _scale,
    aten.div_.Tensor: _scale,
    **_functions(),
}
