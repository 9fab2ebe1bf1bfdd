"""What `trace` builds a graph with: nodes, where their numbers come from, who reads them."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node as FxNode

from ..core.errors import UserError
from .functions import signs
from .graph import Conv, Graph, Join, Node
from .selection import KeptElements, recognise

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Norm:
    """Names of a batch norm's tensors in the module, and its epsilon."""

    weight: str | None
    bias: str | None
    mean: str
    var: str
    eps: float


def writes(node: FxNode) -> bool:
    """Whether an operation changes its first argument in place."""
    schema = getattr(node.target, "_schema", None)
    alias = schema.arguments[0].alias_info if schema and schema.arguments else None
    return alias is not None and bool(alias.is_write)


@dataclass
class Builder:
    """A graph in the making.

    Attributes:
        names: parameter or buffer, by placeholder.
        input: the activation that no node makes.
        tokens: whether channels are the last dimension, and the others positions.
        taken: names that layers outside have.
        nodes: in the order of the module.
        shapes: of every activation.
        alias: the activation that holds what an operation makes.
        done: operations that were read already.
        biases: parameter name of each layer's bias, or None.
        norms: the batch norm that is folded into a layer.
        constants: weights that the module has no parameter for.
        pending: slices, splits and the like, which become a layer when they are read: what they
            move, its numbers, and where these are then.
    """

    names: dict[str, str]
    input: str = "input"
    tokens: bool = False
    taken: Collection[str] = ()
    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    alias: dict[FxNode, str] = field(default_factory=dict)
    done: set[FxNode] = field(default_factory=set)
    biases: dict[str, str | None] = field(default_factory=dict)
    norms: dict[str, Norm] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    pending: dict[FxNode, tuple[FxNode, Tensor, Any]] = field(default_factory=dict)

    def map_shape(self, node: FxNode) -> Shape:
        """(C, H, W) of what an operation makes, (C, 1, 1) of a vector, (C, positions, 1) of
        tokens."""
        shape = [int(size) for size in node.meta["val"].shape]
        if self.tokens:
            return (shape[-1], math.prod(shape[:-1]), 1)
        return (shape[1], shape[2], shape[3]) if len(shape) == 4 else (shape[1], 1, 1)

    def parameter(self, node: object) -> str | None:
        """The name of the tensor that an argument is."""
        if not isinstance(node, FxNode):
            return None
        if node.name not in self.names:
            raise UserError(
                f"{node} computes a layer's weight, which is not supported in a quantized graph."
            )
        return self.names[node.name]

    def source(self, node: Any) -> str:
        """The activation that an argument is."""
        if node in self.pending:
            self._select(node, *self.pending.pop(node))
        if node not in self.alias:
            raise UserError(
                f"The operation that makes {node} is not supported in a quantized graph."
            )
        return self.alias[node]

    def producer(self, name: str) -> Node | None:
        """The node that makes an activation; None for the input."""
        return next((node for node in self.nodes if node.name == name), None)

    def readers(self, name: str) -> set[FxNode]:
        """Operations that read an activation, those aside that left it as it is."""
        same = [node for node, alias in self.alias.items() if alias == name]
        return {user for node in same for user in node.users if self.alias.get(user) != name}

    def free(self, name: str, node: FxNode) -> bool:
        """Whether an operation may change the activation itself, since nothing reads what it was.

        What comes after an operation in place reads what that left.
        """
        later = writes(node)
        return all(r is node or (later and r not in self.done) for r in self.readers(name))

    def signed(self, name: str) -> bool:
        """Whether an activation can be negative."""
        return signs(Graph(self.input, "", tuple(self.nodes), {}))[name]

    def change(self, name: str, **fields: object) -> None:
        """Give the node that makes an activation other fields."""
        index = next(i for i, node in enumerate(self.nodes) if node.name == name)
        self.nodes[index] = replace(self.nodes[index], **fields)  # type: ignore[arg-type]

    def overwrite(self, before: str, node: FxNode) -> None:
        """An operation in place: whoever held what it changed now holds what it made."""
        for other, name in self.alias.items():
            if name == before:
                self.alias[other] = self.alias[node]

    def add(self, made: Node, shape: Shape, node: FxNode | None = None) -> None:
        """A node, and the operation that it stands for."""
        if made.name in self.shapes or made.name in self.taken:
            raise UserError(
                f"The layer {made.name} is used more than once, or its name is taken, which is not "
                "supported in a quantized graph."
            )
        self.nodes.append(made)
        self.shapes[made.name] = shape
        if node is not None:
            self.alias[node] = made.name

    def add_layer(self, conv: Conv, node: FxNode, bias: object) -> None:
        """A layer of the module."""
        self.biases[conv.name] = self.parameter(bias)
        self.add(conv, self.map_shape(node), node)

    def add_fixed(
        self,
        name: str,
        source: str,
        weight: Tensor,
        node: FxNode | None,
        shape: Shape,
        **how: Any,
    ) -> None:
        """A convolution whose weight is a constant, which nothing is sampled for."""
        key = f"{name}.weight"
        if key in self.names.values():
            key = f"{name}.fixed"
        self.constants[key] = weight
        self.biases[name] = None
        conv = Conv(name, source, tuple(weight.shape), key, **how)  # type: ignore[arg-type]
        self.add(conv, shape, node)

    def add_copy(
        self, name: str, source: str, node: FxNode | None = None, residual: str | None = None
    ) -> None:
        """A layer that changes nothing, which others can then be folded into: a fixed depthwise
        convolution of ones."""
        channels = self.shapes[source][0]
        ones = torch.ones(channels, 1, 1, 1)
        shape = self.shapes[source]
        self.add_fixed(name, source, ones, node, shape, groups=channels, residual=residual)

    def add_factors(self, node: FxNode, factor: str | None, term: str | None) -> None:
        """A depthwise layer, behind what an operation has made, of the module's parameters of
        channels that this is multiplied by, and that are added."""
        source = self.source(node)
        name = (factor or term or "").rpartition(".")[0]
        if name in ("", *self.shapes, *self.taken):
            name = f"{node.name}.factors"
        channels = self.shapes[source][0]
        shape = (channels, 1, 1, 1)
        if factor is None:
            factor = f"{name}.ones"
            self.constants[factor] = torch.ones(shape)
        self.biases[name] = term
        conv = Conv(name, source, shape, factor, groups=channels, fixed=True)
        self.add(conv, self.shapes[source], node)

    def add_join(
        self, node: FxNode, sources: tuple[str, ...], function: str, parameter: float | None
    ) -> None:
        """Activations side by side, and a function of them."""
        channels = sum(self.shapes[name][0] for name in sources)
        join = Join(node.name, sources, function, parameter)
        self.add(join, (channels, *self.shapes[sources[0]][1:]), node)

    def add_selection(
        self, name: str, source: str, selection: KeptElements, node: FxNode | None, shape: Shape
    ) -> None:
        """A convolution that nothing is sampled for.

        Raises:
            UserError: none does this.
        """
        found = selection.layer(self.shapes[source][0])
        if found is None:
            raise UserError(f"{name} takes pixels that no convolution takes.")
        weight, how = found
        # What is not negative stays so: a ReLU changes nothing here, and keeps the map unsigned.
        self.add_fixed(name, source, weight, node, shape, relu=not self.signed(source), **how)

    def _select(self, node: FxNode, origin: FxNode, before: Tensor, after: Any) -> None:
        """A selection becomes a layer."""
        source = self.source(origin)
        channels = self.shapes[source][0]
        # A flattened map is numbers, no channels.
        flat = before.dim() == 2 and self.shapes[source][1:] != (1, 1)
        selection = recognise(before, after) if isinstance(after, Tensor) and not flat else None
        if selection is None:
            raise UserError(
                f"{node.name} is not a flattening, nor does it take whole channels and every k-th "
                "row and column or pad with zeros; nothing else is supported."
            )
        if selection.keeps_all(channels):
            self.alias[node] = source
            return
        self.add_selection(node.name, source, selection, node, self.map_shape(node))
