"""Whether an artefact's header and tensors are what one can be computed from: whatever a file's
hash says, it may come from elsewhere.

`check_tensors` looks at types and lengths before a tensor is read, `check_artefact` at everything
after; `check_object` is for artefacts that come from no file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.formats import FORMATS, Format
from .artefact_model import MEAN_STEPS, Artefact, Header, Layer
from .constants import sizes
from .graph import Conv
from .graph_check import check_graph
from .sigma import packed_bytes
from .steps_check import check_steps

#: Of a tensor in the file: its type as safetensors names it, and its shape.
Stored = tuple[str, tuple[int, ...]]

_MEANS = {"fp32": "F32", "bf16": "BF16", "int8": "I8"}


def check_header(header: Header) -> None:
    """Refuse a graph that cannot be computed, and choices that no artefact of the format has.

    Raises:
        ValueError: what is wrong, with the name of the field, node or activation.
    """
    if header.format not in FORMATS:
        raise ValueError(f"there is no format {header.format}")
    format = FORMATS.get(header.format)
    _check_choices(header, format)
    check_graph(header.graph, format.quantized)
    for conv in header.graph.convs:
        if not format.bayesian and (conv.bayesian or conv.bias_bayesian):
            raise ValueError(f"{conv.name} is Bayesian, and {format.name} samples nothing")
    for name, share in header.saturation.items():
        if name not in header.graph.activations or not 0 <= share <= 1:
            raise ValueError(f"{name} has a saturation of {share}")
    for name, constant in header.constants.items():
        if min(constant.shape, default=0) < 0:
            raise ValueError(f"the constant {name} has the shape {constant.shape}")


def _check_choices(header: Header, format: Format) -> None:
    """Fields that the format, or another field, leaves no choice."""
    if not format.quantized and (header.sigma_grid, header.rounding) != ("affine", "nearest"):
        raise ValueError(f"sigma_grid or rounding is none of {format.name}")
    if header.sigma_grid == "codebook" and format.bayesian and header.granularity == "-":
        raise ValueError("granularity is missing, and sigma_grid is codebook")


def expected_tensors(header: Header) -> dict[str, Stored]:
    """The tensors of a file with this header, by name: no others, and none of another length."""
    format, convs = FORMATS.get(header.format), header.graph.convs
    channels = sum(conv.shape[0] for conv in convs)
    weights = sum(conv.weights for conv in convs)
    means: Stored = (_MEANS[format.arithmetic], (weights,))
    if format.mean_bits == 4:
        means = ("U8", (sum(packed_bytes(conv.weights, 4) for conv in convs),))
    found: dict[str, Stored] = {"mean": means, "bias": ("F32", (channels, 2))}
    if format.quantized:
        columns = 3 if header.sigma_grid == "affine" else 1
        found["scale"] = ("F32", (channels, columns))
    if format.mean_bits == 4:
        found["step"] = ("U8", (channels,))
    found |= _expected_sigma(header, format, [conv for conv in convs if conv.bayesian])
    for name, size in sizes(header.constants).items():
        found[name] = ("F32" if name == "constant" else "I64", (size,))
    return found


def _expected_sigma(header: Header, format: Format, convs: list[Conv]) -> dict[str, Stored]:
    """What there is of σ in a file whose Bayesian layers are these."""
    if not format.bayesian or not convs:
        return {}
    if not format.quantized:
        return {"sigma": (_MEANS[format.arithmetic], (sum(conv.weights for conv in convs),))}
    packed = sum(packed_bytes(conv.weights, format.sigma_bits) for conv in convs)
    found: dict[str, Stored] = {"sigma": ("U8", (packed,))}
    if header.sigma_grid == "codebook":
        grids = len(convs) if header.granularity == "tensor" else sum(c.shape[0] for c in convs)
        found["codebook"] = ("F32", (grids << format.sigma_bits,))
    return found


def check_tensors(header: Header, tensors: Mapping[str, Stored]) -> None:
    """Refuse tensors that are not exactly those the header asks for.

    Raises:
        ValueError: one is missing, surplus, or of another type or shape, with its name.
    """
    wanted = expected_tensors(header)
    for name in sorted({*wanted, *tensors}):
        if name not in wanted:
            raise ValueError(f"the tensor {name} is none of a {header.format} model's")
        if name not in tensors:
            raise ValueError(f"the tensor {name} is missing")
        if tensors[name] != wanted[name]:
            (type_, shape), (there, found) = wanted[name], tensors[name]
            raise ValueError(f"the tensor {name} is {there} {found}, not {type_} {shape}")


_CHECKED: WeakSet[Artefact] = WeakSet()


def check_object(artefact: Artefact) -> None:
    """Refuse an artefact that no file could hold, whoever made it; each is looked at once.

    Raises:
        UserError: one sentence, with the name of the field, node, layer or constant.
    """
    if artefact in _CHECKED:
        return
    try:
        check_header(artefact.header)
        _check_arrays(artefact)
        check_artefact(artefact)
    except ValueError as reason:
        raise UserError(
            f"The artefact cannot be computed: {reason}; make it again by `quantize`."
        ) from reason
    _CHECKED.add(artefact)


def _check_arrays(artefact: Artefact) -> None:
    """Types and shapes, which `check_tensors` looks at in a file."""
    format = artefact.format
    if list(artefact.layers) != [conv.name for conv in artefact.graph.convs]:
        raise ValueError("its layers are not those of its graph")
    for conv in artefact.graph.convs:
        layer, drawn = artefact.layers[conv.name], format.bayesian and conv.bayesian
        channel = (np.float32, conv.shape[:1])
        wanted = {
            "mean": (np.int8 if format.quantized else np.float32, conv.shape),
            "std": (np.float32, conv.shape) if drawn and not format.quantized else None,
            "sigma_q": (np.uint8, conv.shape) if drawn and format.quantized else None,
            **dict.fromkeys(("weight_scale", "sigma_scale", "sigma_offset"), channel),
            **dict.fromkeys(("bias", "bias_std"), channel),
        }
        for name, kind in wanted.items():
            array = getattr(layer, name)
            if kind != (None if array is None else (array.dtype.type, array.shape)):
                raise ValueError(f"{name} of layer {conv.name} is of another type or shape")
        if layer.sigma_q is not None and layer.sigma_q.max() >> layer.sigma_bits:
            raise ValueError(f"a σ_q of layer {conv.name} has more than {layer.sigma_bits} bits")


def check_artefact(artefact: Artefact) -> None:
    """Refuse numbers that no model is quantized to.

    Raises:
        ValueError: what is wrong, with the name of the layer, constant or step.
    """
    graph = artefact.graph
    for conv in graph.convs:
        layer = artefact.layers[conv.name]
        scale = graph.activations[conv.input].scale
        _check_layer(conv, layer, scale if artefact.format.quantized else 1.0)
    for name, constant in artefact.constants.items():
        if constant.dtype == np.float32 and np.isnan(constant).any():
            raise ValueError(f"the constant {name} is not a number")
    if graph.steps:
        check_steps(graph, artefact.constants)


def _check_layer(conv: Conv, layer: Layer, input_scale: float) -> None:
    def demand(what: str, values: NDArray[Any] | None, low: float, high: float = math.inf) -> None:
        """Between low and high, and finite: NaN passes no comparison."""
        if values is None or not values.size:
            return
        if not (low <= values.min() and values.max() <= high and np.isfinite(values.max())):
            raise ValueError(f"{what} of layer {conv.name} is not from {low:g} to {high:g}")

    finite = float(np.finfo(np.float32).max)
    low, high = (-127.0, 127.0) if layer.mean.dtype == np.int8 else (-finite, finite)
    least = float(np.finfo(np.float32).smallest_subnormal)
    demand("a mean", layer.mean, low, high)
    demand("a weight scale", layer.weight_scale, least, finite)
    with np.errstate(over="ignore"):
        demand("an output scale", np.float32(input_scale) * layer.weight_scale, 0.0, finite)
    demand("a bias", layer.bias, -finite, finite)
    demand("a bias σ", layer.bias_std, 0.0, finite if conv.bias_bayesian else 0.0)
    demand("a σ", layer.std, 0.0, finite)
    demand("a σ scale", layer.sigma_scale, 0.0, finite)
    demand("a σ offset", layer.sigma_offset, 0.0, finite)
    demand("a codebook's σ", layer.codebook, 0.0, finite)
    demand("the step of a mean", layer.mean_step, 1, MEAN_STEPS)
