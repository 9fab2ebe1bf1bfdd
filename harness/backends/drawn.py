"""`drawn`: weights drawn in numpy by the definition, arithmetic by the compiled program.

It computes what the compiled sampler does not draw: codebooks and dithered rounding. Each pass
draws once for all images of a call, then builds and runs a program of fixed weights; building one
costs a small part of what numpy's draws do. Without the compiled extension the reference's
arithmetic runs instead.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import native
from ..quantize.artefact import Artefact, Layer
from .base import Predictor, Traffic, check_call, check_threads
from .native import BACKEND as NATIVE
from .native import NativePredictor, build, started
from .reference import ReferenceBackend, ReferencePredictor


class DrawnPredictor:
    """See `Predictor`."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        self.artefact = artefact
        self.threads = threads
        self._definition = ReferencePredictor(artefact)
        means = {name: _fixed(layer, layer.mean, layer.bias) for name, layer in self._layers()}
        self._latest = self._program(means)

    @property
    def kernels(self) -> dict[str, str]:
        """What computed each layer in the latest pass."""
        return {name: f"numpy draws, {kernel}" for name, kernel in self._latest.kernels.items()}

    @property
    def isa(self) -> str:
        """Of the arithmetic; the draws are numpy's."""
        return self._latest.isa

    @property
    def draws(self) -> int:
        """See `Predictor`; counted where the weights are drawn."""
        return self._definition.draws

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[np.int8]:
        """w_q of one pass, int8 [O, I, KH, KW]."""
        return self._definition.sample(layer, seed, mc)

    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of one pass, float32 [O]."""
        return self._definition.sample_bias(layer, seed, mc)

    def logits(self, x: Tensor, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        check_call(x, self.artefact.graph, seed, passes)
        return torch.cat([self._pass(x, seed, mc) for mc in passes])

    def traffic(self, batch: int) -> Traffic:
        """As of the reference."""
        return self._definition.traffic(batch)

    def _layers(self) -> list[tuple[str, Layer]]:
        return list(self.artefact.layers.items())

    def _pass(self, x: Tensor, seed: int, mc: int) -> Tensor:
        """[1, N, classes]; a program that draws nothing needs neither seed nor pass."""
        self._latest = self._program(
            {
                name: _fixed(layer, self.sample(name, seed, mc), self.sample_bias(name, seed, mc))
                for name, layer in self._layers()
            }
        )
        return self._latest.logits(x, 0, range(1))

    def _program(self, layers: dict[str, Layer]) -> NativePredictor:
        fixed = replace(self.artefact, layers=layers)
        # A team of all threads: there is one pass, and nothing has to be measured.
        program = started("drawn", lambda: build(fixed, self.threads, team=self.threads))
        return NativePredictor(program, fixed.graph, self.threads)


def _fixed(layer: Layer, weight: NDArray[Any], bias: NDArray[np.float32]) -> Layer:
    """A layer of one pass."""
    return replace(
        layer, mean=weight, bias=bias, sigma_q=None, codebook=None, bias_std=np.zeros_like(bias)
    )


class DrawnBackend(ReferenceBackend):
    """See `Backend`."""

    name = "drawn"
    description = "int8, any σ grid and rounding: weights drawn in numpy, compiled arithmetic"
    needs = "numpy; much faster with what `native` needs"

    def claimed_isa(self) -> str:
        """Of the arithmetic."""
        return super().claimed_isa() if native.unavailable() else NATIVE.claimed_isa()

    def load(self, artefact: Artefact, threads: int, team: int = 0) -> Predictor:
        """See `Backend.load`; `team` makes no difference."""
        reference = super().load(artefact, threads)
        if native.unavailable():
            return reference
        check_threads(threads)
        return DrawnPredictor(artefact, threads)


BACKEND = DrawnBackend()
