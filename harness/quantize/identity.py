"""A digest of what a network computes: what stands in the key of records for its source code.

It is taken of the operators that `torch.export` captures, with their arguments, and of constants by
their content; of parameters and buffers only names, types and shapes, for their numbers are the
posterior's, which has a hash of its own. Names of nodes take no part, nor does anything that one
process has and another has not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx import Node as FxNode

from ..core.errors import UserError
from ..core.whole import content_hash
from ..machine.torch_state import plain
from .trace import export

#: Operators that check and compute nothing; versions of PyTorch differ in them.
_CHECKS = ("aten._assert", "aten.sym_", "aten._functional_assert", "profiler.")


@plain
def network_digest(module: nn.Module, input_shape: tuple[int, int, int]) -> str:
    """64 hex digits of what a network computes.

    Args:
        module: an image classifier. It is put into evaluation mode.
        input_shape: (C, H, W) of one image.

    Raises:
        UserError: it cannot be captured.
    """
    try:
        exported = export(module, input_shape)
    except UserError:
        exported = export(module, input_shape, batch=1)
    signature = exported.graph_signature
    state = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    lost = set(signature.non_persistent_buffers)
    constants = {
        node: exported.constants[name]
        for node, name in {**state, **signature.inputs_to_lifted_tensor_constants}.items()
        if node not in state or name in lost
    }
    named = {
        node: [name, str(exported.state_dict[name].dtype), list(exported.state_dict[name].shape)]
        for node, name in state.items()
        if name not in lost
    }
    graph = _Described(named, constants)
    lines = graph.lines(exported.graph_module)
    return content_hash(json.dumps([list(input_shape), lines]), graph.arrays)


class _Described:
    """What is written of graphs: the nodes in their order, and constants by a number."""

    def __init__(self, named: Mapping[str, list[Any]], constants: Mapping[str, Any]) -> None:
        self.named, self.constants = named, constants
        self.arrays: dict[str, memoryview] = {}

    def lines(self, module: GraphModule) -> list[Any]:
        """A line for each node but those that only check."""
        place: dict[FxNode, int] = {}
        found = []
        for node in module.graph.nodes:
            if str(node.target).startswith(_CHECKS):
                continue
            found.append(self._line(module, node, place))
            place[node] = len(place)
        return found

    def _line(self, module: GraphModule, node: FxNode, place: Mapping[FxNode, int]) -> list[Any]:
        if node.op == "placeholder":
            if node.name in self.constants:
                return ["constant", self._constant(self.constants[node.name])]
            return ["input", self.named.get(node.name, [])]
        if node.op == "get_attr":
            found = getattr(module, str(node.target))
            if isinstance(found, GraphModule):
                return ["graph", self.lines(found)]
            return ["constant", self._constant(found)]
        arguments = [_plain(node.args, place), _plain(dict(node.kwargs), place)]
        return [node.op, "" if node.op == "output" else _name(node.target), *arguments]

    def _constant(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return [type(value).__name__, _plain(value, {})]
        number = str(len(self.arrays))
        own = value.detach().cpu().contiguous()
        self.arrays[number] = own.reshape(-1).view(torch.uint8).numpy().data
        return [number, str(own.dtype), list(own.shape)]


def _name(target: Any) -> str:
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    return f"{getattr(target, '__module__', '')}.{getattr(target, '__name__', target)}"


def _plain(value: Any, place: Mapping[FxNode, int]) -> Any:
    """Arguments as JSON types; a node by its place."""
    if isinstance(value, FxNode):
        return {"node": place.get(value, -1)}
    if isinstance(value, (list, tuple)):
        return [_plain(one, place) for one in value]
    if isinstance(value, dict):
        return {"of": [[str(key), _plain(one, place)] for key, one in value.items()]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (torch.dtype, torch.device, torch.layout, torch.memory_format)):
        return {"torch": str(value)}
    return {"kind": type(value).__name__, "value": str(value) if isinstance(value, complex) else ""}
