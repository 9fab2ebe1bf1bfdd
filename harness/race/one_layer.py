"""One layer alone, of seeded numbers: what draws and products are asked of, without a network."""

from __future__ import annotations

import numpy as np

from ..core.formats import FORMATS
from ..quantize.artefact import Artefact, Header, Layer
from ..quantize.graph import Activation, Conv, Graph

NAME = "y"


def one_layer(
    format: str, outputs: int, inputs: int, *, side: int = 1, sampled: bool = True, seed: int = 0
) -> Artefact:
    """A linear layer, or a 1×1 convolution of a square map.

    Args:
        format: name in `FORMATS`, of a posterior.
        outputs: channels.
        inputs: channels.
        side: height and width of the map.
        sampled: whether its weights are; else μ is used in every pass.
        seed: of μ and σ.

    Returns:
        The artefact of a graph from `x` to `NAME`, without a bias.
    """
    of = FORMATS.get(format)
    rng = np.random.default_rng(seed)
    shape = (outputs, inputs, 1, 1)
    one, nothing = np.ones(outputs, np.float32), np.zeros(outputs, np.float32)
    if of.quantized:
        layer = Layer(
            mean=rng.integers(-127, 128, shape, np.int8),
            std=None,
            sigma_q=rng.integers(0, 1 << of.sigma_bits, shape, np.uint8) if sampled else None,
            sigma_bits=of.sigma_bits if sampled else 0,
            weight_scale=0.01 * one,
            sigma_scale=0.02 / (1 << of.sigma_bits) * one,
            sigma_offset=0.001 * one,
            bias=nothing,
            bias_std=nothing,
        )
    else:
        mean, std = (rng.standard_normal(shape, np.float32) for _ in range(2))
        spread = np.abs(std) if sampled else None
        layer = Layer(mean, spread, None, 0, one, nothing, nothing, nothing, nothing)
    conv = Conv(NAME, "x", shape, "weight", bayesian=sampled, bias_bayesian=False)
    activations = {
        # Behind a ReLU, as most: for signed ones some kernels want sums beside their weights.
        "x": Activation((inputs, side, side), 0.02 if of.quantized else 0.0, not of.quantized),
        NAME: Activation((outputs, side, side)),
    }
    graph = Graph("x", NAME, (conv,), activations)
    return Artefact(Header(of.name, "one layer", "1", "", graph), {NAME: layer})
