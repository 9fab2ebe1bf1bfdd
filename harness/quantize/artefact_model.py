"""A model in one numeric format, as numbers: what an artefact's file holds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.formats import FORMATS, Format
from . import noise
from .constants import Constant
from .graph import Conv, Graph, StrictModel
from .options import compiled_sampler
from .sigma import look_up

F32 = NDArray[np.float32]
MEAN_STEPS = 18  # most steps of the weight grid that one step of a 4-bit μ takes: 7·18 <= 127


@dataclass(frozen=True)
class Header(StrictModel):
    """Everything about an artefact that is not a tensor.

    Attributes:
        schema: of the file.
        format: numeric format.
        workload: name and version of the workload, or a name the user gave.
        posterior: content hash of the posterior.
        range: `headroom` or `paper`; `-` for floats.
        granularity: of σ: `channel` or `tensor`; `-` for floats.
        sigma_offset: `float` or `integer`; `-` for floats and codebooks.
        observer: of activation ranges; `-` for floats.
        calibration: `mean` or `sampled`; `-` for floats.
        sigma_grid: `affine` or `codebook`.
        rounding: of sampled weights: `nearest` or `dithered`.
        noise_stream: version of the noise stream.
        graph: operations and activations.
        saturation: share of values that the ranges cut off, by activation: in sampled passes, or
            in the one pass of a deterministic format.
        constants: what operations of a divided network read beside values, by name.
    """

    format: str
    workload: str
    workload_version: str
    posterior: str
    graph: Graph
    range: Literal["headroom", "paper", "-"] = "-"
    granularity: Literal["channel", "tensor", "-"] = "-"
    sigma_offset: Literal["float", "integer", "-"] = "-"
    observer: str = "-"
    calibration: Literal["mean", "sampled", "-"] = "-"
    sigma_grid: Literal["affine", "codebook"] = "affine"
    rounding: Literal["nearest", "dithered"] = "nearest"
    noise_stream: int = noise.VERSION
    saturation: dict[str, float] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    schema: int = 1

    @property
    def compiled_sampler(self) -> bool:
        """Whether the compiled sampler draws its weights."""
        return compiled_sampler(self.sigma_grid, self.rounding)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's numbers.

    Attributes:
        mean: [O, I, KH, KW]; μ_q as int8, or μ as float32 (bfloat16 values in BF16).
        std: σ, float32 of that shape, in the float formats; None in INT8 or if deterministic.
        sigma_q: σ_q, uint8 of that shape, in INT8; None in the float formats or if deterministic.
        sigma_bits: n.
        weight_scale: s_w, float32 [O]; ones in the float formats.
        sigma_scale: float32 [O]; zeros where there is a codebook.
        sigma_offset: float32 [O]; zeros where there is a codebook.
        bias: μ_b, float32 [O].
        bias_std: σ_b, float32 [O].
        codebook: σ̂ of every σ_q, float32 [O, 2^n], or [1, 2^n] for the whole tensor; None where
            the grid is affine.
        mean_step: k, uint8 [O], where μ is stored in 4 bits: μ_q is a multiple of it, -7 to 7
            times; else None.
    """

    mean: NDArray[np.int8] | F32
    std: F32 | None
    sigma_q: NDArray[np.uint8] | None
    sigma_bits: int
    weight_scale: F32
    sigma_scale: F32
    sigma_offset: F32
    bias: F32
    bias_std: F32
    codebook: F32 | None = None
    mean_step: NDArray[np.uint8] | None = None

    @cached_property
    def constants(self) -> noise.Constants:
        """The sampler's integers (docs/noise-stream.md)."""
        return noise.constants(
            self.sigma_scale, self.sigma_offset, self.weight_scale, self.sigma_bits
        )

    @property
    def multiplier(self) -> NDArray[np.int16]:
        """A, int16 [O]."""
        return self.constants.multiplier

    @property
    def offset(self) -> NDArray[np.int16]:
        """B, int16 [O]."""
        return self.constants.offset

    @property
    def shift(self) -> NDArray[np.uint8]:
        """Uint8 [O]."""
        return self.constants.shift if self.table is None else self.table.shift

    @cached_property
    def table(self) -> noise.Table | None:
        """The sampler's integers where there is a codebook."""
        if self.codebook is None:
            return None
        return noise.table(self.codebook, self.weight_scale)

    def steps(self) -> NDArray[np.int32]:
        """g of every weight, int32 [O, I, KH, KW]; only if quantized and not deterministic."""
        assert self.sigma_q is not None
        if self.table is None:
            return noise.step_table(self.sigma_q, self.constants, self.sigma_bits)
        return look_up(self.table.steps, self.sigma_q).astype(np.int32)

    def real_mean(self) -> F32:
        """μ̂ in real units, float32 [O, I, KH, KW]."""
        return (self.mean * self.weight_scale.reshape(-1, 1, 1, 1)).astype(np.float32)

    def real_std(self) -> F32:
        """σ̂ in real units, float32 [O, I, KH, KW]; zeros if deterministic."""
        if self.std is not None:
            return self.std
        if self.sigma_q is None:
            return np.zeros(self.mean.shape, np.float32)
        if self.codebook is not None:
            return look_up(self.codebook, self.sigma_q)
        extra = (-1, 1, 1, 1)
        slope, base = self.sigma_scale.reshape(extra), self.sigma_offset.reshape(extra)
        return (base + slope * self.sigma_q).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Artefact:
    """A model in one numeric format.

    Attributes:
        header: what it is.
        layers: by layer name, in the order of the graph.
        constants: float32, int64 or bool, as the header tells.
        first_layer: ordinal of its first layer, where it is a part of a divided network.
    """

    header: Header
    layers: dict[str, Layer]
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    first_layer: int = 0

    @property
    def format(self) -> Format:
        """Its numeric format."""
        return FORMATS.get(self.header.format)

    @property
    def graph(self) -> Graph:
        """Its operations."""
        return self.header.graph

    @property
    def ordinals(self) -> dict[str, int]:
        """Of every layer among the network's, by name: where its noise comes from."""
        return {conv.name: i for i, conv in enumerate(self.graph.convs, self.first_layer)}

    def parts(self) -> dict[str, Artefact]:
        """The segments of a divided network as artefacts of their own, by name."""
        found, ordinals = {}, self.ordinals
        for name, graph in self.graph.parts().items():
            layers = {conv.name: self.layers[conv.name] for conv in graph.convs}
            header = replace(self.header, graph=graph, constants={})
            found[name] = Artefact(header, layers, first_layer=ordinals[next(iter(layers))])
        return found

    @property
    def weights(self) -> int:
        """Number of weights, biases not counted."""
        return sum(layer.mean.size for layer in self.layers.values())

    @property
    def sampled_weights(self) -> int:
        """Weights that a stochastic pass draws."""
        return sum(
            conv.weights for conv in self.graph.convs if conv.bayesian and self.sampled(conv)
        )

    def sampled(self, conv: Conv) -> bool:
        """Whether this layer's weight is drawn in every pass."""
        layer = self.layers[conv.name]
        return layer.std is not None or layer.sigma_q is not None
