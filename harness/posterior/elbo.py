"""The evidence lower bound (ELBO) of a mean-field Gaussian posterior.

Per training example, in nats, for a minibatch of B examples out of N and one draw w:

    L = −(1/B) Σ_b log p(y_b | x_b, w) + (κ/N) Σ_i KL(N(μ_i, σ_i²) ‖ N(m, s²))

(Blundell et al. 2015, "Weight uncertainty in neural networks", equations 2 and 8.) The KL is a
*sum* over every weight: averaging it, per tensor or over all, is no bound on the evidence. κ is the
temperature; κ = 1 is the ELBO proper and anything else is reported with the result.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def gaussian_kl(
    mean: Tensor, std: Tensor, prior_mean: Tensor | float, prior_std: Tensor | float
) -> Tensor:
    """Σ KL(N(μ, σ²) ‖ N(m, s²)) = Σ log(s/σ) + (σ² + (μ − m)²)/(2s²) − ½, in nats, a scalar.

    Weights with σ = 0 are constants and are left out of the sum; their gradients are zero.

    Args:
        mean: μ, any shape.
        std: σ ≥ 0, μ's shape.
        prior_mean: m, a number or μ's shape.
        prior_std: s > 0, a number or μ's shape.
    """
    random = std > 0
    safe_std = torch.where(random, std, torch.ones_like(std))
    scaled_std = safe_std / prior_std
    scaled_shift = (mean - prior_mean) / prior_std
    terms = 0.5 * (scaled_std.square() + scaled_shift.square() - 1) - torch.log(scaled_std)
    return torch.where(random, terms, torch.zeros_like(terms)).sum()


def negative_elbo(
    logits: Tensor, labels: Tensor, kl: Tensor, train_size: int, temperature: float = 1.0
) -> Tensor:
    """L above: the minibatch's mean negative log likelihood plus κ·KL/N, a scalar.

    Args:
        logits: [B, C] float, from one draw of the weights.
        labels: [B] int64.
        kl: scalar, summed over all weights (`gaussian_kl`).
        train_size: N, the number of training examples.
        temperature: κ ≥ 0.
    """
    return functional.cross_entropy(logits, labels) + kl * (temperature / train_size)
