"""Whether the steps of a divided network can be run: operators that may be called, names that are
there, shapes that PyTorch finds too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import first_line
from .floats import DTYPES, NUMBERS, TARGETS, decode, entering, multiply_adds, references
from .graph import Graph, Operation, Segment
from .graph_check import INT32

#: Where operators have a flag that lets them draw numbers, or go by the batch.
_TRAINING = {
    "aten.dropout.default": 2,
    "aten.feature_dropout.default": 2,
    "aten.batch_norm.default": 5,
    "aten.instance_norm.default": 5,
    "aten.scaled_dot_product_attention.default": 4,
}


def check_steps(graph: Graph, constants: Mapping[str, NDArray[Any]]) -> None:
    """Refuse steps that could not be run as they say. Nothing is computed.

    Args:
        graph: with steps, its segments checked.
        constants: what operations read beside values.

    Raises:
        ValueError: what is wrong, with the name of the step.
    """
    if not graph.segments:
        raise ValueError("there is no segment")
    tensors = {
        name: _empty(array.shape, DTYPES[str(array.dtype)]) for name, array in constants.items()
    }
    values: dict[str, Any] = {graph.input: _empty((1, *graph.activations[graph.input].shape))}
    read: set[str] = set()
    for step in graph.steps:
        if isinstance(step, Segment):
            values[step.name] = _segment(step, graph, values)
        else:
            read |= _check_references(step, values, constants)
            values[step.name] = _operation(step, values, tensors)
    for name in sorted(constants.keys() - read):
        raise ValueError(f"no step reads the constant {name}")
    logits = values.get(graph.output)
    classes = graph.activations[graph.output].shape
    if not isinstance(logits, Tensor) or logits.numel() != math.prod(classes):
        raise ValueError(f"no step makes logits {graph.output} of the shape {classes}")


def _empty(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A shape and a type, and no memory."""
    return torch.empty(tuple(shape), dtype=dtype, device="meta")


def _segment(step: Segment, graph: Graph, values: Mapping[str, Any]) -> Tensor:
    """What a segment makes of one image, empty."""
    value = values.get(step.value)
    if not isinstance(value, Tensor):
        raise ValueError(f"{step.name} reads {step.value}, which no step before it makes")
    source, target = (graph.activations[name].shape for name in (step.input, step.name))
    if step.tokens and value.dim() < 2:
        raise ValueError(f"{step.name} reads {step.value}, which has no tokens")
    entered = math.prod(value.shape[:-1]) if step.tokens else 0
    fits = (source[0], source[1] * source[2]) == (value.shape[-1], entered)
    if value.numel() != math.prod(source) or (step.tokens and not fits):
        raise ValueError(f"{step.name} reads {tuple(value.shape)} as a map {source}")
    entering(value[None], step, source)
    channels = step.shape[-1] if step.tokens and step.shape else target[0]
    if min(step.shape, default=0) < 1 or math.prod(step.shape) != math.prod(target):
        raise ValueError(f"{step.name} has the shape {step.shape}, not that of its map {target}")
    if channels != target[0]:
        raise ValueError(f"{step.name} has {channels} channels, not those of its map {target}")
    return _empty(step.shape)


def _check_references(
    step: Operation, values: Mapping[str, Any], constants: Mapping[str, NDArray[Any]]
) -> set[str]:
    """The constants that an operation reads."""
    if step.target not in TARGETS:
        raise ValueError(f"{step.target} is not an operator that may be called")
    there = {"value": values, "constant": constants, "dtype": DTYPES, "number": NUMBERS}
    found = set()
    for kind, name in references([step.args, *step.kwargs.values()]):
        if not isinstance(name, str) or name not in there.get(kind, ()):
            raise ValueError(f"{step.name} names a {kind} that is not there: {name}")
        if kind == "constant":
            found.add(name)
    return found


def _operation(step: Operation, values: Mapping[str, Any], constants: Mapping[str, Tensor]) -> Any:
    """What an operation makes of one image, empty."""
    at = _TRAINING.get(step.target)
    if at is not None and any(step.args[at : at + 1]):
        raise ValueError(f"{step.name} would draw numbers of its own, or depend on its batch")
    try:
        args = decode(step.args, values, constants)
        kwargs = {name: decode(one, values, constants) for name, one in step.kwargs.items()}
        made = TARGETS[step.target](*args, **kwargs)
        counted = multiply_adds(step.target, args, made) if isinstance(made, Tensor) else 0
    except Exception as reason:  # PyTorch raises many kinds
        raise ValueError(f"PyTorch cannot compute {step.name} ({first_line(reason)})") from reason
    shape = tuple(made.shape) if isinstance(made, Tensor) else ()
    if shape != step.shape or math.prod(shape) > INT32:
        raise ValueError(f"{step.name} makes {shape}, not {step.shape}")
    if counted != step.multiply_adds:
        raise ValueError(f"{step.name} has {counted} multiplications, not {step.multiply_adds}")
    return made
