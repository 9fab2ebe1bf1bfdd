"""Functions of one number that a graph applies where no layer does, in numpy and in PyTorch.

An int8 backend never computes them: a table of 256 integers for each source, made from the scales
when a model is loaded, is the function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf, expit
from torch import Tensor
from torch.nn import functional

from ..core.errors import unknown
from .graph import Activation, Conv, Graph, GroupNorm, Join, Node, reads

F64 = NDArray[np.float64]
# Klambauer et al. 2017, "Self-normalizing neural networks".
SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class Function:
    """A function of one number and a parameter.

    Attributes:
        exact: float64 to float64, of any shape.
        tensor: the same with PyTorch's operator, in the tensor's dtype.
        signed: whether values can be negative; None: where its argument can.
        parameter: the default.
    """

    exact: Callable[[F64, float], F64]
    tensor: Callable[[Tensor, float], Tensor]
    signed: bool | None = True
    parameter: float = 0.0


FUNCTIONS: dict[str, Function] = {
    "identity": Function(lambda x, _: x, lambda x, _: x, None),
    # The parameter is where it ends: 6 for ReLU6.
    "relu": Function(
        lambda x, end: np.clip(x, 0.0, end), lambda x, end: x.clamp(0.0, end), False, math.inf
    ),
    "leaky_relu": Function(
        lambda x, slope: np.where(x < 0, slope * x, x), functional.leaky_relu, True, 0.01
    ),
    "elu": Function(
        lambda x, alpha: np.where(x < 0, alpha * np.expm1(np.minimum(x, 0.0)), x),
        functional.elu,
        True,
        1.0,
    ),
    "sigmoid": Function(lambda x, _: expit(x), lambda x, _: x.sigmoid(), False),
    "hardsigmoid": Function(
        lambda x, _: np.clip(x + 3.0, 0.0, 6.0) / 6.0, lambda x, _: functional.hardsigmoid(x), False
    ),
    "silu": Function(lambda x, _: x * expit(x), lambda x, _: functional.silu(x)),
    "hardswish": Function(
        lambda x, _: x * np.clip(x + 3.0, 0.0, 6.0) / 6.0, lambda x, _: functional.hardswish(x)
    ),
    "gelu": Function(
        lambda x, _: 0.5 * x * (1.0 + erf(x / math.sqrt(2.0))), lambda x, _: functional.gelu(x)
    ),
    "gelu_tanh": Function(
        lambda x, _: 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))),
        lambda x, _: functional.gelu(x, approximate="tanh"),
    ),
    "mish": Function(
        lambda x, _: x * np.tanh(np.logaddexp(0.0, x)), lambda x, _: functional.mish(x)
    ),
    # The parameter is how steep it is at 0, where its slope is a half.
    "softplus": Function(
        lambda x, beta: np.logaddexp(0.0, beta * x) / beta,
        lambda x, beta: functional.softplus(x, beta, threshold=40.0),
        False,
        1.0,
    ),
    "selu": Function(
        lambda x, _: SELU_SCALE * np.where(x < 0, SELU_ALPHA * np.expm1(np.minimum(x, 0.0)), x),
        lambda x, _: functional.selu(x),
    ),
    "tanh": Function(lambda x, _: np.tanh(x), lambda x, _: x.tanh()),
    "abs": Function(lambda x, _: np.abs(x), lambda x, _: x.abs(), False),
    "square": Function(lambda x, _: np.square(x), lambda x, _: x.square(), False),
    # The parameter is what is multiplied by, or added.
    "scale": Function(lambda x, factor: factor * x, lambda x, factor: factor * x, True, 1.0),
    "shift": Function(lambda x, number: x + number, lambda x, number: x + number),
}


def get(name: str) -> Function:
    """A function by name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in FUNCTIONS:
        raise unknown("function", name, FUNCTIONS)
    return FUNCTIONS[name]


def parameter(join: Join) -> float:
    """Of a join's function."""
    return get(join.function).parameter if join.parameter is None else join.parameter


def apply(join: Join, x: Tensor) -> Tensor:
    """A join's function of a tensor."""
    return get(join.function).tensor(x, parameter(join))


def signs(graph: Graph) -> dict[str, bool]:
    """Which activations can be negative: all but those that follow a ReLU and its like."""
    signed = dict.fromkeys(graph.inputs, True)
    for node in graph.nodes:
        signed[node.name] = _signed(node, signed)
    return signed


def _signed(node: Node, signed: Mapping[str, bool]) -> bool:
    """Whether a node's output can be, by whether what it reads can be."""
    if isinstance(node, Conv):
        return not node.relu
    if isinstance(node, GroupNorm):
        return True
    sources = [signed[name] for name in reads(node)]
    own = get(node.function).signed if isinstance(node, Join) else None
    return any(sources) if own is None else own


def bounds(join: Join) -> tuple[float, float] | None:
    """Lowest and highest value of a function that does nothing but cut; None for the others."""
    if join.function == "relu":
        return 0.0, parameter(join)
    return (-math.inf, math.inf) if join.function == "identity" else None


def table(join: Join, source: Activation, target: Activation) -> NDArray[np.uint8]:
    """saturate(rint(f(q·s_in) / s_out)) for every byte q, uint8 [256].

    Bytes of a signed activation are two's complement, on both sides.
    """
    byte = np.arange(256, dtype=np.uint8)
    q = byte.view(np.int8) if source.signed else byte
    x: F64 = q.astype(np.float64) * source.scale
    y = get(join.function).exact(x, parameter(join))
    low, high, kind = (-128, 127, np.int8) if target.signed else (0, 255, np.uint8)
    return np.clip(np.rint(y / target.scale), low, high).astype(kind).view(np.uint8)


def tables(join: Join, graph: Graph) -> NDArray[np.uint8]:
    """The table of every source, uint8 [sources, 256]."""
    target = graph.activations[join.name]
    return np.stack([table(join, graph.activations[name], target) for name in join.inputs])
