"""What is asked of tuning: a goal in, the settings that are tried for it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.checks import check_counts, check_seconds
from ...core.errors import UserError, unknown
from ...machine.cores import usable_cores
from ...machine.placement import divisions, ladder
from ...records.nearest import nearest
from ...records.scaling_record import TUNINGS as KIND
from ...records.scaling_record import InstanceSetting, TuningRecord, TuningSubject
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

HELP = """Find the instances, cores, team and batch with which WORKLOAD serves a goal best here.

The goal is the most images per second, or the shortest queries, with a bound on the other if one is
given. Every setting is tried once; the best are measured anew, in rounds of fresh processes, and
all of it is kept as evidence.
"""
ARGUMENT = "workload"
THROUGHPUT, LATENCY = GOALS = ("throughput", "latency")
OPTIONS = (
    Option("--goal", "What is wanted most: throughput or latency.", default=THROUGHPUT),
    Option(
        "--within", "With throughput: milliseconds a query may take, 99th percentile.", "number"
    ),
    Option("--at-least", "With latency: images per second that are needed.", "number"),
    Option("--format", "Numeric format; see `sigmabench list`.", default="INT8"),
    Option("--mc", "Number of MC passes, T.", "whole", default=10),
    Option("--batch", "Images per query that are tried.", "numbers", default="1,8,32"),
    Option("--rounds", "Rounds of fresh processes for the best.", "whole", default=3),
    Option("--seconds", "Seconds of each window.", "number", default=1.0),
    SEED,
    BACKEND,
    DATA,
    POSTERIOR,
)
SHOWN = (Option("--full", "Show every setting that was tried.", "switch"),)


@dataclass(frozen=True)
class TuningPlan:
    """A goal and settings.

    Attributes:
        base: workload, format, T, batch sizes, seconds, seed, data, posterior.
        goal: `throughput` or `latency`.
        bound: see `TuningSubject`.
        cores: that may be used.
        rounds: of fresh processes.
    """

    base: Plan
    goal: str
    bound: float
    cores: int
    rounds: int

    def subject(self) -> TuningSubject:
        """What is measured."""
        from ...workload.hashes import fields_of_formats

        base = self.base
        ((format, fields),) = fields_of_formats(base)
        return TuningSubject(
            goal=self.goal,
            bound=self.bound,
            mc=base.mc[0] if format.bayesian else 1,
            settings=candidates(self.cores, base.batches),
            rounds=self.rounds,
            seconds=base.seconds,
            seed=base.seed,
            **fields,
        )


def candidates(cores: int, batches: Sequence[int]) -> tuple[InstanceSetting, ...]:
    """Settings worth a try: all cores divided among instances, or one instance with fewer; with
    each team that divides its cores by powers of two; at each batch size.

    Args:
        cores: that there are.
        batches: images per query.
    """
    divided = dict.fromkeys([*divisions(cores), *((1, k) for k in ladder(cores))])
    return tuple(
        InstanceSetting(n, k, team, batch)
        for batch in batches
        for n, k in divided
        for team in _teams(k)
    )


def _teams(cores: int) -> list[int]:
    """Threads that may share a pass: all, half of them and so on as long as that is even, and
    one."""
    found, size = [cores], cores
    while size % 2 == 0:
        size //= 2
        found.append(size)
    return sorted({1, *found})


def plan(
    workload: str,
    *,
    scoring: bool,
    goal: str = THROUGHPUT,
    within: float | None = None,
    at_least: float | None = None,
    format: str = "INT8",
    mc: int = 10,
    batch: Sequence[int] = (1, 8, 32),
    rounds: int = 3,
    seconds: float = 1.0,
    **choices: Any,
) -> tuple[TuningPlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Raises:
        UserError: one of them is out of range or not known, or a bound is of the other goal.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    if goal not in GOALS:
        raise unknown("goal", goal, GOALS)
    bounds = {"--within": (within, THROUGHPUT), "--at-least": (at_least, LATENCY)}
    for flag, (value, of) in bounds.items():
        if value is not None and of != goal:
            raise UserError(f"{flag} is for --goal {of}; leave it out, or change the goal.")
        if value is not None and not value > 0:
            raise UserError(f"{flag} is {value}; give a number above 0.")
    check_counts("--rounds", (rounds,))
    check_counts("--mc", (mc,))
    check_seconds(seconds)
    base = plan_from(
        resolve_workload(workload),
        formats=(format,),
        mc=(mc,),
        batch=tuple(batch),
        seconds=seconds,
        split="validation",
        measuring=scoring,
        **choices,
    )
    bound = float(within or at_least or 0.0)
    return TuningPlan(base, goal, bound, usable_cores(), rounds), ()


def tasks(plan: TuningPlan, measuring: bool) -> list[Task[TuningSubject]]:
    """One."""
    return [Task((plan.subject(),), FRESH)]


def asked(subject: TuningSubject) -> Iterator[str]:
    """What records may answer to that are shown: those of other settings too, as another machine
    has them."""
    yield subject.anywhere.key


def answers(record: TuningRecord) -> str:
    """What a record answers to."""
    return record.subject.anywhere.key
