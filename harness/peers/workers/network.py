"""Networks, tensors and images as a worker gets them: a source by name, and files of plain arrays.

A folder of data holds `images.npy` and `calibration.npy`, float32 [N, C, H, W], `twin.npz`, the
deterministic network by parameter name, `posterior.npz`, whose names begin with `mean/`, `std/` or
`state/`, and `bayesian-torch.npz`, the same posterior as that library's state dict.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DELTA = 0.05  # of a synthetic posterior: σ = DELTA·|w|
BAYESIAN_LAYERS = (nn.Conv2d, nn.Linear)
_PACKAGE = "network_source"


def make(source: str, arguments: list[Any], keywords: dict[str, Any]) -> nn.Module:
    """A module with fresh weights.

    Args:
        source: of what makes it, `module:attribute` or `file.py:attribute`; such a file may import
            its neighbours by relative imports.
        arguments: positional ones of the call.
        keywords: of the call.
    """
    place, _, attribute = source.rpartition(":")
    if place.endswith(".py"):
        file = Path(place)
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(file.parent)]
        sys.modules[_PACKAGE] = package
        found = importlib.import_module(f"{_PACKAGE}.{file.stem}")
    else:
        found = importlib.import_module(place)
    module: nn.Module = getattr(found, attribute)(*arguments, **keywords)
    return module


def settle(module: nn.Module, images: Tensor) -> None:
    """Batch-norm statistics of these images, so that activations have a trained network's scale."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    with torch.no_grad():
        module.train()(images)
    module.eval()


def tensors(folder: str, name: str) -> dict[str, Tensor]:
    """Everything in `<folder>/<name>.npz`, by name."""
    with np.load(Path(folder) / f"{name}.npz", allow_pickle=False) as file:
        return {key: torch.from_numpy(np.array(file[key])) for key in file.files}


class Batches:
    """Images in batches of one size, read where they lie; the last one goes on with the first.

    Args:
        folder: of the data.
        name: of the file without `.npy`.
        size: images per batch.
    """

    def __init__(self, folder: str, name: str, size: int) -> None:
        self._images = np.load(Path(folder) / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._images) // self._size)

    def __getitem__(self, index: int) -> Tensor:
        rows = np.arange(index * self._size, (index + 1) * self._size) % len(self._images)
        return torch.from_numpy(self._images[rows])

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))


def load_posterior(module: nn.Module, folder: str) -> dict[str, Tensor]:
    """Put μ and what else the posterior holds into `module`.

    Args:
        module: in place.
        folder: of the data; empty for a synthetic posterior over the weights that are there.

    Returns:
        σ by parameter name.
    """
    if not folder:
        return {
            f"{layer_name}.{name}": DELTA * value.detach().abs()
            for layer_name, layer in module.named_modules()
            if isinstance(layer, BAYESIAN_LAYERS)
            for name, value in layer.named_parameters(recurse=False)
        }
    trees: dict[str, dict[str, Tensor]] = {"mean": {}, "std": {}, "state": {}}
    for key, value in tensors(folder, "posterior").items():
        tree, _, name = key.partition("/")
        trees[tree][name] = value
    module.load_state_dict({**trees["state"], **trees["mean"]})
    return trees["std"]
