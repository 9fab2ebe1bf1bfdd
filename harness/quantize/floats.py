"""What stays float in a divided network: PyTorch's own operators, on float32.

An operator is data here: a name out of `TARGETS` and arguments as JSON. So an artefact that holds
some runs without the module it was made from, and runs nothing else. Operators see one image at a
time (`torch.vmap` makes a batch of it), whatever a module does with the dimension of the batch.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..core.errors import UserError
from .graph import Graph, Operation, Segment

#: Computes what a segment makes of its input [N, C, H, W]: [N, C'·H'·W'], channels first.
RunSegment = Callable[[str, Tensor], Tensor]

_COMPUTING = """
    abs adaptive_avg_pool2d adaptive_max_pool2d add.Scalar add.Tensor addcdiv addcmul addmm amax
    amin avg_pool1d avg_pool2d baddbmm batch_norm bmm celu clamp clamp_max clamp_min col2im
    conv1d conv2d conv2d.padding conv_transpose2d.input cumsum div.Scalar div.Tensor einsum elu
    erf exp exp2 expm1 floor gelu group_norm hardsigmoid hardswish hardtanh instance_norm layer_norm
    leaky_relu linalg_vector_norm linear log log1p log2 log_softmax.int logsumexp matmul max.dim
    max_pool2d maximum mean mean.dim min.dim minimum mish mm mul.Scalar mul.Tensor neg
    norm.ScalarOpt_dim pow.Tensor_Scalar prelu reciprocal relu relu6 rms_norm rsqrt rsub.Scalar
    selu sigmoid sign silu softmax.int softplus sqrt square std.correction std.dim sub.Scalar
    sub.Tensor sum sum.dim_IntList tanh upsample_bicubic2d.vec upsample_bilinear2d.vec
    upsample_nearest2d.vec var.correction var.dim var_mean.correction
"""
_COPYING = """
    cat channel_shuffle clone constant_pad_nd contiguous flip im2col index.Tensor index_select
    masked_fill.Scalar pad pixel_shuffle pixel_unshuffle repeat repeat_interleave.self_int roll
    stack
"""
_VIEWING = """
    alias chunk detach dropout expand expand_as feature_dropout flatten.using_ints movedim.int
    movedim.intlist narrow permute reshape reshape_as select.int slice.Tensor split.Tensor
    split_with_sizes squeeze squeeze.dim squeeze.dims swapaxes t to.dtype transpose.int unbind.int
    type_as unflatten.int unfold unsqueeze view view_as
"""
GETITEM = "getitem"
#: Types that a number may be changed to, by name.
DTYPES = {str(one).removeprefix("torch."): one for one in (torch.float32, torch.int64, torch.bool)}
NUMBERS = ("inf", "-inf", "nan")  # that JSON has no form for


def _operators(names: str) -> dict[str, Callable[..., Any]]:
    """ATen's operators by the name that a traced module gives them; `add` is `add.default`."""
    found = {}
    for name in names.split():
        packet, _, overload = name.partition(".")
        made = getattr(getattr(torch.ops.aten, packet), overload or "default")
        found[str(made)] = made
    return found


def _attention(*args: Any, **kwargs: Any) -> Tensor:
    """In steps that `torch.vmap` has rules for; the fused kernel it would call image by image."""
    with sdpa_kernel(SDPBackend.MATH):
        attended: Tensor = torch.ops.aten.scaled_dot_product_attention.default(*args, **kwargs)
    return attended


#: Operators that make a copy and compute nothing.
COPIES = _operators(_COPYING)
#: Operators that move numbers and compute none.
MOVES: dict[str, Callable[..., Any]] = {
    **COPIES,
    **_operators(_VIEWING),
    # What is a view of one image need not be one of a batch, whose strides PyTorch 2.8 goes by.
    "aten.view.default": torch.ops.aten.reshape.default,
    "aten.view_as.default": torch.ops.aten.reshape_as.default,
    GETITEM: operator.getitem,
}
#: Every operator that may stay float, by name.
TARGETS: dict[str, Callable[..., Any]] = {
    **_operators(_COMPUTING),
    "aten.scaled_dot_product_attention.default": _attention,
    **MOVES,
}


def decode(argument: Any, found: Mapping[str, Any], constants: Mapping[str, Tensor]) -> Any:
    """An argument of an operator from its JSON form (`Operation`)."""
    if isinstance(argument, list):
        return [decode(one, found, constants) for one in argument]
    if not isinstance(argument, dict):
        return argument
    ((kind, name),) = argument.items()
    if kind == "value":
        return found[name]
    if kind == "constant":
        return constants[name]
    return float(name) if kind == "number" else DTYPES[name]


def encode(argument: Any) -> Any:
    """The inverse for a number, a string or a type.

    Raises:
        TypeError: JSON has nothing for it.
    """
    if isinstance(argument, float) and not math.isfinite(argument):
        return {"number": str(argument)}
    if argument in DTYPES.values():
        return {"dtype": str(argument).removeprefix("torch.")}
    if argument is None or isinstance(argument, (bool, int, float, str)):
        return argument
    raise TypeError(f"{argument!r} of type {type(argument).__name__}")


def references(argument: Any) -> Iterator[tuple[str, str]]:
    """What an argument in JSON form names, and what kind of thing that is."""
    if isinstance(argument, list):
        for one in argument:
            yield from references(one)
    elif isinstance(argument, dict):
        yield from argument.items()


def reads(operation: Operation, kind: str = "value") -> list[str]:
    """The values that an operation reads, or its constants."""
    named = references([operation.args, *operation.kwargs.values()])
    return [name for found, name in named if found == kind]


def computes(operation: Operation) -> bool:
    """Whether an operation does more than move numbers."""
    return operation.target not in MOVES


def copies(operation: Operation) -> bool:
    """Whether an operation writes what it makes anew and computes nothing; a view, or what only
    sometimes is none (`reshape`), does not."""
    return operation.target in COPIES


@dataclass(frozen=True)
class Block:
    """Consecutive operations, called as one.

    Attributes:
        operations: in order.
        reads: values from before; the images at least, to know how many there are.
        keeps: values that are read after it.
    """

    operations: tuple[Operation, ...]
    reads: tuple[str, ...]
    keeps: tuple[str, ...]

    def __call__(self, values: Mapping[str, Any], constants: Mapping[str, Tensor]) -> list[Any]:
        """What it keeps, of a batch of values [N, ...]."""

        def one_image(*given: Any) -> list[Any]:
            found = dict(zip(self.reads, given, strict=True))
            for step in self.operations:
                args = decode(step.args, found, constants)
                kwargs = {k: decode(v, found, constants) for k, v in step.kwargs.items()}
                found[step.name] = TARGETS[step.target](*args, **kwargs)
            return [found[name] for name in self.keeps]

        kept: list[Any] = torch.vmap(one_image)(*(values[name] for name in self.reads))
        return kept


def blocks(graph: Graph) -> list[Segment | Block]:
    """The steps, operations between two segments taken together."""
    made: list[Segment | list[Operation]] = []
    for step in graph.steps:
        if isinstance(step, Segment):
            made.append(step)
        elif made and isinstance(made[-1], list):
            made[-1].append(step)
        else:
            made.append([step])
    wanted = [graph.output]
    found: list[Segment | Block] = []
    for group in reversed(made):
        if isinstance(group, Segment):
            found.append(group)
            wanted.append(group.value)
            continue
        own = [step.name for step in group]
        needed = list(dict.fromkeys(name for step in group for name in reads(step)))
        outside = tuple(name for name in needed if name not in own) or (graph.input,)
        found.append(Block(tuple(group), outside, tuple(n for n in own if n in wanted)))
        wanted += outside
    return found[::-1]


def run(graph: Graph, constants: Mapping[str, Tensor], x: Tensor, segment: RunSegment) -> Tensor:
    """The logits of a divided network.

    Args:
        graph: with steps.
        constants: what its operations read beside values, float32 or integers.
        x: images, float32 [N, C, H, W].
        segment: what computes a segment.

    Returns:
        float32 [N, classes].
    """
    values: dict[str, Any] = {graph.input: x.unsqueeze(1)}  # of a value of one image, N
    plan = blocks(graph)
    last = {name: k for k, step in enumerate(plan) for name in _inputs(step)}
    last[graph.output] = len(plan)
    for k, step in enumerate(plan):
        if isinstance(step, Segment):
            shape = graph.activations[step.input].shape
            made = segment(step.name, entering(values[step.value], step, shape))
            values[step.name] = _leaving(made, step)
        else:
            values.update(zip(step.keeps, step(values, constants), strict=True))
        for name in _inputs(step):
            if last[name] == k:
                values.pop(name, None)
    logits: Tensor = values[graph.output]
    return logits.flatten(1)


def _inputs(step: Segment | Block) -> Sequence[str]:
    return (step.value,) if isinstance(step, Segment) else step.reads


def entering(x: Tensor, segment: Segment, shape: tuple[int, int, int]) -> Tensor:
    """A value [N, ...] as maps [N, C, H, W]."""
    if segment.tokens:
        x = x.flatten(1, -2).movedim(-1, 1)
    return x.reshape(len(x), *shape)


def _leaving(y: Tensor, segment: Segment) -> Tensor:
    """What a segment made, [N, C·H·W], as a value [N, *shape]."""
    if segment.tokens:
        y = y.reshape(len(y), segment.shape[-1], -1).movedim(1, -1)
    return y.reshape(len(y), *segment.shape)


def multiply_adds(target: str, args: Sequence[Any], result: Any) -> int:
    """Multiplications with an addition each that an operator needs; 0 unless it is a product of
    matrices or a convolution.

    Args:
        target: name in `TARGETS`.
        args: tensors, or anything with their shape.
        result: what it makes.
    """
    name = target.split(".")[1] if "." in target else target
    if name in ("conv1d", "conv2d", "linear"):
        return int(result.numel() * math.prod(args[1].shape[1:]))
    if name == "conv_transpose2d":
        return int(args[0].numel() * math.prod(args[1].shape[1:]))
    if name in ("matmul", "mm", "bmm"):
        return int(result.numel() * args[0].shape[-1])
    if name in ("addmm", "baddbmm"):
        return int(result.numel() * args[1].shape[-1])
    if name == "scaled_dot_product_attention":
        query, key = args[0], args[1]
        scores = math.prod(query.shape[:-1]) * key.shape[-2]
        return int(scores * (query.shape[-1] + args[2].shape[-1]))
    if name == "einsum":
        return _einsum(args[0], [tuple(one.shape) for one in args[1]])
    return 0


def _einsum(equation: str, shapes: Sequence[tuple[int, ...]]) -> int:
    """Every index runs over its length, of two operands; 0 of more or with an ellipsis."""
    terms = equation.replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or "." in equation:
        return 0
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        lengths.update(zip(term, shape, strict=True))
    return math.prod(lengths.values())


def between(equation: str, shapes: Sequence[Sequence[int]], path: Sequence[int] = ()) -> int:
    """Numbers that `einsum` makes on the way to its result, which of two operands are none.

    Args:
        equation: with or without an ellipsis.
        shapes: of the operands.
        path: places of each pair, as PyTorch has it; else the first two, their product put last.
    """
    left, told, result = equation.replace(" ", "").partition("->")
    terms = [_labels(term, len(s)) for term, s in zip(left.split(","), shapes, strict=True)]
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for label, length in zip(term, shape, strict=True):
            lengths[label] = max(length, lengths.get(label, 1))
    wanted = {one for one in lengths if one.isdigit() or one in result}
    wanted |= {one for one in lengths if not told and left.count(one) == 1}
    made, pairs = 0, list(path) or [0, 1] * (len(terms) - 1)
    for pair in zip(pairs[:-2:2], pairs[1:-2:2], strict=False):
        read = {label for place in sorted(pair, reverse=True) for label in terms.pop(place)}
        terms.append([label for label in read if label in wanted.union(*terms)])
        made += math.prod(lengths[label] for label in terms[-1])
    return made


def _labels(term: str, dimensions: int) -> list[str]:
    """One label per dimension: letters, and numbers from the right in place of an ellipsis."""
    before, dots, after = term.partition("...")
    hidden = dimensions - len(before) - len(after) if dots else 0
    return [*before, *map(str, reversed(range(hidden))), *after]


def refuse(target: object, node: object) -> UserError:
    """The error of an operator that can neither be quantized nor stay float."""
    return UserError(
        f"The network uses {target} (node {node}), which neither an int8 graph nor the operations "
        "that stay float have; replace it in the module."
    )
