"""Fidelity of every layer of a loaded model, whatever its arithmetic."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..quantize import noise
from .fidelity import Gaussian, layer_fidelity
from .law import IntegerLayer, Law, bfloat16, enumerated_law, integer_law, normal_grid, normal_law

if TYPE_CHECKING:
    from ..backends.base import Predictor
    from ..quantize.artefact import Artefact, Layer
    from ..quantize.fold import FloatModel
    from ..records.run_record import Fidelity


def fidelities(
    artefact: Artefact, model: FloatModel, predictor: Predictor, seed: int
) -> tuple[Fidelity, ...]:
    """One `Fidelity` per Bayesian layer; none for a deterministic twin.

    Args:
        artefact: what the predictor was loaded from.
        model: the folded FP32 posterior it was made from.
        predictor: whose draws are tested, over MC indices of their own.
        seed: of the draws.
    """
    found = []
    for conv in artefact.graph.convs:
        if not artefact.sampled(conv):
            continue
        layer, original = artefact.layers[conv.name], model.layers[conv.name]
        found.append(
            layer_fidelity(
                conv.name,
                _law(layer, artefact.format.arithmetic, artefact.header.rounding == "dithered"),
                partial(predictor.sample, conv.name, seed),
                Gaussian(original.mean.numpy(), original.std.numpy()),
                Gaussian(layer.real_mean(), layer.real_std()),
                scale=layer.weight_scale,
                saturation=artefact.header.saturation.get(conv.name),
            )
        )
    return tuple(found)


def _law(layer: Layer, arithmetic: str, dithered: bool) -> Law:
    if layer.sigma_q is not None:
        mean_q: NDArray[np.int8] = layer.mean.astype(np.int8)
        table = None if layer.table is None else layer.table.steps
        integers = IntegerLayer(
            mean_q, layer.sigma_q, layer.multiplier, layer.offset, layer.shift, layer.sigma_bits,
            table, dithered,
        )  # fmt: skip
        return integer_law(integers, noise.probabilities())
    assert layer.std is not None
    mean, std = layer.mean.astype(np.float32), layer.std
    if arithmetic == "fp32":
        return normal_law(mean, std)
    return enumerated_law(mean, std, _bf16, *normal_grid())


def _bf16(
    mean: NDArray[np.float32], std: NDArray[np.float32], epsilon: NDArray[np.float32]
) -> NDArray[np.float32]:
    return bfloat16(mean + std * epsilon)
