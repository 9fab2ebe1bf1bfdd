"""Labelled images in one NumPy `.npz` file, a format that anyone can bring.

    train_images, test_images: uint8 [N, H, W, C] with C of 1 or 3 (or [N, H, W], gray)
    train_labels, test_labels: integers [N] from 0

Nothing is unpickled: an array of Python objects is refused.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .errors import UserError

IMAGES = ("train_images", "test_images")
LABELS = ("train_labels", "test_labels")


def read_npz(path: Path, keys: Sequence[str] = (*IMAGES, *LABELS)) -> dict[str, Tensor]:
    """The arrays of an image file.

    Args:
        path: the `.npz` file.
        keys: which arrays to read, in pairs of `X_images` and `X_labels`.

    Returns:
        Images as uint8 [N, C, H, W], labels as int64 [N], by key.

    Raises:
        UserError: the file is missing or damaged, lacks an array, or holds one of the wrong type,
            shape or length, or of Python objects.
    """
    found = dict(zip(keys, _read(path, lambda _: keys), strict=True))
    for key in keys:
        other = key.replace("_images", "_labels")
        if len(found[key]) != len(found[other]):
            raise UserError(
                f"{path} has {len(found[key])} {key} and {len(found[other])} {other}; give one "
                "label for each image."
            )
    return found


def _read(path: Path, choose: Callable[[Sequence[str]], Sequence[str]]) -> list[Tensor]:
    """The arrays that `choose` picks from the names in the file, checked."""
    if not path.is_file():
        raise UserError(f"There is no image file {path}; give an .npz file of images.")
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise UserError(f"{path} holds one bare array; store named ones with numpy.savez.")
        with stored:
            arrays = {key: _array(path, stored, key) for key in choose(stored.files)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as reason:
        raise UserError(
            f"{path} is no .npz file or is damaged ({reason}); make it again."
        ) from None
    return [_checked(path, key, array) for key, array in arrays.items()]


def _array(path: Path, stored: np.lib.npyio.NpzFile, key: str) -> NDArray[np.generic]:
    if key not in stored.files:
        there = ", ".join(stored.files) or "nothing"
        raise UserError(f"{path} has no array {key} (it holds {there}); add it.")
    try:
        array: NDArray[np.generic] = stored[key]
    except ValueError as reason:  # Python objects, or a damaged header
        raise UserError(
            f"{key} in {path} cannot be read ({reason}); store plain numbers, not objects."
        ) from None
    return array


def _checked(path: Path, key: str, array: NDArray[np.generic]) -> Tensor:
    if key.endswith("_labels"):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise _wrong(path, key, array, "integers of shape [N]")
        return torch.from_numpy(array.astype(np.int64))
    gray = array[..., None] if array.ndim == 3 else array
    if gray.dtype != np.uint8 or gray.ndim != 4 or gray.shape[-1] not in (1, 3):
        raise _wrong(path, key, array, "uint8 of shape [N, H, W, C] with 1 or 3 channels")
    return torch.from_numpy(np.ascontiguousarray(gray.transpose(0, 3, 1, 2)))


def _wrong(path: Path, key: str, array: NDArray[np.generic], wanted: str) -> UserError:
    return UserError(
        f"{key} in {path} is {array.dtype} of shape {list(array.shape)}; give {wanted}."
    )


def read_images(path: Path) -> Tensor:
    """Images without labels from an `.npz` file: `images`, else `test_images`.

    Returns:
        uint8 [N, C, H, W].

    Raises:
        UserError: as `read_npz`.
    """
    return _read(path, lambda stored: ("images",) if "images" in stored else ("test_images",))[0]
