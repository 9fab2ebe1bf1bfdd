"""What a site shows: every record of a results directory, by study, home and machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.waiting import Report
from ..core.words import plural, verb
from ..records.envelope import Record
from ..records.kind import Kind
from ..records.store import Store, fingerprint_hash, strangers
from ..studies.documents import by_machine
from ..studies.known import loadable
from ..studies.study import Study
from .charts import safe_name

#: Told of what cannot be read.
Problem = Callable[[UserError], None]
#: Studies that set ours beside other implementations and that have a page of their own.
RIVALS = ("peers", "passes")


@dataclass(frozen=True, eq=False)
class StoredRecord:
    """A record and where its page is.

    Attributes:
        study: the first that has such records.
        record: itself.
        page: file of its page, below the site's folder.
        source: address of the file that holds it, from the folder of the records' pages; empty
            where the site does not lie beside the store.
        latest: no younger record stands for it.
    """

    study: Study
    record: Record[Any, Any]
    page: str
    source: str
    latest: bool


@dataclass(frozen=True, eq=False)
class RecordGroup:
    """Records that one document is made of.

    Attributes:
        key: the same for all groups of one machine and commit.
        machine: in words.
        when: days, and the commit where it is of one alone.
        records: at least one.
    """

    key: str
    machine: str
    when: str
    records: tuple[Record[Any, Any], ...]

    @property
    def label(self) -> str:
        """Machine, days and commit."""
        return f"{self.machine}, {self.when}"


@dataclass(frozen=True, eq=False)
class Stored:
    """All that a site is made of.

    Attributes:
        results: the directory.
        records: all, by study, home and age.
        problems: what could not be read, one sentence each.
    """

    results: Path
    records: tuple[StoredRecord, ...]
    problems: tuple[str, ...]

    @cached_property
    def homes(self) -> dict[str, dict[str, list[StoredRecord]]]:
        """Home to kind of record to records."""
        found: dict[str, dict[str, list[StoredRecord]]] = {}
        for one in self.records:
            kinds = found.setdefault(one.record.subject.home, {})
            kinds.setdefault(one.study.plan.KIND.name, []).append(one)
        return dict(sorted(found.items()))

    @cached_property
    def slugs(self) -> dict[str, str]:
        """Of every home a name fit for files and anchors, which no other has."""
        found: dict[str, str] = {}
        for home in self.homes:
            name, count = safe_name(home), 1
            while (free := name if count == 1 else f"{name}-{count}") in found.values():
                count += 1
            found[home] = free
        return found

    @property
    def replaced(self) -> int:
        """Records that a younger one of the same subject and machine stands for."""
        return sum(not one.latest for one in self.records)

    def studies(self, home: str, rivals: bool) -> Iterator[tuple[Study, list[StoredRecord]]]:
        """Every study that has records there, and these.

        Args:
            home: of the records.
            rivals: those of `RIVALS`, or all others.
        """
        for study in loadable().values():
            found = self.homes[home].get(study.plan.KIND.name)
            if found and (study.name in RIVALS) == rivals:
                yield study, found


def read_stored(results: Path, out: Path, problem: Problem, report: Report) -> Stored:
    """Every record there is.

    Args:
        results: directory of records.
        out: folder of the site, for links to records beside it.
        problem: told of what cannot be read, which is left out.
        report: progress.

    Raises:
        UserError: there is none, or a folder cannot be listed.
    """
    told: dict[str, None] = {}

    def note(reason: UserError) -> None:
        told.setdefault(str(reason))
        problem(reason)

    kinds: dict[str, tuple[Study, Kind[Any]]] = {}
    for study in loadable(note).values():
        kinds.setdefault(study.plan.KIND.name, (study, study.plan.KIND))
    found: list[StoredRecord] = []
    taken: set[str] = set()
    for done, (study, kind) in enumerate(kinds.values()):
        report(f"Reading records of {study.name}", done, len(kinds))
        store: Store[Any] = Store(results, kind)
        records = store.records(latest=False, problem=note)
        youngest = {(one.subject.key, one.fingerprint.place): one for one in records}
        latest = set(map(id, youngest.values()))
        for one in records:
            page = _page(kind, one, taken)
            source = _source(store, one, out) if _beside(results, out) else ""
            found.append(StoredRecord(study, one, page, source, id(one) in latest))
    for reason in strangers(results, set(kinds)):
        note(reason)
    if not found:
        rest = f"; {next(iter(told))}" if told else "; run `sigmabench run` first."
        raise UserError(f"{results} holds no record that can be shown{rest}")
    return Stored(results, tuple(found), tuple(told))


def groups(records: Sequence[StoredRecord]) -> list[RecordGroup]:
    """What documents are made of, the machine with the youngest record first: of each machine the
    youngest record of every subject, and, where younger ones stand for older ones, the records of
    each of its commits."""
    latest = by_machine([one.record for one in records if one.latest])
    latest.sort(key=lambda group: max(one.created for one in group), reverse=True)
    places = [group[0].fingerprint.place for group in latest]
    older = {one.record.fingerprint.place for one in records if not one.latest}
    found = []
    for place, group in zip(places, latest, strict=True):
        found.append(_group(group, ""))
        if place in older:
            whole = [one.record for one in records if one.record.fingerprint.place == place]
            found += _commits(whole)
    return found


def _commits(records: Sequence[Record[Any, Any]]) -> list[RecordGroup]:
    """The youngest commit first."""
    by_commit: dict[str, list[Record[Any, Any]]] = {}
    for one in records:
        by_commit.setdefault(_commit(one), []).append(one)
    if len(by_commit) < 2:
        return []
    made = [_group(group, commit) for commit, group in by_commit.items()]
    return sorted(made, key=lambda g: max(one.created for one in g.records), reverse=True)


def _group(records: Sequence[Record[Any, Any]], commit: str) -> RecordGroup:
    made = records[0].fingerprint
    days = sorted({one.created[:10] for one in records})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    if commit:
        when += f", commit {commit}"
    key = f"{made.place_name}-{commit or 'latest'}"
    return RecordGroup(key, made.shown, when, tuple(records))


def _commit(record: Record[Any, Any]) -> str:
    made = record.fingerprint
    return (made.commit or made.computing or made.code)[:12]


def told_of(stored: Stored) -> list[str]:
    """What a reader of the whole should know of the records themselves, one sentence each."""
    lines = []
    if stored.replaced:
        count = plural(stored.replaced, "record")
        lines.append(
            f"{count} {verb(stored.replaced, 'has', 'have')} a younger one of the same subject and "
            "machine, which tables show; they are kept, and pages show each commit too."
        )
    return lines


def _page(kind: Kind[Any], record: Record[Any, Any], taken: set[str]) -> str:
    name = f"{kind.name}-{record.subject.key}-{fingerprint_hash(record.fingerprint)}"
    free, count = (name := safe_name(name)), 1
    while free in taken:
        count += 1
        free = f"{name}-{count}"
    taken.add(free)
    return f"records/{free}.html"


def _beside(results: Path, out: Path) -> bool:
    """Whether both lie in one folder, or the site in the store."""
    store, site = results.resolve(), out.resolve()
    return store.parent == site.parent or store in site.parents


def _source(store: Store[Any], record: Record[Any, Any], out: Path) -> str:
    folder = store.place(record.subject, record.fingerprint)
    if folder is None:
        return ""
    path = folder / f"{record.subject.key}.json"
    if not path.is_file():
        path = folder / f"{store.kind.name}.jsonl"
    return Path(os.path.relpath(path.resolve(), out.resolve() / "records")).as_posix()
