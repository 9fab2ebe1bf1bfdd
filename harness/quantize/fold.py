"""Batch-norm folding: μ and bias as for any network, σ times |γ| / √(var + eps)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..posterior import Posterior
from .graph import Conv, Graph
from .trace import Traced, trace


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """A folded layer before quantization, float32.

    Attributes:
        mean: μ, [O, I, KH, KW].
        std: σ, the same shape; all zero where the weight is deterministic.
        bias: μ of the bias, [O]; zero where the layer has none.
        bias_std: σ of the bias, [O].
    """

    mean: Tensor
    std: Tensor
    bias: Tensor
    bias_std: Tensor


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A posterior over a folded graph: what every format is made from.

    Attributes:
        graph: operations with float activations.
        layers: by layer name, in the order of the graph.
    """

    graph: Graph
    layers: dict[str, FloatLayer]


def fold(module: nn.Module, posterior: Posterior, input_shape: tuple[int, int, int]) -> FloatModel:
    """Capture a module, attach the posterior and fold its batch norms.

    Args:
        module: the deterministic network the posterior is over; its own weights are not used.
        posterior: μ, ρ and the rest of the module's state.
        input_shape: (C, H, W) of one image.

    Raises:
        UserError: the posterior does not fit the module, or the module has an operation that a
            quantized graph does not support.
    """
    posterior.validate(module)
    traced = trace(module, input_shape)
    means = {**posterior.state, **posterior.mean, **traced.constants}
    stds = posterior.std()
    layers = {conv.name: _fold_layer(conv, traced, means, stds) for conv in traced.graph.convs}
    nodes = tuple(
        replace(
            node,
            bayesian=node.weight in stds,
            bias_bayesian=traced.biases[node.name] in stds,
        )
        if isinstance(node, Conv)
        else node
        for node in traced.graph.nodes
    )
    return FloatModel(replace(traced.graph, nodes=nodes), layers)


def _fold_layer(
    conv: Conv, traced: Traced, means: Mapping[str, Tensor], stds: Mapping[str, Tensor]
) -> FloatLayer:
    channels = conv.shape[0]

    def pair(name: str | None, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        if name is None:
            return torch.zeros(shape), torch.zeros(shape)
        std = stds.get(name)
        return means[name].reshape(shape), torch.zeros(shape) if std is None else std.reshape(shape)

    mean, std = pair(conv.weight, conv.shape)
    bias, bias_std = pair(traced.biases[conv.name], (channels,))
    norm = traced.norms.get(conv.name)
    if norm is not None:
        gain = torch.rsqrt(means[norm.var].double() + norm.eps)
        if norm.weight is not None:
            gain = gain * means[norm.weight].double()
        shift = means[norm.bias].double() if norm.bias is not None else torch.zeros(channels)
        factor = gain.reshape(-1, 1, 1, 1)
        mean, std = mean.double() * factor, std.double() * factor.abs()
        bias = (bias.double() - means[norm.mean].double()) * gain + shift
        bias_std = bias_std.double() * gain.abs()
    return FloatLayer(mean.float(), std.float(), bias.float(), bias_std.float())
