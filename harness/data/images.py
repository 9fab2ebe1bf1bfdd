"""Labelled image files, decoded when they are asked for: memory does not grow with their number.

A set of them is a folder or an uncompressed `.tar`, in one of two layouts:

    labels.csv, with columns `file` and `label`, in the folder that holds all images
    one folder for each class, as torchvision's `ImageFolder` has it

Images are brought to RGB; torchvision scales them to `Crop.resize`, and the middle is cut out.
"""

from __future__ import annotations

import csv
import io
import posixpath
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from ..core.archive import Archive, refuse
from ..core.contents import digests
from ..core.errors import UserError
from ..machine.cores import usable_cores
from .decode import SUFFIXES, UndecodableError, check_pixels, decoded, weight

if TYPE_CHECKING:
    import torch
    from torch import Tensor

T = TypeVar("T")

LABELS = "labels.csv"


@dataclass(frozen=True)
class Crop:
    """How an image becomes the network's input.

    Attributes:
        size: height and width of what is cut out of the middle.
        resize: the short side before that; at least `size`.
        interpolation: of the scaling: `bilinear` or `bicubic`.
        squash: the long side becomes `resize` too, whatever the image's shape was.
    """

    size: int
    resize: int
    interpolation: str = "bilinear"
    squash: bool = False

    def pixels(self, width: int, height: int) -> int:
        """Pixels that scaling an image holds beside its own.

        Raises:
            UndecodableError: it is so long that it would be too large once it is scaled.
        """
        if self.squash:
            return weight(self.resize, self.resize)
        long = self.resize * max(width, height) // min(width, height)
        check_pixels(self.resize, long, beside=weight(width, height))
        return weight(self.resize, long)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """uint8 [3, size, size], of an image in RGB whose `pixels` fit."""
        from torchvision.transforms.v2 import InterpolationMode, functional

        way = InterpolationMode(self.interpolation)
        sides = [self.resize] * (2 if self.squash else 1)
        scaled = functional.resize(image, sides, way)
        return np.asarray(functional.center_crop(scaled, [self.size])).transpose(2, 0, 1)


class Images(Protocol):
    """Images that are made when they are indexed; in a `Split` they stand for a uint8 tensor."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(N, C, H, W)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of the images that are made."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """One per image."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Tensor:
        """The chosen images, uint8 [B, C, H, W].

        Raises:
            UserError: one cannot be read; `readable` finds those.
        """
        ...

    def take(self, index: slice | Tensor | Sequence[int]) -> Images:
        """The chosen images, none of them made yet."""
        ...

    def identity(self) -> dict[str, Any]:
        """What they are made of and how, as JSON types: files by their content."""
        ...

    def readable(self, advance: Callable[[int], None] | None = None) -> tuple[bool, ...]:
        """Whether each image can be read; all are tried.

        Args:
            advance: told now and then how many more were tried.
        """
        ...


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """See `Images`: decoded from files.

    Attributes:
        archive: where the files are.
        names: of the images, in order.
        crop: what becomes of each.
        threads: that decode.
    """

    archive: Archive
    names: tuple[str, ...]
    crop: Crop
    threads: int = field(default_factory=usable_cores)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images`."""
        return (len(self), 3, self.crop.size, self.crop.size)

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Tensor:
        """See `Images`."""
        import torch

        chosen = self.take(index).names
        with ThreadPoolExecutor(self.threads) as pool:
            images = list(pool.map(self._decode, chosen))
        for name, image in zip(chosen, images, strict=True):
            if isinstance(image, str):
                raise self._unreadable(name, image)
        if not images:
            return torch.empty(0, *self.shape[1:], dtype=self.dtype)
        return torch.from_numpy(np.stack(images))

    @property
    def dtype(self) -> torch.dtype:
        """See `Images`."""
        import torch

        return torch.uint8

    def take(self, index: slice | Tensor | Sequence[int]) -> ImageFiles:
        """See `Images`."""
        if isinstance(index, slice):
            return replace(self, names=self.names[index])
        return replace(self, names=tuple(self.names[int(i)] for i in index))

    def stored_size(self, index: int) -> tuple[int, int]:
        """Width and height of an image before it is cut, in pixels.

        Raises:
            UserError: it cannot be read.
        """
        found = self._made(self.names[index], lambda image: image.size)
        if isinstance(found, str):
            raise self._unreadable(self.names[index], found)
        return found

    def identity(self) -> dict[str, Any]:
        """See `Images`."""
        files = digests(self.archive, self.names, self.threads)
        return {"files": files, "crop": asdict(self.crop)}

    def readable(self, advance: Callable[[int], None] | None = None) -> tuple[bool, ...]:
        """See `Images`."""
        found: list[bool] = []
        with ThreadPoolExecutor(self.threads) as pool:
            for image in pool.map(self._decode, self.names):
                found.append(not isinstance(image, str))
                if advance:
                    advance(1)
        return tuple(found)

    def _decode(self, name: str) -> np.ndarray | str:
        """uint8 [3, size, size], or why there is none."""
        return self._made(name, self.crop)

    def _made(self, name: str, make: Callable[[Image.Image], T]) -> T | str:
        """Of a picture, or why there is none."""
        try:
            with self.archive.open(name) as stream:
                return decoded(stream, make)
        except UndecodableError as reason:
            return str(reason)
        except OSError as reason:  # a link to nothing, or gone since it was listed
            return f"{type(reason).__name__}: {reason.strerror}"

    def _unreadable(self, name: str, reason: str) -> UserError:
        return UserError(
            f"{self.archive.path}/{name} cannot be read ({reason}); repair or remove it."
        )


def labelled(archive: Archive, classes: Sequence[str], crop: Crop) -> tuple[ImageFiles, Tensor]:
    """The images of an archive and their labels, int64 [N].

    Args:
        archive: in one of the two layouts.
        classes: names of the classes' folders, in the order of labels.
        crop: of the images.

    Raises:
        UserError: the archive has no images, several tables, one that names missing images or
            labels out of range, or a folder that is no class's.
    """
    import torch

    table = _table_of(archive)
    if table is not None:
        names, labels = _table(archive, table, len(classes))
    else:
        names, labels = _folders(archive, classes)
    if not names:
        raise UserError(
            f"{archive.path} holds no images; give a folder or tar of one folder per class, or of "
            f"images beside {LABELS}."
        )
    return ImageFiles(archive, tuple(names), crop), torch.tensor(labels)


def _images(archive: Archive) -> list[str]:
    return [name for name in archive.names if name.lower().endswith(SUFFIXES)]


def _table_of(archive: Archive) -> str | None:
    """The table, if there is one in a folder that holds all images."""
    tables = [name for name in archive.names if posixpath.basename(name) == LABELS]
    if len(tables) > 1:
        raise UserError(
            f"{archive.path} holds several tables ({', '.join(tables[:3])}"
            f"{' …' if len(tables) > 3 else ''}); keep one {LABELS} at the top."
        )
    if not tables:
        return None
    home = tables[0].removesuffix(LABELS)
    return tables[0] if all(name.startswith(home) for name in _images(archive)) else None


def _table(archive: Archive, table: str, classes: int) -> tuple[list[str], list[int]]:
    source = f"{archive.path}/{table}"
    try:
        reader = csv.DictReader(io.StringIO(_content(archive, table).decode("utf-8-sig")))
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise UserError(f"{source} cannot be read ({reason}); give a CSV in UTF-8.") from None
    for column in ("file", "label"):
        if column not in (reader.fieldnames or ()):
            raise UserError(f"{source} has no column {column!r}; give `file` and `label`.")
    if not rows:
        raise UserError(f"{source} has no rows; give one for each image.")
    refuse(
        source,
        "has rows without a file or a label",
        "complete or remove them",
        [f"row {at}" for at, row in enumerate(rows, 1) if not (row["file"] and row["label"])],
    )
    home, there = table.removesuffix(LABELS), set(archive.names)
    names = [home + row["file"] for row in rows]
    refuse(
        source,
        "names images that are not there",
        "add them or remove their rows",
        [row["file"] for row, name in zip(rows, names, strict=True) if name not in there],
    )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    refuse(source, "names images twice", "keep one row of each", repeated)
    labels = [_label(row["label"], classes) for row in rows]
    refuse(
        source,
        f"has labels that are not whole numbers from 0 to {classes - 1}",
        "correct them",
        [f"{r['label']} of {r['file']}" for r, v in zip(rows, labels, strict=True) if v is None],
    )
    return names, [label for label in labels if label is not None]


def _content(archive: Archive, name: str) -> bytes:
    with archive.open(name) as stream:
        return stream.read()


def _label(text: str, classes: int) -> int | None:
    digits = text.strip()
    if not (digits.isascii() and digits.isdecimal()):
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= len(str(classes)) and int(digits) < classes else None


def _folders(archive: Archive, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    images = _images(archive)
    place = {name: index for index, name in enumerate(classes)}
    folders = [name.split("/")[-2] if "/" in name else "" for name in images]
    refuse(
        str(archive.path),
        "has images in folders that are not named after a class",
        f"the classes' folders are called {classes[0]}, {classes[1]} and so on",
        sorted({folder or "the top" for folder in folders if folder not in place}),
    )
    return images, [place[folder] for folder in folders]
