"""The results directory: one JSON file a cell, written atomically, so a run can stop and resume.

    <results>/<workload>/<fingerprint hash>/<cell key>.json

The fingerprint hash covers machine, software and code, so two machines or commits never overwrite
each other. Nothing here knows what a number means; `run_record.py` does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..core.errors import UserError, unknown
from ..core.whole import content_hash, inside, json_text, open_regular, read_json, write_atomically
from ..machine.fingerprint import Fingerprint
from ..workload.cell import Cell, not_by_default
from .run_record import SCHEMA_VERSION, Record
from .run_record_check import check_record
from .verdict import upgrade

if TYPE_CHECKING:
    from pydantic import TypeAdapter


class StoredRecord(Protocol):
    """What a record of any kind has: a frozen dataclass of JSON types."""

    @property
    def cell(self) -> Cell: ...
    @property
    def fingerprint(self) -> Fingerprint: ...
    @property
    def created(self) -> str: ...


T = TypeVar("T")
R = TypeVar("R", bound=StoredRecord)


@dataclass(frozen=True)
class Kind(Generic[T]):
    """A kind of record.

    Attributes:
        name: what messages call it.
        type: its dataclass, whose field `schema_version` says how it is written.
        schema_version: the newest that can be read.
        key: of a record: its file's name.
        upgrade: from the JSON of an older one to this one's, where fields alone do not tell.
        check: raises ValueError where the parts of one do not fit one another.
        hashed: version from which none lacks its hash; today's at the latest.
    """

    name: str
    type: type[T]
    schema_version: int
    key: Callable[[T], str]
    hashed: int
    upgrade: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    check: Callable[[T], None] | None = None

    @cached_property
    def adapter(self) -> TypeAdapter[T]:
        """What reads its JSON and checks it."""
        from pydantic import TypeAdapter

        return TypeAdapter(self.type)


def cell_key(record: StoredRecord) -> str:
    """The key of a record of one cell."""
    return record.cell.key


RECORDS: Kind[Record] = Kind("record", Record, SCHEMA_VERSION, cell_key, 3, upgrade, check_record)
#: Last field of a file: the hash of all others. Files from before it have none, and are believed
#: (`Kind.hashed`).
HASH = "sha256"
#: In a folder of records: what `studies.run.cache` keeps.
PREDICTIONS = ".predictions"
#: A folder of records; others of a results directory hold what was made of them.
_FINGERPRINT = re.compile("[0-9a-f]{8}")
_CELL_FIELDS = tuple(field.name for field in fields(Cell))


class Policy(str, Enum):
    """What to do about cells that have a record already.

    Attributes:
        ONLY_MISSING: measure what has none; read the others.
        ALWAYS: measure everything again, replacing records.
        NEVER: measure nothing, only read.
    """

    ONLY_MISSING = "only-missing"
    ALWAYS = "always"
    NEVER = "never"

    @classmethod
    def named(cls, name: str) -> Policy:
        """The policy called `name`.

        Raises:
            UserError: there is none.
        """
        if name not in {policy.value for policy in cls}:
            raise unknown("policy", name, [policy.value for policy in cls])
        return cls(name)


def fingerprint_hash(fingerprint: Fingerprint) -> str:
    """8 hex digits of the SHA-256 of a fingerprint's identity.

    Of records from before that was recorded, of all fields that are not as by default: they keep
    their place, and no fresh run reads them as its own.
    """
    old = fingerprint.computing is None
    asked = not_by_default(fingerprint) if old else fingerprint.identity
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def digest(asked: object) -> str:
    """16 hex digits of the SHA-256 of JSON types: the key of records of what was asked for."""
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def to_json(record: Any) -> str:
    """A record as text that `from_json` reads back equal: a field a line, arrays of numbers on one,
    the hash of its content last.

    Args:
        record: of any kind.

    Raises:
        ValueError: a number is NaN or infinite; undefined values are None.
    """
    tree = asdict(record)
    return json_text({**tree, HASH: _hash(json.loads(json_text(tree)))})


def _hash(tree: Any) -> str:
    return content_hash(json.dumps(tree, sort_keys=True, separators=(",", ":")))


def write_record(path: Path, record: Any) -> None:
    """Write a record of any kind, whole or not at all.

    Raises:
        ValueError: a number is NaN or infinite.
        UserError: the place cannot be written to.
    """
    write_atomically(path, to_json(record).encode(), durable=True)


def from_json(data: bytes, source: str | Path, kind: Kind[T]) -> T:
    """The inverse of `to_json`, validated against the schema and, where it has one, its hash.

    Args:
        data: UTF-8 text.
        source: what to call it in messages.
        kind: of record.

    Raises:
        UserError: not JSON, not a record, changed since it was written, or made under a newer
            schema.
    """
    from pydantic import ValidationError

    try:
        tree = read_json(data)
    except ValueError as reason:
        raise UserError(
            f"{source} is not a record, or is cut short ({reason}); delete it and run again."
        ) from reason
    version = _version(tree, source, kind)
    if version < kind.schema_version and kind.upgrade is not None:
        data = json.dumps(kind.upgrade(tree) | {"schema_version": kind.schema_version}).encode()
    try:
        found = kind.adapter.validate_json(data, strict=True)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"{source} is not a valid {kind.name}: {where}: {first['msg']}; delete it and run "
            "again."
        ) from invalid
    _check_hash(tree, version, source, kind)
    try:
        if kind.check is not None:
            kind.check(found)
    except ValueError as reason:
        raise UserError(
            f"{source} is not a valid {kind.name}: {reason}; delete it and run again."
        ) from reason
    return found


def _version(tree: Any, source: str | Path, kind: Kind[Any]) -> int:
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise UserError(
            f"{source} is not a SigmaBench record (it has no schema_version); move it out of the "
            f"results directory."
        )
    if version > kind.schema_version:
        raise UserError(
            f"{source} was made by a newer SigmaBench (schema {version}, this one reads up to "
            f"{kind.schema_version}): upgrade or point --results elsewhere."
        )
    return version


def _check_hash(tree: dict[str, Any], version: int, source: str | Path, kind: Kind[Any]) -> None:
    told = tree.get(HASH)
    if told is None and version >= kind.hashed:
        raise UserError(
            f"{source} has lost its {HASH}, so nothing says that it is as it was written; restore "
            "it, or delete it and run again."
        )
    if told not in (None, _hash({name: value for name, value in tree.items() if name != HASH})):
        raise UserError(
            f"{source} was changed after it was written: its content does not match its {HASH}; "
            "restore it, or delete it and run again."
        )


def read_record(path: str | Path, kind: Kind[T]) -> T:
    """Read one record file.

    Raises:
        UserError: it cannot be read, is not a record, is of a newer schema, or has another record's
            name.
    """
    try:
        with open_regular(Path(path)) as stream:
            data = stream.read()
    except OSError as reason:
        raise UserError(f"The record {path} cannot be read: {reason.strerror}.") from reason
    found = from_json(data, path, kind)
    if (key := kind.key(found)) != Path(path).stem:
        raise UserError(
            f"{path} holds the {kind.name} whose place is {key}.json; rename it, or delete it if "
            "that one is there."
        )
    return found


class Store(Generic[R]):
    """A results directory of one kind of records.

    Args:
        path: of the directory; it is made when first written to.
        kind: of its records.
    """

    def __init__(self, path: str | Path, kind: Kind[R]) -> None:
        self.path = Path(path)
        self.kind = kind

    def ensure_writable(self) -> None:
        """Make the directory and prove that a file can be written, before anything is measured.

        Raises:
            UserError: it cannot be made or written to.
        """
        probe = self.path / f".probe.{os.getpid()}.tmp"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_text("")
            probe.unlink()
        except OSError as reason:
            raise self._unwritable(reason) from reason

    def file(self, cell: Cell, fingerprint: Fingerprint) -> Path:
        """Where the record of a cell belongs, whether or not it is there."""
        return self.folder(cell.workload, fingerprint) / f"{cell.key}.json"

    def folder(self, workload: str, fingerprint: Fingerprint) -> Path:
        """Where the records of a workload from one machine and code belong."""
        return self._folder(workload) / fingerprint_hash(fingerprint)

    def has(self, cell: Cell, fingerprint: Fingerprint) -> bool:
        """Whether there is a record of this cell from this machine and code."""
        return self.file(cell, fingerprint).is_file()

    def missing(
        self, cells: Iterable[Cell], fingerprint: Fingerprint, policy: Policy
    ) -> list[Cell]:
        """The cells that `policy` says to measure, in the order given."""
        if policy is Policy.NEVER:
            return []
        return [c for c in cells if policy is Policy.ALWAYS or not self.has(c, fingerprint)]

    def save(self, record: R) -> Path:
        """Write a record to its place, replacing an older one of the same cell at once.

        A reader, or a run that is killed, sees the old file or the new one, never a part.

        Raises:
            ValueError: a number is NaN or infinite.
            UserError: the directory cannot be written to.
        """
        path = self.file(record.cell, record.fingerprint)
        write_record(path, record)
        return path

    def load(self, path: str | Path) -> R:
        """Read one record file; see `read_record`."""
        return read_record(path, self.kind)

    def find(self, cell: Cell, fingerprint: Fingerprint) -> R | None:
        """The record of this cell from this machine and code, if there is one."""
        return self.load(self.file(cell, fingerprint)) if self.has(cell, fingerprint) else None

    def records(
        self,
        workload: str | None = None,
        *,
        fingerprint: Fingerprint | str | None = None,
        latest: bool = True,
        **where: Any,
    ) -> list[R]:
        """Records that match, oldest first.

        Args:
            workload: only this one.
            fingerprint: only this machine and code (a `Fingerprint` or its hash); None for all.
            latest: of several records of one cell from one machine (other software or code), only
                the youngest.
            where: any other field of `Cell`, with a value or a collection of values.

        Raises:
            UserError: a field is not one of `Cell`, or a file is not a readable record.
        """
        for name in where:
            if name not in _CELL_FIELDS:
                raise unknown("cell field", name, _CELL_FIELDS)
        if isinstance(fingerprint, Fingerprint):
            fingerprint = fingerprint_hash(fingerprint)
        homes = inside(self.path) if workload is None else [self._folder(workload)]
        files = [file for home in homes for file in _files(home, fingerprint)]
        found = [record for record in map(self.load, files) if _matches(record.cell, where)]
        found.sort(key=lambda record: record.created)
        if latest:
            youngest = {(record.cell, record.fingerprint.place): record for record in found}
            kept = set(map(id, youngest.values()))
            found = [record for record in found if id(record) in kept]
        return found

    def workloads(self) -> list[str]:
        """Names of the workloads that have records."""
        return [home.name for home in inside(self.path) if any(_files(home))]

    def _folder(self, workload: str) -> Path:
        if not re.fullmatch(r"\w[\w.-]*", workload):
            raise UserError(
                f"The workload name {workload!r} cannot be a directory's: use letters, digits, "
                f"'-', '_' and '.', a letter or digit first."
            )
        return self.path / workload

    def _unwritable(self, reason: OSError) -> UserError:
        return UserError(
            f"Results cannot be written to {self.path}: {reason.strerror or reason}; "
            f"name another directory with --results."
        )


def _files(home: Path, fingerprint: str | None = None) -> Iterator[Path]:
    """The records in a workload's folder, of one fingerprint or of all.

    Raises:
        UserError: a folder cannot be listed.
    """
    for folder in inside(home):
        wanted = folder.name == fingerprint if fingerprint else _FINGERPRINT.fullmatch(folder.name)
        if wanted:
            yield from (file for file in inside(folder) if file.suffix == ".json")


def _matches(cell: Cell, where: dict[str, Any]) -> bool:
    for name, wanted in where.items():
        value = getattr(cell, name)
        if isinstance(wanted, Collection) and not isinstance(wanted, str):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True
