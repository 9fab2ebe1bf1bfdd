"""What memory a predictor takes, from the shapes of its graph alone: looked at before anything is
allocated.

Bytes are counted from above: nothing shares a place with what is still read, and what an operator
copies for itself counts beside it. PyTorch's views count nothing, but `reshape` and its like, which
may have to copy, do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..machine.memory_limit import require
from . import floats
from .artefact import Artefact
from .graph import Graph, GroupNorm, Join, Node, Operation, Pool, Segment, reads

Shapes = Mapping[str, Sequence[int]]

FLOAT = 4  # bytes
#: Bytes per weight: μ, σ, their copies in a program, the order in which kernels read them, draws.
_COMPILED = 16
#: The same where numpy or PyTorch draws, whose random bits and float64 come and go.
_DRAWN = 48
#: Views, or copies where the strides leave no other way.
_MAY_COPY = ("reshape", "view", "view_as", "reshape_as", "flatten", "contiguous", "unflatten", "to")
_SCORES = 3  # copies of an attention's: scaled, masked, softmax


@dataclass(frozen=True)
class Need:
    """See the module.

    Attributes:
        image: bytes of one image in one pass.
        given: bytes of one image as it comes, and of the copy that is made of it.
        result: bytes of one image's logits of one pass.
        side: passes side by side at most.
        weight: bytes per weight, whatever the batch.
    """

    image: int
    given: int
    result: int
    side: int
    weight: int

    def check_load(self, artefact: Artefact) -> None:
        """Raises UserError, with both figures: weights and one image do not fit."""
        told = f"One pass of the model of {artefact.header.workload} on one image"
        require(told, self.weight * artefact.weights + self.given + self.image)

    def check(self, images: int, passes: int) -> None:
        """Raises UserError, with both figures: a call does not fit beside the weights."""
        side = min(self.side, passes)
        told = f"A batch of {images}, {side} of {passes} passes side by side,"
        require(told, images * (self.given + side * self.image + passes * self.result))


def compiled(graph: Graph, width: int, threads: int) -> Need:
    """Of a compiled program, which puts activations where none is read any more, for passes side by
    side and again for passes that threads share; their numbers have so many bytes."""
    return Need(2 * width * _live(graph), *_ends(graph), threads, _COMPILED)


def drawn(graph: Graph) -> Need:
    """Of a program of one pass, compiled or PyTorch's, whose weights numpy draws."""
    return Need(2 * FLOAT * _live(graph), *_ends(graph), 1, _DRAWN)


def stacked(graph: Graph, most: int) -> Need:
    """Of PyTorch, with all activations of up to `most` passes until the last is there."""
    return Need(FLOAT * (_all(graph) + _live(graph)), *_ends(graph), most, _DRAWN)


def integer(graph: Graph) -> Need:
    """Of the reference, with all activations, which spreads out the windows of one layer."""
    spread = max(_spread(node, graph) for node in graph.nodes)
    return Need(_all(graph) + spread, *_ends(graph), 1, _DRAWN)


def divided(graph: Graph, parts: Iterable[Need], constants: Shapes) -> Need:
    """Of a divided network, one pass after the other; constants by their shapes."""
    most = max((part.image for part in parts), default=0)
    given = FLOAT * math.prod(graph.activations[graph.input].shape)
    result = FLOAT * math.prod(graph.steps[-1].shape)
    return Need(_floats(graph, constants) + most, given, result, 1, _DRAWN)


def observed(graph: Graph, constants: Shapes) -> int:
    """Bytes of one image in PyTorch, in one pass, each value looked at through a copy of it."""
    parts = graph.parts().values() if graph.steps else (graph,)
    most = max(2 * _live(part) + 2 * max(_sizes(part).values()) for part in parts)
    return FLOAT * most + (_floats(graph, constants) if graph.steps else 0)


def _sizes(graph: Graph) -> dict[str, int]:
    return {name: math.prod(one.shape) for name, one in graph.activations.items()}


def _all(graph: Graph) -> int:
    """Numbers of one image in all activations."""
    return sum(_sizes(graph).values())


def _ends(graph: Graph) -> tuple[int, int]:
    """Bytes of an image that comes as floats, and of its logits."""
    sizes = _sizes(graph)
    return 2 * FLOAT * sizes[graph.input], FLOAT * sizes[graph.output]


def _live(graph: Graph) -> int:
    """The most numbers of one image that are alive at once."""
    return _peak(_sizes(graph), graph.input, [(node.name, reads(node)) for node in graph.nodes])


def _peak(sizes: Mapping[str, int], start: str, steps: Sequence[tuple[str, Sequence[str]]]) -> int:
    """The most that is alive at once: what a step makes, and what is read in it or later.

    Args:
        sizes: by name.
        start: what is there before.
        steps: what each makes and reads.
    """
    last = {name: k for k, (_, read) in enumerate(steps) for name in read}
    together = most = sizes[start]
    for k, (made, read) in enumerate(steps):
        together += sizes[made]
        most = max(most, together)
        together -= sum(sizes[name] for name in {*read, made} if last.get(name, k) == k)
    return most


def _spread(node: Node, graph: Graph) -> int:
    """Bytes of one image that numpy takes for a node beside the activations."""
    sizes, target = _sizes(graph), graph.activations[node.name].shape
    if isinstance(node, Join):
        return 2 * sum(sizes[name] for name in node.inputs)
    if isinstance(node, GroupNorm):
        return 10 * FLOAT * sizes[node.name]  # int64: numbers, squares, deviations; floats
    channels, *size = graph.activations[node.input].shape
    padded = channels * math.prod(s + 2 * p for s, p in zip(size, node.padding, strict=True))
    result = 4 * FLOAT * sizes[node.name]  # sums, in float, scaled, rounded
    if isinstance(node, Pool) and node.out is not None:
        on_the_way = channels * (node.out[0] + 1) * (size[1] + 1)
        return 2 * FLOAT * (sizes[node.input] + 4 * on_the_way)  # int64: numbers, sums, two ends
    if isinstance(node, Pool):
        return FLOAT * (sizes[node.input] + 2 * padded) + result
    windows = channels * math.prod(target[1:] + node.shape[2:])
    return padded + 2 * FLOAT * windows + result


def _floats(graph: Graph, constants: Shapes) -> int:
    """Bytes of one image in what stays float: what consecutive operations make is alive until the
    last of it is read."""
    sizes = {step.name: math.prod(step.shape) for step in graph.steps}
    sizes[graph.input] = math.prod(graph.activations[graph.input].shape)
    shapes = {**constants, **{one.name: one.shape for one in graph.steps}}
    shapes[graph.input] = (1, *graph.activations[graph.input].shape)
    alive, home, steps, own = {graph.input: sizes[graph.input]}, {graph.input: graph.input}, [], 0
    for block in floats.blocks(graph):
        if isinstance(block, Segment):
            name, made = block.name, {block.name: 2 * sizes[block.name]}
            read: Sequence[str] = (block.value,)
        else:
            name, read = block.operations[0].name, block.reads
            made = {one.name: _made(one, sizes) for one in block.operations}
            own = max(own, *(_temporary(one, shapes) for one in block.operations))
        alive[name] = sum(made.values())
        steps.append((name, tuple(home[value] for value in read)))
        home |= dict.fromkeys(made, name)
    return FLOAT * (_peak(alive, graph.input, steps) + own)


def _made(operation: Operation, sizes: Mapping[str, int]) -> int:
    """Numbers that an operation leaves behind."""
    views = not floats.computes(operation) and not floats.copies(operation)
    if views and operation.target.removeprefix("aten.").split(".")[0] not in _MAY_COPY:
        return 0
    if operation.shape:
        return sizes[operation.name]
    return 3 * sum(sizes[name] for name in floats.reads(operation))  # numbers, and int64 places


def _temporary(operation: Operation, shapes: Shapes) -> int:
    """Numbers that an operation has for itself: a copy of each operand, an attention's scores, what
    products of more than two make on their way."""
    if not floats.computes(operation):
        return 0
    own = sum(math.prod(shapes[name]) for name in floats.reads(operation))
    if operation.target == "aten.scaled_dot_product_attention.default":
        # multiply-adds are scores times the lengths of a query and a value, both of them ≥ 1
        own += _SCORES * operation.multiply_adds // 2
    if operation.target == "aten.einsum.default":
        equation, operands, *path = [*operation.args, *operation.kwargs.values()]
        named = [shapes[name] for _, name in floats.references(operands)]
        # each of which may be laid out anew for the next
        own += 2 * floats.between(equation, named, *(one for one in path if one))
    return own
