"""Every record that is published, and where it lies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigmabench.harness.records.kind import Kind
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.known import STUDIES

RESULTS = Path(__file__).parent
_FINGERPRINT = re.compile("[0-9a-f]{8}")


@dataclass(frozen=True, eq=False)
class Published:
    """One record.

    Attributes:
        path: of its folder below the results, and its key.
        kind: name of its kind.
        record: itself.
    """

    path: Path
    kind: str
    record: Any

    @property
    def folder(self) -> str:
        """Of its workload or network, without that of its fingerprint."""
        return self.path.parent.parent.as_posix()


def kinds() -> dict[str, Kind[Any]]:
    """Every kind of record by name."""
    found = [study.plan.KIND for study in STUDIES.usable().values()]
    return {kind.name: kind for kind in found}


def stores(results: Path = RESULTS) -> list[Path]:
    """The results directory and those below it that hold records of their own."""
    below = {name for kind in kinds().values() for name in kind.folders}
    homes = {path.parent for path in results.rglob("*") if _FINGERPRINT.fullmatch(path.name)}
    found = {home.parents[1] if home.parent.name in below else home.parent for home in homes}
    return sorted({results, *found})


def published(results: Path = RESULTS) -> Iterator[Published]:
    """Every record, the youngest of a subject and those that it stands for, by path.

    Raises:
        UserError: one cannot be read.
    """
    found = [one for store in stores(results) for one in _stored(results, store)]
    yield from sorted(found, key=lambda one: one.path)


def _stored(results: Path, directory: Path) -> Iterator[Published]:
    for name, kind in kinds().items():
        store: Store[Any] = Store(directory, kind)
        for record in store.records(latest=False):
            folder = store.place(record.subject, record.fingerprint)
            assert folder is not None
            yield Published(folder.relative_to(results) / record.subject.key, name, record)
