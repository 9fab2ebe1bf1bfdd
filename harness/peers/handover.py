"""What peers are given: images and networks as files of plain arrays; `workers/network.py` reads
them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from ..data import Split
from ..posterior import Posterior
from ..posterior.bayesian_torch import to_bayesian_torch
from ..posterior.posterior import BAYESIAN_LAYERS, inverse_softplus
from ..prepare import Networks

_AT_ONCE = 64  # images


def write_images(folder: Path, scored: Split, calibration: Split) -> None:
    """`images.npy` and `calibration.npy`, normalised as our own formats get them.

    Args:
        folder: that is there.
        scored: images to score.
        calibration: training images to calibrate on (`Splits.calibration`).
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
    """Float32 [N, C, H, W], a few at a time."""
    first = split.batch(slice(0, 1))
    shape = (len(split), *first.shape[1:])
    written = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    for start in range(0, len(split), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        written[part] = split.batch(part).numpy()
    written.flush()


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})  # type: ignore[arg-type]
