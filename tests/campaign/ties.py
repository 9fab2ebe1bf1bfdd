"""The int8 reference with sums that lie a little higher or lower: what float32 may make of them in
another order of its operations, where an integer is a tie of two."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigmabench.harness.backends.divided import DividedPredictor
from sigmabench.harness.backends.reference import ReferencePredictor, accumulate
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.graph import Conv

#: What three operations and two scales may lose, relative to the terms.
LOST = 8 * 2.0**-24
#: Of an integer's step: where more is lost, no integer is wrong.
UNSURE = 0.01


class Tilted(ReferencePredictor):
    """See the module.

    Args:
        artefact: undivided.
        way: 1 for up, -1 for down.
    """

    def __init__(self, artefact: Artefact, way: int) -> None:
        super().__init__(artefact)
        self.way, self.unsure = way, False

    def _layer(
        self, conv: Conv, values: dict[str, NDArray[Any]], seed: int, mc: int
    ) -> NDArray[Any]:
        if conv.name == self.artefact.graph.output:
            return super()._layer(conv, values, seed, mc)
        terms = self._terms(conv, values, seed, mc)
        target = self.artefact.graph.activations[conv.name]
        step = np.float64(np.float32(target.scale))
        lost = LOST * sum(np.abs(term) for term in terms) / step
        whole = sum(terms) / step
        low, high, kind = (-128, 127, np.int8) if target.signed else (0, 255, np.uint8)
        low = 0 if conv.relu else low
        inside = (whole + lost > low) & (whole - lost < high)
        self.unsure |= not bool((lost[inside] <= UNSURE).all())
        return np.clip(np.rint(whole + self.way * lost), low, high).astype(kind)

    def _terms(
        self, conv: Conv, values: dict[str, NDArray[Any]], seed: int, mc: int
    ) -> list[NDArray[np.float64]]:
        """Sums, bias and residual, in real units."""
        activations, numbers = self.artefact.graph.activations, self.artefact.layers[conv.name]
        weight = self.sample(conv.name, seed, mc)
        scale = np.float32(activations[conv.input].scale) * numbers.weight_scale
        sums = accumulate(values[conv.input], weight, conv) * scale[:, None, None].astype(float)
        bias = self.sample_bias(conv.name, seed, mc)[:, None, None].astype(float)
        terms = [sums, np.broadcast_to(bias, sums.shape)]
        if conv.residual is not None:
            step = np.float64(np.float32(activations[conv.residual].scale))
            terms.append(values[conv.residual] * step)
        return terms


def tilted(artefact: Artefact, way: int) -> tuple[Any, list[Tilted]]:
    """A predictor, and its parts."""
    if not artefact.graph.steps:
        one = Tilted(artefact, way)
        return one, [one]
    parts: list[Tilted] = []

    def part(segment: Artefact) -> Tilted:
        parts.append(Tilted(segment, way))
        return parts[-1]

    return DividedPredictor(artefact, part), parts
