"""A graph in float arithmetic, with PyTorch's own operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from . import floats, functions
from .graph import Conv, Graph, GroupNorm, Pool, reads

Weights = Mapping[str, tuple[Tensor, Tensor]]  # layer name -> weight [O, I, KH, KW], bias [O]


def forward(
    graph: Graph,
    weights: Weights,
    x: Tensor,
    observe: Callable[[str, Tensor], None] | None = None,
    constants: Mapping[str, Tensor] | None = None,
    change: Callable[[Conv, Tensor], Tensor] | None = None,
) -> Tensor:
    """Logits [N, classes] of images x [N, C, H, W], in x's dtype.

    Args:
        graph: the operations.
        weights: of every layer, in x's dtype.
        x: images, any memory format.
        observe: called with every activation's name and value, the input's first.
        constants: what the operations of a divided network read; x is float32 there.
        change: of a layer and its input to what it reads instead.
    """
    if graph.steps:
        parts = graph.parts()

        def segment(name: str, y: Tensor) -> Tensor:
            return forward(parts[name], weights, y, observe, change=change)

        return floats.run(graph, constants or {}, x, segment)
    values = {graph.input: x}
    last = {name: index for index, node in enumerate(graph.nodes) for name in reads(node)}
    if observe:
        observe(graph.input, x)
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Conv):
            source = values[node.input] if change is None else change(node, values[node.input])
            y = _layer(node, *weights[node.name], source)
            if node.residual is not None:
                y = y.add_(values[node.residual])
            values[node.name] = rectified(node, y)
        elif isinstance(node, Pool):
            values[node.name] = pooled(node, values[node.input])
        elif isinstance(node, GroupNorm):
            values[node.name] = functional.group_norm(values[node.input], node.groups, eps=node.eps)
        else:
            sources = torch.cat([values[name] for name in node.inputs], 1)
            values[node.name] = functions.apply(node, sources)
        if observe:
            observe(node.name, values[node.name])
        for name in reads(node):
            if last[name] == index and name != graph.output:
                values.pop(name, None)
    return values[graph.output].flatten(1)


def _layer(conv: Conv, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    if covers_input(conv, tuple(x.shape[2:])):
        return functional.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    return functional.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def rectified(conv: Conv, y: Tensor) -> Tensor:
    """A layer's ReLU, in place, up to its ceiling; y where it has none."""
    if not conv.relu:
        return y
    return torch.relu_(y) if conv.ceiling is None else y.clamp_(0.0, conv.ceiling)


def covers_input(conv: Conv, size: tuple[int, ...]) -> bool:
    """Whether the kernel is as large as its input map (H, W): a linear layer."""
    return size == conv.shape[2:] and conv.padding == (0, 0) and conv.groups == 1


def pooled(pool: Pool, x: Tensor) -> Tensor:
    """A pool of maps."""
    if pool.out is not None:
        return functional.adaptive_avg_pool2d(x, pool.out)
    if pool.kind == "max":
        return functional.max_pool2d(
            x, pool.kernel, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil
        )
    return functional.avg_pool2d(
        x, pool.kernel, pool.stride, pool.padding, pool.ceil, count_include_pad=False
    )
