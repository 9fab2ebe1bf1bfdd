"""What is asked of scaling: settings of a machine in, a race for each format and batch size out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.checks import check_counts, check_seconds
from ...machine.cores import usable_cores
from ...machine.placement import check_room, divisions, ladder
from ...records.nearest import nearest
from ...records.scaling_record import SCALINGS as KIND
from ...records.scaling_record import ScalingRecord, ScalingSubject
from ..flags import BACKEND, DATA, POSTERIOR, SEED
from ..study import FRESH, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = [
    "ARGUMENT",
    "HELP",
    "KIND",
    "OPTIONS",
    "SHOWN",
    "answers",
    "asked",
    "nearest",
    "plan",
    "tasks",
]

HELP = """Measure how WORKLOAD scales: threads of one process, and instances side by side.

Every instance is a process of its own that is pinned to cores of its own; all answer queries in one
common stretch of wall time, and their work is counted together. Settings take turns, in rounds of
fresh processes.
"""
ARGUMENT = "workload"
OPTIONS = (
    Option("--formats", "Formats, a race for each.", "names", default="INT8"),
    Option("--batch", "Images per query, a race for each.", "numbers", default="1,32"),
    Option("--mc", "Number of MC passes, T; fewer where they are slow.", "whole", default=10),
    Option("--instances", "Processes side by side.", "numbers", shown="1 to all cores"),
    Option("--cores", "Cores of each of them.", "numbers", shown="1 to all cores"),
    Option("--oversubscribe", "Allow more instances, or threads, than there are cores.", "switch"),
    Option("--rounds", "Rounds of fresh processes.", "whole", default=3),
    Option("--seconds", "Seconds of each window.", "number", default=1.0),
    SEED,
    BACKEND,
    DATA,
    POSTERIOR,
)
SHOWN: tuple[Option, ...] = ()


@dataclass(frozen=True)
class ScalingPlan:
    """Settings to measure.

    Attributes:
        base: workload, formats, batch sizes, T, seconds, seed, data, posterior.
        settings: instances and cores of each.
        rounds: of fresh processes.
    """

    base: Plan
    settings: tuple[tuple[int, int], ...]
    rounds: int

    def subjects(self) -> Iterator[ScalingSubject]:
        """One for each format and batch size."""
        from ...workload.hashes import fields_of_formats

        base, formats = self.base, list(fields_of_formats(self.base))
        for batch in base.batches:
            for format, fields in formats:
                yield ScalingSubject(
                    batch=batch,
                    mc=base.mc[0] if format.bayesian else 1,
                    settings=self.settings,
                    rounds=self.rounds,
                    seconds=base.seconds,
                    seed=base.seed,
                    **fields,
                )


def plan(
    workload: str,
    *,
    scoring: bool,
    formats: Sequence[str] = ("INT8",),
    mc: int = 10,
    instances: Sequence[int] | None = None,
    cores: Sequence[int] | None = None,
    oversubscribe: bool = False,
    rounds: int = 3,
    seconds: float = 1.0,
    **choices: Any,
) -> tuple[ScalingPlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Raises:
        UserError: one of them is out of range or not known; more cores are asked for than there
            are.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    check_counts("--rounds", (rounds,))
    check_seconds(seconds)
    check_counts("--mc", (mc,))
    for flag, counts in (("--instances", instances), ("--cores", cores)):
        if counts is not None:
            check_counts(flag, counts)
    there = usable_cores()
    found = settings(there, instances, cores, oversubscribe)
    if scoring:
        for one in found:
            check_room(*one, there, oversubscribe)
    base = plan_from(
        resolve_workload(workload),
        formats=formats,
        mc=(mc,),
        seconds=seconds,
        split="validation",
        measuring=scoring,
        **choices,
    )
    return ScalingPlan(base, found, rounds), ()


def settings(
    there: int,
    instances: Sequence[int] | None = None,
    cores: Sequence[int] | None = None,
    oversubscribe: bool = False,
) -> tuple[tuple[int, int], ...]:
    """Instances and cores of each setting.

    Where both numbers are given, all pairs; where one is, with it as many of the other as fill the
    machine. By default, one instance with 1 to all cores, 1 to all instances with one core, and
    all cores divided among instances; and with `oversubscribe` twice as many instances too.

    Args:
        there: cores.
        instances: asked for.
        cores: asked for.
        oversubscribe: whether there may be more than there are.
    """
    if instances is not None and cores is not None:
        found = [(n, k) for n in instances for k in cores]
    elif instances is not None:
        found = [(n, max(1, there // n)) for n in instances]
    elif cores is not None:
        found = [(max(1, there // k), k) for k in cores]
    else:
        counts = ladder(there)
        found = [(1, k) for k in counts] + [(n, 1) for n in counts]
        found += divisions(there)
        found += [(2 * there, 1), (2, there)] if oversubscribe else []
    return tuple(sorted(dict.fromkeys(found)))


def tasks(plan: ScalingPlan, measuring: bool) -> list[Task[ScalingSubject]]:
    """One for each format and batch size."""
    return [Task((subject,), FRESH) for subject in plan.subjects()]


def asked(subject: ScalingSubject) -> Iterator[str]:
    """What records may answer to that are shown for a race: those of other settings too, as another
    machine has them."""
    yield subject.anywhere.key


def answers(record: ScalingRecord) -> str:
    """What a record answers to."""
    return record.subject.anywhere.key
