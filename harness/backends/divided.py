"""A divided network on any backend: it computes the segments, PyTorch what stays float.

A pass goes from segment to segment, and a segment's noise is that of its layers among all layers of
the network, so that no two share it and every backend draws the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import NotFiniteImageError, UserError
from ..data.given import Given
from ..machine.torch_state import plain
from ..quantize import floats
from ..quantize.artefact import Artefact
from ..quantize.need import divided
from .base import Predictor, Traffic, check_call, check_finite, widest

FLOAT_BYTES = 4


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch's operators have so many threads while it lasts."""
    before = torch.get_num_threads()
    if count != before:  # it would empty oneDNN's cache
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)


class DividedPredictor:
    """See `Predictor`. Passes follow one another; within one, threads share a segment or an
    operator.

    Attributes:
        artefact: of the whole network.
        parts: predictors of the segments, by name.
    """

    def __init__(self, artefact: Artefact, load: Callable[[Artefact], Predictor]) -> None:
        """`load` makes the predictor of a segment."""
        self.artefact = artefact
        self.parts = {name: load(part) for name, part in artefact.parts().items()}
        self.threads = max(part.threads for part in self.parts.values())
        shapes = {name: one.shape for name, one in artefact.constants.items()}
        self.need = divided(artefact.graph, [part.need for part in self.parts.values()], shapes)
        self._of: dict[str, Any] = {
            conv.name: self.parts[name]
            for name, graph in artefact.graph.parts().items()
            for conv in graph.convs
        }
        self._constants = {name: torch.from_numpy(a) for name, a in artefact.constants.items()}

    @property
    def isa(self) -> str:
        """The widest instruction set that a segment runs on."""
        return widest(part.isa for part in self.parts.values())

    @property
    def kernels(self) -> dict[str, str]:
        """What computed each layer in the latest call."""
        return {name: k for part in self.parts.values() for name, k in part.kernels.items()}

    @property
    def draws(self) -> int:
        """See `Predictor`; counted by the segments."""
        return sum(part.draws for part in self.parts.values())

    @plain
    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        x = check_call(x, self.artefact.graph, seed, passes)
        self.need.check(len(x), len(passes))
        check_finite(x)
        with torch.no_grad(), torch_threads(self.threads):
            return torch.stack([self._pass(x, seed, mc) for mc in passes])

    def _pass(self, x: Tensor, seed: int, mc: int) -> Tensor:
        """[N, classes]."""

        def segment(name: str, maps: Tensor) -> Tensor:
            try:
                return self.parts[name].logits(maps, seed, range(mc, mc + 1))[0]
            except NotFiniteImageError as reason:
                raise UserError(
                    f"What the float operations before {name} make of image {reason.index} is not "
                    "finite; train the network again, or leave the image out."
                ) from reason

        return floats.run(self.artefact.graph, self._constants, x, segment)

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[Any]:
        """See `Predictor.sample`."""
        return self._of[layer].sample(layer, seed, mc)

    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of one pass, float32 [O]."""
        bias: NDArray[np.float32] = self._of[layer].sample_bias(layer, seed, mc)
        return bias

    def traffic(self, batch: int) -> Traffic:
        """Of the segments, and what float operations that compute or copy read and write once."""
        parts = [part.traffic(batch) for part in self.parts.values()]
        graph = self.artefact.graph
        sizes = {step.name: math.prod(step.shape) for step in graph.steps}
        sizes[graph.input] = math.prod(graph.activations[graph.input].shape)
        moved = sum(
            sizes[name]
            for step in graph.operations
            if floats.computes(step) or floats.copies(step)
            for name in (step.name, *floats.reads(step))
        )
        return Traffic(
            mean=sum(part.mean for part in parts),
            std=sum(part.std for part in parts),
            sampled=sum(part.sampled for part in parts),
            activations=sum(part.activations for part in parts) + FLOAT_BYTES * batch * moved,
        )
