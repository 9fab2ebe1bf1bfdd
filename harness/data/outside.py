"""Images from outside the distribution: known data sets, local folders and `.npz` files.

Known sets are those of `known_sets`. Images are brought to the workload's size (bilinear, as Pillow
does it) and channels, and have no labels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.archive import Folder
from ..core.contents import digests
from ..core.errors import UserError
from ..core.whole import open_regular
from .arrays import read_images
from .decode import SUFFIXES, UndecodableError, decoded
from .known_sets import OOD, OOD_SETS
from .root import data_root
from .splits import Split


@dataclass(frozen=True)
class OodSet:
    """Images from outside the distribution.

    Attributes:
        name: what tables call it: a name of `OOD_SETS`, or the file's or the folder's.
        path: of a local file or folder; None for a known set.
    """

    name: str
    path: Path | None = None

    @property
    def identity(self) -> str:
        """Tells two local sets of one name apart: a digest of their files in order."""
        if self.path is None:
            return ""
        home = self.path.parent if self.path.is_file() else self.path
        names = [file.relative_to(home).as_posix() for file in _files(self.path)]
        digest = hashlib.sha256()
        for name, one in zip(names, digests(Folder(home), names), strict=True):
            if not one:
                gone = "it may not be read" if (home / name).exists() else "No such file"
                raise UserError(f"{home / name} is not a picture ({gone}); remove it.")
            digest.update(bytes.fromhex(one))
        return f"files {digest.hexdigest()[:12]}"


def ood_sets(names: Sequence[str]) -> tuple[OodSet, ...]:
    """Sets from what a user wrote: known names, and paths of folders and `.npz` files.

    Raises:
        UserError: neither a known name nor a path that exists; two sets of one name.
    """
    found = []
    for name in names:
        path = Path(name)
        if name in OOD_SETS or not os.path.exists(name):  # no error where it can be no path
            OOD_SETS.get(name)  # refuses what is not there, with the nearest names
            found.append(OodSet(name))
        else:
            found.append(OodSet(path.stem if path.is_file() else path.resolve().name, path))
    for one in found:
        if sum(other.name == one.name for other in found) > 1:
            raise UserError(f"Two sets of --ood are called {one.name!r}; rename one of them.")
    return tuple(found)


def available(
    sets: Sequence[OodSet], root: Path | None, limit: int | None
) -> tuple[tuple[OodSet, ...], tuple[str, ...]]:
    """The sets that can be read here, and a line for each that cannot.

    A local path that cannot be read is a mistake and raises, as a data root that is none does; a
    known set may just not be there.
    """
    data_root(root)
    reasons = {one: _missing(one, root, limit) for one in sets}
    kept = tuple(one for one, reason in reasons.items() if reason is None)
    lines = (f"{one.name} is skipped: {reason}" for one, reason in reasons.items() if reason)
    return kept, tuple(lines)


def _missing(one: OodSet, root: Path | None, limit: int | None) -> str | None:
    if one.path is not None and not one.path.is_file():
        for file in _pictures(one.path, limit):
            _picture(file)
        return None
    try:
        load_ood(one, root, limit)
    except UserError as reason:
        if one.path is not None:
            raise
        return str(reason).partition("\n")[0]
    return None


def load_ood(one: OodSet, root: Path | None, limit: int | None) -> Tensor:
    """The first `limit` images of a known set or of an `.npz` as they are, uint8 [N, C, H, W].

    Raises:
        UserError: they are missing, damaged, or cannot be downloaded.
    """
    if one.path is None:
        return OOD_SETS.get(one.name)(root)[:limit]
    return read_images(one.path)[:limit]


def ood_split(one: OodSet, like: Split, root: Path | None, limit: int | None) -> Split:
    """The first `limit` images of a set in the size, channels and normalisation of a split.

    Of a folder, the centre square of each picture, in order of their names. Labels are 0 and mean
    nothing.

    Raises:
        UserError: as `load_ood`.
    """
    _, *shape = like.images.shape
    if one.path is not None and one.path.is_dir():
        # One after another: pictures of a camera are a thousand times as large as what is made.
        found = (_fit(_picture(file), *shape) for file in _pictures(one.path, limit))
    else:
        found = (_fit(_as_picture(image), *shape) for image in load_ood(one, root, limit))
    fitted = torch.stack(list(found))
    labels = torch.zeros(len(fitted), dtype=torch.int64)
    return replace(
        like, name=f"{OOD}{one.name}", images=fitted, labels=labels, skipped=(), sources=None
    )


def _as_picture(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def _fit(picture: Image.Image, channels: int, height: int, width: int) -> Tensor:
    picture = picture.convert("L" if channels == 1 else "RGB")  # from RGB or gray
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    array = np.asarray(picture).reshape(height, width, channels)
    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(path / name for name in Folder(path).names if name.lower().endswith(SUFFIXES))


def _pictures(path: Path, limit: int | None) -> list[Path]:
    """Of a folder, in order of their names."""
    files = _files(path)[:limit]
    if not files:
        raise UserError(f"There is no picture ({', '.join(SUFFIXES)}) in {path}; name another.")
    return files


def _picture(file: Path) -> Image.Image:
    """The centre square of a picture in a file."""
    try:
        with open_regular(file) as stream:
            return decoded(stream, _square)
    except (UndecodableError, OSError) as reason:
        raise UserError(f"{file} is not a picture ({reason}); remove it.") from None


def _square(picture: Image.Image) -> Image.Image:
    short = min(picture.size)
    left, top = (picture.width - short) // 2, (picture.height - short) // 2
    return picture.crop((left, top, left + short, top + short))
