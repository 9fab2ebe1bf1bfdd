"""From an ordinary PyTorch module to a `Graph`.

The module is captured by `torch.export`; what is left to do here is to recognise a few ATen
operators (`operators`) and to fold ReLU, residual sums and flattening into their neighbours.
Anything else is an error that names the node; `divide` is for networks that have some.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.fx import Node as FxNode

from ..core.errors import UserError, first_line, quiet
from .builder import Builder, Norm, writes
from .graph import Activation, Conv, Graph, Node, reads
from .inline import inline_regions
from .operators import HANDLERS

aten = torch.ops.aten
_DROPOUTS = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.feature_dropout.default,
    aten.feature_dropout_.default,
)


@dataclass
class Traced:
    """A graph before folding, and where its numbers are in the module.

    Attributes:
        graph: operations; every activation still float.
        biases: parameter name of each layer's bias, or None, by layer name.
        norms: the batch norm that follows a layer, by layer name.
        constants: weights that the module has no parameter for, by the name the graph gives them.
        floats: what operations that stay float read beside values, by the name they give it.
        origins: the module's parameters that each of these is made of.
    """

    graph: Graph
    biases: dict[str, str | None]
    norms: dict[str, Norm]
    constants: dict[str, Tensor]
    floats: dict[str, Tensor] = field(default_factory=dict)
    origins: dict[str, frozenset[str]] = field(default_factory=dict)


def trace(module: nn.Module, input_shape: tuple[int, int, int]) -> Traced:
    """Capture a module.

    Args:
        module: an image classifier of convolutions, linear layers, batch, group and instance norm,
            functions of one number (ReLU and its like), pooling, sums, concatenation of channels,
            shortcuts that take every k-th pixel and pad with zero channels, flatten and dropout. It
            is put into evaluation mode.
        input_shape: (C, H, W) of one image.

    Raises:
        UserError: an operation is not supported; the message names the node.
    """
    exported = export(module, input_shape)
    signature = exported.graph_signature
    builder = Builder({**signature.inputs_to_parameters, **signature.inputs_to_buffers})
    output = ""
    for node in exported.graph.nodes:
        if node.op == "placeholder":
            if node.name in signature.user_inputs:
                builder.alias[node] = "input"
                builder.shapes["input"] = input_shape
        elif node.op == "output":
            output = _logits(builder, output_of(exported, module))
        elif node.target in HANDLERS:
            _handle(builder, node)
        else:
            raise UserError(
                f"{type(module).__name__} uses {node.target} (node {node.name}), which a quantized "
                "graph does not support."
            )
    activations = {name: Activation(shape) for name, shape in builder.shapes.items()}
    graph = Graph("input", output, tuple(ordered(builder)), activations)
    return Traced(graph, builder.biases, builder.norms, builder.constants)


def export(module: nn.Module, input_shape: tuple[int, int, int], batch: int = 2) -> ExportedProgram:
    """A module in evaluation mode, as ATen operators on a batch of images.

    Raises:
        UserError: it cannot be captured.
    """
    example = torch.zeros(batch, *input_shape)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for all of an attention
    try:
        with quiet():
            exported = torch.export.export(module.eval(), (example,), strict=False)
    except Exception as reason:  # torch.export raises many kinds
        raise UserError(
            f"{type(module).__name__} cannot be captured by torch.export on images of shape "
            f"{input_shape}: {first_line(reason)}"
        ) from reason
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    inline_regions(exported.graph_module)
    for node in _of_images(exported):
        _refuse_training(node)
    return exported


def _of_images(exported: ExportedProgram) -> list[FxNode]:
    """The nodes that an image changes; the others compute weights, by a batch norm, too."""
    found: dict[FxNode, None] = {}
    for node in exported.graph.nodes:
        image = node.op == "placeholder" and node.name in exported.graph_signature.user_inputs
        if image or any(source in found for source in node.all_input_nodes):
            found[node] = None
    return list(found)


def _refuse_training(node: FxNode) -> None:
    """What goes by a flag of its own, whatever mode the module is in."""
    if node.target in _DROPOUTS and node.args[1] > 0 and node.args[2]:  # type: ignore[operator]
        raise UserError(
            f"The dropout {node.name} is at work in evaluation mode too (training=True); pass "
            "training=self.training."
        )
    if node.target is aten.batch_norm.default and node.args[5]:
        if node.args[3] is None:
            raise UserError(
                f"The batch norm {node.name} keeps no statistics; let it (track_running_stats)."
            )
        raise UserError(
            f"The batch norm {node.name} uses its batch's statistics in evaluation mode too "
            "(training=True); pass training=self.training."
        )


def output_of(exported: ExportedProgram, module: nn.Module) -> FxNode:
    """What makes the logits: the one tensor that the module returns.

    Raises:
        UserError: it returns something else.
    """
    found = exported.graph.output_node().args[0]
    node = found[0] if len(found) == 1 else None
    single = exported.call_spec.out_spec is not None and exported.call_spec.out_spec.is_leaf()
    if not single or not isinstance(node, FxNode) or not isinstance(node.meta["val"], Tensor):
        raise UserError(
            f"{type(module).__name__} does not return one tensor, which the logits have to be; "
            "wrap it in a module that returns them alone."
        )
    return node


def _handle(b: Builder, node: FxNode) -> None:
    changed = node.args[0] if writes(node) else None
    if changed in b.pending:
        raise UserError(f"{node.name} changes a slice in place, which is not supported.")
    before = None if changed is None else b.source(changed)
    HANDLERS[node.target](b, node)
    b.done.add(node)
    if before is not None:
        b.overwrite(before, node)


def _logits(b: Builder, node: FxNode) -> str:
    """The activation of the logits: a layer makes them, and no node reads them."""
    name = b.source(node)
    classes, height, width = b.shapes[name]
    if (height, width) != (1, 1):
        raise UserError(
            f"{node.name} is not a vector of logits but {classes} maps of {height}x{width}; a "
            "linear layer or a pool over whole maps has to come last."
        )
    layer = b.producer(name)
    read = any(name in reads(other) for other in b.nodes)
    if isinstance(layer, Conv) and layer.residual is None and not read:
        return name
    b.add_copy("logits", name)
    return "logits"


def ordered(builder: Builder) -> list[Node]:
    """Execution order: folding a sum may have made a layer read what is computed after it."""
    done, order, waiting = {builder.input}, [], list(builder.nodes)
    while waiting:
        ready = next((node for node in waiting if done.issuperset(reads(node))), None)
        if ready is None:
            raise UserError(f"The graph has a cycle through {waiting[0].name}.")
        waiting.remove(ready)
        done.add(ready.name)
        order.append(ready)
    return order
