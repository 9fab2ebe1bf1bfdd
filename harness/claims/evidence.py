"""The records that claims are judged by, read once, and put together machine by machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from ..core.errors import UserError
from ..records.envelope import Record
from ..records.kind import Kind
from ..records.roofline_record import ROOFLINES
from ..records.run_record import RUN_RECORDS, RunRecord, for_tables
from ..records.runtime_record import RACES
from ..records.shift_record import SHIFT_RECORDS, ShiftRecord
from ..records.store import Store
from ..records.weights_record import WEIGHTS
from ..stats.equivalence import Outcome, equivalence
from ..stats.shifted import Results, results
from .papers import IMAGENET

R = TypeVar("R", bound=Record[Any, Any])
Problem = Callable[[UserError], None]

KINDS: tuple[Kind[Any], ...] = (RUN_RECORDS, SHIFT_RECORDS, RACES, WEIGHTS, ROOFLINES)


class ScoredStudy:
    """Formats that were scored on the same images on one machine, with their tests.

    Args:
        found: the records, put together.
        problem: told why they cannot be compared; None to raise it.
    """

    def __init__(self, found: Results, problem: Problem | None = None) -> None:
        self.results = found
        self._problem = problem

    @cached_property
    def records(self) -> list[ShiftRecord]:
        """All of them."""
        return [one for group in self.results.records.values() for one in group]

    @property
    def workload(self) -> str:
        """Its name."""
        return self.records[0].subject.workload

    @property
    def place(self) -> tuple[object, ...]:
        """See `Fingerprint.place`."""
        return self.records[0].fingerprint.place

    @property
    def images(self) -> int:
        """Of the condition that has most."""
        return max(one.body.images for one in self.records)

    @property
    def created(self) -> str:
        """When the youngest record was made."""
        return max(one.created for one in self.records)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """Tests of equivalence with FP32, after Holm; made when they are asked for.

        Raises:
            UserError: the records do not fit one another, and nobody wants to be told of it.
        """
        try:
            return equivalence(self.results)
        except UserError as reason:
            if self._problem is None:
                raise
            self._problem(reason)
            return []


class Evidence:
    """Records by kind.

    Args:
        records: by the name of their kind; the youngest of each subject and machine.
        problem: told of what cannot be used, which is left out; None to raise it.
    """

    def __init__(
        self, records: Mapping[str, Sequence[Record[Any, Any]]], problem: Problem | None = None
    ) -> None:
        self._records = records
        self._problem = problem

    @classmethod
    def read(cls, folder: Path, problem: Problem | None = None) -> Evidence:
        """Of a results directory.

        Raises:
            UserError: without `problem`, a record cannot be read.
        """
        found = {
            kind.name: Store(folder, kind).records(
                problem=problem, keep=_kept if kind is RUN_RECORDS else None
            )
            for kind in KINDS
        }
        return cls(found, problem)

    def of(self, kind: Kind[R]) -> list[R]:
        """All records of a kind."""
        return list(self._records.get(kind.name, ()))  # type: ignore[arg-type]

    def by_machine(self, kind: Kind[R]) -> list[list[R]]:
        """Those of each machine, in order of first appearance."""
        groups: dict[tuple[object, ...], list[R]] = {}
        for record in self.of(kind):
            groups.setdefault(record.fingerprint.place, []).append(record)
        return list(groups.values())

    @cached_property
    def studies(self) -> list[ScoredStudy]:
        """Of scored images, clean and shifted, on each machine."""
        return [
            ScoredStudy(found, self._problem)
            for group in self.by_machine(SHIFT_RECORDS)
            for found in results(group)
        ]


def _kept(record: RunRecord) -> RunRecord:
    """Times are judged of one workload alone, and are nearly all of a record."""
    return record if record.subject.workload == IMAGENET else for_tables(record)


def workloads(declared: Iterable[str], found: Iterable[str]) -> list[str]:
    """Names that a claim is judged of: those that it is asked of, then others with records."""
    return list(dict.fromkeys([*declared, *sorted(set(found))]))
