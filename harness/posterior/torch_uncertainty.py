"""Posteriors of torch-uncertainty, bit for bit: its σ = log(1 + e^ρ) is this project's.

Of its BayesConv2d and BayesLinear,

    weight_mu, weight_sigma    are μ and ρ, in spite of the second's name, of the weight
    bias_mu, bias_sigma        are those of the bias
    weight_sampler.mu, .rho    are the same tensors again (bias_sampler likewise)
    weight_prior_dist.*        is the prior (bias_prior_dist likewise)

and every other parameter and buffer is one of the ordinary network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..machine.torch_state import plain
from .library import FIXED, MU, RHO, Library, posterior_of
from .posterior import Posterior

_PARTS = {
    f"{part}_{own}": (role, part)
    for part in ("weight", "bias")
    for own, role in (("mu", MU), ("sigma", RHO))
}
_AGAIN = {
    f"{part}_sampler.{own}": f"{part}_{first}"
    for part in ("weight", "bias")
    for own, first in (("mu", "mu"), ("rho", "sigma"))
}
_PRIORS = ("weight_prior_dist", "bias_prior_dist")


def _part(name: str) -> tuple[str, str] | None:
    layer, _, own = name.rpartition(".")
    if layer.rpartition(".")[2] in _PRIORS:
        return None
    if own not in _PARTS:
        return FIXED, name
    role, part = _PARTS[own]
    return role, f"{layer}.{part}" if layer else part


TORCH_UNCERTAINTY = Library(
    "torch-uncertainty",
    _part,
    "weight_mu",
    ("model.", "core_model."),  # of its Lightning routines, and of what draws several times
)


def is_torch_uncertainty(names: Iterable[str]) -> bool:
    """Whether a state dict has one of its Bayesian layers."""
    return any(_once(name).rpartition(".")[2] in _PARTS for name in names)


@plain
def from_torch_uncertainty(
    source: nn.Module | Mapping[str, Tensor], module: nn.Module | None = None
) -> Posterior:
    """The posterior of a torch-uncertainty model.

    Args:
        source: the model, or its state dict; names may have what `StochasticModel`
            (`core_model.`), its Lightning routines (`model.`), `nn.DataParallel` (`module.`) and
            `torch.compile` (`_orig_mod.`) add to them.
        module: see `from_bayesian_torch`.

    Returns:
        μ and ρ with the values, and under the names, that the ordinary network's weights have.

    Raises:
        UserError: as `from_bayesian_torch`; a tensor that is there twice differs.
    """
    tensors = source.state_dict() if isinstance(source, nn.Module) else source
    return posterior_of(TORCH_UNCERTAINTY, _without_copies(tensors), module)


def _without_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor once: what keeps shared ones once may have kept either name."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        first = _once(name)
        other = value if first == name else tensors.get(first, value)
        if other is not value and not _alike(other, value):
            raise UserError(
                f"{first} and {name} are one tensor in torch-uncertainty and differ here; save the "
                "model again."
            )
        found.setdefault(first, other)
    return found


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _once(name: str) -> str:
    """A tensor's name as the layer's own parameter."""
    for again, first in _AGAIN.items():
        if name == again or name.endswith(f".{again}"):
            return name.removesuffix(again) + first
    return name
