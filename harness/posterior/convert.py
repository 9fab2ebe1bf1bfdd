"""Files of other libraries to posteriors, and posteriors to a file of bayesian-torch."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import nn

from ..core.errors import UserError
from ..core.whole import write_atomically
from ..machine.torch_state import plain
from .bayesian_torch import from_bayesian_torch, to_bayesian_torch
from .file import is_posterior, load, save
from .laplace_torch import from_laplace_torch, is_laplace
from .library import unwrapped
from .posterior import Posterior, moped
from .saved import float32, read_saved, read_state_dict, state_dict_of
from .torch_uncertainty import from_torch_uncertainty, is_torch_uncertainty


@plain
def convert(
    source: Path | str,
    out: Path | str,
    module: nn.Module | None = None,
    network: Posterior | None = None,
) -> None:
    """Write the posterior of another library's file, or bayesian-torch's checkpoint of a posterior.

    Args:
        source: either; told apart by its content.
        out: what to write; a checkpoint is for `torch.load`, or safetensors if its name says so.
        module: the ordinary network both are over, to check names and shapes against.
        network: the one that laplace-torch was fitted to; see `from_laplace_torch`.

    Raises:
        UserError: the source cannot be read or does not fit, or `out` exists or cannot be written.
    """
    source, out = Path(source), Path(out)
    if out.exists():
        raise UserError(f"{out} is there already; remove it or choose another place.")
    if not is_posterior(source):
        save(posterior_in(source, module, network), out, {"source": source.name})
        return
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


def posterior_in(
    source: Path, module: nn.Module | None = None, network: Posterior | None = None
) -> Posterior:
    """The posterior that another library saved; see `convert`."""
    found = read_saved(source)
    if is_laplace(found):
        if module is None:
            raise UserError(
                f"{source} is laplace-torch's, which keeps no names of weights; name the workload "
                "that it is of by --workload."
            )
        return from_laplace_torch(found, module, network, str(source))
    tensors = state_dict_of(found, source)
    if is_torch_uncertainty(tensors):
        return from_torch_uncertainty(tensors, module)
    return from_bayesian_torch(tensors, module)


def read_network(path: Path, module: nn.Module) -> Posterior:
    """A deterministic network in a file.

    Args:
        path: a posterior's, whose means are taken, or a state dict's as `read_state_dict` reads it.
        module: the network it is of; it is changed.

    Raises:
        UserError: the file cannot be read, or is of another network.
    """
    if is_posterior(path):
        posterior, _ = load(path)
        posterior.validate(module, str(path))
        return posterior
    read = unwrapped(read_state_dict(path), module=module)
    tensors = {name: float32(name, value) for name, value in read.items()}
    Posterior({}, {}, tensors).validate(module, str(path))
    module.load_state_dict(tensors)
    return moped(module, 0.0)
