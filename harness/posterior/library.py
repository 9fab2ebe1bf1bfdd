"""Mean-field posteriors of other libraries, whose layers keep μ and ρ as parameters.

A state dict then holds all there is to know, and the library itself is not needed. What differs
between them is names alone, as long as σ = log(1 + e^ρ).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from .posterior import SAMPLED_LAYERS, Posterior
from .saved import float32

MU, RHO, FIXED = "mu", "rho", ""
_PARALLEL = "module."  # of nn.DataParallel
_COMPILED = "_orig_mod"  # of torch.compile, wherever a compiled module stands
#: What a kernel of so many dimensions is, beside those that are sampled.
_CONVOLUTIONS = {3: "1-D convolution", 5: "3-D convolution"}


@dataclass(frozen=True)
class Library:
    """How a library names what a posterior has.

    Attributes:
        name: what messages call it.
        part: of a name in the state dict to `MU`, `RHO` or `FIXED` and the name that the ordinary
            network's parameter has; None where it is no part of the posterior.
        example: entries of a Bayesian layer, for messages.
        wrappers: prefixes of modules around the network, where all names have them.
    """

    name: str
    part: Callable[[str], tuple[str, str] | None]
    example: str
    wrappers: tuple[str, ...] = ()


def posterior_of(
    library: Library, tensors: Mapping[str, Tensor], module: nn.Module | None = None
) -> Posterior:
    """The posterior in a state dict.

    Args:
        library: that made it.
        tensors: the state dict; names may have what `nn.DataParallel` (`module.`) and
            `torch.compile` (`_orig_mod.`) add to them.
        module: the ordinary network it is over; the names and shapes are checked against it, and
            draws are taken in the order of its parameters.

    Raises:
        UserError: there is no Bayesian layer, a μ lacks its ρ or the other way round, two entries
            are one parameter, a layer is of a kind without counterpart, or one that no format
            samples, a tensor is float64, or the posterior does not fit the network.
    """
    wrappers = (_PARALLEL, *library.wrappers)
    mean, rho, state = _trees(library, unwrapped(tensors, wrappers, module))
    for name in sorted(set(mean) ^ set(rho)):
        lacking = "ρ" if name in mean else "μ"
        raise UserError(f"The state dict has no {lacking} of {name}; save the whole model's.")
    if not mean:
        raise UserError(
            f"The state dict has no Bayesian layer (no {library.example}); an ordinary network "
            "becomes one by `moped`."
        )
    posterior = Posterior(mean, {name: rho[name] for name in mean}, state)
    if module is not None:
        posterior.validate(module, f"the {library.name} model")
        order = [name for name, _ in module.named_parameters() if name in mean]
        posterior = Posterior(
            {name: mean[name] for name in order}, {name: rho[name] for name in order}, state
        )
    else:
        posterior.validate(source=f"the {library.name} model")
    check_layers(posterior, module)
    return posterior


def unwrapped(
    tensors: Mapping[str, Tensor],
    wrappers: tuple[str, ...] = (_PARALLEL,),
    module: nn.Module | None = None,
) -> dict[str, Tensor]:
    """The entries under the names that they have in the network itself.

    Args:
        tensors: the state dict.
        wrappers: prefixes of what may be around the network, outermost first; one that the
            network's own names have stays.
        module: the network, where it is known.

    Raises:
        UserError: two have the same one.
    """
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        own = ".".join(part for part in name.split(".") if part != _COMPILED)
        if own in found:
            raise UserError(
                f"{name} and {own} are both {own} of the network; remove the one that is not meant."
            )
        found[own] = value
    known = [] if module is None else list(module.state_dict())
    for prefix in wrappers:
        if known and all(name.startswith(prefix) for name in known):
            break
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found


def _trees(
    library: Library, tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """μ, ρ and the rest, each under the ordinary network's names."""
    trees: dict[str, dict[str, Tensor]] = {MU: {}, RHO: {}, FIXED: {}}
    read: dict[tuple[str, str], str] = {}
    for name, value in tensors.items():
        if (part := library.part(name)) is None:
            continue
        kind, ordinary = part
        for role in (MU, RHO) if kind == FIXED else (kind,):  # a fixed weight is both
            other = read.setdefault((role, ordinary), name)
            if other != name:
                raise UserError(
                    f"{other} and {name} are both {ordinary} of the network; remove the one that "
                    "is not meant."
                )
        trees[kind][ordinary] = float32(name, value)
    return trees[MU], trees[RHO], trees[FIXED]


def check_layers(posterior: Posterior, module: nn.Module | None) -> None:
    """Refuse a layer with a σ that no format samples; without its module, as far as names and
    shapes tell.

    Raises:
        UserError: with the layer's name and kind.
    """
    for name in posterior.mean:
        layer, _, own = name.rpartition(".")
        if own == "weight" and torch.isfinite(posterior.rho[name]).any():
            kind = _unsampled(layer, posterior.mean) if module is None else ""
            if module is not None and not isinstance(module.get_submodule(layer), SAMPLED_LAYERS):
                kind = type(module.get_submodule(layer)).__name__
            if kind:
                raise UserError(
                    f"The layer {layer or 'itself'} is of the kind {kind}, which no format samples "
                    "(2-D convolutions and linear layers are sampled); make it an ordinary layer "
                    "in the model and save it again."
                )


def _unsampled(layer: str, mean: Mapping[str, Tensor]) -> str:
    """What kind a layer is, in words; empty where nothing says that it is not sampled."""
    prefix = f"{layer}." if layer else ""
    weight, bias = mean[f"{prefix}weight"], mean.get(f"{prefix}bias")
    around, _, last = layer.rpartition(".")
    pair = [f"{around}.{name}.weight".removeprefix(".") for name in ("ih", "hh")]
    if last in ("ih", "hh") and all(name in mean for name in pair):
        return "LSTM"
    if weight.ndim == 4 and bias is not None and len(bias) != len(weight):
        return "transposed convolution"
    return _CONVOLUTIONS.get(weight.ndim, "")
