"""A graph in float arithmetic, with PyTorch's own operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from .graph import Conv, Graph, Pool, reads

Weights = Mapping[str, tuple[Tensor, Tensor]]  # layer name -> weight [O, I, KH, KW], bias [O]


def forward(
    graph: Graph,
    weights: Weights,
    x: Tensor,
    observe: Callable[[str, Tensor], None] | None = None,
) -> Tensor:
    """Logits [N, classes] of images x [N, C, H, W], in x's dtype.

    Args:
        graph: the operations.
        weights: of every layer, in x's dtype.
        x: images, any memory format.
        observe: called with every activation's name and value, the input's first.
    """
    values = {graph.input: x}
    last = {name: index for index, node in enumerate(graph.nodes) for name in reads(node)}
    if observe:
        observe(graph.input, x)
    for index, node in enumerate(graph.nodes):
        source = values[node.input]
        if isinstance(node, Conv):
            values[node.name] = _layer(node, *weights[node.name], source, values)
        else:
            values[node.name] = _pool(node, source)
        if observe:
            observe(node.name, values[node.name])
        for name in reads(node):
            if last[name] == index and name != graph.output:
                values.pop(name, None)
    return values[graph.output].flatten(1)


def _layer(
    conv: Conv, weight: Tensor, bias: Tensor, x: Tensor, values: dict[str, Tensor]
) -> Tensor:
    if covers_input(conv, tuple(x.shape[2:])):
        y = functional.linear(x.flatten(1), weight.flatten(1), bias)[:, :, None, None]
    else:
        y = functional.conv2d(
            x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups
        )
    if conv.residual is not None:
        y = y.add_(values[conv.residual])
    return torch.relu_(y) if conv.relu else y


def covers_input(conv: Conv, size: tuple[int, ...]) -> bool:
    """Whether the kernel is as large as its input map (H, W): a linear layer."""
    return size == conv.shape[2:] and conv.padding == (0, 0) and conv.groups == 1


def _pool(pool: Pool, x: Tensor) -> Tensor:
    if pool.kind == "max":
        return functional.max_pool2d(x, pool.kernel, pool.stride, pool.padding)
    return functional.avg_pool2d(x, pool.kernel, pool.stride, pool.padding, count_include_pad=False)
