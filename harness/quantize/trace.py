"""From an ordinary PyTorch module to a `Graph`.

The module is captured by `torch.export`; what is left to do here is to recognise a few ATen
operators and to fold ReLU, residual sums and flattening into their neighbours. Anything else is an
error that names the node.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node as FxNode

from ..errors import UserError
from .graph import Activation, Conv, Graph, Node, Pool
from .selection import Selection

aten = torch.ops.aten


@dataclass(frozen=True)
class Norm:
    """Names of a batch norm's tensors in the module, and its epsilon."""

    weight: str | None
    bias: str | None
    mean: str
    var: str
    eps: float


@dataclass
class Traced:
    """A graph before folding, and where its numbers are in the module.

    Attributes:
        graph: operations; every activation still float.
        biases: parameter name of each layer's bias, or None, by layer name.
        norms: the batch norm that follows a layer, by layer name.
        constants: weights that the module has no parameter for, by the name the graph gives them.
    """

    graph: Graph
    biases: dict[str, str | None]
    norms: dict[str, Norm]
    constants: dict[str, Tensor]


@dataclass
class _Builder:
    names: dict[str, str]  # placeholder -> parameter or buffer name
    nodes: list[Node] = field(default_factory=list)
    shapes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    alias: dict[FxNode, str] = field(default_factory=dict)  # fx node -> activation name
    biases: dict[str, str | None] = field(default_factory=dict)
    norms: dict[str, Norm] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    pending: dict[FxNode, tuple[FxNode, Selection]] = field(default_factory=dict)

    def parameter(self, node: object) -> str | None:
        return self.names[node.name] if isinstance(node, FxNode) else None

    def source(self, node: Any) -> str:
        if node in self.pending:
            _select(self, node, *self.pending.pop(node))
        if node not in self.alias:
            raise UserError(
                f"The operation that makes {node} is not supported in a quantized graph."
            )
        return self.alias[node]

    def producer(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def only_reader(self, node: FxNode) -> bool:
        return len(node.users) == 1

    def change(self, name: str, **fields: object) -> None:
        index = next(i for i, node in enumerate(self.nodes) if node.name == name)
        self.nodes[index] = replace(self.nodes[index], **fields)  # type: ignore[arg-type]


def _pair(value: Any) -> tuple[int, int]:
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return (values[0], values[-1])


def _argument(node: FxNode, index: int, default: Any) -> Any:
    return node.args[index] if len(node.args) > index else default


def _map_shape(node: FxNode) -> tuple[int, int, int]:
    shape = [int(size) for size in node.meta["val"].shape[1:]]
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def _add_layer(b: _Builder, node: FxNode, conv: Conv, bias: object) -> None:
    b.nodes.append(conv)
    b.biases[conv.name] = b.parameter(bias)
    b.shapes[conv.name] = _map_shape(node)
    b.alias[node] = conv.name


def _conv(b: _Builder, node: FxNode) -> None:
    weight = b.parameter(node.args[1])
    shape = node.args[1].meta["val"].shape  # type: ignore[union-attr]
    assert weight is not None
    padding = _argument(node, 4, 0)
    if isinstance(padding, str):
        raise UserError(f"The convolution {node.name} pads by name ({padding!r}); use numbers.")
    conv = Conv(
        name=weight.removesuffix(".weight"),
        input=b.source(node.args[0]),
        shape=tuple(int(size) for size in shape),  # type: ignore[arg-type]
        weight=weight,
        stride=_pair(_argument(node, 3, 1)),
        padding=_pair(padding),
        dilation=_pair(_argument(node, 5, 1)),
        groups=_argument(node, 6, 1),
    )
    _add_layer(b, node, conv, _argument(node, 2, None))


def _linear(b: _Builder, node: FxNode) -> None:
    weight = b.parameter(node.args[1])
    assert weight is not None
    source = b.source(node.args[0])
    channels, height, width = b.shapes[source]
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
    _add_layer(b, node, conv, _argument(node, 2, None))


def _batch_norm(b: _Builder, node: FxNode) -> None:
    source = b.source(node.args[0])
    layer = b.producer(source)
    if not isinstance(layer, Conv) or layer.relu or source in b.norms:
        raise UserError(
            f"The batch norm {node.name} does not follow a convolution; it cannot be folded."
        )
    fx_source = node.args[0]
    if not b.only_reader(fx_source):  # type: ignore[arg-type]
        raise UserError(
            f"The convolution {source} is read by more than its batch norm {node.name}."
        )
    weight, bias, mean, var = (b.parameter(arg) for arg in node.args[1:5])
    assert mean is not None
    assert var is not None
    b.norms[source] = Norm(weight, bias, mean, var, float(node.args[7]))  # type: ignore[arg-type]
    b.alias[node] = source


def _relu(b: _Builder, node: FxNode) -> None:
    source = b.source(node.args[0])
    layer = b.producer(source)
    if not isinstance(layer, Conv) or not b.only_reader(node.args[0]):  # type: ignore[arg-type]
        raise UserError(f"The ReLU {node.name} does not follow a layer that only it reads.")
    b.change(source, relu=True)
    b.alias[node] = source


def _add(b: _Builder, node: FxNode) -> None:
    """A residual sum goes into the later of the two branches, if that is a plain convolution."""
    first, second = node.args[0], node.args[1]
    if node.kwargs.get("alpha", 1) != 1:
        raise UserError(f"The sum {node.name} scales one side (alpha), which is not supported.")
    if b.shapes[b.source(first)] != b.shapes[b.source(second)]:
        raise UserError(f"The sum {node.name} broadcasts one side, which is not supported.")
    order = ["input", *(made.name for made in b.nodes)]
    candidates = [(second, first), (first, second)]
    candidates.sort(key=lambda pair: -order.index(b.source(pair[0])))
    for branch, other in candidates:
        layer = b.producer(b.source(branch))
        free = isinstance(layer, Conv) and not layer.relu and layer.residual is None
        if free and b.only_reader(branch):  # type: ignore[arg-type]
            b.change(b.source(branch), residual=b.source(other))
            b.alias[node] = b.source(branch)
            return
    raise UserError(
        f"Neither side of the sum {node.name} is a convolution that it can be folded into."
    )


def _pool(b: _Builder, node: FxNode, kind: str, kernel: Any, stride: Any, padding: Any) -> None:
    b.nodes.append(
        Pool(
            name=node.name,
            input=b.source(node.args[0]),
            kind=kind,  # type: ignore[arg-type]
            kernel=_pair(kernel),
            stride=_pair(stride or kernel),
            padding=_pair(padding),
        )
    )
    b.shapes[node.name] = _map_shape(node)
    b.alias[node] = node.name


def _max_pool(b: _Builder, node: FxNode) -> None:
    if _pair(_argument(node, 4, 1)) != (1, 1) or _argument(node, 5, False):
        raise UserError(
            f"The max-pool {node.name} is dilated or in ceil mode, which is not supported."
        )
    _pool(b, node, "max", node.args[1], _argument(node, 2, None), _argument(node, 3, 0))


def _avg_pool(b: _Builder, node: FxNode) -> None:
    padding = _pair(_argument(node, 3, 0))
    counted = _argument(node, 5, True) and padding != (0, 0)
    if _argument(node, 4, False) or counted or _argument(node, 6, None):
        raise UserError(
            f"The average-pool {node.name} is in ceil mode, counts its padding or has a divisor of "
            "its own, which is not supported."
        )
    _pool(b, node, "avg", node.args[1], _argument(node, 2, None), padding)


def _adaptive_pool(b: _Builder, node: FxNode) -> None:
    if _pair(node.args[1]) != (1, 1):
        raise UserError(
            f"The adaptive pool {node.name} does not reduce to 1x1, which is not supported."
        )
    _, height, width = b.shapes[b.source(node.args[0])]
    _pool(b, node, "avg", (height, width), (height, width), 0)


def _mean(b: _Builder, node: FxNode) -> None:
    if sorted(d % 4 for d in node.args[1]) != [2, 3]:  # type: ignore[operator,union-attr]
        raise UserError(
            f"The mean {node.name} is not over height and width, which is not supported."
        )
    _, height, width = b.shapes[b.source(node.args[0])]
    _pool(b, node, "avg", (height, width), (height, width), 0)


def _same(b: _Builder, node: FxNode) -> None:
    """Flattening, dropout and the like: nothing happens to the numbers."""
    source = b.source(node.args[0])
    before = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    after = node.meta["val"].shape
    if after != before and after != (before[0], math.prod(before[1:])):
        raise UserError(
            f"The reshape {node.name} from {list(before)} to {list(after)} is not a flattening, "
            "which alone is supported."
        )
    b.alias[node] = source


def _pending(b: _Builder, node: FxNode) -> tuple[FxNode, Selection]:
    """What a slice or a pad selects from, through those before it."""
    source: FxNode = node.args[0]  # type: ignore[assignment]
    return b.pending.get(source, (source, Selection()))


def _slice(b: _Builder, node: FxNode) -> None:
    origin, selection = _pending(b, node)
    shape = node.args[0].meta["val"].shape  # type: ignore[union-attr]
    size = int(shape[_argument(node, 1, 0)])
    _keep(b, node, origin, selection.sliced(size, *node.args[1:]))  # type: ignore[arg-type]


def _pad(b: _Builder, node: FxNode) -> None:
    origin, selection = _pending(b, node)
    _keep(b, node, origin, selection.padded(*node.args[1:]))  # type: ignore[arg-type]


def _keep(b: _Builder, node: FxNode, origin: FxNode, selection: Selection | None) -> None:
    if selection is None or len(node.meta["val"].shape) != 4:
        raise UserError(
            f"{node.name} does more than take every k-th row and column or pad with zero channels, "
            "which alone is supported."
        )
    b.pending[node] = (origin, selection)


def _select(b: _Builder, node: FxNode, origin: FxNode, selection: Selection) -> None:
    """A selection becomes a convolution that nothing is sampled for."""
    source = b.source(origin)
    if selection.keeps_all:
        b.alias[node] = source
        return
    weight = selection.weight(b.shapes[source][0])
    b.constants[f"{node.name}.weight"] = weight
    layer = b.producer(source)
    conv = Conv(
        name=node.name,
        input=source,
        shape=tuple(weight.shape),  # type: ignore[arg-type]
        weight=f"{node.name}.weight",
        stride=selection.stride,
        # What a ReLU left is not negative: it changes nothing here, and keeps the map unsigned.
        relu=isinstance(layer, Conv) and layer.relu,
    )
    _add_layer(b, node, conv, None)


HANDLERS: dict[Any, Callable[[_Builder, FxNode], None]] = {
    aten.conv2d.default: _conv,
    aten.linear.default: _linear,
    aten.batch_norm.default: _batch_norm,
    aten.relu.default: _relu,
    aten.relu_.default: _relu,
    aten.add.Tensor: _add,
    aten.add_.Tensor: _add,
    operator.add: _add,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.adaptive_avg_pool2d.default: _adaptive_pool,
    aten.mean.dim: _mean,
    aten.flatten.using_ints: _same,
    aten.view.default: _same,
    aten.reshape.default: _same,
    aten.dropout.default: _same,
    aten.dropout_.default: _same,
    aten.contiguous.default: _same,
    aten.alias.default: _same,
    aten.slice.Tensor: _slice,
    aten.pad.default: _pad,
}


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> Traced:
    """Capture a module.

    Args:
        module: an image classifier of convolutions, linear layers, batch norm, ReLU, pooling,
            residual sums, shortcuts that take every k-th pixel and pad with zero channels, flatten
            and dropout. It is put into evaluation mode.
        input_shape: (C, H, W) of one image.

    Raises:
        UserError: an operation is not supported; the message names the node.
    """
    example = torch.zeros(2, *input_shape)
    try:
        exported = torch.export.export(module.eval(), (example,), strict=False)
    except Exception as reason:  # torch.export raises many kinds
        raise UserError(
            f"{type(module).__name__} cannot be captured by torch.export on images of shape "
            f"{input_shape}: {str(reason).splitlines()[0]}"
        ) from reason
    signature = exported.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    builder = _Builder(names=dict(names))
    output = ""
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            if node.name in signature.user_inputs:
                builder.alias[node] = "input"
                builder.shapes["input"] = input_shape
        elif node.op == "output":
            output = builder.source(node.args[0][0])
        elif node.target in HANDLERS:
            HANDLERS[node.target](builder, node)
        else:
            raise UserError(
                f"{type(module).__name__} uses {node.target} (node {node.name}), which a quantized "
                "graph does not support."
            )
    activations = {name: Activation(shape) for name, shape in builder.shapes.items()}
    graph = Graph("input", output, tuple(_ordered(builder.nodes)), activations)
    return Traced(graph, builder.biases, builder.norms, builder.constants)


def _ordered(nodes: list[Node]) -> list[Node]:
    """Execution order: folding a sum may have made a layer read what is computed after it."""
    done, order, waiting = {"input"}, [], list(nodes)
    while waiting:
        for node in waiting:
            needs = {node.input} | (
                {node.residual} if isinstance(node, Conv) and node.residual else set()
            )
            if needs <= done:
                break
        else:
            raise UserError(f"The graph has a cycle through {waiting[0].name}.")
        waiting.remove(node)
        done.add(node.name)
        order.append(node)
    return order
