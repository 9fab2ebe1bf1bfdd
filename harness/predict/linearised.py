"""Moments through a whole network, and the covariance of its logits.

Forward, every activation's elements are taken as independent (`moments`). That loses most of the
variance where weights are shared: one draw of a filter moves all pixels of its map, and a pool that
averages them does not average that away. So the covariance is found backward. With J_w = ∂z/∂w of
the network that is linear about the mean of every activation, by the slopes found forward,

    Cov[z] = Σ_w σ_w² J_w J_wᵀ

over all weights and biases, each counted once at however many pixels it is used. This is the
linearised predictive of Immer, Korzepa and Bauer ("Improving predictions of Bayesian neural nets
via local linearization", AISTATS 2021) with slopes averaged over the activations' distributions in
place of those at the mean weights. Added to it is what a weight's fluctuation times its input's
makes, the input's taken as independent from pixel to pixel. Of linear layers alone all of it is
exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ..core.errors import UserError
from ..quantize.floats import computes
from ..quantize.fold import FloatModel
from ..quantize.forward import covers_input
from ..quantize.functions import parameter
from ..quantize.graph import Conv, Graph, GroupNorm, Join, Pool
from . import moments
from .moments import FUNCTION_MOMENTS, Moments, WeightMoments, convolve


@dataclass(frozen=True, eq=False)
class Propagated:
    """What the forward pass of the moments found of N images.

    Attributes:
        logits: moments, [N, classes, 1, 1].
        layers: what each layer reads, and the mean that it makes before its ReLU, by its name.
    """

    logits: Moments
    layers: dict[str, tuple[Moments, Tensor]]


class MomentNetwork:
    """The operations of a folded network and the moments of its weights.

    Attributes:
        certain: whether no weight and no bias has a σ.

    Args:
        model: the folded posterior.

    Raises:
        UserError: an operation has no closed-form moments; the message names it.
    """

    def __init__(self, model: FloatModel) -> None:
        if missing := without_moments(model.graph):
            raise UserError(
                f"The analytic pass has {missing}; predict with Monte Carlo passes, or replace "
                "that operation in the module."
            )
        self.graph = model.graph
        self.nodes = [node for node in model.graph.nodes if not isinstance(node, GroupNorm)]
        self.convs = {conv.name: conv for conv in model.graph.convs}
        self.weights = {name: WeightMoments.of(layer) for name, layer in model.layers.items()}
        self.certain = not any(
            one.std is not None or bool(one.bias_std.any()) for one in self.weights.values()
        )

    @torch.enable_grad()
    def forward(self, x: Tensor) -> Propagated:
        """Moments of all activations.

        Args:
            x: images, float32 [N, C, H, W].
        """
        values = {self.graph.input: Moments(x, torch.zeros_like(x))}
        layers: dict[str, tuple[Moments, Tensor]] = {}
        for node in self.nodes:
            if isinstance(node, Pool):
                made = moments.pooled(node, values[node.input])
            elif isinstance(node, Join):
                joined = moments.beside([values[name] for name in node.inputs])
                made = FUNCTION_MOMENTS[node.function](joined, parameter(node))
            else:
                made = moments.layer(node, self.weights[node.name], values[node.input])
                if node.residual is not None:
                    made = moments.plus(made, values[node.residual])
                if not made.mean.requires_grad:  # only the images, which are certain, lie before it
                    made.mean.requires_grad_()
                layers[node.name] = values[node.input], made.mean
                if node.relu:
                    made = moments.clipped(made, node.ceiling)
            values[node.name] = made
        return Propagated(values[self.graph.output], layers)

    def covariance(self, found: Propagated, directions: Tensor) -> Tensor:
        """Of some linear combinations of the logits, float64 [N, D, D].

        Args:
            found: of a forward pass.
            directions: the combinations' coefficients, float32 [N, D, classes].
        """
        images, count, _ = directions.shape
        total = torch.zeros(images, count, count, dtype=torch.float64)
        adjoints = torch.autograd.grad(
            found.logits.mean,
            [mean for _, mean in found.layers.values()],
            directions.transpose(0, 1)[..., None, None],
            allow_unused=True,
            is_grads_batched=True,
        )
        for (name, (x, _)), adjoint in zip(found.layers.items(), adjoints, strict=True):
            if adjoint is not None:  # a logit depends on it
                conv, given = self.convs[name], Moments(x.mean.detach(), x.var)
                total += _of_layer(conv, self.weights[name], given, adjoint.transpose(0, 1))
        return total


def without_moments(graph: Graph) -> str | None:
    """The first operation without closed-form moments, and its node; None where all have them."""
    steps = [step for step in graph.operations if computes(step)] or graph.operations
    found = [(step.name, step.target) for step in steps]
    found += [
        (node.name, node.function if isinstance(node, Join) else node.op)
        for node in graph.nodes
        if isinstance(node, GroupNorm)
        or (isinstance(node, Join) and node.function not in FUNCTION_MOMENTS)
    ]
    return f"no mean and variance for {found[0][1]} (node {found[0][0]})" if found else None


def _gram(rows: Tensor) -> Tensor:
    """Products of the rows [N, D, ...] with one another, float64 [N, D, D]."""
    flat = rows.flatten(2).double()
    return flat @ flat.mT


def _of_layer(conv: Conv, weights: WeightMoments, x: Moments, adjoint: Tensor) -> Tensor:
    """What the weights and the bias of a layer add, float64 [N, D, D].

    Args:
        x: what the layer reads.
        adjoint: of the layer's output before its ReLU, [N, D, O, H', W'].
    """
    total = _gram(adjoint.sum((3, 4)) * weights.bias_std)
    if weights.std is None:
        return total
    var = weights.std.square()
    if covers_input(conv, tuple(x.mean.shape[2:])):  # each weight is used once
        spread = convolve(conv, x.mean.square() + x.var, var)
        return total + _gram(adjoint * spread.sqrt()[:, None])
    total += _gram(_gradients(conv, x.mean, adjoint) * weights.std.reshape(-1))
    products = convolve(conv, x.var, var).clamp(min=0.0)
    return total + _gram(adjoint * products.sqrt()[:, None])


def _gradients(conv: Conv, x: Tensor, adjoint: Tensor) -> Tensor:
    """Of the directions, by the weights of a convolution, image by image: [N, D, weights]."""
    images, count = adjoint.shape[:2]
    groups, each = conv.groups, conv.shape[0] // conv.groups
    read = functional.unfold(x, conv.shape[2:], conv.dilation, conv.padding, conv.stride)
    read = read.reshape(images, groups, -1, read.shape[-1])
    sides = adjoint.reshape(images, count, groups, each, -1).transpose(1, 2)
    product = sides.reshape(images, groups, count * each, -1) @ read.mT
    return product.reshape(images, groups, count, -1).transpose(1, 2).flatten(2)
