"""Records as files: JSON that says what it held when it was written, and arrays beside it.

    <key>.json              the envelope, its hash last
    <hash>.safetensors      arrays of one or more of the folder's records, named by their content

Arrays are there before the record that names them, so that a reader, or a run that is killed, never
sees a record without them.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import UserError
from ..core.whole import content_hash, json_text, open_regular, read_json, write_atomically
from .array_file import ReadArrays, read_arrays, write_arrays
from .envelope import Arrays, Record, nothing
from .kind import MARKS, SCHEMA_VERSION, Kind

R = TypeVar("R", bound=Record[Any, Any])

HASH = "sha256"
NO_HASH = "0" * 64
_LAST = re.compile(rb'"sha256": ?"([0-9a-f]{64})"\s*\}\s*$')


def tree_of(kind: Kind[Any], record: Record[Any, Any]) -> dict[str, Any]:
    """A record as JSON types, without its hash; of arrays the hash of their content alone."""
    return {
        "kind": kind.name,
        "subject": asdict(record.subject),
        "provenance": asdict(record.provenance),
        "verdict": None if record.verdict is None else asdict(record.verdict),
        "body": asdict(record.body),
        "arrays": record.arrays.sha256 or None,
        "schema_version": SCHEMA_VERSION,
    }


def to_json(kind: Kind[Any], record: Record[Any, Any]) -> str:
    """A record as text that `from_json` reads back equal: one field per line, each array of numbers
    on one line, and the hash of the text last.

    Raises:
        ValueError: a number is NaN or infinite; undefined values are None.
    """
    return sealed(json_text({**tree_of(kind, record), HASH: NO_HASH}))


def sealed(text: str) -> str:
    """JSON whose last field is its hash, with the hash of all else in place of zeros."""
    head, _, tail = text.rpartition(NO_HASH)
    return head + hashlib.sha256(text.encode()).hexdigest() + tail


def write_record(folder: Path, kind: Kind[Any], record: Record[Any, Any]) -> Path:
    """Write a record to its place in a folder, whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite.
        UserError: the place cannot be written to.
    """
    text = to_json(kind, record).encode()
    if record.arrays:
        write_arrays(folder, record.arrays)
    path = folder / f"{record.subject.key}.json"
    write_atomically(path, text, durable=True)
    return path


def read_record(path: str | Path, kind: Kind[R], data: bytes | None = None) -> R:
    """Read one record file.

    Args:
        path: of the file.
        kind: of the record.
        data: the file's content, where it has been read.

    Raises:
        UserError: it cannot be read, is no record of this kind, is of a newer schema, or has
            another record's name.
    """
    path = Path(path)
    data = read_bytes(path) if data is None else data
    found = from_json(data, path, kind, read_arrays(path.parent))
    if (key := found.subject.key) != path.stem:
        raise UserError(
            f"{path} holds the {kind.title} whose place is {key}.json; rename it, or delete it if "
            "that one is there."
        )
    return found


def read_bytes(path: Path) -> bytes:
    """What a record file holds.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open_regular(path) as stream:
            return stream.read()
    except OSError as reason:
        raise UserError(f"The record {path} cannot be read: {reason.strerror}.") from reason


def kind_of(data: bytes) -> str | None:
    """Name of the kind that a file says it is, or by its layout was before files said so; None for
    what is no record."""
    if found := re.match(rb'\{\s*"kind": ?"([^"\\]*)"', data):
        return found.group(1).decode(errors="replace")
    return next((name for name, mark in MARKS.items() if mark in data), None)


def from_json(data: bytes, source: str | Path, kind: Kind[R], read: ReadArrays | None = None) -> R:
    """The inverse of `to_json`, validated against the schema and its hash; or a record of an
    older layout.

    Args:
        data: UTF-8 text.
        source: what to call it in messages.
        kind: of record.
        read: gives arrays by their hash.

    Raises:
        UserError: not JSON, no record of this kind, changed since it was written, or made under a
            newer schema.
    """
    try:
        tree = read_json(data)
    except ValueError as reason:
        raise UserError(
            f"{source} is not a record, or is cut short ({reason}); delete it and run again."
        ) from reason
    version = version_of(tree, source)
    if "kind" not in tree:
        return _from_before(tree, version, source, kind)
    if tree["kind"] != kind.name:
        raise UserError(
            f"{source} is a record of kind {str(tree['kind'])!r}, not a {kind.title}; move it out "
            "of this folder."
        )
    parts = _validated(data, source, kind)
    check_seal(data, source)
    sha256 = tree.get("arrays")
    arrays = _lazy(sha256, source, kind, read) if sha256 is not None else nothing()
    return _checked(parts, arrays, source, kind)


def _lazy(sha256: Any, source: str | Path, kind: Kind[Any], read: ReadArrays | None) -> Arrays:
    if not isinstance(sha256, str) or not re.fullmatch("[0-9a-f]{64}", sha256):
        raise UserError(
            f"{source} is not a valid {kind.title}: arrays: it is not a hash; delete it and run "
            "again."
        )
    if read is None:
        return Arrays(sha256, lambda: {})
    return Arrays(sha256, lambda: read(sha256))


def _from_before(tree: dict[str, Any], version: int, source: str | Path, kind: Kind[R]) -> R:
    before = kind.before
    if before is None:
        raise UserError(f"{source} is not a {kind.title}; move it out of this folder.")
    try:
        arrays = Arrays.of(before.arrays(tree)) if before.arrays else nothing()
    except (ValueError, TypeError, KeyError, AttributeError) as reason:
        raise UserError(
            f"{source} is not a valid {kind.title}: its arrays cannot be read ({reason}); delete "
            "it and run again."
        ) from reason
    envelope = json.dumps(before.envelope(kind.name, tree))
    parts = _validated(envelope.encode(), source, kind)
    _check_hash(tree, version, source, before.hashed)
    return _checked(parts, arrays, source, kind)


def _validated(data: bytes, source: str | Path, kind: Kind[Any]) -> Any:
    from pydantic import ValidationError

    try:
        return kind.adapter.validate_json(data, strict=True)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{source} is not a valid {kind.title}: {where}: {first['msg']}; delete it and run "
            "again."
        ) from invalid


def _checked(parts: Any, arrays: Arrays, source: str | Path, kind: Kind[R]) -> R:
    record = kind.record(parts.subject, parts.provenance, parts.verdict, parts.body, arrays)
    try:
        if kind.check is not None:
            kind.check(record)
    except ValueError as reason:
        raise UserError(
            f"{source} is not a valid {kind.title}: {reason}; delete it and run again."
        ) from reason
    return record


def version_of(tree: Any, source: str | Path) -> int:
    """Of what was read.

    Raises:
        UserError: it has none, or a newer one than this reads.
    """
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise UserError(
            f"{source} is not a SigmaBench record (it has no schema_version); move it out of the "
            f"results directory."
        )
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{source} was made by a newer SigmaBench (schema {version}, this one reads up to "
            f"{SCHEMA_VERSION}): upgrade or point --results elsewhere."
        )
    return version


def _lost(source: str | Path) -> UserError:
    return UserError(
        f"{source} has lost its {HASH}, so nothing says that it is as it was written; restore "
        "it, or delete it and run again."
    )


def _changed(source: str | Path) -> UserError:
    return UserError(
        f"{source} was changed after it was written: its content does not match its {HASH}; "
        "restore it, or delete it and run again."
    )


def check_seal(data: bytes, source: str | Path) -> None:
    """Compare a text with the hash that it ends with (`sealed`).

    Raises:
        UserError: it has none, or another.
    """
    found = _LAST.search(data)
    if found is None:
        raise _lost(source)
    digest = hashlib.sha256(data[: found.start(1)])
    digest.update(NO_HASH.encode() + data[found.end(1) :])
    if digest.hexdigest().encode() != found.group(1):
        raise _changed(source)


def _check_hash(tree: dict[str, Any], version: int, source: str | Path, hashed: int) -> None:
    """Of a layout from before, whose hash is that of its content however it is written."""
    told = tree.get(HASH)
    if told is None and version >= hashed:
        raise _lost(source)
    rest = {name: value for name, value in tree.items() if name != HASH}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    if told not in (None, content_hash(text)):
        raise _changed(source)
