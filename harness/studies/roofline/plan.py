"""What is held against the machine's ceilings: a workload with its posterior, or a network with a
synthetic one."""

from __future__ import annotations

from typing import Any

from ...race.target import TargetPlan, subject_of, target_plan
from ...records.nearest import nearest
from ...records.profile_record import ProfileSubject
from ...records.roofline_record import ROOFLINES as KIND
from ..flags import PASSES
from ..study import TIMED, Option, Task

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "nearest", "plan", "tasks"]

HELP = """Show what bounds a pass of TARGET here: arithmetic, memory, the sampler or overhead.

Measures what this machine does at best, and how near each layer comes to it. TARGET is a workload
with its posterior, or a network with a synthetic one (resnet50, resnet20, lenet5).
"""
ARGUMENT = "target"
OPTIONS = PASSES
SHOWN = (Option("--all", "Show every layer, not only the heaviest.", "switch", name="every"),)


def plan(target: str, *, scoring: bool, **choices: Any) -> tuple[TargetPlan, tuple[str, ...]]:
    """From a user's choices; see `target_plan`."""
    return target_plan(target, scoring=scoring, **choices), ()


def tasks(plan: TargetPlan, measuring: bool) -> list[Task[ProfileSubject]]:
    """One.

    Raises:
        UserError: the posterior is missing or damaged.
    """
    return [Task((subject_of(plan),), TIMED)]
