"""Labelled image files, decoded when they are asked for: memory does not grow with their number.

A set of them is a folder or an uncompressed `.tar`, in one of two layouts:

    labels.csv, with columns `file` and `label`, beside the images it names
    one folder for each class, as torchvision's `ImageFolder` has it

Images are brought to RGB; torchvision scales the short side to `Crop.resize`, and the middle is cut
out.
"""

from __future__ import annotations

import csv
import io
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
LABELS = "labels.csv"


@dataclass(frozen=True)
class Crop:
    """How an image becomes the network's input.

    Attributes:
        size: height and width of what is cut out of the middle.
        resize: the short side before that; at least `size`.
        interpolation: of the scaling: `bilinear` or `bicubic`.
    """

    size: int
    resize: int
    interpolation: str = "bilinear"

    def __call__(self, image: Image.Image) -> np.ndarray:
        """uint8 [3, size, size]."""
        from torchvision.transforms.v2 import InterpolationMode, functional

        way = InterpolationMode(self.interpolation)
        scaled = functional.resize(image.convert("RGB"), [self.resize], way)
        return np.asarray(functional.center_crop(scaled, [self.size])).transpose(2, 0, 1)


class Archive(Protocol):
    """Where files are."""

    @property
    def path(self) -> Path:
        """Of the folder or the tar."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """Of the files in it, sorted."""
        ...

    def read(self, name: str) -> bytes:
        """A file's content; from several threads at once."""
        ...

    def size(self, name: str) -> int:
        """A file's bytes."""
        ...


@dataclass(frozen=True)
class Folder:
    """See `Archive`."""

    path: Path

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Relative to the folder, with slashes, sorted."""
        found = []
        for folder, _, files in os.walk(self.path, followlinks=True):
            inside = Path(folder).relative_to(self.path)
            found += [(inside / name).as_posix() for name in files]
        return tuple(sorted(found))

    def read(self, name: str) -> bytes:
        """See `Archive`."""
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        """See `Archive`."""
        return (self.path / name).stat().st_size


@dataclass(frozen=True, eq=False)
class Tar:
    """See `Archive`. Its members are found once; each is then read from where it lies."""

    path: Path
    members: Mapping[str, tuple[int, int]]
    handle: int

    @classmethod
    def open(cls, path: Path) -> Tar:
        """Raises UserError: it is no tar, or a compressed one."""
        try:
            with tarfile.open(path, "r:") as archive:
                members = {
                    m.name.removeprefix("./"): (m.offset_data, m.size) for m in archive if m.isreg()
                }
            return cls(path, members, os.open(path, os.O_RDONLY))
        except (OSError, tarfile.TarError) as reason:
            raise UserError(
                f"{path} cannot be read as a tar ({reason}); give an uncompressed one, or a folder."
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """As in the archive, sorted."""
        return tuple(sorted(self.members))

    def read(self, name: str) -> bytes:
        """See `Archive`."""
        offset, size = self.members[name]
        return os.pread(self.handle, size, offset)

    def size(self, name: str) -> int:
        """See `Archive`."""
        return self.members[name][1]

    def __del__(self) -> None:
        os.close(self.handle)


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
        """One an image."""
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

    def sizes(self) -> list[int]:
        """Bytes of each image's file."""
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
    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """See `Images`."""
        return (len(self), 3, self.crop.size, self.crop.size)

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Tensor:
        """See `Images`."""
        chosen = self.take(index).names
        with ThreadPoolExecutor(self.threads) as pool:
            images = list(pool.map(self._decode, chosen))
        for name, image in zip(chosen, images, strict=True):
            if isinstance(image, str):
                raise UserError(f"{self.archive.path}/{name} cannot be read ({image}).")
        return torch.from_numpy(np.stack(images)) if images else torch.empty(0, *self.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """See `Images`."""
        return torch.uint8

    def take(self, index: slice | Tensor | Sequence[int]) -> ImageFiles:
        """See `Images`."""
        if isinstance(index, slice):
            return replace(self, names=self.names[index])
        return replace(self, names=tuple(self.names[int(i)] for i in index))

    def sizes(self) -> list[int]:
        """See `Images`."""
        return [self.archive.size(name) for name in self.names]

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
        try:
            with Image.open(io.BytesIO(self.archive.read(name))) as image:
                return self.crop(image)
        except Exception as reason:  # Pillow's readers raise many kinds on damaged files
            return f"{type(reason).__name__}: {reason}"


def open_archive(path: Path) -> Archive:
    """A folder or a tar.

    Raises:
        UserError: it is neither.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise UserError(f"There is no folder or tar of images {path}; correct the path.")
    return Tar.open(path)


def labelled(archive: Archive, classes: Sequence[str], crop: Crop) -> tuple[ImageFiles, Tensor]:
    """The images of an archive and their labels, int64 [N].

    Args:
        archive: in one of the two layouts.
        classes: names of the classes' folders, in the order of labels.
        crop: of the images.

    Raises:
        UserError: the archive has no images, or a table that names missing images or labels out of
            range, or a folder that is no class's.
    """
    named = [name for name in archive.names if name == LABELS or name.endswith(f"/{LABELS}")]
    if named:
        names, labels = _table(archive, min(named, key=len), len(classes))
    else:
        names, labels = _folders(archive, classes)
    if not names:
        raise UserError(
            f"{archive.path} holds no images; give a folder or tar of one folder a class, or of "
            f"images beside {LABELS}."
        )
    return ImageFiles(archive, tuple(names), crop), torch.tensor(labels)


def _table(archive: Archive, table: str, classes: int) -> tuple[list[str], list[int]]:
    source = f"{archive.path}/{table}"
    try:
        rows = list(csv.DictReader(io.StringIO(archive.read(table).decode("utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise UserError(f"{source} cannot be read ({reason}); give a CSV in UTF-8.") from None
    for column in ("file", "label"):
        if not rows or rows[0].get(column) is None:
            raise UserError(f"{source} has no column {column!r}; give `file` and `label`.")
    home, there = table.removesuffix(LABELS), set(archive.names)
    names = [home + row["file"] for row in rows]
    _refuse(
        source,
        "names images that are not there",
        "add them or remove their rows",
        [row["file"] for row, name in zip(rows, names, strict=True) if name not in there],
    )
    repeated = [name for name, count in Counter(names).items() if count > 1]
    _refuse(source, "names images twice", "keep one row of each", repeated)
    labels = [_label(row["label"], classes) for row in rows]
    _refuse(
        source,
        f"has labels that are no whole numbers from 0 to {classes - 1}",
        "correct them",
        [f"{r['label']} of {r['file']}" for r, v in zip(rows, labels, strict=True) if v is None],
    )
    return names, [label for label in labels if label is not None]


def _label(text: str | None, classes: int) -> int | None:
    try:
        value = int(text or "")
    except ValueError:
        return None
    return value if 0 <= value < classes else None


def _folders(archive: Archive, classes: Sequence[str]) -> tuple[list[str], list[int]]:
    images = [name for name in archive.names if name.lower().endswith(SUFFIXES)]
    place = {name: index for index, name in enumerate(classes)}
    folders = [name.split("/")[-2] if "/" in name else "" for name in images]
    _refuse(
        str(archive.path),
        "has images in folders that are no class's",
        f"the classes' folders are called {classes[0]}, {classes[1]} and so on",
        sorted({folder or "the top" for folder in folders if folder not in place}),
    )
    return images, [place[folder] for folder in folders]


def _refuse(source: str, what: str, way_out: str, found: Iterable[str]) -> None:
    names = list(found)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise UserError(f"{source} {what} ({names[0]}{more}); {way_out}.")
