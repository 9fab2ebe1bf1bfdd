"""Operators that change their input in place, replaced by those that do not."""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.fx import Graph as FxGraph
from torch.fx import Node as FxNode

from ..core.errors import UserError
from . import floats
from .builder import writes

aten = torch.ops.aten
#: Give back their input where nothing is trained, though their schema does not say so.
_SAME = (aten.dropout.default, aten.feature_dropout.default)


def without_writes(
    graph: FxGraph,
    constants: Collection[FxNode],
    is_fixed: Callable[[FxNode, Collection[FxNode]], bool],
) -> None:
    """Replace operators that change their input in place by those that do not, in place.

    What depends on `constants` alone, as `is_fixed` has it, stays: it is computed once, in order.

    Raises:
        UserError: a view of what is changed, made before, is read after.
    """
    order = {node: index for index, node in enumerate(graph.nodes)}
    fixed = set(constants)
    for node in list(graph.nodes):
        if node.op == "call_function" and is_fixed(node, fixed):
            fixed.add(node)
        if node.op != "call_function" or node in fixed or not writes(node):
            continue
        changed: FxNode = node.args[0]
        place = order[node]
        seen = [one for one in _views(changed) if one is not changed and order[one] < place]
        if any(order[user] > place for one in seen for user in one.users):
            raise UserError(f"{node.name} changes a slice in place, which is not supported.")
        node.target = _without_write(node)
        for user in [user for user in changed.users if order[user] > place]:
            user.replace_input_with(changed, node)


def _without_write(node: FxNode) -> Any:
    """The operator that computes the same and leaves its input as it is."""
    packet, overload = str(node.target).removeprefix("aten.").split(".")
    made = getattr(getattr(aten, packet.removesuffix("_"), None), overload, None)
    if made is None:
        raise floats.refuse(node.target, node)
    return made


def _views(node: FxNode) -> set[FxNode]:
    """Nodes that share their numbers with a node, itself included."""
    found, waiting = {node}, [node]
    while waiting:
        one = waiting.pop()
        near = [user for user in one.users if _looks_at(user, one)]
        near += [source for source in one.all_input_nodes if _looks_at(one, source)]
        waiting += [other for other in near if other not in found]
        found.update(near)
    return found


def _looks_at(node: FxNode, source: FxNode) -> bool:
    """Whether a node is the same numbers as one it reads, or some of them."""
    if not node.args or node.args[0] is not source or writes(node):
        return False
    if node.target in _SAME or node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.arguments[0].alias_info is not None
