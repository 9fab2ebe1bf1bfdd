"""Labelled images in one NumPy `.npz` file, a format that anyone can bring.

    train_images, test_images: [N, H, W, C] with C of 1 or 3 (or [N, H, W], gray), uint8 or floats
                               from 0 to 1, which are rounded to 255ths
    train_labels, test_labels: integers [N] from 0

Nothing is unpickled: an array of Python objects is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import UserError, first_line
from ..machine.memory_limit import require

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
    return [_checked(path, key, array) for key, array in _stored(path, choose).items()]


def stored_arrays(path: Path, keys: Sequence[str]) -> dict[str, NDArray[np.generic]]:
    """Arrays of an `.npz` file as they are; nothing is unpickled.

    Raises:
        UserError: the file is missing or damaged, or lacks an array.
    """
    return _stored(path, lambda _: keys)


def _stored(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str]]
) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        raise UserError(f"There is no image file {path}; give an .npz file of images.")
    try:
        stored = np.load(path, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise UserError(f"{path} holds one bare array; store named ones with numpy.savez.")
        with stored:
            _check_size(path, stored, choose(stored.files))
            return {key: _array(path, stored, key) for key in choose(stored.files)}
    except UserError:
        raise
    except Exception as reason:  # NumPy, zipfile and the codecs raise many kinds on damaged files
        raise UserError(
            f"{path} is not an .npz file or is damaged ({first_line(reason)}); make it again."
        ) from None


def _check_size(path: Path, stored: np.lib.npyio.NpzFile, keys: Sequence[str]) -> None:
    """Whether what the chosen members say that they unpack to fits, before any is read."""
    chosen = {f"{key}.npy" for key in keys} | set(keys)
    members = stored.zip.infolist() if stored.zip is not None else []
    require(str(path), sum(one.file_size for one in members if one.filename in chosen))


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
    if not isinstance(array, np.ndarray):  # NumPy gives what is no array as bytes
        raise UserError(f"{key} in {path} is not an array; store it with numpy.savez.")
    return array


def _checked(path: Path, key: str, array: NDArray[np.generic]) -> Tensor:
    if key.endswith("_labels"):
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise _wrong(f"{key} in {path}", array, "integers of shape [N]")
        return torch.from_numpy(array.astype(np.int64))
    return planes(array, f"{key} in {path}")


def planes(array: NDArray[np.generic], told: str) -> Tensor:
    """Images of an array as the harness has them, by one rule for every file.

    Args:
        array: [N, H, W, C] with C of 1 or 3, or [N, H, W]; uint8, or floats from 0 to 1, which are
            rounded to 255ths.
        told: what a message calls it: the array and its file.

    Returns:
        uint8 [N, C, H, W].

    Raises:
        UserError: another shape or type, no image, or floats that are NaN or beyond 0 and 1.
    """
    gray = array[..., None] if array.ndim == 3 else array
    floats = gray.dtype.kind == "f"
    if not (floats or gray.dtype == np.uint8) or gray.ndim != 4 or gray.shape[-1] not in (1, 3):
        wanted = "uint8, or floats from 0 to 1, of shape [N, H, W, C] with 1 or 3 channels"
        raise _wrong(told, array, wanted)
    if gray.size == 0:
        raise _wrong(told, array, "at least one image, of at least one pixel")
    if floats:
        low, high = float(gray.min()), float(gray.max())  # NaN if there is one
        if not (low >= 0 and high <= 1):
            raise UserError(
                f"{told} has {gray.dtype} from {low:g} to {high:g}; give floats from 0 to 1, or "
                "uint8."
            )
        gray = np.rint(gray.astype(np.float64) * 255).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(gray.transpose(0, 3, 1, 2)))


def _wrong(told: str, array: NDArray[np.generic], wanted: str) -> UserError:
    return UserError(f"{told} is {array.dtype} of shape {list(array.shape)}; give {wanted}.")


def read_images(path: Path) -> Tensor:
    """Images without labels from an `.npz` file: `images`, else `test_images`.

    Returns:
        uint8 [N, C, H, W].

    Raises:
        UserError: as `read_npz`.
    """
    return _read(path, lambda stored: ("images",) if "images" in stored else ("test_images",))[0]
