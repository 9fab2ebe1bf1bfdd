"""Colorectal histology (Kather et al. 2016, Scientific Reports 6:27988): 5,000 tiles, 8 tissues.

Read from one `.npz` of 64×64 gray tiles, or from the official archive of 150×150 RGB ones, which
are brought to the same size and to gray. Parts are decided by where a tile comes from:

    held-out-slides   slides 4, 5 and 10, of which nothing else is seen: another patient's tissue
    test              of the other slides, where SHA-256 of `CLASS/FILE` is a multiple of 6
    rest              for training and validation

Tiles of another cohort (Kather et al. 2018) are in a file of their own, which need not be there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.errors import UserError
from .arrays import planes, stored_arrays
from .decode import UndecodableError, decoded
from .root import DATA_VARIABLE, data_root
from .tissues import TISSUES

FOLDER, FILE = "colorectal-histology", "kather2016_64x64_gray.npz"
OTHER_COHORT = "crcval7k_subset108_64x64.npz"
ARCHIVE = "Kather_texture_2016_image_tiles_5000"
SIZE = 64
TILES_A_TISSUE = 625
HELD_OUT_SLIDES = (4, 5, 10)
_ONE_IN = 6
_PARENT = re.compile(r"CRC-Prim-HE-(\d+)\w*(?=\.tif)")
_GET = (
    f"put {FOLDER}/{FILE}, or the unpacked {ARCHIVE} of the data set (Zenodo record 53169), into a "
    f"directory named by --data or {DATA_VARIABLE}"
)
_MAKE = (
    "which other-cohort and unseen-tissues are read from; make it of Zenodo record 1214456, as "
    "docs/selective.md says, or leave these sets out"
)


@dataclass(frozen=True, eq=False)
class Tiles:
    """Tiles with where each comes from.

    Attributes:
        images: uint8 [N, 1, 64, 64].
        labels: int64 [N], places in `TISSUES`.
        names: `CLASS/FILE` of each.
    """

    images: Tensor
    labels: Tensor
    names: Sequence[str]

    @cached_property
    def parents(self) -> list[str]:
        """The larger image that each tile was cut from."""
        return [_parent(name).group(0) for name in self.names]

    def parts(self) -> dict[str, Tensor]:
        """`rest`, `test` and `held-out-slides` to indices, int64."""
        where = [_part(name) for name in self.names]
        return {
            part: torch.tensor([i for i, found in enumerate(where) if found == part])
            for part in ("rest", "test", "held-out-slides")
        }


def _parent(name: str) -> re.Match[str]:
    found = _PARENT.search(name)
    if found is None:
        raise UserError(f"The tile {name!r} does not name its slide; {_GET}.")
    return found


def _part(name: str) -> str:
    if int(_parent(name).group(1)) in HELD_OUT_SLIDES:
        return "held-out-slides"
    digest = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    return "test" if digest % _ONE_IN == 0 else "rest"


def _home(root: Path | None) -> Path:
    home = data_root(root)
    if home is None:
        raise UserError(f"There is no data directory; {_GET}.")
    return home


def tiles(root: Path | None) -> Tiles:
    """All 5,000 tiles.

    Args:
        root: data root, see `splits.data_root`.

    Raises:
        UserError: neither the file nor the archive is there, or it is damaged or lacks tiles.
    """
    home = _home(root)
    for archive in (home / ARCHIVE, home / FOLDER / ARCHIVE):
        if archive.is_dir():
            return _complete(_from_archive(archive), archive)
    path = home / FOLDER / FILE
    found = _arrays(path, ("images", "labels", "source_names"))
    labels = torch.from_numpy(found["labels"].astype(np.int64))
    read = Tiles(
        planes(found["images"], f"images in {path}"), labels, found["source_names"].tolist()
    )
    return _complete(read, path)


def _complete(found: Tiles, where: Path) -> Tiles:
    """The same; a part of the tiles would be other test sets under the same names."""
    for label, tissue in enumerate(TISSUES):
        count = int((found.labels == label).sum())
        if count != TILES_A_TISSUE:
            raise UserError(
                f"{where} holds {count} tiles of {tissue} instead of {TILES_A_TISSUE}; fetch or "
                "unpack it again."
            )
    if len(found.labels) != TILES_A_TISSUE * len(TISSUES):
        raise UserError(f"{where} has labels that are none of 0 to {len(TISSUES) - 1}.")
    return found


def no_other_cohort(root: Path | None) -> str:
    """Why there are no tiles of another cohort, one sentence; empty if their file is there.

    Raises:
        UserError: there is no data root.
    """
    path = _home(root) / FOLDER / OTHER_COHORT
    return "" if path.is_file() else f"There is no {path.name} in {path.parent}, {_MAKE}."


def other_cohort(root: Path | None) -> tuple[Tensor, Tensor]:
    """Tiles of another cohort (Kather et al. 2018): uint8 [N, 1, 64, 64], and labels int64 [N],
    −1 where the tissue is none of `TISSUES`.

    Raises:
        UserError: the file is missing or damaged.
    """
    if missing := no_other_cohort(root):
        raise UserError(missing)
    path = _home(root) / FOLDER / OTHER_COHORT
    found = _arrays(path, ("images", "labels_kather2016"))
    return planes(found["images"], f"images in {path}"), torch.from_numpy(
        found["labels_kather2016"].astype(np.int64)
    )


def _arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError(f"There is no {path.name} in {path.parent}; {_GET}.")
    found = stored_arrays(path, keys)
    shape = found["images"].shape
    if shape[1:] != (SIZE, SIZE, 1):
        raise UserError(f"images in {path} are of {shape}; they should be [N, {SIZE}, {SIZE}, 1].")
    if any(len(found[key]) != len(found["images"]) for key in keys):
        raise UserError(f"The arrays in {path} are not of the same length; fetch it again.")
    return found


def _from_archive(archive: Path) -> Tiles:
    files = sorted(archive.glob("[0-9][0-9]_*/*.tif"))
    if not files:
        raise UserError(f"{archive} has no tiles such as 01_TUMOR/*.tif; unpack it again.")
    images = torch.stack([_tile(file) for file in files])
    labels = torch.tensor([int(file.parent.name[:2]) - 1 for file in files])
    if int(labels.max()) >= len(TISSUES) or int(labels.min()) < 0:
        raise UserError(f"{archive} has folders that are none of 01_TUMOR to 08_EMPTY.")
    return Tiles(images, labels, [f"{file.parent.name}/{file.name}" for file in files])


def _tile(file: Path) -> Tensor:
    """uint8 [1, 64, 64]."""
    try:
        with file.open("rb") as stream:
            small = decoded(stream, _small)
    except (UndecodableError, OSError) as reason:
        raise UserError(f"{file} cannot be read ({reason}); unpack the archive again.") from None
    return torch.from_numpy(np.array(small))[None]


def _small(tile: Image.Image) -> Image.Image:
    return tile.convert("L").resize((SIZE, SIZE), Image.Resampling.LANCZOS)
