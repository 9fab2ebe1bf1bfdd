"""Regions that a module runs under a context of its own, taken into its graph.

`torch.export` keeps what stands under `torch.no_grad` or a switched-off `torch.autocast` as a graph
in the graph, called by a higher-order operator. For inference these contexts change no number, so
that the region's nodes can stand where it was called.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch.fx import Graph as FxGraph
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from .builder import writes

_GRAD = torch.ops.higher_order.wrap_with_set_grad_enabled
_AUTOCAST = torch.ops.higher_order.wrap_with_autocast


def inline_regions(module: GraphModule) -> None:
    """Replace the calls of such regions in a module's graph by their nodes, in place, and drop
    what nothing reads.

    A region under an autocast that is switched on stays: its numbers have another type.
    """
    graph: FxGraph = module.graph
    for node in list(graph.nodes):
        found = _region(node, module)
        if found is not None:
            region, given = found
            inline_regions(region)
            _inline(graph, node, region.graph, given)
    graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output") or writes(node))


def _region(node: FxNode, module: GraphModule) -> tuple[GraphModule, tuple[Any, ...]] | None:
    """The region that a node calls, and what it gives to it."""
    if node.target is _GRAD:
        _, region, *given = node.args
    elif node.target is _AUTOCAST and not node.args[2]:
        _, _, _, _, region, *given = node.args
    else:
        return None
    return getattr(module, region.target), tuple(given)  # type: ignore[union-attr, arg-type]


def _inline(graph: FxGraph, node: FxNode, region: FxGraph, given: tuple[Any, ...]) -> None:
    inside = dict(zip(region.find_nodes(op="placeholder"), given, strict=True))
    with graph.inserting_before(node):
        made = graph.graph_copy(region, inside)
    for user in list(node.users):
        if user.target is operator.getitem and isinstance(made, (tuple, list)):
            user.replace_all_uses_with(made[user.args[1]])  # type: ignore[index]
            graph.erase_node(user)
    if node.users:
        node.replace_all_uses_with(made)  # type: ignore[arg-type]
    graph.erase_node(node)
