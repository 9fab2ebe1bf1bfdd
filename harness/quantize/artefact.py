"""The artefact: a model in one numeric format, ready to run, in one file.

Nothing else is needed for inference: not the original class, not the posterior. `docs/artefact.md`
describes the file; `save` and `load` are its only writers and readers, and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files import write_atomically
from ..formats import FORMATS, Format
from ..record import Size
from . import constants as constant_tensors
from . import noise
from .constants import Constant
from .graph import Conv, Graph
from .sigma import look_up, pack, packed_bytes, unpack

# 4: a divided network; 3: a graph with joins, ceilings or pools that round up; 2: a codebook or
# dithered rounding; all else is written as, and read by, schema 1.
SCHEMA = 4
KEY = "sigmabench-artefact"
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Header:
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
        saturation: share of sampled activations the ranges cut off, by activation.
        constants: what operations of a divided network read beside values, by name.
    """

    format: str
    workload: str
    workload_version: str
    posterior: str
    graph: Graph
    range: str = "-"
    granularity: str = "-"
    sigma_offset: str = "-"
    observer: str = "-"
    calibration: str = "-"
    sigma_grid: str = "affine"
    rounding: str = "nearest"
    noise_stream: int = noise.VERSION
    saturation: dict[str, float] = field(default_factory=dict)
    constants: dict[str, Constant] = field(default_factory=dict)
    schema: int = 1

    @property
    def compiled_sampler(self) -> bool:
        """Whether the compiled sampler draws its weights: from an affine grid, rounded to nearest.

        The definition in numpy draws all of them.
        """
        return self.sigma_grid == "affine" and self.rounding == "nearest"


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


def _tensors(artefact: Artefact) -> dict[str, NDArray[Any]]:
    """Flat arrays over all layers in order: a few entries in the file, whatever the depth."""
    layers = list(artefact.layers.values())
    tensors: dict[str, NDArray[Any]] = {
        "mean": np.concatenate([_stored_mean(layer) for layer in layers]),
        "bias": np.concatenate([np.stack([layer.bias, layer.bias_std], 1) for layer in layers]),
    }
    if artefact.format.quantized:
        affine = artefact.header.sigma_grid == "affine"
        tensors["scale"] = np.concatenate([_stored_scale(layer, affine) for layer in layers])
    optional: dict[str, list[Any]] = {
        "sigma": [_stored_sigma(layer) for layer in layers],
        "codebook": [layer.codebook for layer in layers],
        "step": [layer.mean_step for layer in layers],
    }
    for name, arrays in optional.items():
        there = [array.reshape(-1) for array in arrays if array is not None]
        if there:
            tensors[name] = np.concatenate(there)
    return tensors | constant_tensors.flat(artefact.constants)


def _stored_mean(layer: Layer) -> NDArray[Any]:
    if layer.mean_step is None:
        return layer.mean.reshape(-1)
    steps = layer.mean.astype(np.int8) // layer.mean_step.astype(np.int8).reshape(-1, 1, 1, 1)
    return pack((steps & 15).astype(np.uint8).reshape(-1), 4)


def _stored_scale(layer: Layer, affine: bool) -> F32:
    columns = [layer.weight_scale]
    columns += [layer.sigma_scale, layer.sigma_offset] if affine else []
    return np.stack(columns, 1)


def _stored_sigma(layer: Layer) -> NDArray[Any] | None:
    if layer.sigma_q is not None:
        return pack(layer.sigma_q, layer.sigma_bits)
    return layer.std


def _header_text(header: Header) -> str:
    from pydantic import TypeAdapter

    return TypeAdapter(Header).dump_json(header, exclude_defaults=True).decode()


def _content_hash(text: str, tensors: Mapping[str, memoryview]) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode() + b"\0")
        digest.update(tensors[name])
    return digest.hexdigest()


def _sealed(text: str, digest: str) -> str:
    """The header's JSON object with the content hash as its first field."""
    return f'{{"sha256":"{digest}",{text[1:]}'


def _unsealed(sealed: str) -> tuple[str, str]:
    """The header's JSON as it was hashed, and the hash."""
    digest = json.loads(sealed)["sha256"]
    return "{" + sealed.removeprefix(_sealed("{", digest)), digest


def to_bytes(artefact: Artefact) -> bytes:
    """The file's content."""
    import safetensors.torch
    import torch

    tensors = {}
    for name, array in _tensors(artefact).items():
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        half = artefact.format.arithmetic == "bf16" and name in ("mean", "sigma")
        tensors[name] = tensor.bfloat16() if half else tensor
    text = _header_text(artefact.header)
    raw = {name: tensor.view(torch.uint8).numpy().data for name, tensor in tensors.items()}
    # One metadata entry: safetensors does not keep the order of several.
    return safetensors.torch.save(tensors, {KEY: _sealed(text, _content_hash(text, raw))})


def save(artefact: Artefact, path: Path) -> None:
    """Write the file, atomically.

    Raises:
        UserError: the place cannot be written.
    """
    write_atomically(Path(path), to_bytes(artefact))


def load(path: Path) -> Artefact:
    """Read an artefact, checking its content hash.

    Raises:
        UserError: the file is missing, damaged, foreign, has a mean of −128 steps, or is of a newer
            schema or noise stream.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no artefact {path}; check the path or make one by `quantize`.")
    try:
        data = path.read_bytes()
    except OSError as reason:
        raise UserError(f"{path} cannot be read ({reason}); check its permissions.") from reason
    return from_bytes(data, str(path))


def from_bytes(data: bytes, source: str) -> Artefact:
    """The inverse of `to_bytes`; `source` names the data in errors."""
    import safetensors
    import safetensors.torch
    import torch
    from pydantic import TypeAdapter, ValidationError

    from .floats import check

    damaged = f"{source} is damaged or no SigmaBench artefact"
    try:
        tensors = safetensors.torch.load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        text, expected = _unsealed(metadata[KEY])
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as reason:
        raise UserError(
            f"{damaged}; make an artefact again by `sigmabench quantize`, or a posterior by "
            "`sigmabench train`."
        ) from reason
    raw = {name: value.view(torch.uint8).numpy().data for name, value in tensors.items()}
    if _content_hash(text, raw) != expected:
        raise UserError(f"{damaged}: its content does not match its hash; make it again.")
    _check_versions(text, source)
    try:
        header = TypeAdapter(Header).validate_json(text)
        arrays = {name: _as_numpy(value) for name, value in tensors.items()}
        constants = constant_tensors.restored(header.constants, arrays)
        check(header.graph, constants)
        artefact = Artefact(header, _layers(header, arrays), constants)
    except (ValidationError, ValueError, KeyError, IndexError) as reason:
        raise UserError(f"{damaged}: its header does not describe its tensors.") from reason
    for name, layer in artefact.layers.items():
        if layer.mean.dtype == np.int8 and (layer.mean == -128).any():
            raise UserError(
                f"{source} has a mean of -128 steps in layer {name}; they go from -127 to 127, so "
                "make it again by `sigmabench quantize`."
            )
    return artefact


def _check_versions(text: str, source: str) -> None:
    fields = json.loads(text)
    schema, stream = fields.get("schema", Header.schema), fields.get("noise_stream", noise.VERSION)
    if schema > SCHEMA or stream > noise.VERSION:
        raise UserError(
            f"{source} was made by a newer SigmaBench (schema {schema}, noise stream {stream}; "
            f"this one reads {SCHEMA} and {noise.VERSION}); upgrade."
        )


def _as_numpy(tensor: object) -> NDArray[Any]:
    import torch

    assert isinstance(tensor, torch.Tensor)
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


class _Reader:
    """Reads every tensor of a file from front to back."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._at: Counter[str] = Counter()

    def take(self, name: str, count: int) -> NDArray[Any]:
        """The next entries of a tensor."""
        start = self._at[name]
        self._at[name] += count
        if len(self._arrays[name]) < start + count:
            raise ValueError(f"{name} is too short")
        return self._arrays[name][start : start + count]


def _layers(header: Header, arrays: dict[str, NDArray[Any]]) -> dict[str, Layer]:
    format, reader = FORMATS.get(header.format), _Reader(arrays)
    return {conv.name: _layer(header, format, conv, reader) for conv in header.graph.convs}


def _layer(header: Header, format: Format, conv: Conv, reader: _Reader) -> Layer:
    channels = conv.shape[0]
    mean, step = _read_mean(format, conv, reader)
    bias = reader.take("bias", channels).astype(np.float32)
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    scale, codebook = (ones, zeros, zeros), None
    if format.quantized:
        rows = reader.take("scale", channels).astype(np.float32)
        affine = header.sigma_grid == "affine"
        scale = (rows[:, 0].copy(), *(rows[:, 1:3].T.copy() if affine else (zeros, zeros)))
    std = sigma_q = None
    if format.bayesian and conv.bayesian and format.quantized:
        packed = reader.take("sigma", packed_bytes(conv.weights, format.sigma_bits))
        sigma_q = unpack(packed.astype(np.uint8), format.sigma_bits, conv.weights)
        sigma_q = sigma_q.reshape(conv.shape)
        if header.sigma_grid == "codebook":
            grids = 1 if header.granularity == "tensor" else channels
            levels = reader.take("codebook", grids << format.sigma_bits).astype(np.float32)
            codebook = levels.reshape(grids, -1)
    elif format.bayesian and conv.bayesian:
        std = reader.take("sigma", conv.weights).reshape(conv.shape)
    return Layer(
        mean, std, sigma_q, format.sigma_bits, *scale, bias[:, 0].copy(), bias[:, 1].copy(),
        codebook, step,
    )  # fmt: skip


def _read_mean(
    format: Format, conv: Conv, reader: _Reader
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """μ_q or μ, and k where μ is stored in 4 bits."""
    if format.mean_bits != 4:
        return reader.take("mean", conv.weights).reshape(conv.shape), None
    step = reader.take("step", conv.shape[0]).astype(np.uint8)
    packed = reader.take("mean", packed_bytes(conv.weights, 4)).astype(np.uint8)
    nibbles = unpack(packed, 4, conv.weights).astype(np.int8).reshape(conv.shape)
    multiples = np.where(nibbles > 7, nibbles - 16, nibbles)
    return (multiples * step.reshape(-1, 1, 1, 1)).astype(np.int8), step


def size(artefact: Artefact, fp32: Artefact | None = None) -> Size:
    """Bytes on disk, itemised, beside the closed form for the weights (64 over their bits).

    Codebooks and the steps of 4-bit μ count among the scales.

    Args:
        artefact: the model.
        fp32: the same model in FP32, for the ratio of whole files.
    """
    from pydantic import TypeAdapter

    file_bytes = len(to_bytes(artefact))
    tensors = {name: array.nbytes for name, array in _tensors(artefact).items()}
    if artefact.format.arithmetic == "bf16":
        tensors = {n: b // 2 if n in ("mean", "sigma") else b for n, b in tensors.items()}
    weight_bytes = tensors["mean"] + tensors.get("sigma", 0)
    scale_bytes = sum(tensors.get(name, 0) for name in ("scale", "codebook", "step"))
    bias_bytes = tensors["bias"]
    graph_bytes = len(TypeAdapter(Graph).dump_json(artefact.graph, exclude_defaults=True))
    constant_bytes = tensors.get("constant", 0) + tensors.get("index", 0)
    named = weight_bytes + scale_bytes + bias_bytes + constant_bytes + graph_bytes
    return Size(
        file_bytes=file_bytes,
        weight_bytes=weight_bytes,
        scale_bytes=scale_bytes,
        bias_bytes=bias_bytes,
        graph_bytes=graph_bytes,
        header_bytes=file_bytes - named,
        weights=artefact.weights,
        ratio_weights=64 / artefact.format.weight_bits,
        ratio_file=len(to_bytes(fp32)) / file_bytes if fp32 is not None else None,
        constant_bytes=constant_bytes,
    )
