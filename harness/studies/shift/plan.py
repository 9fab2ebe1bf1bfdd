"""What a shift study is asked: options in, a grid of cells out, one task per set of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...records.shift_record import SHIFT_RECORDS as KIND
from ...workload.cell import Cell
from ..flags import METHODS
from ..grid import answers, asked, grid_tasks
from ..study import Option, Task

if TYPE_CHECKING:
    from ...workload.conditions import ShiftPlan

__all__ = [
    "ARGUMENT",
    "HELP",
    "KIND",
    "OPTIONS",
    "PARALLEL",
    "SHOWN",
    "answers",
    "asked",
    "plan",
    "tasks",
]

HELP = """Score WORKLOAD's formats under dataset shift: on corrupted images and on other sets.

Profiles: quick is 4 types, 500 images and T = 10; regular is 16 types, 1,000 images and T = 50;
full is the whole split. What was finished is stored in --results, and the same command goes on
from there.
"""
ARGUMENT = "workload"
PARALLEL = True
OPTIONS = (
    Option("--profile", "Size of the study: quick, regular or full.", default="regular"),
    Option("--formats", "Formats; see `sigmabench list`.", "names"),
    METHODS,
    Option("--types", "Corruption types.", "names", shown="the profile's"),
    Option("--severities", "Severities, each 1 to 5.", "numbers", default="1,2,3,4,5"),
    Option("--mc", "Number of MC passes, T.", "whole", shown="the profile's"),
    Option("--limit", "Images per cell.", "whole", shown="the profile's"),
    Option("--ood", "Sets of images from outside: names, folders or .npz files.", "names"),
    Option("--seed", "First seed of the MC draws.", "whole", default=0),
    Option("--seeds", "Number of seeds to score.", "whole", default=1),
    Option("--corruption-seed", "Seed of the corrupted images.", "whole", default=0),
    Option("--split", "Split to score: test, or validation for choosing.", default="test"),
    Option("--backend", "Backend of the int8 formats.", default="auto"),
    Option("--data", "Root folder of the data.", "path"),
    Option("--posterior", "Posterior file.", "path"),
    Option(
        "--range",
        "Ranges of the weight grids: headroom, paper.",
        "names",
        default="headroom",
        name="ranges",
    ),
)
SHOWN = (Option("--detailed", "Show every test's effect, interval and p-values.", "switch"),)


def plan(
    workload: str, *, scoring: bool, methods: Sequence[str] | None = None, **choices: Any
) -> tuple[ShiftPlan, tuple[str, ...]]:
    """See `conditions.shift_plan` and `cells.with_methods`."""
    from ...methods.cells import with_methods
    from ...workload.conditions import shift_plan
    from ...workload.workload import resolve_workload

    found, lines = shift_plan(resolve_workload(workload), **choices, scoring=scoring)
    return with_methods(found, methods), lines


def tasks(plan: ShiftPlan, measuring: bool) -> list[Task[Cell]]:
    """See `grid.grid_tasks`."""
    return grid_tasks(plan)
