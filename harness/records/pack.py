"""Many records of one folder in one file, with one file of their arrays.

    <kind>.jsonl            a head, then one record per line
    <kind>.safetensors.gz   their arrays, each as <hash>/<name>

The head holds the keys of the records, in the order of the lines, and once for all of them the
fingerprints that they were made under. Every line has a hash of itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

from numpy.typing import NDArray

from ..core.contents import stamp_of
from ..core.errors import UserError
from ..core.whole import open_regular, read_json, storable_json, write_atomically
from .array_file import COMPRESSED, ArrayFile, array_file, save_arrays
from .envelope import Record, digest_of
from .kind import SCHEMA_VERSION, Kind
from .record_file import (
    HASH,
    NO_HASH,
    check_seal,
    from_json,
    sealed,
    tree_of,
    version_of,
)

R = TypeVar("R", bound=Record[Any, Any])


class LineFile:
    """The lines of a file, which are in memory one at a time: a pack may be larger than memory.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._told(), open_regular(path) as stream:
            self._stamp = stamp_of(os.fstat(stream.fileno()))
            self._ends = list(accumulate(map(len, stream)))

    def __len__(self) -> int:
        return len(self._ends)

    def line(self, place: int) -> bytes:
        """One line with its end; empty beyond the last.

        Raises:
            UserError: the file cannot be read, or is another one by now.
        """
        if place >= len(self):
            return b""
        start = self._ends[place - 1] if place else 0
        with self._told(), open_regular(self.path) as stream:
            if stamp_of(os.fstat(stream.fileno())) != self._stamp:
                raise UserError(
                    f"{self.path} was replaced while it was read; give the command again."
                )
            stream.seek(start)
            return stream.read(self._ends[place] - start)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as reason:
            raise UserError(
                f"The records {self.path} cannot be read: {reason.strerror or reason}."
            ) from reason


class Pack(Generic[R]):
    """The packed records of one kind in a folder.

    Args:
        folder: that holds them.
        kind: of the records.

    Raises:
        UserError: its head is damaged or of a newer version.
    """

    def __init__(self, folder: Path, kind: Kind[R]) -> None:
        self.kind = kind
        self.path = folder / f"{kind.name}.jsonl"
        self._arrays = _arrays_of(folder, kind)
        if (before := _uncompressed(self._arrays)).exists() and not self._arrays.exists():
            self._arrays = before
        self._lines = LineFile(self.path) if self.path.is_file() else None
        self.keys: tuple[str, ...] = ()
        self._fingerprints: list[Any] = []
        if self._lines is not None:
            self._read_head(self._lines.line(0))

    def _read_head(self, line: bytes) -> None:
        try:
            head = read_json(line)
            version_of(head, self.path)
            check_seal(line, self.path)
            self.keys, self._fingerprints = tuple(head["keys"]), list(head["fingerprints"])
        except (ValueError, KeyError, TypeError) as reason:
            raise UserError(
                f"{self.path} is not a pack of records, or its first line is damaged; restore "
                "it, or delete it and run again."
            ) from reason

    def find(self, key: str) -> R | None:
        """The record of that key, if it is here.

        Raises:
            UserError: it is damaged, or the pack ends before it.
        """
        return self._record(self.keys.index(key)) if key in self.keys else None

    def each(self) -> Iterator[R | UserError]:
        """Every record, or what is wrong with it."""
        there = self._there
        for place in range(min(len(self.keys), there)):
            yield self._record_or_reason(place)
        if there < len(self.keys):
            yield self._early()

    @property
    def _there(self) -> int:
        """Lines of records."""
        return max(len(self._lines or ()) - 1, 0)

    def _record_or_reason(self, place: int) -> R | UserError:
        try:
            return self._record(place)
        except UserError as reason:
            return reason

    def _early(self) -> UserError:
        return UserError(
            f"{self.path} ends early: it holds {self._there} of its {len(self.keys)} "
            "records; restore it, or delete it and run again."
        )

    def _record(self, place: int) -> R:
        if self._lines is None or place >= self._there:
            raise self._early()
        line, source = self._lines.line(place + 1), f"{self.path}, record {self.keys[place]}"
        check_seal(line, source)
        try:
            tree = read_json(line)
            tree["provenance"]["fingerprint"] = self._fingerprints[
                tree["provenance"]["fingerprint"]
            ]
        except (ValueError, LookupError, TypeError) as reason:
            raise UserError(
                f"{source} is damaged ({reason}); restore the file, or delete it and run again."
            ) from reason
        text = sealed(json.dumps({**tree, HASH: NO_HASH}, ensure_ascii=False))
        found = from_json(text.encode(), source, self.kind, self._read)
        if found.subject.key != self.keys[place]:
            raise UserError(
                f"{source} holds the record {found.subject.key}; restore the file, or delete it "
                "and run again."
            )
        return found

    @cached_property
    def _array_file(self) -> ArrayFile:
        return ArrayFile(self._arrays)

    def _read(self, sha256: str) -> Mapping[str, NDArray[Any]]:
        found = self._array_file.read(sha256[:16])
        if digest_of(found) != sha256:
            raise UserError(
                f"{self._arrays} does not hold the arrays that {self.path} names; restore it, or "
                "delete both and run again."
            )
        return found


def write_pack(folder: Path, kind: Kind[R], records: Sequence[R]) -> list[Path]:
    """Write the records of a folder as a pack, each whole or not at all.

    Raises:
        UserError: the place cannot be written to, or arrays cannot be read.
    """
    fingerprints: list[dict[str, Any]] = []
    lines: list[str] = []
    arrays: dict[str, NDArray[Any]] = {}
    for record in records:
        tree = tree_of(kind, record)
        made = tree["provenance"]["fingerprint"]
        if made not in fingerprints:
            fingerprints.append(made)
        tree["provenance"]["fingerprint"] = fingerprints.index(made)
        lines.append(_line(tree))
        if record.arrays:
            start = record.arrays.sha256[:16]
            arrays |= {f"{start}/{name}": one for name, one in record.arrays.items()}
    head = {
        "kind": kind.name,
        "keys": [record.subject.key for record in records],
        "fingerprints": fingerprints,
        "schema_version": SCHEMA_VERSION,
    }
    written = []
    if arrays:  # before the records that name them
        written.append(_arrays_of(folder, kind))
        save_arrays(written[0], arrays)
    path = folder / f"{kind.name}.jsonl"
    write_atomically(path, "".join([_line(head), *lines]).encode(), durable=True)
    _uncompressed(_arrays_of(folder, kind)).unlink(missing_ok=True)
    return [path, *written]


def _arrays_of(folder: Path, kind: Kind[Any]) -> Path:
    return folder / f"{kind.name}.safetensors{COMPRESSED}"


def _uncompressed(path: Path) -> Path:
    """Where they lay in older packs."""
    return path.with_suffix("")


def _line(tree: dict[str, Any]) -> str:
    return sealed(storable_json({**tree, HASH: NO_HASH}))


def loose_files(folder: Path, records: Sequence[Record[Any, Any]]) -> list[Path]:
    """The files that hold records, and their arrays, outside a pack."""
    found = [folder / f"{record.subject.key}.json" for record in records]
    found += [array_file(folder, one.arrays.sha256) for one in records if one.arrays]
    return [path for path in dict.fromkeys(found) if path.is_file()]
