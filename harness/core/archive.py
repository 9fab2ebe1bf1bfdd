"""Files in a folder or in an uncompressed `.tar`, read where they lie."""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from .contents import stamp_of
from .errors import UserError
from .whole import open_regular

if TYPE_CHECKING:
    from typing_extensions import Buffer


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

    def open(self, name: str) -> BinaryIO:
        """A file's content; from several threads at once.

        Raises:
            OSError: it is gone, or may not be read.
        """
        ...

    def stamp(self, name: str) -> list[int]:
        """See `contents.Readable`."""
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

    def open(self, name: str) -> BinaryIO:
        """See `Archive`."""
        return open_regular(self.path / name)

    def stamp(self, name: str) -> list[int]:
        """See `Archive`."""
        return stamp_of((self.path / name).stat())


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
    def at(cls, path: Path) -> Tar:
        """Raises UserError: it is no tar, a compressed or damaged one, or what it holds cannot be
        read in place."""
        try:
            return cls(path, _members(path))
        # ValueError and OverflowError: tarfile's own, on damaged headers
        except (OSError, tarfile.TarError, ValueError, OverflowError) as reason:
            raise UserError(
                f"{path} cannot be read as a tar ({reason}); give an uncompressed one, or a folder."
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """As in the archive, sorted."""
        return tuple(sorted(self.members))

    def open(self, name: str) -> BinaryIO:
        """See `Archive`."""
        return cast(BinaryIO, io.BufferedReader(_Member(self._handle, *self.members[name])))

    def stamp(self, name: str) -> list[int]:
        """See `Archive`."""
        return [*self.members[name], *stamp_of(os.fstat(self._handle))]

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


class _Member(io.RawIOBase):
    """A stretch of an open file, with a place of its own to read from.

    Args:
        handle: the file's, which stays open.
        start: first byte.
        size: bytes.
    """

    def __init__(self, handle: int, start: int, size: int) -> None:
        self._handle, self._start, self._size, self._at = handle, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if origin + offset < 0:
            raise OSError(f"there is no byte {origin + offset}")
        self._at = origin + offset
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._handle, [view], self._start + self._at) if view else 0
        self._at += count
        return count


def _members(path: Path) -> dict[str, tuple[int, int]]:
    """Name to place and size, of files and of links to files."""
    found: dict[str, tuple[int, int] | str] = {}
    sparse = []
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            if member.size < 0:  # tarfile would go back and find it again, for ever
                raise tarfile.ReadError(f"{name} has a size of {member.size} bytes")
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
    refuse(str(path), "holds sparse files", "pack it without --sparse", sparse)
    with path.open("rb") as stream:  # at a damaged header, tarfile stops as at the end
        stream.seek(end)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise UserError(
                f"{path} is damaged or ends before its end (after {len(found)} files); pack or "
                "fetch it again."
            )
    places = {name: _followed(name, found) for name in found}
    lost = [name for name, place in places.items() if place is None]
    refuse(str(path), "holds links to no file of its own", "pack it with tar --dereference", lost)
    return {name: place for name, place in places.items() if place is not None}


def _followed(name: str, found: Mapping[str, tuple[int, int] | str]) -> tuple[int, int] | None:
    """Where the content is, through links; None if they lead nowhere."""
    for _ in range(len(found)):
        place = found.get(name)
        if not isinstance(place, str):
            return place
        name = place
    return None


def open_archive(path: Path) -> Archive:
    """A folder or a tar.

    Raises:
        UserError: it is neither.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise UserError(f"There is no folder or tar of images {path}; correct the path.")
    return Tar.at(path)


def refuse(source: str, what: str, way_out: str, found: Iterable[str]) -> None:
    """Raises UserError: something was found, the first of which is named and the others counted."""
    names = list(found)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise UserError(f"{source} {what} ({names[0]}{more}); {way_out}.")
