"""Which records are exported, and the rows that are made of each: one record at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.errors import UserError, first_line
from ..core.waiting import Report
from ..records.chosen import Chosen, hash_of, one_machine
from ..records.store import Store
from .export_columns import Exported, record_cells, value_cells
from .export_files import Rows
from .values import values


@dataclass
class Selected:
    """The records that are asked for, one at a time.

    Attributes:
        stores: by study.
        asked: what records have to be, by study.
        home: that they have to be at home in; None for any.
        problem: told of what cannot be read.
        report: progress.
        records: how many there were so far.
        values: how many of theirs were written.
    """

    stores: Mapping[str, Store[Any]]
    asked: Mapping[str, Chosen]
    home: str | None
    problem: Callable[[UserError], None]
    report: Report
    records: int = 0
    values: int = 0
    _machines: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[Exported]:
        """Every one.

        Raises:
            UserError: after the last: there is none, or the machine is not one of those there are.
        """
        total, seen = sum(store.size(self.home) for store in self.stores.values()), 0
        for study, store in self.stores.items():
            older = store.superseded(self.home)
            for place, record in store.each(self.home, problem=self.problem):
                seen += 1
                self.report("Exporting records", seen, max(seen, total))
                if self._is_asked_for(study, record):
                    self.records += 1
                    where = place.relative_to(store.path).as_posix()
                    yield Exported(study, where, place not in older, record)
        machine = next(iter(self.asked.values())).machine
        if machine is not None and self._machines:
            one_machine(self._machines, machine)
        if seen and not self.records:
            raise UserError("No record matches --where, --machine and --since; ask for less.")

    def _is_asked_for(self, study: str, record: Any) -> bool:
        asked = self.asked[study]
        if not asked.has_values(record.subject):
            return False
        self._machines.add(hash_of(record))
        return asked.is_there_and_then(record)


def rows_of(selected: Selected, columns: Mapping[str, str], samples: bool) -> Iterator[Rows]:
    """What is written of each record; one whose parts do not fit together is told of and left out.

    Args:
        selected: the records.
        columns: of them, with what they hold.
        samples: whether raw times are among the values.
    """
    for one in selected:
        try:
            shared = record_cells(one, columns)
            each = [value_cells(value) for value in values(one.record, samples)]
        except (ValueError, LookupError, TypeError, AttributeError) as reason:
            selected.problem(
                UserError(
                    f"The record {one.place} cannot be exported, for its parts do not fit "
                    f"({first_line(reason)}); delete it and run again."
                )
            )
            continue
        selected.values += len(each)
        yield shared, each
