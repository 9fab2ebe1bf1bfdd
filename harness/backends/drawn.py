"""`drawn`: weights drawn in numpy from the noise stream, arithmetic by the compiled program.

It computes what the compiled samplers do not draw: codebooks and dithered rounding in the int8
formats, and the float formats with the int8 formats' noise, so that the two can be compared draw by
draw. Each pass draws once for all images of a call, then builds and runs a program of fixed
weights. Without the compiled extension the reference's arithmetic runs instead, or PyTorch's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data.given import Given
from ..machine.torch_state import plain
from ..quantize import noise
from ..quantize.artefact import Artefact, Layer
from ..quantize.forward import forward
from ..quantize.need import drawn
from .base import Traffic, check_call, check_finite, check_threads
from .divided import DividedPredictor
from .float import DTYPES, float_traffic
from .float_program import ProgramPredictor, load_program
from .float_program import build as build_float
from .native import NativePredictor, build, started
from .reference import ReferencePredictor, drawn_bias


class StreamNormals:
    """What the float formats draw from the noise stream: w = μ + σ·s_ε·ε_q in the format's type."""

    def __init__(self, artefact: Artefact) -> None:
        self.artefact = artefact
        self._dtype = DTYPES[artefact.format.arithmetic]
        self.draws = 0
        self._ordinal = artefact.ordinals

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The weights of one pass, float32 [O, I, KH, KW]."""
        numbers = self.artefact.layers[layer]
        mean: NDArray[np.float32] = numbers.mean.astype(np.float32)
        if numbers.std is None:
            return mean
        self.draws += mean.size
        epsilon = noise.noise(mean.shape, seed, mc, 2 * self._ordinal[layer])
        drawn = mean + numbers.std * (np.float32(noise.SCALE) * epsilon.astype(np.float32))
        rounded: NDArray[np.float32] = torch.from_numpy(drawn).to(self._dtype).float().numpy()
        return rounded

    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of one pass, float32 [O]."""
        return drawn_bias(self.artefact.layers[layer], seed, mc, self._ordinal[layer])

    def traffic(self, batch: int) -> Traffic:
        """ε and weights are written and read again."""
        return float_traffic(self.artefact, batch, noise_bytes=2 * 2)


class _TorchProgram:
    """Fixed float weights in PyTorch's arithmetic, where nothing is compiled."""

    isa = "torch"

    def __init__(self, artefact: Artefact) -> None:
        self._graph = artefact.graph
        self._dtype = DTYPES[artefact.format.arithmetic]
        self._weights = {
            name: (self._number(layer.mean), self._number(layer.bias))
            for name, layer in artefact.layers.items()
        }
        self.kernels = dict.fromkeys(artefact.layers, f"ATen {self._dtype}".replace("torch.", ""))

    def logits(self, x: Tensor, seed: int, passes: range) -> Tensor:
        """Float32 [1, N, classes]."""
        check_finite(x)
        with torch.inference_mode():
            return forward(self._graph, self._weights, x.to(self._dtype))[None].float()

    def _number(self, values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(self._dtype)


class DrawnPredictor:
    """See `Predictor`."""

    def __init__(self, artefact: Artefact, threads: int) -> None:
        self.artefact = artefact
        self.threads = threads
        self.need = drawn(artefact.graph)
        self.need.check_load(artefact)
        quantized = artefact.format.quantized
        self._definition = ReferencePredictor(artefact) if quantized else StreamNormals(artefact)
        means = {name: _fixed(layer, layer.mean, layer.bias) for name, layer in self._layers()}
        fixed = replace(artefact, layers=means)
        self._compiled = quantized or load_program(fixed, threads) is not None
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

    def sample(self, layer: str, seed: int, mc: int) -> NDArray[Any]:
        """The weights of one pass, [O, I, KH, KW]: w_q as int8, or float32."""
        return self._definition.sample(layer, seed, mc)

    def sample_bias(self, layer: str, seed: int, mc: int) -> NDArray[np.float32]:
        """The bias of one pass, float32 [O]."""
        return self._definition.sample_bias(layer, seed, mc)

    @plain
    def logits(self, x: Given, seed: int, passes: range) -> Tensor:
        """Float32 [len(passes), N, classes]; see `Predictor.logits`."""
        x = check_call(x, self.artefact.graph, seed, passes)
        self.need.check(len(x), len(passes))
        return torch.cat([self._pass(x, seed, mc) for mc in passes])

    def traffic(self, batch: int) -> Traffic:
        """As of what defines the draws."""
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

    def _program(self, layers: dict[str, Layer]) -> NativePredictor | _TorchProgram:
        """A team of all threads: there is one pass, and nothing has to be measured."""
        fixed = replace(self.artefact, layers=layers)
        if not self._compiled:
            return _TorchProgram(fixed)
        quantized = fixed.format.quantized
        make, kind = (build, NativePredictor) if quantized else (build_float, ProgramPredictor)
        built = started("drawn", lambda: make(fixed, self.threads, team=self.threads))
        return kind(built, fixed.graph, self.threads)


def _fixed(layer: Layer, weight: NDArray[Any], bias: NDArray[np.float32]) -> Layer:
    """A layer of one pass."""
    return replace(
        layer,
        mean=weight,
        bias=bias,
        std=None,
        sigma_q=None,
        codebook=None,
        bias_std=np.zeros_like(bias),
    )


def load(artefact: Artefact, threads: int) -> DrawnPredictor | DividedPredictor:
    """See `Backend.load`; the extension is there where the format is an int8 one."""
    check_threads(threads)
    if artefact.graph.steps:
        return DividedPredictor(artefact, lambda part: load(part, threads))
    return DrawnPredictor(artefact, threads)
