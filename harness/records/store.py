"""The results directory: one file per record, written atomically; a study can stop and resume.

    <results>/<folder of the kind>/<home of the subject>/<fingerprint hash>/<key>.json

The fingerprint hash covers machine, software and computing code, so two machines or commits never
overwrite each other. The records of such a folder may also lie there in a pack. Nothing here knows
what a number means.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..core.contents import stamp_of
from ..core.errors import UserError, unknown
from ..core.whole import inside
from ..machine.fingerprint import Fingerprint
from ..workload.cell import not_by_default
from .envelope import Record, Subject
from .kind import Kind
from .pack import Pack, loose_files, write_pack
from .record_file import kind_of, read_bytes, read_record, write_record

R = TypeVar("R", bound=Record[Any, Any])
S = TypeVar("S", bound=Subject)

#: In a folder of records: predictions that are not yet in a record.
PREDICTIONS = ".predictions"
#: A folder of records; others of a results directory hold what was made of them.
_FINGERPRINT = re.compile("[0-9a-f]{8}")


class Policy(str, Enum):
    """What to do about subjects that have a record already.

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


class Store(Generic[R]):
    """The records of one kind in a results directory.

    Args:
        path: of the directory; it is made when first written to.
        kind: of its records.
    """

    def __init__(self, path: str | Path, kind: Kind[R]) -> None:
        self.path = Path(path)
        self.kind = kind
        self._packs: dict[Path, Pack[R]] = {}

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
            raise UserError(
                f"Results cannot be written to {self.path}: {reason.strerror or reason}; "
                f"name another directory with --results."
            ) from reason

    def folder(self, home: str, fingerprint: Fingerprint) -> Path:
        """Where new records of one home from one machine and code belong."""
        return self._homes(home)[0] / fingerprint_hash(fingerprint)

    def file(self, subject: Subject, fingerprint: Fingerprint) -> Path:
        """Where the record of a subject belongs, whether or not it is there."""
        return self.folder(subject.home, fingerprint) / f"{subject.key}.json"

    def logs(self, subject: Subject, fingerprint: Fingerprint) -> Path:
        """The folder beside its record where logs of what measured a subject belong."""
        return self.file(subject, fingerprint).with_suffix(".logs")

    def place(self, subject: Subject, fingerprint: Fingerprint) -> Path | None:
        """The folder that holds the record of this subject from this machine and code, by itself or
        in a pack; None where there is no such record."""
        for folder in self._places(subject, fingerprint):
            if (folder / f"{subject.key}.json").is_file() or subject.key in self._pack(folder).keys:
                return folder
        return None

    def has(self, subject: Subject, fingerprint: Fingerprint) -> bool:
        """Whether there is a record of this subject from this machine and code."""
        return self.place(subject, fingerprint) is not None

    def find(self, subject: Subject, fingerprint: Fingerprint) -> R | None:
        """The record of this subject from this machine and code, if there is one.

        Raises:
            UserError: it cannot be read.
        """
        for folder in self._places(subject, fingerprint):
            path = folder / f"{subject.key}.json"
            if path.is_file():
                return self.load(path)
            if (packed := self._pack(folder).find(subject.key)) is not None:
                return packed
        return None

    def missing(self, subjects: Iterable[S], fingerprint: Fingerprint, policy: Policy) -> list[S]:
        """The subjects that `policy` says to measure, in the order given."""
        if policy is Policy.NEVER:
            return []
        return [s for s in subjects if policy is Policy.ALWAYS or not self.has(s, fingerprint)]

    def save(self, record: R) -> Path:
        """Write a record to its place, replacing an older one of the same subject at once.

        A reader, or a run that is killed, sees the old file or the new one, never a part.

        Raises:
            ValueError: a number is NaN or infinite.
            UserError: the directory cannot be written to.
        """
        folder = self.folder(record.subject.home, record.fingerprint)
        return write_record(folder, self.kind, record)

    def load(self, path: str | Path) -> R:
        """Read one record file; see `read_record`."""
        return read_record(path, self.kind)

    def records(
        self,
        home: str | None = None,
        *,
        fingerprint: Fingerprint | str | None = None,
        latest: bool = True,
        problem: Callable[[UserError], None] | None = None,
        keep: Callable[[R], R] | None = None,
        **where: Any,
    ) -> list[R]:
        """Records that match, oldest first.

        Args:
            home: only those of subjects at home there.
            fingerprint: only this machine and code (a `Fingerprint` or its hash); None for all.
            latest: of several records of one subject from one machine (other software or code),
                only the youngest.
            problem: told of what cannot be read, which is left out; None to raise it.
            keep: what is kept in memory of each record, once it was checked; all if None.
            where: any other field of the subjects, with a value or a collection of values.

        Raises:
            UserError: a field is not one of the subjects', or something cannot be read.
        """
        known = tuple(one.name for one in fields(self.kind.subject))
        for name in where:
            if name not in known:
                raise unknown("cell field", name, known)
        if isinstance(fingerprint, Fingerprint):
            fingerprint = fingerprint_hash(fingerprint)
        found = [
            record if keep is None else keep(record)
            for folder in self._folders(home)
            if fingerprint in (None, folder.name)
            for record in self._in(folder, problem)
            if _matches(record.subject, where)
        ]
        found.sort(key=lambda record: record.created)
        if latest:
            youngest = {(one.subject.key, one.fingerprint.place): one for one in found}
            kept = set(map(id, youngest.values()))
            found = [record for record in found if id(record) in kept]
        return found

    def each(
        self, home: str | None = None, *, problem: Callable[[UserError], None] | None = None
    ) -> Iterator[tuple[Path, R]]:
        """Every record with the place that it belongs to, folder by folder; one at a time is in
        memory, however many there are.

        Args:
            home: only those of subjects at home there.
            problem: told of what cannot be read, which is left out; None to raise it.

        Raises:
            UserError: something cannot be read.
        """
        for folder in self._folders(home):
            for record in self._in(folder, problem):
                yield folder / record.subject.key, record
            self._packs.pop(folder, None)

    def superseded(self, home: str | None = None) -> set[Path]:
        """Places, as `each` gives them, of records for which a younger one stands: of the same
        subject, from the same machine. What cannot be read is none of them."""
        found: dict[tuple[str, str], list[Path]] = {}
        for folder in self._folders(home):
            for key in self._keys(folder):
                found.setdefault((folder.parent.name, key), []).append(folder / key)
        several = (places for places in found.values() if len(places) > 1)
        return {place for places in several for place in self._older(places)}

    def size(self, home: str | None = None) -> int:
        """About how many records there are: files of other kinds that share a folder count too."""
        return sum(len(self._keys(folder)) for folder in self._folders(home))

    def _keys(self, folder: Path) -> list[str]:
        keys = [path.stem for path in _files(folder)]
        with suppress(UserError):
            keys += self._pack(folder).keys
        return list(dict.fromkeys(keys))

    def _older(self, places: Sequence[Path]) -> Iterator[Path]:
        """Of places that hold one subject's records, those that are not a machine's youngest."""
        machines: dict[object, list[tuple[str, Path]]] = {}
        for place in places:
            with suppress(UserError):
                if (record := self._at(place)) is not None:
                    made = record.fingerprint.place
                    machines.setdefault(made, []).append((record.created, place))
        for same in machines.values():
            yield from (place for _, place in sorted(same)[:-1])

    def _at(self, place: Path) -> R | None:
        path = place.with_name(f"{place.name}.json")
        return self._load_own(path) if path.is_file() else self._pack(place.parent).find(place.name)

    def homes(self) -> list[str]:
        """Names of the homes that have records."""
        found = [folder.parent.name for folder in self._folders(None) if self._any(folder)]
        return list(dict.fromkeys(found))

    def pack(self, home: str | None = None) -> Iterator[tuple[list[Path], list[Path]]]:
        """Put the records of each folder into a pack.

        Yields:
            The files of a pack that were written, and those that it stands for and that are gone.

        Raises:
            UserError: a record cannot be read, or the place cannot be written to.
        """
        for folder in self._folders(home):
            before = {path: _stamp(path) for path in _files(folder)}
            own = map(self._load_own, before)
            loose = [record for record in own if record is not None]
            if not loose:
                continue
            newer = {record.subject.key for record in loose}
            packed = [one for one in self._packed(folder) if one.subject.key not in newer]
            written = write_pack(folder, self.kind, [*packed, *loose])
            self._packs.pop(folder, None)
            gone = [
                path
                for path in loose_files(folder, loose)
                if path not in written and before.get(path, _stamp(path)) == _stamp(path)
            ]  # what a run has measured again meanwhile stays, and counts instead
            for path in gone:
                path.unlink()
            yield written, gone

    def _packed(self, folder: Path) -> Iterator[R]:
        for one in self._pack(folder).each():
            if isinstance(one, UserError):
                raise one
            yield one

    def _in(self, folder: Path, problem: Callable[[UserError], None] | None) -> Iterator[R]:
        """The records of a folder; one that lies there beside the pack stands for the packed."""
        there = set()
        for path in _files(folder):
            try:
                record = self._load_own(path)
            except UserError as reason:
                _tell(reason, problem)
                continue
            if record is not None:
                there.add(path.stem)
                yield record
        try:
            pack = self._pack(folder)
        except UserError as reason:
            return _tell(reason, problem)
        for one in pack.each():
            if isinstance(one, UserError):
                _tell(one, problem)
            elif one.subject.key not in there:
                yield one

    def _load_own(self, path: Path) -> R | None:
        """A record, unless it is of another kind: kinds may share a folder."""
        data = read_bytes(path)
        if kind_of(data) not in (None, self.kind.name):
            return None
        return read_record(path, self.kind, data)

    def _any(self, folder: Path) -> bool:
        if self._pack(folder).keys:
            return True
        return any(kind_of(read_bytes(path)) in (None, self.kind.name) for path in _files(folder))

    def _pack(self, folder: Path) -> Pack[R]:
        if folder not in self._packs:
            self._packs[folder] = Pack(folder, self.kind)
        return self._packs[folder]

    def _places(self, subject: Subject, fingerprint: Fingerprint) -> list[Path]:
        return [home / fingerprint_hash(fingerprint) for home in self._homes(subject.home)]

    def _folders(self, home: str | None) -> Iterator[Path]:
        """Folders of records that may hold some of this kind.

        Raises:
            UserError: a folder cannot be listed.
        """
        roots = [self.path / folder for folder in self.kind.folders]
        homes = (
            [one for root in roots for one in inside(root)] if home is None else self._homes(home)
        )
        for one in homes:
            yield from (folder for folder in inside(one) if _FINGERPRINT.fullmatch(folder.name))

    def _homes(self, home: str) -> list[Path]:
        if not re.fullmatch(r"\w[\w.-]*", home):
            raise UserError(
                f"The workload name {home!r} cannot be a directory's: use letters, digits, "
                f"'-', '_' and '.', a letter or digit first."
            )
        return [self.path / folder / home for folder in self.kind.folders]


def strangers(results: Path, known: Collection[str]) -> Iterator[UserError]:
    """Of every folder in a results directory that holds records of a kind not among the known."""
    for folder in _record_folders(results):
        told = set()
        for path in inside(folder):
            if path.suffix == ".json":
                told.add(kind_of(read_bytes(path)))
            elif path.suffix == ".jsonl":
                told.add(path.stem)
        for name in sorted(told - {None, *known}, key=str):
            yield UserError(
                f"{folder} holds records of kind {name!r}, which this SigmaBench does not know; "
                "install the package that they come from, or upgrade."
            )


def _record_folders(folder: Path, depth: int = 3) -> Iterator[Path]:
    for one in inside(folder):
        if _FINGERPRINT.fullmatch(one.name):
            yield one
        elif depth > 1:
            yield from _record_folders(one, depth - 1)


def _stamp(path: Path) -> list[int]:
    return stamp_of(path.stat())


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in inside(folder) if path.suffix == ".json")


def _tell(reason: UserError, problem: Callable[[UserError], None] | None) -> None:
    if problem is None:
        raise reason
    problem(reason)


def _matches(subject: Any, where: dict[str, Any]) -> bool:
    for name, wanted in where.items():
        value = getattr(subject, name)
        if isinstance(wanted, Collection) and not isinstance(wanted, str):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True
