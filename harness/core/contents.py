"""SHA-256 of the content of image files, taken once: what has not changed is not read again.

What was taken is kept beside other caches, a file for each folder or tar:

    <XDG_CACHE_HOME or ~/.cache>/sigmabench/digests/<hash of its path>.json

A digest there counts while size, inode and both times of the file are as they were. A cache that is
damaged, or cannot be written, is as good as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Protocol

from .errors import UserError
from .whole import content_hash, write_atomically

#: A file may change again within one tick of the clock of its times: younger ones are not kept.
_SETTLED_NS = 2 * 10**9
_CHUNK = 1 << 20


class Readable(Protocol):
    """Files of one folder or tar; `images.Archive` is one."""

    @property
    def path(self) -> Path:
        """Of the folder or the tar."""
        ...

    def stamp(self, name: str) -> list[int]:
        """What a change of the file changes: size, inode, place, and last the times in ns."""
        ...

    def open(self, name: str) -> BinaryIO:
        """Its content, from several threads at once."""
        ...


def stamp_of(status: os.stat_result) -> list[int]:
    """Size, inode, and times of modification and of change, in ns since 1970."""
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _digest(archive: Readable, name: str) -> str:
    digest = hashlib.sha256()
    with archive.open(name) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def cache_home() -> Path:
    """`sigmabench` under XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "sigmabench"


def digests(archive: Readable, names: Sequence[str], threads: int = 1) -> list[str]:
    """Of each file 64 hex digits of its content, none where it cannot be read.

    Args:
        archive: where the files are.
        names: of the files.
        threads: that read.
    """
    place = _place(archive.path)
    known = read_kept(place)

    def one(name: str) -> tuple[list[int], str]:
        try:
            stamp = archive.stamp(name)
            kept = known.get(name)
            return stamp, kept[1] if kept and kept[0] == stamp else _digest(archive, name)
        except OSError:
            return [], ""

    with ThreadPoolExecutor(threads) as pool:
        found = dict(zip(names, pool.map(one, names), strict=True))
    settled = time.time_ns() - _SETTLED_NS
    keep = {n: one for n, one in found.items() if one[0] and max(one[0][-2:]) < settled}
    if any(known.get(name) != one for name, one in keep.items()):
        write_kept(place, known | keep)
    return [found[name][1] for name in names]


def _place(path: Path) -> Path:
    name = hashlib.sha256(os.fsencode(os.path.realpath(path))).hexdigest()[:32]
    return cache_home() / "digests" / f"{name}.json"


def write_kept(place: Path, found: dict[str, tuple[list[int], str]]) -> None:
    """Keep what was found, by name with its stamp; nothing is kept where that cannot be written."""
    text = json.dumps(found)
    try:
        write_atomically(place, f"{content_hash(text)}\n{text}".encode())
    except UserError:
        return  # it is read again next time


def read_kept(place: Path) -> dict[str, tuple[list[int], str]]:
    """What `write_kept` wrote; nothing where the file is missing or damaged."""
    try:
        expected, _, text = place.read_text().partition("\n")
        if content_hash(text) != expected:
            return {}
        return {name: (stamp, digest) for name, (stamp, digest) in json.loads(text).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def superseded(data: str, machine: object | None) -> str:
    """Why the images of a record are not proven to be those that it names; empty where they are.

    Digests came to be of contents after machines had got their identity.

    Args:
        data: as `Cell.data`.
        machine: as `Fingerprint.machine`.
    """
    if not data or machine is not None:
        return ""
    return "superseded: images are identified by their names and sizes, not by their contents"
