"""Whether a graph can be computed: names made before they are read, shapes that follow from one
another, sums that int32 holds.

Every backend relies on it, and none looks again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from .functions import FUNCTIONS, parameter
from .graph import Activation, Conv, Graph, GroupNorm, Join, Pair, Pool, reads

INT32 = 2**31 - 1
MOST_PRODUCTS = INT32 // (255 * 127)  # of an activation by a sampled weight: 66 311
MOST_AVERAGED = INT32 // 255  # also of a group norm: squared, times 255², it is below 2^63
EPSILONS = (1e-30, 1e30)  # of a group norm: nothing is divided by 0
MOST_LENGTH = 1 << 20  # of what a kernel's geometry may name


def overflow(convs: Iterable[Conv]) -> str | None:
    """Which layer's int32 sums can overflow, and why, or None: |w_q| is at most 127 and |x_q| 255,
    so an output may be a sum of `MOST_PRODUCTS` products. Bias and residual are added as floats."""
    for conv in convs:
        products = math.prod(conv.shape[1:])
        if products > MOST_PRODUCTS:
            return (
                f"the layer {conv.name} sums {products} products, and more than {MOST_PRODUCTS} "
                "can exceed int32"
            )
    return None


def check_graph(graph: Graph, quantized: bool) -> None:
    """Refuse a graph that cannot be computed as it says.

    Args:
        graph: as it comes from a file; of a divided network its segments are checked, and
            `steps_check` does the rest.
        quantized: whether activations are integers.

    Raises:
        ValueError: what is wrong, with the name of the node or activation.
    """
    _check_names(graph)
    for name, activation in graph.activations.items():
        _check_activation(name, activation)
    for part in graph.parts().values() if graph.steps else (graph,):
        _check_part(part, quantized)
    if quantized and (why := overflow(graph.convs)):
        raise ValueError(why)


def _check_names(graph: Graph) -> None:
    made = [*graph.inputs, *(node.name for node in graph.nodes)]
    if len(set(made)) < len(made):
        raise ValueError("two nodes make the same activation")
    wanted = {*made, *graph.outputs}
    if graph.steps:
        values = [graph.input, *(step.name for step in graph.steps)]
        if len(set(values)) < len(values):
            raise ValueError("two steps make the same value")
        if sum(segment.nodes for segment in graph.segments) != len(graph.nodes):
            raise ValueError("the segments do not have all the nodes")
        if any(segment.nodes < 1 for segment in graph.segments):
            raise ValueError("a segment has no nodes")
        wanted |= {graph.input, graph.output}
    for name in sorted(wanted ^ set(graph.activations)):
        known = "no node makes" if name in graph.activations else "has no shape"
        raise ValueError(f"the activation {name} {known}")


def _check_activation(name: str, activation: Activation) -> None:
    shape = activation.shape
    if min(shape) < 1 or math.prod(shape) > INT32:
        raise ValueError(f"{name} has the shape {shape}")


def _check_part(graph: Graph, quantized: bool) -> None:
    """The graph of a network, or of one segment."""
    ready = {graph.input}
    _check_scale(graph.input, graph.activations[graph.input], quantized)
    for node in graph.nodes:
        for name in reads(node):
            if name not in ready or name == graph.output:
                raise ValueError(f"{node.name} reads {name}, which no node before it makes")
        ready.add(node.name)
        target = graph.activations[node.name]
        _check_scale(node.name, target, quantized and node.name != graph.output)
        if isinstance(node, Conv):
            _check_conv(node, graph)
        elif isinstance(node, Pool):
            _check_pool(node, graph)
        elif isinstance(node, GroupNorm):
            _check_group_norm(node, graph, quantized)
        else:
            _check_join(node, graph)
    layer = next((conv for conv in graph.convs if conv.name == graph.output), None)
    if layer is None or layer.residual is not None:
        raise ValueError(f"no layer without a residual makes the output {graph.output}")


def _check_scale(name: str, activation: Activation, integer: bool) -> None:
    with np.errstate(over="ignore"):
        scale = np.float32(activation.scale)
    if integer and not (0 < scale < np.inf):
        raise ValueError(f"{name} is integer and has the scale {activation.scale}")
    if not integer and activation.scale != 0:
        raise ValueError(f"{name} is float and has the scale {activation.scale}")


def _check_window(node: Conv | Pool, kernel: Pair) -> None:
    steps = (*kernel, *node.stride, *node.dilation)
    if min(steps) < 1 or max(*steps, *node.padding) > MOST_LENGTH or min(node.padding) < 0:
        raise ValueError(f"{node.name} has a kernel, stride, padding or dilation out of range")


def _check_conv(conv: Conv, graph: Graph) -> None:
    source, target = graph.activations[conv.input].shape, graph.activations[conv.name].shape
    outputs, inputs, *kernel = conv.shape
    if min(conv.shape) < 1 or conv.weights > INT32:
        raise ValueError(f"{conv.name} has weights of the shape {conv.shape}")
    _check_window(conv, conv.shape[2:])
    if conv.groups < 1 or outputs % conv.groups or source[0] != inputs * conv.groups:
        raise ValueError(f"the weights of {conv.name} do not fit its input's channels and groups")
    reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, kernel, strict=True)]
    sizes = zip(source[1:], conv.padding, reach, conv.stride, strict=True)
    size = tuple((length + 2 * pad - r) // step + 1 for length, pad, r, step in sizes)
    if target != (outputs, *size):
        raise ValueError(f"{conv.name} makes {(outputs, *size)}, not {target}")
    if conv.residual is not None and graph.activations[conv.residual].shape != target:
        raise ValueError(f"the residual of {conv.name} has another shape")
    if conv.ceiling is not None and not (conv.relu and 0 < conv.ceiling < math.inf):
        raise ValueError(f"the ReLU of {conv.name} ends at {conv.ceiling}")


def _check_pool(pool: Pool, graph: Graph) -> None:
    source, target = graph.activations[pool.input], graph.activations[pool.name]
    _check_window(pool, pool.kernel)
    if pool.kind == "avg" and pool.dilation != (1, 1):
        raise ValueError(f"{pool.name} is dilated, and only a maximum can be")
    if pool.out is not None:
        _check_adaptive(pool, source.shape[1:])
    for axis, length in enumerate(source.shape[1:]):
        kernel, pad = pool.kernel[axis], pool.padding[axis]
        if length + 2 * pad < pool.reach[axis] or 2 * pad > kernel:
            raise ValueError(f"the window of {pool.name} does not fit its input")
        if not _covers(kernel, pool.stride[axis], pad, pool.dilation[axis], length):
            raise ValueError(f"a window of {pool.name} has nothing but padding")
    size = (source.shape[0], *pool.size(source.shape[1:]))
    if target.shape != size:
        raise ValueError(f"{pool.name} makes {size}, not {target.shape}")
    if (target.scale, target.signed) != (source.scale, source.signed):
        raise ValueError(f"{pool.name} has another scale or sign than its input")
    if pool.kind == "avg" and math.prod(pool.kernel) > MOST_AVERAGED:
        raise ValueError(f"the sums of {pool.name} can exceed int32")


def _check_adaptive(pool: Pool, before: Pair) -> None:
    """A pool whose windows follow from the sizes alone."""
    assert pool.out is not None
    rest = (pool.kernel, pool.stride, pool.padding, pool.ceil)
    if pool.kind != "avg" or rest != ((1, 1), (1, 1), (0, 0), False):
        raise ValueError(f"{pool.name} has the output {pool.out} and a window of its own")
    if min(pool.out) < 1 or max(pool.out) > MOST_LENGTH:
        raise ValueError(f"{pool.name} has an output out of range")
    largest = [length // after + 2 for length, after in zip(before, pool.out, strict=True)]
    if math.prod(largest) > MOST_AVERAGED:
        raise ValueError(f"the sums of {pool.name} can exceed int32")


def _covers(kernel: int, stride: int, padding: int, dilation: int, length: int) -> bool:
    """Whether every window has a number of the map, along an axis: only those that begin in the
    padding may have none."""
    return all(
        skipped < kernel and first + skipped * dilation < length
        for first in range(-padding, 0, stride)
        for skipped in [-(first // dilation)]
    )


def _check_group_norm(norm: GroupNorm, graph: Graph, quantized: bool) -> None:
    source, target = graph.activations[norm.input], graph.activations[norm.name]
    if source.shape != target.shape:
        raise ValueError(f"{norm.name} makes {source.shape}, not {target.shape}")
    if norm.groups < 1 or source.shape[0] % norm.groups:
        raise ValueError(f"{norm.name} divides {source.shape[0]} channels by {norm.groups}")
    if not EPSILONS[0] <= norm.eps <= EPSILONS[1]:
        raise ValueError(f"{norm.name} has the eps {norm.eps}")
    if math.prod(source.shape) // norm.groups > MOST_AVERAGED:
        raise ValueError(f"the sums of {norm.name} can exceed int32")
    if quantized and not target.signed:
        raise ValueError(f"{norm.name} has mean 0, and is unsigned")


def _check_join(join: Join, graph: Graph) -> None:
    shapes = [graph.activations[name].shape for name in join.inputs]
    target = graph.activations[join.name].shape
    if join.function not in FUNCTIONS:
        raise ValueError(f"{join.name} has the function {join.function}, which is not known")
    if join.parameter is not None and not math.isfinite(join.parameter):
        raise ValueError(f"{join.name} has the parameter {join.parameter}")
    if join.function in ("relu", "softplus") and parameter(join) <= 0:
        raise ValueError(f"the {join.function} of {join.name} has the parameter {join.parameter}")
    sizes = {shape[1:] for shape in shapes}
    if sizes != {target[1:]} or sum(shape[0] for shape in shapes) != target[0]:
        raise ValueError(f"{join.name} does not make {target} of what it joins")
