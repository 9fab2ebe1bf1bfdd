"""CIFAR-10: from `cifar10.npz` in the data root, or downloaded by torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError
from .arrays import read_npz
from .root import DATA_VARIABLE, cache_root, data_root

FILE = "cifar10.npz"
_GET = (
    f"put {FILE} (train_images, train_labels, test_images, test_labels) into a directory named by "
    f"--data or {DATA_VARIABLE}, or name none and let torchvision download the original"
)


def cifar10(root: Path | None) -> dict[str, Tensor]:
    """`train_images`, `train_labels`, `test_images` and `test_labels`: uint8 [N, 3, 32, 32], int64.

    Args:
        root: data root. `cifar10.npz` in it is read if it is there, else torchvision's
            `cifar-10-batches-py`. Without a root, torchvision downloads into `cache_root()` once
            (and checks MD5 sums before it reads).

    Raises:
        UserError: the files are missing, damaged, of another shape, or cannot be downloaded.
    """
    named = data_root(root)
    if named is None or (named / "cifar-10-batches-py").is_dir():
        return _torchvision(named or cache_root(), download=named is None)
    path = named / FILE
    if not path.is_file():
        raise UserError(f"There is no {FILE} in {named}; {_GET}.")
    found = read_npz(path)
    for key in ("train_images", "test_images"):
        if found[key].shape[1:] != (3, 32, 32):
            raise UserError(
                f"{key} in {path} are of {list(found[key].shape[1:])} (C, H, W); CIFAR-10's are of "
                "[3, 32, 32]."
            )
    return found


def _torchvision(root: Path, download: bool) -> dict[str, Tensor]:
    from torchvision.datasets import CIFAR10

    found: dict[str, Tensor] = {}
    try:
        for part, train in (("train", True), ("test", False)):
            data = CIFAR10(str(root), train=train, download=download)
            pixels = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))
            found[f"{part}_images"] = torch.from_numpy(pixels)
            found[f"{part}_labels"] = torch.tensor(data.targets)
    except (OSError, RuntimeError) as reason:
        raise UserError(f"CIFAR-10 is not available in {root} ({reason}); {_GET}.") from None
    return found
