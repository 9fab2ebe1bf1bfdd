"""Posteriors of bayesian-torch, in and out, bit for bit: its σ = log(1 + e^ρ) is this project's.

bayesian-torch (Krishnan, Esposito and Subedar 2022) keeps its layers' μ and ρ as parameters, so a
state dict holds all there is to know and the library itself is not needed. Of its layers, of which
Reparameterization and Flipout hold the same distribution,

    mu_kernel, rho_kernel    are the weight of a convolution
    mu_weight, rho_weight    are the weight of a linear layer
    mu_bias, rho_bias        are the bias of either

and every other parameter and buffer is one of the ordinary network.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.whole import write_atomically
from ..machine.memory_limit import require
from ..machine.torch_state import plain
from .file import is_posterior, load, save
from .pickled import read_pickled
from .posterior import SAMPLED_LAYERS, Posterior

_WEIGHTS = {"kernel": "weight", "weight": "weight", "bias": "bias"}
#: Buffers that older versions of the library keep in the state dict; no part of the posterior.
_SCRATCH = tuple(
    f"{kind}_{part}{rest}"
    for part in _WEIGHTS
    for kind, rest in (("eps", ""), ("prior", "_mu"), ("prior", "_sigma"))
)
_PARALLEL = "module."  # of nn.DataParallel
_COMPILED = "_orig_mod"  # of torch.compile, wherever a compiled module stands
_UNDER = ("state_dict", "model", "model_state_dict")  # where checkpoints have it
#: What a kernel of so many dimensions is, beside those that are sampled.
_CONVOLUTIONS = {3: "1-D convolution", 5: "3-D convolution"}


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
    mean, rho, state = _trees(_unwrapped(tensors))
    for name in sorted(set(mean) ^ set(rho)):
        lacking = "ρ" if name in mean else "μ"
        raise UserError(f"The state dict has no {lacking} of {name}; save the whole model's.")
    if not mean:
        raise UserError(
            "The state dict has no Bayesian layer (no mu_kernel or mu_weight); an ordinary network "
            "becomes one by `moped`."
        )
    posterior = Posterior(mean, {name: rho[name] for name in mean}, state)
    if module is not None:
        posterior.validate(module, "the bayesian-torch model")
        order = [name for name, _ in module.named_parameters() if name in mean]
        posterior = Posterior(
            {name: mean[name] for name in order}, {name: rho[name] for name in order}, state
        )
    else:
        posterior.validate(source="the bayesian-torch model")
    _check_layers(posterior, module)
    return posterior


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries under the names that they have in the model itself.

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
    if all(name.startswith(_PARALLEL) for name in found):
        found = {name.removeprefix(_PARALLEL): value for name, value in found.items()}
    return found


def _check_layers(posterior: Posterior, module: nn.Module | None) -> None:
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


def _trees(
    tensors: Mapping[str, Tensor],
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """μ, ρ and the rest, each under the ordinary network's names."""
    trees: dict[str, dict[str, Tensor]] = {"mu": {}, "rho": {}, "": {}}
    read: dict[tuple[str, str], str] = {}
    for name, value in tensors.items():
        layer, _, own = name.rpartition(".")
        kind, _, part = own.partition("_")
        if own in _SCRATCH:
            continue
        drawn = kind in ("mu", "rho")
        ordinary = _ordinary(name, layer, part) if drawn else name
        for role in (kind,) if drawn else ("mu", "rho"):  # a fixed weight is both
            other = read.setdefault((role, ordinary), name)
            if other != name:
                raise UserError(
                    f"{other} and {name} are both {ordinary} of the network; remove the one that "
                    "is not meant."
                )
        trees[kind if drawn else ""][ordinary] = _float32(name, value)
    return trees["mu"], trees["rho"], trees[""]


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


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors in a checkpoint: a `.safetensors` file, or what `torch.save` wrote of a state
    dict, bare or under `state_dict`, `model` or `model_state_dict`.

    The latter is read with `weights_only=True`: tensors and plain containers are built, and nothing
    in the file is executed.

    Raises:
        UserError: the file is missing, damaged, needs more memory than there is, or holds something
            else; an entry has no text for a name, or is no ordinary tensor of real numbers, all of
            them stored.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}; check the path.")
    foreign = UserError(
        f"{path} is damaged or holds more than tensors; save the model's state_dict() by itself, "
        "with torch.save or as safetensors."
    )
    found: Any
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            require(str(path), path.stat().st_size)
            found = safetensors.torch.load(path.read_bytes())
        else:
            with path.open("rb") as stream:
                found = read_pickled(stream, str(path))
    except UserError:
        raise
    except Exception:  # the readers trip over foreign bytes in any way
        raise foreign from None
    if isinstance(found, Mapping):
        under = [key for key in _UNDER if isinstance(found.get(key), Mapping)]
        if len(under) > 1:
            raise UserError(
                f"{path} has state dicts under {' and '.join(under)}; save the one that is meant."
            )
        found = found[under[0]] if under else found
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise foreign
    for name, value in found.items():
        if not isinstance(name, str):
            raise UserError(f"{path} names an entry {name!r}; names of a state dict are text.")
        if kind := _foreign(value):
            raise UserError(
                f"{name} in {path} is a {kind} tensor; save it as an ordinary one of real numbers."
            )
    return dict(found)


def _foreign(value: Tensor) -> str:
    """What a tensor is that a posterior cannot hold, in a word; empty for others."""
    kinds = {
        "meta": value.is_meta,
        "quantized": value.is_quantized,
        "sparse": value.layout is not torch.strided,
        "complex": value.is_complex(),
    }
    return next((kind for kind, applies in kinds.items() if applies), "")


@plain
def convert(source: Path | str, out: Path | str, module: nn.Module | None = None) -> None:
    """Write the posterior of a bayesian-torch checkpoint, or the checkpoint of a posterior.

    Args:
        source: either; told apart by its content.
        out: what to write; a checkpoint is for `torch.load`, or safetensors if its name says so.
        module: the ordinary network both are over, to check names and shapes against.

    Raises:
        UserError: the source cannot be read or does not fit, or `out` exists or cannot be written.
    """
    source, out = Path(source), Path(out)
    if out.exists():
        raise UserError(f"{out} is there already; remove it or choose another place.")
    if is_posterior(source):
        posterior, _ = load(source)
        posterior.validate(module, str(source))
        tensors = to_bayesian_torch(posterior)
        if out.suffix == ".safetensors":
            import safetensors.torch

            write_atomically(out, safetensors.torch.save(tensors), durable=True)
        else:
            buffer = io.BytesIO()
            torch.save(tensors, buffer)
            write_atomically(out, buffer.getvalue(), durable=True)
    else:
        found = from_bayesian_torch(read_state_dict(source), module)
        save(found, out, {"source": source.name})


def _ordinary(name: str, layer: str, part: str) -> str:
    if part not in _WEIGHTS:
        raise UserError(
            f"{name} is of a layer that has no counterpart here; convolutions and linear layers do."
        )
    return f"{layer}.{_WEIGHTS[part]}" if layer else _WEIGHTS[part]


def _float32(name: str, value: Tensor) -> Tensor:
    """The same numbers: narrower floats are widened, and wider ones would be rounded."""
    if value.dtype == torch.float64:
        raise UserError(
            f"{name} is float64, and a posterior is float32; round the model with .float() first."
        )
    own = value.detach().cpu().clone()
    return own.float() if own.is_floating_point() else own
