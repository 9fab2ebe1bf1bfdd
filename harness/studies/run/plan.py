"""What a run is asked: options in, a grid of cells out, a task for those that take turns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.formats import FORMATS, reference_of
from ...machine.cores import cores_for
from ...records.run_record import RUN_RECORDS as KIND
from ...workload.cell import Cell
from ..flags import CELLS, DETERMINISTIC, QUANTIZATION, SOURCE
from ..study import TIMED, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = [
    "ARGUMENT",
    "ARGUMENT_DEFAULT",
    "HELP",
    "KIND",
    "OPTIONS",
    "PLANS",
    "SHOWN",
    "companion",
    "plan",
    "tasks",
]

HELP = """Quantize WORKLOAD to every format, score and time it, say what that changed.

Records go to --results; cells that have a record from this machine and code are not measured
again.
"""
PLANS = True
ARGUMENT = "workload"
ARGUMENT_DEFAULT = "lenet-digits"
OPTIONS = (*SOURCE, DETERMINISTIC, *CELLS, *QUANTIZATION)
#: Validation images that temperatures are fitted on, at least, where images are limited.
FITTED = 500
SHOWN = (Option("--full", "Every T, intervals, bytes moved and audits.", "switch"),)


def plan(workload: str, *, scoring: bool, **choices: Any) -> tuple[Plan, tuple[str, ...]]:
    """See `choices.plan_from`."""
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    return plan_from(resolve_workload(workload), **choices, measuring=scoring), ()


def companion(plan: Plan) -> tuple[str, dict[str, Any]] | None:
    """The study whose brief answer stands on a run's screen, and what it is asked: what passes buy
    over one pass and a temperature. None where it would be of other networks or images."""
    from ...methods.method import COUNTS, MAIN_FORMAT
    from ...quantize.options import Options
    from ...workload.cell import DETERMINISTIC as TWIN
    from ...workload.cell import MEAN, MEAN_FIELD

    usual = plan.options == Options() and plan.observer == "minmax" and not plan.sampled
    if not usual or plan.delta is not None or plan.split != "test" or plan.adaptive:
        return None
    if MAIN_FORMAT not in plan.formats or not plan.mc:
        return None
    most = max(plan.mc)
    return "methods", {
        "methods": (MEAN_FIELD, MEAN, TWIN),
        "formats": (MAIN_FORMAT,),
        "mc": tuple(sorted({*(T for T in COUNTS if most > T), most})),
        "types": ("none",),
        "splits": ("none",),
        "untimed": True,
        "ood": (),
        "limit": plan.limit,
        "fitted": None if plan.limit is None else max(plan.limit, FITTED),
        "threads": plan.threads,
        "seed": plan.seed,
        "seeds": plan.seeds,
        "data": plan.data,
        "posterior": plan.posterior,
    }


def tasks(plan: Plan, measuring: bool) -> list[Task[Cell]]:
    """The cells of one batch size and T are timed in turns and stored together; deterministic ones,
    of one pass, with those of the largest T, so that a pass can be held against theirs.

    Raises:
        UserError: more threads than cores.
    """
    from ...workload.hashes import identity_of

    if measuring:
        cores_for(plan.threads)
    cells = plan.cells(identity_of(plan))
    most = max((cell.mc for cell in cells if not cell.adaptive), default=1)
    groups: dict[tuple[int, int], list[Cell]] = {}
    for cell in cells:
        mc = cell.mc if FORMATS.get(cell.format).bayesian else most
        groups.setdefault((cell.batch, mc), []).append(cell)
    return [
        Task(tuple(group), TIMED, tuple(_compared_with(group, cells))) for group in groups.values()
    ]


def other_of(cell: Cell) -> tuple[str, int] | None:
    """Format and passes of what a cell is compared with, whether or not it is in the plan; None for
    a cell without counterpart: of DNN_FP32, or of adaptive T."""
    reference = reference_of(cell.format)
    if reference is None or cell.adaptive:
        return None
    return reference, cell.mc if FORMATS.get(reference).bayesian else 1


def _compared_with(group: list[Cell], plan: list[Cell]) -> list[Cell]:
    """The plan's cells that some of a group are compared with.

    Adaptive ones are among them, because a run scores both at once and keeps them as one.
    """
    others = {other_of(cell) for cell in group}
    return [cell for cell in plan if (cell.format, cell.mc) in others]
