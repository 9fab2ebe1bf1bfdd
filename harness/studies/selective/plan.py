"""What a study of selective prediction is to score, and what it asks of the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.checks import check_counts
from ...core.errors import UserError, unknown
from ...core.formats import FORMATS
from ...records.shift_record import SHIFT_RECORDS as KIND
from ..flags import BACKEND, DATA, METHODS, SEED
from ..grid import absent_splits, answers, asked, grid_tasks
from ..study import Option, Task

if TYPE_CHECKING:
    from ...records.shift_record import ShiftRecord
    from ...workload.cell import Cell
    from ...workload.conditions import ShiftPlan
    from ...workload.workload import Workload
    from .referral import Choices

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

HELP = """Refer the images that WORKLOAD is least sure of, and judge the rest.

Shown are the errors of what is kept, and which images quantization moves across the line.
Thresholds are chosen on the validation split, which is scored too. What was finished is stored in
--results, and the same command goes on from there.
"""
ARGUMENT = "workload"
PARALLEL = True
OPTIONS = (
    Option("--formats", "Formats; see `sigmabench list`.", "names"),
    METHODS,
    Option("--splits", "Test sets to score.", "names", shown="test and the workload's own"),
    Option(
        "--by",
        "Score to refer by: confidence, entropy or mutual-information.",
        default="confidence",
    ),
    Option("--coverage", "Share of the images that is kept, %.", "number", default=80.0),
    Option("--bound", "Largest balanced error of what is kept, %.", "number", default=5.0),
    Option("--mc", "Number of MC passes, T.", "whole", default=50),
    SEED,
    Option("--seeds", "Number of seeds to score; verdicts need three.", "whole", default=3),
    Option("--limit", "Number of images of each split.", "whole", shown="all"),
    Option("--ood", "Sets of images from outside.", "names", shown="the workload's"),
    BACKEND,
    Option(
        "--range",
        "Range of the weight grids: headroom or paper.",
        default="headroom",
        name="range_",
    ),
    DATA,
    Option("--posterior", "Posterior file.", "path"),
    Option("--tiles", "Number of images on the sheet of the least sure.", "whole", default=24),
)
SHOWN = ()
VALIDATION = "validation"


@dataclass(frozen=True)
class SelectivePlan:
    """A study of selective prediction: a shift study of several splits, none of them corrupted.

    Attributes:
        cells: what is scored: the validation split, which thresholds are chosen on, the first of
            `splits`, and the others beside it.
        splits: that images are referred of.
        choices: what is asked.
        optional: those of `splits` that nobody named: left out where nothing is recorded of them.
        tiles: images on the sheet of the least sure.
    """

    cells: ShiftPlan
    splits: tuple[str, ...]
    choices: Choices
    optional: tuple[str, ...] = ()
    tiles: int = 24

    def recorded(self, records: Sequence[ShiftRecord]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """`splits` without optional ones that have no record, and a line for each of these."""
        there = {record.subject.split for record in records}
        without = [name for name in self.optional if name not in there]
        kept = tuple(name for name in self.splits if name not in without)
        return kept, tuple(f"{name} is skipped: there is no record of it." for name in without)


def plan(workload: str, *, scoring: bool, **choices: Any) -> tuple[SelectivePlan, tuple[str, ...]]:
    """See `selective_plan`."""
    from ...workload.workload import resolve_workload

    return selective_plan(resolve_workload(workload), **choices, scoring=scoring)


def tasks(plan: SelectivePlan, measuring: bool) -> list[Task[Cell]]:
    """See `grid.grid_tasks`."""
    return grid_tasks(plan.cells)


def selective_plan(
    workload: Workload,
    *,
    formats: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    by: str = "confidence",
    coverage: float = 80.0,
    bound: float = 5.0,
    mc: int = 50,
    ood: Sequence[str] | None = None,
    range_: str = "headroom",
    tiles: int = 24,
    scoring: bool = True,
    **base: Any,
) -> tuple[SelectivePlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Args:
        workload: what is scored.
        formats: names; the 2021 paper's and the deterministic twins by default. A float format is
            added where only what is compared with it was named.
        methods: names in `METHODS`, scored with a temperature beside the formats.
        splits: that images are referred of; by default `test` and those of the workload's other
            test sets whose data are there.
        by: a name of `SCORES`.
        coverage: % of the images that is kept.
        bound: balanced error that what is kept should not exceed, %.
        mc: T.
        ood: known sets, folders and `.npz` files; the workload's own by default.
        range_: of the weight grids, `headroom` or `paper`.
        tiles: images on the sheet of the least sure.
        scoring: whether images will be scored; records alone need no data.
        base: other choices, as `choices.plan_from` takes them.

    Returns:
        The plan, and a line for each test set of the workload and each known set from outside that
        is not available here.

    Raises:
        UserError: a name is unknown or a number out of range.
    """
    from ...data.outside import available, ood_sets
    from ...methods.cells import with_methods
    from ...workload.choices import plan_from
    from ...workload.conditions import FORMATS_OF_STUDY, ShiftPlan

    check_counts("--tiles", (tiles,))
    choices = _choices(by, coverage, bound)
    if splits is not None and not splits:
        raise UserError("--splits names nothing; give at least one test set, or leave it out.")
    wanted = tuple(dict.fromkeys(("test", *workload.other_splits) if splits is None else splits))
    chosen = plan_from(
        workload,
        formats=_with_floats(FORMATS_OF_STUDY if formats is None else formats),
        mc=(mc,),
        batch=(1,),
        threads=1,
        split=wanted[0],
        **base,
    )
    absent = absent_splits(workload, chosen.data) if splits is None and scoring else {}
    wanted = tuple(name for name in wanted if name not in absent)
    sets = ood_sets(workload.outside if ood is None else ood)
    kept, skipped = available(sets, chosen.data, chosen.limit) if scoring else (sets, ())
    others = tuple(name for name in dict.fromkeys((VALIDATION, *wanted)) if name != wanted[0])
    cells = with_methods(ShiftPlan(chosen, (), (), kept, (range_,), splits=others), methods)
    lines = (f"{name} is skipped: {reason}" for name, reason in absent.items())
    optional = wanted[1:] if splits is None else ()
    return SelectivePlan(cells, wanted, choices, optional, tiles), (*lines, *skipped)


def _choices(by: str, coverage: float, bound: float) -> Choices:
    from .referral import Choices
    from .sample import SCORES

    by = by.replace("-", "_")
    if by not in SCORES:
        raise unknown("score of --by", by, SCORES)
    for flag, value in (("--coverage", coverage), ("--bound", bound)):
        if not 0 < value < 100:
            raise UserError(f"{flag} is {value:g}; give a percentage between 0 and 100.")
    return Choices(by, coverage / 100, bound / 100)


def _with_floats(formats: Sequence[str]) -> tuple[str, ...]:
    """With the float format of every one, in the order of the registry."""
    from ...workload.choices import format_name

    formats = [format_name(name) for name in formats]
    floats = ("FP32" if FORMATS.get(name).bayesian else "DNN_FP32" for name in formats)
    named = {*formats, *floats}
    known = [name for name in FORMATS.names() if name in named]
    return (*known, *(name for name in formats if name not in known))
