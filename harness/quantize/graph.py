"""The graph an artefact carries: a flat list of operations over named activations.

Batch norm is folded, ReLU and residual sums are part of the convolution before them, a linear layer
is a convolution whose kernel covers its input, all that is left is a pool, the statistics of a
group norm, or a function of one number on maps side by side. Order is execution order. Activations
are NCHW here; a backend chooses its own layout.

Where a network has operations that no node stands for, it is divided into steps: these operations
stay float, and segments, runs of the nodes, lie between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

Pair = tuple[int, int]


class StrictModel:
    """What a file's JSON says, field by field: none that is unknown, none of another type."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True)
class Activation(StrictModel):
    """A named activation.

    Attributes:
        shape: (C, H, W) of one image.
        scale: real value of one integer step; 0 where the activation stays float (FP32, BF16 and
            the logits).
        signed: int8 in [-128, 127] if true, else uint8 in [0, 255]. The zero point is always 0.
    """

    shape: tuple[int, int, int]
    scale: float = 0.0
    signed: bool = True


@dataclass(frozen=True)
class Conv(StrictModel):
    """Convolution, or a linear layer, with bias, optional residual sum and optional ReLU.

    y = min(relu(conv(x, w) + b + residual), ceiling)

    Attributes:
        name: the output activation; also names the layer.
        input: the activation read.
        shape: logical weight shape (O, I per group, KH, KW).
        weight: parameter name in the module (`conv1.weight`); a name of the graph's own where the
            weight is fixed, as in a shortcut that pads with zero channels.
        ceiling: where the ReLU ends, 6 for ReLU6; None: nowhere. Integers end with their range,
            which does not exceed it.
        bayesian: whether the weight is sampled; if not, its mean is used in every pass.
        bias_bayesian: the same for the bias.
        fixed: whether a divided network's module has no such layer, and the graph added it: a copy
            that others are folded into, a selection of channels; in any network the factors of a
            group norm. It is no operation of the module.
    """

    name: str
    input: str
    shape: tuple[int, int, int, int]
    weight: str
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    relu: bool = False
    residual: str | None = None
    bayesian: bool = True
    bias_bayesian: bool = True
    ceiling: float | None = None
    fixed: bool = False
    op: Literal["conv"] = "conv"

    @property
    def weights(self) -> int:
        """Number of weights."""
        o, i, h, w = self.shape
        return o * i * h * w


@dataclass(frozen=True)
class Pool(StrictModel):
    """Max or average pooling; the output has the input's scale and sign.

    Attributes:
        kind: `max`, or `avg` (padding is not counted in the average).
        ceil: whether a last window that only begins in the map counts too.
        dilation: distance of a window's rows, and columns; of a `max` only.
        out: (H, W) of the output of an average whose windows divide the map as evenly as they can:
            along an axis window i is [⌊i·before/after⌋, ⌈(i+1)·before/after⌉), as PyTorch's
            `adaptive_avg_pool2d` has it. Kernel and stride are 1 then. None: of all others.
    """

    name: str
    input: str
    kind: Literal["max", "avg"]
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)
    ceil: bool = False
    dilation: Pair = (1, 1)
    out: Pair | None = None
    op: Literal["pool"] = "pool"

    @property
    def reach(self) -> Pair:
        """(H, W) of what a window spans, the gaps of a dilated one included."""
        height, width = (
            (length - 1) * apart + 1
            for length, apart in zip(self.kernel, self.dilation, strict=True)
        )
        return (height, width)

    def size(self, before: Pair) -> Pair:
        """(H, W) of the output, from the input's."""
        if self.out is not None:
            return self.out
        height, width = (self._length(axis, before[axis]) for axis in range(2))
        return (height, width)

    def _length(self, axis: int, before: int) -> int:
        pad, step = self.padding[axis], self.stride[axis]
        spare = before + 2 * pad - self.reach[axis]
        count = spare // step + 1
        more = self.ceil and spare % step and count * step < before + pad
        return count + 1 if more else count


@dataclass(frozen=True)
class Join(StrictModel):
    """A function of one number, on activations that are put side by side in channels.

    y = concat(f(x_1), ..., f(x_n)); one source and no function would change nothing.

    Attributes:
        inputs: the activations read, of equal height and width.
        function: name in `functions.FUNCTIONS`.
        parameter: of the function, where it has one: a slope, or where it ends; None: its default.
    """

    name: str
    inputs: tuple[str, ...]
    function: str = "identity"
    parameter: float | None = None
    op: Literal["join"] = "join"


@dataclass(frozen=True)
class GroupNorm(StrictModel):
    """Groups of channels of each image at mean 0 and variance 1 (Wu and He, 2018, equation 1).

    y = (x - mean) / √(var + eps), of the numbers of a group; the factors and terms of channels are
    those of a depthwise layer behind it. One group is a layer norm over whole images, as many as
    there are channels an instance norm.

    Attributes:
        groups: how many the channels are divided into, in order.
        eps: added to the variance, in real units.
    """

    name: str
    input: str
    groups: int
    eps: float
    op: Literal["group_norm"] = "group_norm"


Node = Conv | Pool | Join | GroupNorm


def reads(node: Node) -> tuple[str, ...]:
    """Names of the activations a node reads, a layer's input first."""
    if isinstance(node, Join):
        return node.inputs
    residual = node.residual if isinstance(node, Conv) else None
    return (node.input,) if residual is None else (node.input, residual)


@dataclass(frozen=True)
class Segment(StrictModel):
    """Consecutive nodes of a divided network, from one float value to another.

    Attributes:
        name: the value made, which is its output activation.
        value: the value read.
        input: the activation that this is quantized to.
        nodes: how many of the graph's nodes it has, after those of the segments before it.
        shape: of the value made from one image.
        tokens: whether channels are the last dimension of the values; their positions are the rows
            of a map one pixel wide.
    """

    name: str
    value: str
    input: str
    nodes: int
    shape: tuple[int, ...]
    tokens: bool = False


@dataclass(frozen=True)
class Operation(StrictModel):
    """One of PyTorch's operators, in float32, on one image.

    Attributes:
        name: the value made; a tuple of tensors where the operator makes several.
        target: name in `floats.TARGETS`.
        args: positional arguments as JSON: numbers, strings and lists, `{"value": name}` for what
            another step made, `{"constant": name}` for a parameter.
        kwargs: others, by name.
        shape: of the value made from one image; empty where there are several.
        multiply_adds: of a product of matrices or a convolution, on one image.
    """

    name: str
    target: str
    args: list[Any]
    shape: tuple[int, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    multiply_adds: int = 0


Step = Segment | Operation


@dataclass(frozen=True)
class Graph(StrictModel):
    """Operations in execution order.

    Attributes:
        input: name of the input activation.
        output: name of the logits activation, shape (classes, 1, 1); of a divided network the name
            of their value.
        nodes: the operations.
        activations: every activation by name, input and logits included; of a divided network also
            what its segments read.
        steps: of a divided network; empty where the nodes are all of it.
    """

    input: str
    output: str
    nodes: tuple[Node, ...]
    activations: dict[str, Activation]
    steps: tuple[Step, ...] = ()

    @property
    def convs(self) -> tuple[Conv, ...]:
        """The layers that hold weights, in order: a layer's ordinal is its index here."""
        return tuple(node for node in self.nodes if isinstance(node, Conv))

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The steps that are made of nodes."""
        return tuple(step for step in self.steps if isinstance(step, Segment))

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The steps that stay float."""
        return tuple(step for step in self.steps if isinstance(step, Operation))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The activations that no node makes: the network's input, or those of its segments."""
        return tuple(segment.input for segment in self.segments) or (self.input,)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The activations that are float32 in every format: the logits, or what segments make."""
        return tuple(segment.name for segment in self.segments) or (self.output,)

    def parts(self) -> dict[str, Graph]:
        """The segments as graphs of their own, by name."""
        found: dict[str, Graph] = {}
        first = 0
        for segment in self.segments:
            nodes = self.nodes[first : first + segment.nodes]
            names = (segment.input, *(node.name for node in nodes))
            activations = {name: self.activations[name] for name in names}
            found[segment.name] = Graph(segment.input, segment.name, nodes, activations)
            first += segment.nodes
        return found
