"""Laplace approximations of laplace-torch, read from what its `state_dict()` gives.

laplace-torch (Daxberger et al., "Laplace redux: effortless Bayesian deep learning", NeurIPS 2021)
takes w ~ N(w*, P⁻¹), w* being the weights of a trained network and

    P = H / (σ_noise² · temperature) + diag(prior precision),

H the curvature of the summed negative log-likelihood. A state dict holds w* (`mean`), H and the
rest for all weights or for the last layer, as vectors without names. A diagonal P is a posterior of
this project's kind, σ = P^(−½); all others have covariances, which a mean-field posterior lacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..machine.torch_state import plain
from .library import check_layers
from .posterior import Posterior, bayesian_parameters, from_std
from .saved import check_ordinary, float32

_LAST = "DiagLLLaplace"
_READ = ("DiagLaplace", _LAST)
#: How kinds that are not read begin, to what they have.
_COVARIANCES = {
    "Full": "a full covariance",
    "Kron": "a covariance of Kronecker factors",
    "LowRank": "a covariance of low rank",
}
_SOURCE = "the Laplace approximation"


def is_laplace(found: Any) -> bool:
    """Whether what was read from a file is a state dict of laplace-torch's."""
    return isinstance(found, Mapping) and "cls_name" in found and "mean" in found


@plain
def from_laplace_torch(
    source: Any, module: nn.Module, network: Posterior | None = None, told: str = _SOURCE
) -> Posterior:
    """The posterior of a diagonal Laplace approximation.

    Args:
        source: of laplace-torch, or its `state_dict()`.
        module: the ordinary network it is over, as it was built; it is not changed.
        network: the network that it was fitted to, as a posterior whose μ is taken; where the
            approximation is of the last layer, all others are taken from it.
        told: what messages call the approximation.

    Returns:
        μ of the network, and σ = P^(−½) of the weights that were fitted; all others are fixed.

    Raises:
        UserError: it is not diagonal, not of a classifier, or not of this network; it is of the
            last layer, or the network has parameters that it lacks, and no network was given.
    """
    state = source if isinstance(source, Mapping) else source.state_dict()
    kind = _kind(state, told)
    mean, std = _diagonal(state, [p.numel() for p in module.parameters()], told)
    layers = _last_layers(module, state, len(mean)) if kind == _LAST else [_all(module, len(mean))]
    if not any(layers):
        raise UserError(
            f"{told} is of another network: {len(mean):,} weights are not those of this one's "
            f"{'last layer' if kind == _LAST else 'layers'}."
        )
    split = [(_parted(mean, module, names), _parted(std, module, names)) for names in layers]
    if network is None:
        if kind == _LAST or set(split[0][0]) != set(module.state_dict()):
            raise UserError(
                f"{told} does not hold the whole network; give the network that it was fitted to "
                "(--network)."
            )
        base = split[0][0]
    else:
        network.validate(module, "the network that Laplace was fitted to")
        base = {**network.state, **network.mean}
        split = [one for one in split if _same(one[0], base)]
    if not split:
        raise UserError(
            f"{told} was fitted to another network: its means are not the weights of the one "
            "given; give the network that it was fitted to (--network)."
        )
    return _posterior(module, base, split[-1][1], told)


def _kind(state: Mapping[str, Any], told: str) -> str:
    kind = str(state.get("cls_name"))
    if kind not in _READ:
        has = next((has for start, has in _COVARIANCES.items() if kind.startswith(start)), None)
        raise UserError(
            f"{told} is of the kind {kind}, which has "
            f"{has or 'no standard deviation for each weight'}, and a mean-field posterior has a σ "
            'for each weight and no covariance; fit it with hessian_structure="diag".'
        )
    if state.get("likelihood") != "classification":
        raise UserError(f"{told} is not of a classifier; fit it with that likelihood.")
    return kind


def _diagonal(state: Mapping[str, Any], sizes: list[int], told: str) -> tuple[Tensor, Tensor]:
    """w* and σ, float32 [weights] and float64."""
    mean, curvature, prior = (
        _vector(state, name, told) for name in ("mean", "H", "prior_precision")
    )
    if len(curvature) != len(mean):
        raise UserError(f"mean and H of {told} have different lengths; save it again.")
    if len(prior) not in (1, len(mean)):
        if len(prior) != len(sizes) or sum(sizes) != len(mean):
            raise UserError(
                f"{told} has {len(prior)} prior precisions for {len(mean):,} weights; fit it again."
            )
        prior = prior.repeat_interleave(torch.tensor(sizes))
    noise, temperature = (_number(state, name, told) for name in ("sigma_noise", "temperature"))
    precision = curvature.double() / (noise**2 * temperature) + prior.double()
    if not (torch.isfinite(precision).all() and (precision > 0).all()):
        raise UserError(
            f"{told} has a precision that is not a finite number above 0; fit it again, with a "
            "larger prior precision."
        )
    return mean, precision.rsqrt()


def _vector(state: Mapping[str, Any], name: str, told: str) -> Tensor:
    value = state.get(name)
    if not isinstance(value, Tensor):
        raise UserError(f"{told} has no tensor {name}; save what its state_dict() gives.")
    check_ordinary(name, value, told)
    found = float32(name, value)
    if found.dtype != torch.float32 or found.ndim != 1 or not torch.isfinite(found).all():
        raise UserError(f"{name} of {told} is not a vector of finite numbers; fit it again.")
    return found


def _number(state: Mapping[str, Any], name: str, told: str) -> float:
    value = state.get(name)
    if isinstance(value, Tensor) and value.numel() == 1:
        check_ordinary(name, value, told)
        value = value.item()
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise UserError(f"{name} of {told} is not a number above 0; fit it again.")
    return float(value)


def _last_layers(module: nn.Module, state: Mapping[str, Any], count: int) -> list[list[str]]:
    """Parameters of each linear layer that may be the one, in the order of the vectors."""
    given = state.get("_last_layer_name")
    found = []
    for name, layer in module.named_modules():
        own = [f"{name}.{each}".removeprefix(".") for each, _ in layer.named_parameters()]
        fits = sum(p.numel() for p in layer.parameters()) == count
        if isinstance(layer, nn.Linear) and fits and given in (None, name):
            found.append(own)
    return found


def _all(module: nn.Module, count: int) -> list[str]:
    """The parameters that may have been fitted: all, or all but those of normalisation."""
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    drawn = bayesian_parameters(module)
    for names in (list(sizes), drawn):
        if sum(sizes[name] for name in names) == count:
            if others := [name for name in names if name not in drawn]:
                raise UserError(
                    f"The Laplace approximation has a σ for {others[0]}, and in a posterior only "
                    "weights and biases of convolutions and linear layers have one; fit it with "
                    "requires_grad off for all others."
                )
            return names
    return []


def _parted(vector: Tensor, module: nn.Module, names: list[str]) -> dict[str, Tensor]:
    """A vector of weights as the parameters that it was joined of."""
    shapes = {name: module.get_parameter(name).shape for name in names}
    parts = vector.split([shape.numel() for shape in shapes.values()])
    return {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }


def _same(mean: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, base[name]) for name, value in mean.items())


def _posterior(
    module: nn.Module, base: Mapping[str, Tensor], std: Mapping[str, Tensor], told: str
) -> Posterior:
    posterior = from_std(
        {name: base[name] for name in std},
        std,
        {name: value for name, value in base.items() if name not in std},
    )
    posterior.validate(module, told)
    check_layers(posterior, module)
    return posterior
