"""The artefact's file: written by `save`, read by `load`, described in `docs/artefact.md`.

Nothing is unpickled.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError, first_line
from ..core.formats import FORMATS, Format
from ..core.whole import content_hash, read_json, write_atomically
from ..machine.memory_limit import require
from ..machine.torch_state import plain
from . import constants as constant_tensors
from . import noise
from .artefact_model import F32, Artefact, Header, Layer
from .graph import Conv
from .sigma import pack, packed_bytes, unpack

# 5: a graph with group norms, dilated or uneven pools; 4: a divided network; 3: a graph with joins,
# ceilings or pools that round up; 2: a codebook or dithered rounding; all else is written as, and
# read by, schema 1.
SCHEMA = 5
KEY = "sigmabench-artefact"
MOST_HEADER = 1 << 24  # bytes; the largest networks have some hundred thousand
_DTYPES = {"I8": np.int8, "U8": np.uint8, "F32": np.float32, "BF16": np.uint16, "I64": np.int64}


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


@lru_cache(maxsize=1)
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Header)


def _header_text(header: Header) -> str:
    text: str = _adapter().dump_json(header, exclude_defaults=True).decode()
    return text


def _sealed(text: str, digest: str) -> str:
    """The header's JSON object with the content hash as its first field."""
    return f'{{"sha256":"{digest}",{text[1:]}'


def _unsealed(sealed: str) -> tuple[str, str]:
    """The header's JSON as it was hashed, and the hash."""
    digest = read_json(sealed)["sha256"]
    return "{" + sealed.removeprefix(_sealed("{", digest)), digest


def to_bytes(artefact: Artefact) -> bytes:
    """The file's content."""
    import safetensors.torch

    tensors, text, digest = _content(artefact)
    # One metadata entry: safetensors does not keep the order of several.
    return safetensors.torch.save(tensors, {KEY: _sealed(text, digest)})


def artefact_hash(artefact: Artefact) -> str:
    """64 hex digits of the SHA-256 that its file holds of its content."""
    return _content(artefact)[2]


def _content(artefact: Artefact) -> tuple[dict[str, Any], str, str]:
    """Tensors, the header's JSON, and the hash of both."""
    import torch

    tensors = {}
    for name, array in tensors_of(artefact).items():
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        half = artefact.format.arithmetic == "bf16" and name in ("mean", "sigma")
        tensors[name] = tensor.bfloat16() if half else tensor
    text = _header_text(artefact.header)
    raw = {name: tensor.view(torch.uint8).numpy().data for name, tensor in tensors.items()}
    return tensors, text, content_hash(text, raw)


@plain
def save(artefact: Artefact, path: Path | str) -> None:
    """Write the file, atomically.

    Raises:
        UserError: the place cannot be written.
    """
    write_atomically(Path(path), to_bytes(artefact), durable=True)


@plain
def load(path: Path | str) -> Artefact:
    """Read an artefact, checking its content hash.

    Raises:
        UserError: the file is missing, damaged, foreign, too large for memory, of a newer schema or
            noise stream, or has a graph or numbers that no model has (`artefact_check`).
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no artefact {path}; check the path or make one by `quantize`.")
    try:
        require(str(path), 2 * path.stat().st_size)  # the file, and its tensors
        data = path.read_bytes()
    except OSError as reason:
        raise UserError(f"{path} cannot be read ({reason}); check its permissions.") from reason
    return from_bytes(data, str(path))


@plain
def from_bytes(data: bytes, source: str) -> Artefact:
    """The inverse of `to_bytes`; `source` names the data in errors."""
    from .artefact_check import check_artefact, check_header, check_tensors

    try:
        text, tensors = _opened(data)
        _check_versions(read_json(text), source)
        header = _header(text)
        check_header(header)
        check_tensors(header, {name: (one.type, one.shape) for name, one in tensors.items()})
        reader = _Reader({name: _as_numpy(one) for name, one in tensors.items()})
        constants = constant_tensors.restored(header.constants, reader.take)
        artefact = Artefact(header, _layers(header, reader), constants)
        check_artefact(artefact)
    except ValueError as reason:
        raise UserError(
            f"{source} is damaged or not a SigmaBench artefact: {reason}; make an artefact anew by "
            "`sigmabench quantize`, or a posterior by `sigmabench train`."
        ) from reason
    return artefact


class _Tensor(NamedTuple):
    """A tensor as it lies in the file; `type` is safetensors' name of it."""

    type: str
    shape: tuple[int, ...]
    data: bytearray


def _opened(data: bytes) -> tuple[str, dict[str, _Tensor]]:
    """The header's JSON and the tensors, which have the hash that the file tells.

    Raises:
        ValueError: they do not, or these are no such things.
    """
    import safetensors

    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER:
        raise ValueError("its header is too large")
    try:
        found = safetensors.deserialize(data)
        metadata = read_json(data[8 : 8 + length])["__metadata__"]
        text, expected = _unsealed(metadata[KEY])
    except (safetensors.SafetensorError, KeyError, TypeError) as reason:
        raise ValueError(f"it cannot be read ({first_line(reason)})") from reason
    tensors = {name: _Tensor(one["dtype"], tuple(one["shape"]), one["data"]) for name, one in found}
    if content_hash(text, {name: memoryview(one.data) for name, one in tensors.items()}) != (
        expected
    ):
        raise ValueError("its content does not match its hash")
    return text, tensors


def _header(text: str) -> Header:
    """The header that a file's JSON is.

    Raises:
        ValueError: it is none; with the name of the field.
    """
    from pydantic import ValidationError

    try:
        header: Header = _adapter().validate_json(text)
    except ValidationError as reason:
        # A node is none of several kinds: what it lacks of the nearest tells most.
        errors = reason.errors(include_url=False)
        kinds = Counter(error["loc"][:4] for error in errors)
        nearest = min(errors, key=lambda error: kinds[error["loc"][:4]])
        field = ".".join(map(str, nearest["loc"]))
        raise ValueError(f"its header's {field} is wrong ({nearest['msg']})") from reason
    return header


def _check_versions(fields: Any, source: str) -> None:
    versions = [fields.get("schema", Header.schema), fields.get("noise_stream", noise.VERSION)]
    if any(type(version) is not int or version < 1 for version in versions):
        raise ValueError("its schema or noise_stream is not a version number")
    schema, stream = versions
    if schema > SCHEMA or stream > noise.VERSION:
        raise UserError(
            f"{source} was made by a newer SigmaBench (schema {schema}, noise stream {stream}; "
            f"this one reads {SCHEMA} and {noise.VERSION}); upgrade."
        )


def _as_numpy(tensor: _Tensor) -> NDArray[Any]:
    """Its values; bfloat16 as float32."""
    values = np.frombuffer(tensor.data, _DTYPES[tensor.type]).reshape(tensor.shape)
    if tensor.type == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


class _Reader:
    """Reads every tensor of a file from front to back; they have the lengths it asks for."""

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self._arrays = arrays
        self._at: Counter[str] = Counter()

    def take(self, name: str, count: int) -> NDArray[Any]:
        """The next entries of a tensor."""
        start = self._at[name]
        self._at[name] += count
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
        sigma_q = _unpacked(conv, "sigma", format.sigma_bits, reader)
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


def _unpacked(conv: Conv, name: str, bits: int, reader: _Reader) -> NDArray[np.uint8]:
    """A layer's n-bit values, uint8 [O, I, KH, KW]."""
    packed = reader.take(name, packed_bytes(conv.weights, bits)).astype(np.uint8)
    used = conv.weights * bits % 8
    if used and packed[-1] >> used:
        raise ValueError(f"the last byte of {name} of layer {conv.name} is not padded with zeros")
    return unpack(packed, bits, conv.weights).reshape(conv.shape)


def _read_mean(
    format: Format, conv: Conv, reader: _Reader
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """μ_q or μ, and k where μ is stored in 4 bits."""
    if format.mean_bits != 4:
        return reader.take("mean", conv.weights).reshape(conv.shape), None
    step = reader.take("step", conv.shape[0]).astype(np.uint8)
    nibbles = _unpacked(conv, "mean", 4, reader).astype(np.int8)
    if (nibbles == 8).any():
        raise ValueError(f"layer {conv.name} has a mean of -8, and -7 is the least in 4 bits")
    multiples = np.where(nibbles > 7, nibbles - 16, nibbles)
    return (multiples * step.reshape(-1, 1, 1, 1)).astype(np.int8), step
