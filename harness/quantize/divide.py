"""From a module that no graph holds whole to a graph in steps.

The module is captured for one image, so that every number in it is a constant whatever the batch.
From each convolution or linear layer on, as many operators as `operators` knows are taken into a
segment, until it ends in a layer again and nothing else in it is read from outside: a segment reads
one value and makes one. A linear layer on tokens [..., C] is a 1×1 convolution over positions. All
that remains stays float (`floats`).
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node as FxNode

from ..core.errors import UserError
from . import floats
from .builder import Builder, Norm
from .graph import Activation, Conv, Graph, Node, Operation, Segment, Step, reads
from .in_place import without_writes
from .operators import HANDLERS, TOKEN_HANDLERS
from .trace import Traced, export, ordered, output_of

aten = torch.ops.aten
LAYERS = (aten.conv2d.default, aten.conv2d.padding, aten.linear.default)
#: Say nothing of numbers, or of a GPU.
_IGNORED = ("memory_format", "layout", "device", "pin_memory", "non_blocking", "copy")
#: Look at the shape of what they read alone.
_OF_SHAPE = (
    aten.new_zeros.default,
    aten.new_ones.default,
    aten.new_full.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
)


def divide(
    module: nn.Module,
    input_shape: tuple[int, int, int],
    tensors: Mapping[str, Tensor],
    sampled: Collection[str] = (),
) -> Traced:
    """Capture a module in steps.

    Args:
        module: an image classifier. It is put into evaluation mode.
        input_shape: (C, H, W) of one image.
        tensors: parameters and buffers by name, for what is made of them alone.
        sampled: parameters that have a σ: a layer of such weights is one though all that it reads
            is the same for every image, such as the embedding of a position.

    Raises:
        UserError: the module cannot be captured, has an operator that cannot stay float either, or
            makes no logits; the message names the node.
    """
    return _Division(module, input_shape, tensors, sampled).traced()


class _Division:
    def __init__(
        self,
        module: nn.Module,
        input_shape: tuple[int, int, int],
        tensors: Mapping[str, Tensor],
        sampled: Collection[str],
    ) -> None:
        exported = export(module, input_shape, batch=1)
        signature = exported.graph_signature
        self.names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        lifted = signature.inputs_to_lifted_tensor_constants
        known = {**exported.constants, **tensors}  # a state dict lacks some buffers
        self.nodes = [node for node in exported.graph.nodes if node.op == "call_function"]
        self.place = {node: index for index, node in enumerate(self.nodes)}
        #: Of nodes that are the same for every image, and the parameters they are made of.
        self.fixed: dict[FxNode, Any] = {}
        self.origins: dict[FxNode, frozenset[str]] = {}
        self.value: dict[FxNode, str] = {}
        for node in exported.graph.find_nodes(op="placeholder"):
            if node.name in signature.user_inputs:
                self.value[node] = "input"
            else:
                name = {**self.names, **lifted}[node.name]
                self.fixed[node], self.origins[node] = known[name], frozenset({name})
        #: Weights that no number is computed of before they are drawn.
        self.drawn = {node for node in self.fixed if self.origins[node] & set(sampled)}
        without_writes(
            exported.graph, self.fixed, lambda node, fixed: _is_fixed(node, fixed, self.drawn)
        )
        self.output = output_of(exported, module)
        self.live = _leads_to(self.output) | {exported.graph.output_node()}
        self.computed: dict[str, FxNode] = {}  # those of them that operators made
        self.taken = {"input"}
        self.inside: set[FxNode] = set()
        self.steps: list[Step] = []
        self.graph_nodes: list[Node] = []
        self.activations = {"input": Activation(input_shape)}
        self.biases: dict[str, str | None] = {}
        self.norms: dict[str, Norm] = {}
        self.constants: dict[str, Tensor] = {}
        self.floats: dict[str, Tensor] = {}
        self.float_origins: dict[str, frozenset[str]] = {}

    def traced(self) -> Traced:
        """All steps."""
        for node in self.nodes:
            if _is_fixed(node, self.fixed, self.drawn):
                self._fix(node)
            elif node in self.live and node not in self.inside and not self._segment(node):
                self._operation(node)
        output = self._logits()
        graph = Graph("input", output, tuple(self.graph_nodes), self.activations, tuple(self.steps))
        return Traced(
            graph, self.biases, self.norms, self.constants, self.floats, self.float_origins
        )

    def _fix(self, node: FxNode) -> None:
        """What no image changes is computed here."""

        def known(source: FxNode) -> Any:
            if source in self.fixed:
                return self.fixed[source]
            image = source.meta["val"]
            return torch.empty(tuple(image.shape), dtype=image.dtype)

        args, kwargs = torch.fx.map_arg((node.args, node.kwargs), known)
        with torch.no_grad():
            self.fixed[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        sources = (self.origins.get(source, frozenset()) for source in node.all_input_nodes)
        self.origins[node] = frozenset().union(*sources)
        name = _layer_tensor(node)
        if name is None or name in self.computed or name in self.names.values():
            name = node.name
        self.names[node.name] = name
        self.computed[name] = node

    def _segment(self, start: FxNode) -> bool:
        """Whether a segment begins with a node; then it is there."""
        found = self._grow(start) if start.target in LAYERS else None
        if found is None:
            return False
        members, end, tokens = found
        source: FxNode = start.args[0]  # type: ignore[assignment]
        builder = self._builder(source, tokens)
        for node in members:
            _handle(builder, node)
        nodes = [_marked(node, builder.constants) for node in ordered(builder)]
        name = builder.alias[end]
        shape = tuple(int(size) for size in end.meta["val"].shape)
        value = self._value(source)
        self.steps.append(Segment(name, value, builder.input, len(nodes), shape, tokens))
        self.graph_nodes += nodes
        for made, size in builder.shapes.items():
            self.activations[made] = Activation(size)
        self.biases |= builder.biases
        self.norms |= builder.norms
        self.constants |= builder.constants
        self._use_computed(builder)
        self.taken |= set(builder.shapes)
        self.inside |= set(members)
        self.value[end] = name
        return True

    def _value(self, source: FxNode) -> str:
        """The value that a segment reads; of what is the same for every image, a copy."""
        if source not in self.value:
            name = self.value[source] = self._unique(f"{source.name}.copy")
            self.taken.add(name)
            shape = tuple(int(size) for size in source.meta["val"].shape)
            step = Operation(name, "aten.clone.default", [self._encoded(source)], shape)
            self.steps.append(step)
        return self.value[source]

    def _use_computed(self, builder: Builder) -> None:
        """What a segment has that is made of parameters is a constant of it."""
        names = [node.weight for node in builder.nodes if isinstance(node, Conv)]
        names += [name for name in builder.biases.values() if name is not None]
        for norm in builder.norms.values():
            names += [name for name in (norm.weight, norm.bias, norm.mean, norm.var) if name]
        for name in self.computed.keys() & names:
            self.constants[name] = _stored(self.fixed[self.computed[name]])
            self.float_origins[name] = self.origins[self.computed[name]]

    def _builder(self, source: FxNode, tokens: bool) -> Builder:
        """Of a segment that reads a value."""
        name = self._unique(f"{self.value.get(source, source.name)}.quantized")
        builder = Builder(self.names, name, tokens, self.taken)
        builder.alias[source] = name
        builder.shapes[name] = builder.map_shape(source)
        return builder

    def _grow(self, start: FxNode) -> tuple[list[FxNode], FxNode, bool] | None:
        """The nodes of the largest segment that begins with a layer, the last of them that is read
        outside, and whether it has tokens; None if no segment begins there."""
        source = start.args[0]
        if not isinstance(source, FxNode):
            return None
        shape = tuple(source.meta["val"].shape)
        if start.target is aten.linear.default:
            tokens = len(shape) != 2 or shape[0] != 1
        elif len(shape) == 4 and shape[0] == 1:
            tokens = False
        else:
            return None
        builder = self._builder(source, tokens)
        members: dict[FxNode, None] = {}
        best: tuple[list[FxNode], FxNode, bool] | None = None
        for node in self.nodes[self.place[start] :]:
            ready = node is start or self._may_join(node, members, source)
            if node in self.inside or not ready:
                continue
            try:
                _handle(builder, node)
            except UserError:
                if node is start:
                    return None
                continue
            members[node] = None
            end = self._end(builder, members)
            if end is not None:
                best = (list(members), end, tokens)
        return best

    def _may_join(self, node: FxNode, members: Mapping[FxNode, None], source: FxNode) -> bool:
        """Whether all that a node reads is there, and it is needed."""
        read = [one for one in node.all_input_nodes if one not in self.fixed]
        there = bool(read) and all(one in members or one is source for one in read)
        return there and node in self.live

    def _end(self, builder: Builder, members: Mapping[FxNode, None]) -> FxNode | None:
        """The one node that is read outside, if a layer makes it that nothing inside reads."""
        outside = [
            node
            for node in members
            if any(user in self.live and user not in members for user in node.users)
        ]
        if len(outside) != 1 or outside[0] not in builder.alias:
            return None
        name = builder.alias[outside[0]]
        layer = builder.producer(name)
        plain = isinstance(layer, Conv) and layer.residual is None
        if not plain or any(name in reads(other) for other in builder.nodes):
            return None
        return outside[0] if builder.map_shape(outside[0]) == builder.shapes[name] else None

    def _operation(self, node: FxNode) -> None:
        """It stays float."""
        target = floats.GETITEM if node.target is operator.getitem else str(node.target)
        if target not in floats.TARGETS:
            raise floats.refuse(node.target, node)
        kwargs = {name: arg for name, arg in node.kwargs.items() if name not in _IGNORED}
        try:
            args, named = self._encoded(list(node.args)), self._encoded(kwargs)
        except TypeError as reason:
            raise UserError(
                f"The operation {node.name} ({target}) has the argument {reason}, which no "
                "artefact holds; replace it in the module."
            ) from reason
        found = node.meta["val"]
        single = isinstance(found, Tensor)
        metas = torch.fx.map_arg(node.args, lambda n: n.meta.get("val"))
        name = self._unique(node.name)
        self.taken.add(name)
        self.value[node] = name
        self.steps.append(
            Operation(
                name,
                target,
                args,
                tuple(int(size) for size in found.shape) if single else (),
                named,
                floats.multiply_adds(target, metas, found) if single else 0,
            )
        )

    def _encoded(self, argument: Any) -> Any:
        """An argument as JSON, what it refers to included."""
        if isinstance(argument, (list, tuple)):
            return [self._encoded(one) for one in argument]
        if isinstance(argument, dict):
            return {name: self._encoded(one) for name, one in argument.items()}
        if not isinstance(argument, FxNode):
            return floats.encode(argument)
        if argument not in self.fixed:
            return {"value": self.value[argument]}
        tensor = self.fixed[argument]
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{argument} of type {type(tensor).__name__}")
        name = self.names.get(argument.name, argument.name)
        self.floats[name] = _stored(tensor)
        self.float_origins[name] = self.origins[argument]
        return {"constant": name}

    def _logits(self) -> str:
        shape = tuple(int(size) for size in self.output.meta["val"].shape)
        if self.output not in self.value or len(shape) != 2 or shape[0] != 1:
            raise UserError(
                f"{self.output.name} is not a vector of logits; its shape is {shape} for one "
                "image; a linear layer or a pool over whole maps has to come last."
            )
        name = self.value[self.output]
        self.activations.setdefault(name, Activation((shape[1], 1, 1)))
        return name

    def _unique(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        return name


def _marked(node: Node, constants: Collection[str]) -> Node:
    """A layer that the graph added, as `fixed`, by the weights it made itself."""
    if isinstance(node, Conv) and node.weight in constants:
        return replace(node, fixed=True)
    return node


def _is_fixed(node: FxNode, fixed: Collection[FxNode], drawn: Collection[FxNode] = ()) -> bool:
    """Whether a node is the same for every image and pass, by those that are; `drawn` are weights
    that are not when a layer reads them."""
    if node.target in LAYERS and any(weight in drawn for weight in node.args[1:3]):
        return False
    return node.target in _OF_SHAPE or all(source in fixed for source in node.all_input_nodes)


def _layer_tensor(node: FxNode) -> str | None:
    """How a module would call the weight or bias that an operation computes for one of its layers,
    such as a pruned one: by the layer's name; None where no layer reads it."""
    for user in node.users:
        stack = user.meta.get("nn_module_stack")
        if user.target in LAYERS and stack and node in user.args[1:3]:
            path = list(stack.values())[-1][0]
            return f"{path}.weight" if user.args[1] is node else f"{path}.bias"
    return None


def _leads_to(output: FxNode) -> set[FxNode]:
    """The nodes that an output depends on, itself included."""
    found, waiting = {output}, [output]
    while waiting:
        near = [one for one in waiting.pop().all_input_nodes if one not in found]
        found.update(near)
        waiting += near
    return found


def _handle(builder: Builder, node: FxNode) -> None:
    handlers = TOKEN_HANDLERS if builder.tokens else HANDLERS
    if node.target not in handlers:
        raise floats.refuse(node.target, node)
    handlers[node.target](builder, node)
    builder.done.add(node)


def _stored(tensor: Tensor) -> Tensor:
    """As an artefact holds it: float32, int64 or bool."""
    if tensor.is_floating_point():
        return tensor.detach().float().contiguous()
    return tensor.detach().clone() if tensor.dtype == torch.bool else tensor.detach().long()
