"""A study of selective prediction is measured as all are whose cells are scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .. import scored
from .plan import SelectivePlan

if TYPE_CHECKING:
    from ...workload.cell import Cell
    from ..study import Surroundings, Task


def measurer(
    plan: SelectivePlan, tasks: Sequence[Task[Cell]], surroundings: Surroundings
) -> scored.CellScorer:
    """See `scored.measurer`."""
    return scored.measurer(plan.cells, tasks, surroundings)
