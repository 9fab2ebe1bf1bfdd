"""What each ATen operator becomes in a graph: a node, a part of one before it, or nothing."""

from __future__ import annotations

import math
import operator
from dataclasses import replace
from typing import Any

import torch
from torch.fx import Node as FxNode
from torch.nn import functional

from ..core.errors import UserError
from .builder import Builder, Norm
from .elementwise import ELEMENTWISE, Handler, argument, shift
from .graph import Conv, GroupNorm, Pool
from .graph_check import EPSILONS, MOST_AVERAGED
from .selection import Axis, KeptElements, numbered

aten = torch.ops.aten


def _pair(value: Any) -> tuple[int, int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return (values[0], values[-1])


def _conv(b: Builder, node: FxNode) -> None:
    weight = b.parameter(node.args[1])
    assert weight is not None
    shape = tuple(int(size) for size in node.args[1].meta["val"].shape)  # type: ignore[union-attr]
    dilation = _pair(argument(node, 5, "dilation", 1))
    padding = argument(node, 4, "padding", 0)
    source = b.source(node.args[0])
    name = weight.removesuffix(".weight")
    if isinstance(padding, str):
        source, padding = _named_padding(b, f"{name}.padded", source, padding, shape[2:], dilation)
    conv = Conv(
        name=name,
        input=source,
        shape=shape,  # type: ignore[arg-type]
        weight=weight,
        stride=_pair(argument(node, 3, "stride", 1)),
        padding=_pair(padding),
        dilation=dilation,
        groups=argument(node, 6, "groups", 1),
    )
    b.add_layer(conv, node, argument(node, 2, "bias", None))


def _named_padding(
    b: Builder,
    name: str,
    source: str,
    padding: str,
    kernel: tuple[int, ...],
    dilation: tuple[int, int],
) -> tuple[str, tuple[int, int]]:
    """What a convolution reads and how it pads that; with an even kernel `same` is more on the far
    side, which a layer `name` does."""
    if padding == "valid":
        return source, (0, 0)
    both = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    before = (both[0] // 2, both[1] // 2)
    if not any(total % 2 for total in both):
        return source, before
    channels, *size = b.shapes[source]
    rows, columns = (
        Axis(length, length + total, -first)
        for length, total, first in zip(size, both, before, strict=True)
    )
    shape = (channels, rows.count, columns.count)
    b.add_selection(name, source, KeptElements(rows, columns, tuple(range(channels))), None, shape)
    return name, (0, 0)


def _linear(b: Builder, node: FxNode) -> None:
    weight = b.parameter(node.args[1])
    assert weight is not None
    source = b.source(node.args[0])
    channels, height, width = b.shapes[source]
    if b.tokens:  # each position on its own
        height = width = 1
    outputs, inputs = (int(size) for size in node.args[1].meta["val"].shape)  # type: ignore[union-attr]
    if inputs != channels * height * width:
        raise UserError(
            f"The linear layer {weight} reads {inputs} numbers of a {channels}x{height}x{width} "
            "map; flatten the map before it."
        )
    conv = Conv(
        name=weight.removesuffix(".weight"),
        input=source,
        shape=(outputs, channels, height, width),
        weight=weight,
    )
    b.add_layer(conv, node, argument(node, 2, "bias", None))


def _batch_norm(b: Builder, node: FxNode) -> None:
    """Into the convolution before it, or one of ones where there is none to take it."""
    weight, bias, mean, var = (b.parameter(arg) for arg in node.args[1:5])
    assert mean is not None
    assert var is not None
    source = b.source(node.args[0])
    channels, height, width = b.shapes[source]
    count = node.args[3].meta["val"].numel()  # type: ignore[union-attr]
    if count != channels:
        raise UserError(
            f"The batch norm {node.name} is over {count} numbers of a {channels}x{height}x{width} "
            "map, not over its channels, which is not supported."
        )
    layer = b.producer(source)
    plain = isinstance(layer, Conv) and not layer.relu and layer.residual is None
    if plain and source not in b.norms and b.free(source, node):
        b.alias[node] = source
    else:
        b.add_copy(mean.removesuffix(".running_mean"), source, node)
    b.norms[b.alias[node]] = Norm(weight, bias, mean, var, float(node.args[7]))  # type: ignore[arg-type]


def _group_norm(b: Builder, node: FxNode) -> None:
    weight, bias = argument(node, 2, "weight", None), argument(node, 3, "bias", None)
    _statistics(b, node, node.args[1], weight, bias, argument(node, 4, "eps", 1e-5))  # type: ignore[arg-type]


def _instance_norm(b: Builder, node: FxNode) -> None:
    if not node.args[5]:
        raise UserError(
            f"The instance norm {node.name} uses running statistics, which is not supported."
        )
    _, channels, *_ = node.meta["val"].shape
    _statistics(b, node, channels, node.args[1], node.args[2], node.args[7])


def _layer_norm(b: Builder, node: FxNode) -> None:
    """One group of all numbers of an image, whose factors may differ between channels alone."""
    _, *shape = node.meta["val"].shape
    weight, bias = argument(node, 2, "weight", None), argument(node, 3, "bias", None)
    apart = (weight is not None or bias is not None) and math.prod(shape[1:]) > 1
    if list(node.args[1]) != shape or apart:  # type: ignore[arg-type]
        raise UserError(
            f"The layer norm {node.name} is over {node.args[1]} of {tuple(shape)} numbers"
            f"{', with factors for each of them' if apart else ''}; only one over whole images is "
            "supported, and of maps only without factors."
        )
    _statistics(b, node, 1, weight, bias, argument(node, 4, "eps", 1e-5))


def _statistics(
    b: Builder, node: FxNode, groups: int, weight: object, bias: object, eps: Any
) -> None:
    """A group norm, and behind it a depthwise layer of its factors where it has some."""
    if len(node.meta["val"].shape) not in (2, 4):
        raise UserError(
            f"The norm {node.name} is not over channels of maps; no other is supported."
        )
    gain, shift = b.parameter(weight), b.parameter(bias)
    source = b.source(node.args[0])
    size, factors = b.shapes[source], gain is not None or shift is not None
    if size != b.map_shape(node) and (groups > 1 or factors):
        raise UserError(
            f"The norm {node.name} is over a flattened map, which is supported only in one group "
            "and without factors."
        )
    if not EPSILONS[0] <= eps <= EPSILONS[1] or math.prod(size) // groups > MOST_AVERAGED:
        raise UserError(
            f"The norm {node.name} has the eps {eps} and groups of {math.prod(size) // groups} "
            f"numbers; an eps from {EPSILONS[0]:g} to {EPSILONS[1]:g} and groups of up to "
            f"{MOST_AVERAGED} are supported."
        )
    b.add(GroupNorm(node.name, source, int(groups), float(eps)), size, node)
    if factors:
        b.add_factors(node, gain, shift)


def _add(b: Builder, node: FxNode) -> None:
    """A number, or into the later of the two branches, if that is a plain convolution, the other if
    that is, or one of ones."""
    first, second = node.args[0], node.args[1]
    if not isinstance(first, FxNode) or not isinstance(second, FxNode):
        shift(b, node)
        return
    if node.kwargs.get("alpha", 1) != 1:
        raise UserError(f"The sum {node.name} scales one side (alpha), which is not supported.")
    one, other = b.source(first), b.source(second)
    if b.shapes[one] != b.shapes[other]:
        raise UserError(f"The sum {node.name} broadcasts one side, which is not supported.")
    order = [b.input, *(made.name for made in b.nodes)]
    candidates = sorted(((other, one), (one, other)), key=lambda pair: -order.index(pair[0]))
    for branch, residual in candidates:
        layer = b.producer(branch)
        takes = isinstance(layer, Conv) and not layer.relu and layer.residual is None
        if takes and branch != residual and b.free(branch, node):
            b.change(branch, residual=residual)
            b.alias[node] = branch
            return
    branch, residual = candidates[0]
    b.add_copy(node.name, branch, node, residual=residual)


def _cat(b: Builder, node: FxNode) -> None:
    parts: Any = node.args[0]
    dims = len(node.meta["val"].shape)
    sources = tuple(b.source(part) for part in parts)
    vectors = dims == 2 and all(b.shapes[name][1:] == (1, 1) for name in sources)
    if argument(node, 1, "dim", 0) % dims != 1 or not (dims == 4 or vectors):
        raise UserError(
            f"The concatenation {node.name} is not over channels; no other is supported."
        )
    if len(sources) == 1:
        b.alias[node] = sources[0]
    else:
        b.add_join(node, sources, "identity", None)


def _pool(b: Builder, node: FxNode, kind: str, kernel: Any, *how: Any) -> None:
    pool = _window(b, node, kind, kernel, *how)
    b.add(pool, b.map_shape(node), node)


def _window(
    b: Builder,
    node: FxNode,
    kind: str,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
) -> Pool:
    """A pool, which rounds its size up only where that makes it larger."""
    source = b.source(node.args[0])
    pool = Pool(
        name=node.name,
        input=source,
        kind=kind,  # type: ignore[arg-type]
        kernel=_pair(kernel),
        stride=_pair(stride or kernel),
        padding=_pair(padding),
        dilation=_pair(dilation),
    )
    _, height, width = b.shapes[source]
    return replace(pool, ceil=b.map_shape(node)[1:] != pool.size((height, width)))


def _max_pool(b: Builder, node: FxNode) -> None:
    stride, padding = argument(node, 2, "stride", None), argument(node, 3, "padding", 0)
    _pool(b, node, "max", node.args[1], stride, padding, argument(node, 4, "dilation", 1))


def _avg_pool(b: Builder, node: FxNode) -> None:
    kernel, stride = _pair(node.args[1]), argument(node, 2, "stride", None)
    padding = _pair(argument(node, 3, "padding", 0))
    counted = argument(node, 5, "count_include_pad", True) and padding != (0, 0)
    divisor = argument(node, 6, "divisor_override", None)
    if not counted and divisor is None:
        _pool(b, node, "avg", kernel, stride, padding)
        return
    # A fixed weight: each window is divided by the same number.
    pool = _window(b, node, "avg", kernel, stride, padding)
    if pool.ceil:
        raise UserError(
            f"The average-pool {node.name} rounds its size up and counts its padding or has a "
            "divisor of its own, which is not supported."
        )
    channels = b.shapes[pool.input][0]
    weight = torch.full((channels, 1, *kernel), 1 / (divisor or math.prod(kernel)))
    how = {"stride": pool.stride, "padding": padding, "groups": channels}
    relu = not b.signed(pool.input)
    b.add_fixed(node.name, pool.input, weight, node, b.map_shape(node), relu=relu, **how)


def _adaptive_pool(b: Builder, node: FxNode) -> None:
    source = b.source(node.args[0])
    out, size = _pair(node.args[1]), b.shapes[source][1:]
    if size == out:
        b.alias[node] = source
        return
    if any(before % after for before, after in zip(size, out, strict=True)):
        _uneven_pool(b, node, source, out)
    else:
        _pool(b, node, "avg", (size[0] // out[0], size[1] // out[1]))


def _uneven_pool(b: Builder, node: FxNode, source: str, out: tuple[int, int]) -> None:
    """Right before a flattening a fixed layer over the whole map, which makes the vector that this
    would; else a pool."""
    channels, *size = b.shapes[source]
    flat = (channels * math.prod(out),)
    if any(user.meta["val"].shape[1:] != flat for user in node.users):
        b.add(Pool(node.name, source, "avg", (1, 1), (1, 1), out=out), (channels, *out), node)
        return
    rows, columns = (
        functional.adaptive_avg_pool1d(torch.eye(before)[None], after)[0].T
        for before, after in zip(size, out, strict=True)
    )
    windows = torch.einsum("ih,jw->ijhw", rows, columns).flatten(0, 1)[:, None]
    weight, relu = windows.repeat(channels, 1, 1, 1), not b.signed(source)
    b.add_fixed(node.name, source, weight, node, (*flat, 1, 1), groups=channels, relu=relu)


def _mean(b: Builder, node: FxNode) -> None:
    dims = argument(node, 1, "dim", None) or ()
    rank = len(node.args[0].meta["val"].shape)  # type: ignore[union-attr]
    if rank != 4 or sorted(d % rank for d in dims) != [2, 3]:
        raise UserError(
            f"The mean {node.name} is not over height and width, which is not supported."
        )
    source = b.source(node.args[0])
    size = b.shapes[source][1:]
    b.add(Pool(node.name, source, "avg", size, size), b.map_shape(node), node)


def _same(b: Builder, node: FxNode) -> None:
    """Flattening, dropout and the like: nothing happens to the numbers; others may move them."""
    source: FxNode = node.args[0]  # type: ignore[assignment]
    before, after = source.meta["val"].shape, node.meta["val"].shape
    flattening = after in (before, (before[0], math.prod(before[1:])))
    if flattening and (source not in b.pending or len(before) == 4):
        b.alias[node] = b.source(source)
    else:
        _move(b, node)


def _typed(b: Builder, node: FxNode) -> None:
    """A conversion to what an activation already is."""
    if node.meta["val"].dtype != node.args[0].meta["val"].dtype:  # type: ignore[union-attr]
        raise UserError(f"{node.name} converts to another type, which is not supported.")
    _same(b, node)


def _move(b: Builder, node: FxNode) -> None:
    """The operator itself moves the numbers, on from where those before it left them."""
    source: FxNode = node.args[0]  # type: ignore[assignment]
    if source in b.pending:
        origin, before, numbers = b.pending[source]
    else:
        b.source(source)
        origin = source
        before = numbers = numbered(tuple(source.meta["val"].shape))
    moved = node.target(numbers, *node.args[1:], **node.kwargs)  # type: ignore[operator]
    b.pending[node] = (origin, before, moved)


def _pad(b: Builder, node: FxNode) -> None:
    if argument(node, 2, "mode", "constant") != "constant" or argument(node, 3, "value", 0):
        raise UserError(
            f"{node.name} pads with more than zeros; every k-th row and column, whole channels and "
            "zeros around them alone are supported."
        )
    _move(b, node)


HANDLERS: dict[Any, Handler] = {
    aten.conv2d.default: _conv,
    aten.conv2d.padding: _conv,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten.group_norm.default: _group_norm,
    aten.instance_norm.default: _instance_norm,
    aten.layer_norm.default: _layer_norm,
    **ELEMENTWISE,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add,
    operator.add: _add,
    aten.cat.default: _cat,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_pool,
    aten.mean.dim: _mean,
    aten.flatten.using_ints: _same,
    aten.view.default: _same,
    aten.reshape.default: _same,
    aten.squeeze.dim: _same,
    aten.squeeze.dims: _same,
    aten.dropout.default: _same,
    aten.dropout_.default: _same,
    aten.feature_dropout.default: _same,
    aten.feature_dropout_.default: _same,
    aten.contiguous.default: _same,
    aten.clone.default: _same,
    aten.alias.default: _same,
    aten.to.dtype: _typed,
    aten.detach.default: _same,
    aten.slice.Tensor: _move,
    aten.split.Tensor: _move,
    aten.split_with_sizes.default: _move,
    aten.chunk.default: _move,
    operator.getitem: _move,
    aten.transpose.int: _move,
    aten.permute.default: _move,
    aten.channel_shuffle.default: _move,
    aten.pad.default: _pad,
}

#: Those that mean the same where channels are the last dimension.
TOKEN_HANDLERS: dict[Any, Handler] = {
    **ELEMENTWISE,
    **{target: made for target, made in HANDLERS.items() if made in (_linear, _add)},
}
TOKEN_HANDLERS |= dict.fromkeys((aten.dropout.default, aten.clone.default), _same)
