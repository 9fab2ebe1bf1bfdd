"""The artefact's file: written by `save`, read by `load`, described in `docs/artefact.md`.

Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from ..files import content_hash, write_atomically
from ..formats import FORMATS, Format
from . import constants as constant_tensors
from . import noise
from .artefact_model import F32, Artefact, Header, Layer
from .graph import Conv
from .sigma import pack, packed_bytes, unpack

# 4: a divided network; 3: a graph with joins, ceilings or pools that round up; 2: a codebook or
# dithered rounding; all else is written as, and read by, schema 1.
SCHEMA = 4
KEY = "sigmabench-artefact"


def tensors_of(artefact: Artefact) -> dict[str, NDArray[Any]]:
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
    for name, array in tensors_of(artefact).items():
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        half = artefact.format.arithmetic == "bf16" and name in ("mean", "sigma")
        tensors[name] = tensor.bfloat16() if half else tensor
    text = _header_text(artefact.header)
    raw = {name: tensor.view(torch.uint8).numpy().data for name, tensor in tensors.items()}
    # One metadata entry: safetensors does not keep the order of several.
    return safetensors.torch.save(tensors, {KEY: _sealed(text, content_hash(text, raw))})


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
    if content_hash(text, raw) != expected:
        raise UserError(f"{damaged}: its content does not match its hash; make it again.")
    _check_versions(text, source)
    try:
        header = TypeAdapter(Header).validate_json(text)
        arrays = {name: _as_numpy(value) for name, value in tensors.items()}
        reader = _Reader(arrays)
        constants = constant_tensors.restored(header.constants, reader.take)
        check(header.graph, constants)
        artefact = Artefact(header, _layers(header, reader), constants)
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


def _layers(header: Header, reader: _Reader) -> dict[str, Layer]:
    format = FORMATS.get(header.format)
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
