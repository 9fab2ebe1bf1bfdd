"""Post-training quantization: from a folded float model to an artefact in any format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UserError
from ..core.formats import FORMATS, Format
from ..machine.torch_state import plain
from .artefact_model import MEAN_STEPS, Artefact, Header, Layer
from .calibrate import Calibration
from .constants import described
from .fold import FloatLayer, FloatModel
from .graph import Conv, Graph, GroupNorm, Join, Node, Pool
from .graph_check import overflow
from .options import Options, Range
from .sigma import quantize_sigma, quantize_sigma_codebook

HEADROOM = 3.0  # standard deviations beyond |μ| that the weight grid covers


@dataclass(frozen=True)
class Origin:
    """Where a model came from, as its artefact tells."""

    workload: str = "unnamed"
    workload_version: str = "0"
    posterior: str = ""


@plain
def quantize(
    model: FloatModel,
    format: str,
    calibration: Calibration | None = None,
    options: Options | None = None,
    source: Origin | None = None,
) -> Artefact:
    """Put a model into a numeric format.

    Args:
        model: folded float model (`fold`).
        format: name in `FORMATS`.
        calibration: activation ranges of this model (`calibrate`); not needed for float formats.
        options: choices; the defaults if None. The deterministic twin always has the paper's range.
        source: written into the artefact.

    Raises:
        UserError: the format is unknown; an int8 format got no calibration, or a layer's sums can
            exceed int32.
    """
    chosen, options, source = FORMATS.get(format), options or Options(), source or Origin()
    graph = model.graph
    if chosen.quantized and calibration is None:
        raise UserError(
            f"{chosen.name} needs activation ranges; calibrate on training images first."
        )
    if chosen.quantized and (why := overflow(graph.convs)):
        raise UserError(
            f"For {chosen.name}, {why}; use a float format (FP32 or BF16), or a narrower layer."
        )
    if not chosen.bayesian:
        options = Options(range="paper")
    constants = {name: tensor.numpy() for name, tensor in model.constants.items()}
    how: dict[str, Any] = {}
    if chosen.quantized and calibration is not None:
        graph, how = calibration.graph, _how(chosen, options, calibration)
    header = Header(
        format=chosen.name,
        workload=source.workload,
        workload_version=source.workload_version,
        posterior=source.posterior,
        graph=_twin(graph, chosen),
        constants=described(constants),
        schema=_schema(graph, not chosen.quantized or options.compiled_sampler),
        **how,
    )
    layers = {
        conv.name: _int8_layer(conv, model.layers[conv.name], chosen, options)
        if chosen.quantized
        else _float_layer(conv, model.layers[conv.name], chosen)
        for conv in model.graph.convs
    }
    return Artefact(header, layers, constants)


def _how(format: Format, options: Options, calibration: Calibration) -> dict[str, Any]:
    """What the header of an int8 format says of its quantization."""
    affine = options.sigma_grid == "affine"
    return {
        "range": options.range,
        "granularity": options.granularity if format.bayesian else "-",
        "sigma_offset": options.sigma_offset if format.bayesian and affine else "-",
        "sigma_grid": options.sigma_grid,
        "rounding": options.rounding,
        "observer": calibration.observer,
        "calibration": "sampled" if calibration.sampled else "mean",
        "saturation": calibration.saturation if format.bayesian else calibration.mean_saturation,
    }


def _node_schema(node: Node) -> int:
    """The first whose readers know a node."""
    if isinstance(node, GroupNorm):
        return 5
    if isinstance(node, Pool):
        newer = node.dilation != (1, 1) or node.out is not None
        return 5 if newer else 3 if node.ceil else 1
    return 3 if isinstance(node, Join) or node.ceiling is not None else 1


def _schema(graph: Graph, compiled_sampler: bool) -> int:
    """The oldest whose readers understand the file."""
    choices = 4 if graph.steps else 1 if compiled_sampler else 2
    return max(choices, *map(_node_schema, graph.nodes))


def _twin(graph: Graph, format: Format) -> Graph:
    """The graph of a deterministic twin samples nothing."""
    if format.bayesian:
        return graph
    nodes = tuple(
        replace(node, bayesian=False, bias_bayesian=False) if isinstance(node, Conv) else node
        for node in graph.nodes
    )
    return replace(graph, nodes=nodes)


def _float_layer(conv: Conv, layer: FloatLayer, format: Format) -> Layer:
    def stored(value: Tensor) -> NDArray[np.float32]:
        return (value.bfloat16().float() if format.arithmetic == "bf16" else value).numpy()

    channels = conv.shape[0]
    ones, zeros = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    std = stored(layer.std) if format.bayesian and conv.bayesian else None
    bias_std = layer.bias_std.numpy() if format.bayesian else zeros
    return Layer(
        stored(layer.mean), std, None, format.sigma_bits, ones, zeros, zeros,
        layer.bias.numpy(), bias_std,
    )  # fmt: skip


def weight_scale(mean: Tensor, std: Tensor, range: Range, levels: int = 127) -> NDArray[np.float32]:
    """s_w, float32 [O]: max |μ| / levels, or max (|μ| + 3σ) / levels; 1 where that is 0."""
    reach = mean.abs() + (HEADROOM * std if range == "headroom" else 0.0)
    top = reach.flatten(1).amax(dim=1).double() / levels
    return torch.where(top > 0, top, 1.0).float().numpy()


def _int8_layer(conv: Conv, layer: FloatLayer, format: Format, options: Options) -> Layer:
    coarse = format.mean_bits == 4
    # 126 = 7·18: a weight that is nothing but its range's end is exact in 4 bits too.
    scale = weight_scale(layer.mean, layer.std, options.range, 7 * MEAN_STEPS if coarse else 127)
    steps = layer.mean.numpy() / scale.reshape(-1, 1, 1, 1)
    mean_step = mean_steps(steps) if coarse else None
    zeros = np.zeros(len(scale), np.float32)
    plain = Layer(
        _rounded_mean(steps, mean_step), None, None, format.sigma_bits, scale, zeros, zeros,
        layer.bias.numpy(), layer.bias_std.numpy() if format.bayesian else zeros,
        mean_step=mean_step,
    )  # fmt: skip
    if not (format.bayesian and conv.bayesian):
        return plain
    std, bits = layer.std.numpy(), format.sigma_bits
    if options.sigma_grid == "codebook":
        chosen = quantize_sigma_codebook(std, bits, options.granularity)
        return replace(plain, sigma_q=chosen.values, codebook=chosen.codebook)
    sigma = quantize_sigma(std, bits, options.granularity, options.sigma_offset)
    return replace(plain, sigma_q=sigma.values, sigma_scale=sigma.scale, sigma_offset=sigma.offset)


def mean_steps(steps: NDArray[np.floating]) -> NDArray[np.uint8]:
    """k of every channel, uint8 [O], 1 to 18: the step of a 4-bit μ that loses least in mean
    square, of two the smaller.

    Args:
        steps: μ in steps of the weight grid [O, I, KH, KW].
    """
    errors = [
        np.square(_rounded_mean(steps, np.full(len(steps), k, np.uint8)) - steps)
        .reshape(len(steps), -1)
        .sum(axis=1, dtype=np.float64)
        for k in range(1, MEAN_STEPS + 1)
    ]
    return (np.argmin(errors, axis=0) + 1).astype(np.uint8)


def _rounded_mean(
    steps: NDArray[np.floating], mean_step: NDArray[np.uint8] | None
) -> NDArray[np.int8]:
    """μ_q: the nearest whole number up to ±127, or the nearest of k's multiples up to ±7k."""
    if mean_step is None:
        return np.clip(np.rint(steps), -127, 127).astype(np.int8)
    unit = mean_step.reshape(-1, 1, 1, 1)
    multiples = np.clip(np.rint(steps / unit), -7, 7)
    return (multiples * unit).astype(np.int8)
