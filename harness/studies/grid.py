"""A grid of cells to score, as all studies of such cells plan it: tasks, and what records answer
for a cell. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.contents import superseded
from ..core.errors import UserError
from ..records.shift_record import ShiftRecord
from ..workload.cell import Cell
from .study import SCORED, Task

if TYPE_CHECKING:
    from ..workload.conditions import ShiftPlan
    from ..workload.workload import Workload


def grid_tasks(plan: ShiftPlan) -> list[Task[Cell]]:
    """One for each set of images, about its condition."""
    from ..methods.cells import cells_of

    return [Task(tuple(group), SCORED, about=one) for one, group in cells_of(plan).items()]


def asked(subject: Cell) -> Iterator[str]:
    """What records may answer to that are shown for a cell."""
    yield subject.key
    yield _alike(subject)


def answers(record: ShiftRecord) -> str:
    """What a record answers to: a superseded one, whose digest of images is of another kind, to the
    cell that is like its own in all else."""
    cell = record.subject
    return _alike(cell) if superseded(cell.data, record.fingerprint.machine) else cell.key


def absent_splits(workload: Workload, data: Path | None) -> Mapping[str, str]:
    """Test sets that are not available here, with the reason."""
    if not workload.other_splits:
        return {}
    try:
        return workload.splits(data).absent
    except UserError:  # nothing is there, which whoever needs an image will say
        return {}


def _alike(cell: Cell) -> str:
    return f"{replace(cell, data='').key} by any digest"
