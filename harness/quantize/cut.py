"""A network in two parts at one of its layers, so that what all passes share is computed once.

The first part ends with the identity: a layer whose weights are 1, on each channel by itself. In
int8 its outputs are the integers that the layer behind it would have read, times their scale, and
the second part reads them as these integers again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .artefact_model import Artefact, Layer
from .graph import Activation, Conv, Graph, reads

IDENTITY = "identity"


@dataclass(frozen=True, eq=False)
class TwoParts:
    """Both parts of a network.

    Attributes:
        trunk: from images to float features, [N, C·H·W]; it draws nothing that the whole does not.
            None where the other part reads the images themselves, as of a divided network.
        rest: from features [N, C, H, W] to logits; the noise of its layers is that of the whole.
    """

    trunk: Artefact | None
    rest: Artefact

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the features of one image."""
        graph = self.rest.graph
        return graph.activations[graph.input].shape


def cut(artefact: Artefact, at: str) -> TwoParts:
    """Part a network before a layer, or before the nearest node from which on all that is read of
    the nodes before is one activation.

    Args:
        artefact: the network; one that is divided stays whole.
        at: name of the layer.
    """
    graph = artefact.graph
    if graph.steps:
        return TwoParts(None, artefact)
    first = next(k for k, node in enumerate(graph.nodes) if node.name == at)
    while len(crossing := _crossing(graph, first)) > 1:
        first -= 1
    (features,) = crossing
    if not first:
        return TwoParts(None, artefact)
    return TwoParts(_trunk(artefact, first, features), _rest(artefact, first, features))


def _crossing(graph: Graph, first: int) -> set[str]:
    """What the nodes from one on read of the nodes before, or of the input."""
    after = graph.nodes[first:]
    return {name for node in after for name in reads(node)} - {node.name for node in after}


def _trunk(artefact: Artefact, first: int, features: str) -> Artefact:
    graph = artefact.graph
    source = graph.activations[features]
    name = IDENTITY
    while name in graph.activations:
        name += "_"
    channels = source.shape[0]
    end = Conv(
        name, features, (channels, 1, 1, 1), name, groups=channels, bayesian=False,
        bias_bayesian=False, fixed=True,
    )  # fmt: skip
    kept = graph.nodes[:first]
    activations = {one: graph.activations[one] for one in (graph.input, *(n.name for n in kept))}
    activations[name] = Activation(source.shape)
    weight = np.ones(end.shape, np.float32)
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    identity = Layer(
        weight.astype(np.int8) if artefact.format.quantized else weight, None, None,
        artefact.format.sigma_bits, ones, zeros, zeros, zeros, zeros,
    )  # fmt: skip
    layers = {n.name: artefact.layers[n.name] for n in kept if isinstance(n, Conv)}
    part = Graph(graph.input, name, (*kept, end), activations)
    return _part(artefact, part, {**layers, name: identity}, 0)


def _rest(artefact: Artefact, first: int, features: str) -> Artefact:
    graph = artefact.graph
    kept = graph.nodes[first:]
    activations = {one: graph.activations[one] for one in (features, *(n.name for n in kept))}
    part = Graph(features, graph.output, kept, activations)
    layers = {conv.name: artefact.layers[conv.name] for conv in part.convs}
    return _part(artefact, part, layers, artefact.ordinals[part.convs[0].name])


def _part(artefact: Artefact, graph: Graph, layers: dict[str, Layer], first_layer: int) -> Artefact:
    saturation = {
        name: share
        for name, share in artefact.header.saturation.items()
        if name in graph.activations
    }
    header = replace(artefact.header, graph=graph, saturation=saturation)
    return Artefact(header, layers, first_layer=artefact.first_layer + first_layer)
