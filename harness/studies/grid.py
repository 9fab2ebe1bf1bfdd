"""A grid of cells to score, as all studies of such cells plan it: tasks, and what records answer
for a cell. Nothing heavy is imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from ..core.contents import superseded
from ..records.shift_record import ShiftRecord
from ..workload.cell import Cell
from .study import SCORED, Task

if TYPE_CHECKING:
    from ..workload.conditions import ShiftPlan


def grid_tasks(plan: ShiftPlan) -> list[Task[Cell]]:
    """One for each set of images, about its condition."""
    from ..workload.hashes import identity_of

    cells = plan.cells(identity_of(plan.base))
    return [Task(tuple(group), SCORED, about=one) for one, group in cells.items()]


def asked(subject: Cell) -> Iterator[str]:
    """What records may answer to that are shown for a cell."""
    yield subject.key
    yield _alike(subject)


def answers(record: ShiftRecord) -> str:
    """What a record answers to: a superseded one, whose digest of images is of another kind, to the
    cell that is like its own in all else."""
    cell = record.subject
    return _alike(cell) if superseded(cell.data, record.fingerprint.machine) else cell.key


def _alike(cell: Cell) -> str:
    return f"{replace(cell, data='').key} by any digest"
