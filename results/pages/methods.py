"""Records of the study of methods, as its page speaks of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.sheet import Sheet
from sigmabench.harness.records.methods_record import METHOD_RECORDS, MethodRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.report.rendering import markdown_sheet
from sigmabench.harness.studies.methods import at_equal_time
from sigmabench.harness.studies.methods.analyse import MethodsFindings, analyse
from sigmabench.harness.studies.methods.document import conclusions, document
from sigmabench.harness.workload.cell import MEAN, MEAN_FIELD

from ..published import RESULTS
from .chosen import Origin, youngest


class Methods(Origin):
    """The study of one workload.

    Args:
        records: of it, from one machine and code.
        found: what they say, judged together with those of the other workloads.
    """

    def __init__(self, records: Sequence[MethodRecord], found: MethodsFindings) -> None:
        super().__init__(records)
        self.found = found
        self.workload = found.workload

    @property
    def conclusions(self) -> list[str]:
        """A sentence for each method."""
        return conclusions(self.found)

    @property
    def batches(self) -> list[int]:
        """Batch sizes that were timed."""
        return at_equal_time.batches(self.found)

    def table(self, title: str) -> str:
        """The table whose title begins so, as Markdown; nothing where it has no row, for which
        there is a conclusion."""
        return "".join(markdown_sheet(one) for one in self._sheets if one.title.startswith(title))

    @cached_property
    def _sheets(self) -> Sequence[Sheet]:
        sheets: Sequence[Sheet] = document(self.found).sheets
        return sheets


def of(workload: str) -> tuple[MethodRecord, ...]:
    """The youngest study of a workload.

    Raises:
        UserError: there is none of the posterior's passes and of its mean network.
    """
    stored = Store(RESULTS, METHOD_RECORDS).records(workload, latest=False)

    def complete(group: Sequence[MethodRecord]) -> bool:
        return {MEAN_FIELD, MEAN} <= {one.subject.method for one in group}

    return youngest(stored, complete, f"passes and mean network of {workload}", fullest=True)


def methods(*workloads: str) -> list[Methods]:
    """Studies of workloads, judged as one family.

    Raises:
        UserError: one of them has none.
    """
    records: dict[str, Sequence[MethodRecord]] = {name: of(name) for name in workloads}
    found: dict[str, Any] = {}
    for one in analyse([record for each in records.values() for record in each]):
        found.setdefault(one.workload, one)  # the largest setting stands first
    if found.keys() != records.keys():
        raise UserError("A study of methods has no image that was scored; measure it again.")
    return [Methods(records[name], found[name]) for name in workloads]
