"""What other programs saved: state dicts by `torch.save` or as safetensors, never executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError
from ..machine.memory_limit import require
from .pickled import read_pickled

_UNDER = ("state_dict", "model", "model_state_dict")  # where checkpoints have it


def read_saved(path: Path) -> Any:
    """Tensors and plain containers in a file, on the CPU.

    What `torch.save` wrote is read with `weights_only=True`: nothing in it is executed.

    Args:
        path: a `.safetensors` file, or what `torch.save` wrote.

    Raises:
        UserError: the file is missing, damaged, needs more memory than there is, or holds something
            else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}; check the path.")
    try:
        if path.suffix == ".safetensors":
            import safetensors.torch

            require(str(path), path.stat().st_size)
            return safetensors.torch.load(path.read_bytes())
        with path.open("rb") as stream:
            return read_pickled(stream, str(path))
    except UserError:
        raise
    except Exception as reason:  # the readers trip over foreign bytes in any way
        if "GLOBAL laplace.utils.enums.Likelihood" in str(reason):
            raise UserError(
                f"{path} holds an object of laplace-torch's, and nothing in a file is executed; "
                'make Laplace with the text likelihood="classification", and save it again.'
            ) from None
        raise _foreign(path) from None


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The tensors in a checkpoint: a `.safetensors` file, or what `torch.save` wrote of a state
    dict, bare or under `state_dict`, `model` or `model_state_dict`.

    Raises:
        UserError: as `read_saved`; an entry has no text for a name, or is no ordinary tensor of
            real numbers, all of them stored.
    """
    return state_dict_of(read_saved(path), path)


def state_dict_of(found: Any, path: Path) -> dict[str, Tensor]:
    """The state dict among what `read_saved` found in a file; see `read_state_dict`."""
    if isinstance(found, Mapping):
        under = [key for key in _UNDER if isinstance(found.get(key), Mapping)]
        if len(under) > 1:
            raise UserError(
                f"{path} has state dicts under {' and '.join(under)}; save the one that is meant."
            )
        found = found[under[0]] if under else found
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise _foreign(path)
    for name, value in found.items():
        if not isinstance(name, str):
            raise UserError(f"{path} names an entry {name!r}; names of a state dict are text.")
        check_ordinary(name, value, path)
    return dict(found)


def check_ordinary(name: str, value: Tensor, path: Path | str) -> None:
    """Refuse a tensor that a posterior cannot hold.

    Raises:
        UserError: it is not an ordinary one of real numbers, all of them stored.
    """
    kinds = {
        "meta": value.is_meta,
        "quantized": value.is_quantized,
        "sparse": value.layout is not torch.strided,
        "complex": value.is_complex(),
    }
    for kind, applies in kinds.items():
        if applies:
            raise UserError(
                f"{name} in {path} is a {kind} tensor; save it as an ordinary one of real numbers."
            )


def float32(name: str, value: Tensor) -> Tensor:
    """The same numbers: narrower floats are widened, and wider ones would be rounded."""
    if value.dtype == torch.float64:
        raise UserError(
            f"{name} is float64, and a posterior is float32; round the model with .float() first."
        )
    own = value.detach().cpu().clone()
    return own.float() if own.is_floating_point() else own


def _foreign(path: Path) -> UserError:
    return UserError(
        f"{path} is damaged or holds more than tensors; save the model's state_dict() by itself, "
        "with torch.save or as safetensors."
    )
