"""Labelled image files, decoded when they are asked for: memory does not grow with their number.

A set of them is a folder or an uncompressed `.tar`, in one of two layouts:

    labels.csv, with columns `file` and `label`, in the folder that holds all images
    one folder for each class, as torchvision's `ImageFolder` has it

Images are brought to RGB; torchvision scales them to `Crop.resize`, and the middle is cut out.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from .errors import UserError

#: Those of torchvision's `ImageFolder`.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
LABELS = "labels.csv"
#: Pillow's modes of 8 bits or fewer; others would be clipped on their way to RGB.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


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

    def __call__(self, image: Image.Image) -> np.ndarray:
        """uint8 [3, size, size].

        Raises:
            ValueError: the image has more than 8 bits a channel.
        """
        from torchvision.transforms.v2 import InterpolationMode, functional

        if image.mode not in MODES:
            raise ValueError(f"Pillow's mode {image.mode} is not one of 8 bits a channel")
        way = InterpolationMode(self.interpolation)
        sides = [self.resize] * (2 if self.squash else 1)
        scaled = functional.resize(image.convert("RGB"), sides, way)
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
        """Relative to the folder, with slashes, sorted.

        Raises:
            UserError: a folder cannot be listed.
        """
        try:
            return tuple(sorted(_inside(self.path)))
        except OSError as reason:
            raise UserError(f"{self.path} cannot be listed ({reason}); correct it.") from None

    def read(self, name: str) -> bytes:
        """See `Archive`."""
        return (self.path / name).read_bytes()

    def size(self, name: str) -> int:
        """See `Archive`."""
        return (self.path / name).stat().st_size


def _inside(folder: Path, prefix: str = "", above: frozenset[str] = frozenset()) -> Iterator[str]:
    """The files below a folder; a link to a folder that it lies in is not followed."""
    place = os.path.realpath(folder)
    if place in above:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir():
                yield from _inside(Path(entry.path), f"{name}/", above | {place})
            else:
                yield name


@dataclass(frozen=True, eq=False)
class Tar:
    """See `Archive`. Its members are found once; each is then read from where it lies.

    Attributes:
        path: of the tar.
        members: name to the first byte and the number of bytes.
    """

    path: Path
    members: Mapping[str, tuple[int, int]]
    _handle: int = field(init=False, repr=False, default=-1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_handle", os.open(self.path, os.O_RDONLY))

    def __reduce__(self) -> tuple[type[Tar], tuple[Path, Mapping[str, tuple[int, int]]]]:
        return Tar, (self.path, self.members)  # the file is opened anew in another process

    @classmethod
    def open(cls, path: Path) -> Tar:
        """Raises UserError: it is no tar, a compressed or damaged one, or what it holds cannot be
        read in place."""
        try:
            return cls(path, _members(path))
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
        return os.pread(self._handle, size, offset)

    def size(self, name: str) -> int:
        """See `Archive`."""
        return self.members[name][1]

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Name to place and size, of files and of links to files."""
    found: dict[str, tuple[int, int] | str] = {}
    sparse = []
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            if member.issparse():
                sparse.append(name)
            elif member.isreg():
                found[name] = (member.offset_data, member.size)
            elif member.islnk():
                found[name] = posixpath.normpath(member.linkname)
            elif member.issym():
                home = posixpath.dirname(name)
                found[name] = posixpath.normpath(posixpath.join(home, member.linkname))
        end = archive.offset
    _refuse(str(path), "holds sparse files", "pack it without --sparse", sparse)
    with path.open("rb") as stream:  # at a damaged header, tarfile stops as at the end
        stream.seek(end)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise UserError(
                f"{path} is damaged or ends before its end (after {len(found)} files); pack or "
                "fetch it again."
            )
    places = {name: _followed(name, found) for name in found}
    lost = [name for name, place in places.items() if place is None]
    _refuse(str(path), "holds links to no file of its own", "pack it with tar --dereference", lost)
    return {name: place for name, place in places.items() if place is not None}


def _followed(name: str, found: Mapping[str, tuple[int, int] | str]) -> tuple[int, int] | None:
    """Where the content is, through links; None if they lead nowhere."""
    for _ in range(len(found)):
        place = found.get(name)
        if not isinstance(place, str):
            return place
        name = place
    return None


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
                raise UserError(
                    f"{self.archive.path}/{name} cannot be read ({image}); mend or remove it."
                )
        if not images:
            return torch.empty(0, *self.shape[1:], dtype=self.dtype)
        return torch.from_numpy(np.stack(images))

    @property
    def dtype(self) -> torch.dtype:
        """See `Images`."""
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
        name = self.names[index]
        try:
            with Image.open(io.BytesIO(self.archive.read(name))) as image:
                return image.size
        except Exception as reason:  # as in `_decode`
            told = f"{self.archive.path}/{name} cannot be read ({type(reason).__name__})"
            raise UserError(f"{told}; mend or remove it.") from None

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
        except UnidentifiedImageError:  # its text is an address in memory
            return "no image that Pillow knows"
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
        UserError: the archive has no images, several tables, one that names missing images or
            labels out of range, or a folder that is no class's.
    """
    table = _table_of(archive)
    if table is not None:
        names, labels = _table(archive, table, len(classes))
    else:
        names, labels = _folders(archive, classes)
    if not names:
        raise UserError(
            f"{archive.path} holds no images; give a folder or tar of one folder a class, or of "
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
        reader = csv.DictReader(io.StringIO(archive.read(table).decode("utf-8-sig")))
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise UserError(f"{source} cannot be read ({reason}); give a CSV in UTF-8.") from None
    for column in ("file", "label"):
        if column not in (reader.fieldnames or ()):
            raise UserError(f"{source} has no column {column!r}; give `file` and `label`.")
    if not rows:
        raise UserError(f"{source} has no rows; give one for each image.")
    _refuse(
        source,
        "has rows without a file or a label",
        "complete or remove them",
        [f"row {at}" for at, row in enumerate(rows, 1) if not (row["file"] and row["label"])],
    )
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
