"""Posteriors of bayesian-torch, in and out, bit for bit: its σ = log(1 + e^ρ) is this project's.

Of the layers of bayesian-torch (Krishnan, Esposito and Subedar 2022), of which Reparameterization
and Flipout hold the same distribution,

    mu_kernel, rho_kernel    are the weight of a convolution
    mu_weight, rho_weight    are the weight of a linear layer
    mu_bias, rho_bias        are the bias of either

and every other parameter and buffer is one of the ordinary network.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..core.errors import UserError
from ..machine.torch_state import plain
from .library import FIXED, MU, RHO, Library, posterior_of
from .posterior import Posterior

_WEIGHTS = {"kernel": "weight", "weight": "weight", "bias": "bias"}
#: Buffers that older versions of the library keep in the state dict; no part of the posterior.
_SCRATCH = tuple(
    f"{kind}_{part}{rest}"
    for part in _WEIGHTS
    for kind, rest in (("eps", ""), ("prior", "_mu"), ("prior", "_sigma"))
)


def _part(name: str) -> tuple[str, str] | None:
    layer, _, own = name.rpartition(".")
    kind, _, part = own.partition("_")
    if own in _SCRATCH:
        return None
    if kind not in (MU, RHO):
        return FIXED, name
    if part not in _WEIGHTS:
        raise UserError(
            f"{name} is of a layer that has no counterpart here; convolutions and linear layers do."
        )
    return kind, f"{layer}.{_WEIGHTS[part]}" if layer else _WEIGHTS[part]


BAYESIAN_TORCH = Library("bayesian-torch", _part, "mu_kernel or mu_weight")


@plain
def from_bayesian_torch(
    source: nn.Module | Mapping[str, Tensor], module: nn.Module | None = None
) -> Posterior:
    """The posterior of a bayesian-torch model.

    Args:
        source: the model, or its state dict; names may have what `nn.DataParallel` (`module.`)
            and `torch.compile` (`_orig_mod.`) add to them.
        module: the ordinary network it is over; the names and shapes are checked against it, and
            draws are taken in the order of its parameters.

    Returns:
        μ and ρ with the values, and under the names, that the ordinary network's weights have.

    Raises:
        UserError: there is no Bayesian layer, a μ lacks its ρ or the other way round, two entries
            are one parameter, a layer is of a kind without counterpart, or one that no format
            samples, a tensor is float64, or the posterior does not fit the network.
    """
    tensors = source.state_dict() if isinstance(source, nn.Module) else source
    return posterior_of(BAYESIAN_TORCH, tensors, module)


@plain
def to_bayesian_torch(posterior: Posterior) -> dict[str, Tensor]:
    """The state dict that a bayesian-torch model of the same network loads.

    Args:
        posterior: over an ordinary network with convolutions and linear layers. All their weights
            must be Bayesian, as bayesian-torch has it; frozen ones have ρ = −inf, whose σ is 0.

    Raises:
        UserError: a Bayesian parameter is neither a weight nor a bias.
    """
    found: dict[str, Tensor] = {}
    for name, mean in posterior.mean.items():
        layer, _, own = name.rpartition(".")
        if own not in ("weight", "bias"):
            raise UserError(
                f"{name} is not a weight or bias of a layer; bayesian-torch has no others."
            )
        part = "kernel" if own == "weight" and mean.ndim > 2 else own
        prefix = f"{layer}." if layer else ""
        found[f"{prefix}mu_{part}"] = mean.clone()
        found[f"{prefix}rho_{part}"] = posterior.rho[name].clone()
    return {**found, **{name: value.clone() for name, value in posterior.state.items()}}
