"""What peers are given: images and networks as files of plain arrays; `workers/network.py` reads
them."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ..core.errors import UserError
from ..data.splits import Split
from ..posterior import Posterior
from ..posterior.bayesian_torch import to_bayesian_torch
from ..posterior.posterior import BAYESIAN_LAYERS, inverse_softplus
from ..workload.prepare import Networks

_AT_ONCE = 64  # images


class NoRoomError(UserError):
    """The folder cannot hold what peers are given, whoever they are."""


def write_images(folder: Path, scored: Split, calibration: Split) -> None:
    """`images.npy` and `calibration.npy`, normalised as our own formats get them.

    Args:
        folder: that is there.
        scored: images to score.
        calibration: training images to calibrate on (`Splits.calibration`).

    Raises:
        NoRoomError: a file cannot be written; it is not there.
    """
    _write_images(folder / "images.npy", scored)
    _write_images(folder / "calibration.npy", calibration)


def write_networks(folder: Path, networks: Networks, module: nn.Module) -> None:
    """`twin.npz`, `posterior.npz` with σ in place of ρ, and `bayesian-torch.npz`.

    Args:
        folder: that is there.
        networks: posterior and twin.
        module: the network both are over.

    Raises:
        NoRoomError: a file cannot be written; it is not there.
        UserError: bayesian-torch has nothing that the posterior could be written as; the other
            files are there.
    """
    posterior, twin = networks.posterior, networks.twin
    _write(folder / "twin.npz", {**twin.state, **twin.mean})
    trees = {"mean": posterior.mean, "std": posterior.std(), "state": posterior.state}
    named = {f"{tree}/{name}": value for tree, own in trees.items() for name, value in own.items()}
    _write(folder / "posterior.npz", named)
    _write(folder / "bayesian-torch.npz", to_bayesian_torch(all_bayesian(posterior, module)))


def all_bayesian(posterior: Posterior, module: nn.Module) -> Posterior:
    """The same posterior with frozen weights (σ = 0) for layers that are deterministic in it: a
    network of bayesian-torch has no others.

    Args:
        posterior: over the network.
        module: the network.
    """
    names = [
        f"{name}.{own}"
        for name, layer in module.named_modules()
        if isinstance(layer, BAYESIAN_LAYERS)
        for own, _ in layer.named_parameters(recurse=False)
    ]
    state = dict(posterior.state)
    frozen = {name: state.pop(name) for name in names if name in state}
    rho = {name: inverse_softplus(value.new_zeros(value.shape)) for name, value in frozen.items()}
    return Posterior({**posterior.mean, **frozen}, {**posterior.rho, **rho}, state)


def _write_images(path: Path, split: Split) -> None:
    """Float32 [N, C, H, W], a few at a time; not through a map, where a full disk is a SIGBUS."""
    shape = tuple(split.images.shape)
    header = {"descr": np.dtype(np.float32).str, "fortran_order": False, "shape": shape}
    other_way = ", or score fewer images with --limit"
    with _whole(path, 4 * math.prod(shape), other_way), path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for start in range(0, len(split), _AT_ONCE):
            stream.write(split.batch(slice(start, start + _AT_ONCE)).numpy().data)


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    with _whole(path, sum(tensor.nbytes for tensor in tensors.values())):
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]


@contextmanager
def _whole(path: Path, wanted: int, other_way: str = "") -> Iterator[None]:
    """While a file of `wanted` bytes is written: it is there whole or not at all."""
    try:
        if (free := shutil.disk_usage(path.parent).free) < wanted:
            raise OSError(f"{free:,} are free")
        yield
    except BaseException as reason:
        path.unlink(missing_ok=True)
        if not isinstance(reason, OSError):
            raise
        raise NoRoomError(
            f"The temporary folder {path.parent} cannot hold {path.name} of {wanted:,} bytes "
            f"({reason.strerror or reason}); name another one with TMPDIR{other_way}."
        ) from reason
