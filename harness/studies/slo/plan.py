"""What a study of SLOs is asked: formats and rules by which T is chosen; a task for each format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.checks import check_counts, check_seconds
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...measure.load_test import PERCENTILES, SERVER, least_of
from ...measure.scenarios import SCENARIOS
from ...records.slo_record import SLOS as KIND
from ...records.slo_record import SloSubject
from ..flags import BACKEND, DATA, POSTERIOR, SEED, THREADS
from ..study import FRESH, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "plan", "tasks"]

HELP = """Find how many queries per second WORKLOAD answers in time and well enough.

Queries come as LoadGen's Server sends them (the package mlcommons-loadgen, the extra `loadgen`). T
is fixed, or goes by the length of the queue. In time: 99 % take at most 2, or 5, times one that
comes alone. Well enough: the NLL of the very answers is at most 0.005 nats above that of T passes.
"""
ARGUMENT = "workload"
COUNTS = (1, 10, 50)
#: Of the 99th percentile, in units of a query that comes alone.
BOUNDS = (2, 5)
#: Nats that answers may be worse by than those of all T passes.
MARGIN = 0.005
OPTIONS = (
    Option("--formats", "Formats; see `sigmabench list`.", "names", default="INT8"),
    Option(
        "--mc",
        "Fixed T; the largest is the most, and what answers are held against.",
        "numbers",
        default=",".join(map(str, COUNTS)),
    ),
    Option("--batch", "Most images that are answered together.", "whole", default=32),
    Option("--seconds", "Seconds that each run lasts, at least.", "number", default=5.0),
    Option("--queries", "Queries of each run, about, at most.", "whole", default=5000),
    Option("--limit", "Number of validation images.", "whole", shown="all of them"),
    SEED,
    Option("--seeds", "Draws of what answers are held against.", "whole", default=3),
    THREADS,
    BACKEND,
    DATA,
    POSTERIOR,
)
SHOWN = ()


@dataclass(frozen=True)
class SloPlan:
    """Formats, and by which rules T is chosen.

    Attributes:
        base: workload, formats, fixed T descending, validation images, threads, seeds.
        batch: images that the system answers together, at most.
        queries: of each run, about, at most.
    """

    base: Plan
    batch: int
    queries: int

    def __post_init__(self) -> None:
        check_counts("--batch", (self.batch,))
        check_seconds(self.base.seconds)
        least = least_of(SERVER, PERCENTILES[SERVER])
        if self.queries < least:
            raise UserError(
                f"--queries is {self.queries}; give at least {least}, which it takes to tell the "
                "99th percentile."
            )
        for name in self.base.formats:
            if not FORMATS.get(name).bayesian:
                raise UserError(f"{name} has one pass, so there is no T to choose; leave it out.")

    def subjects(self) -> Iterator[SloSubject]:
        """One for each format.

        Raises:
            UserError: posterior or data cannot be read.
        """
        from ...workload.hashes import fields_of_formats

        base = self.base
        for _, fields in fields_of_formats(base):
            yield SloSubject(
                mc=base.mc,
                work=tuple(2 * base.mc[0] * bound // 5 for bound in BOUNDS),
                batch=self.batch,
                limit=base.limit or 0,
                threads=base.threads,
                seed=base.seed,
                seeds=base.seeds,
                seconds=base.seconds,
                queries=self.queries,
                **fields,
            )


def plan(
    workload: str,
    *,
    scoring: bool,
    formats: Sequence[str] = ("INT8",),
    mc: Sequence[int] = COUNTS,
    batch: int = 32,
    seconds: float = 5.0,
    queries: int = 5000,
    **choices: Any,
) -> tuple[SloPlan, tuple[str, ...]]:
    """A plan from a user's choices.

    Raises:
        UserError: a choice is none, or LoadGen is not installed.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    problem = SCENARIOS.get(SERVER).problem
    if scoring and problem is not None:
        raise UserError(f"Queries of a server cannot be sent: {problem}")
    counts = tuple(sorted(set(mc), reverse=True))
    check_counts("--mc", counts)
    if counts[0] < 2:
        raise UserError("--mc is 1, so there is no T to choose; give a larger number beside it.")
    base = plan_from(
        resolve_workload(workload),
        formats=tuple(formats),
        mc=counts,
        batch=(1,),
        split="validation",
        seconds=seconds,
        measuring=scoring,
        **choices,
    )
    return SloPlan(base, batch, queries), ()


def tasks(plan: SloPlan, measuring: bool) -> list[Task[SloSubject]]:
    """One for each format: what is compared is measured in one process."""
    return [Task((subject,), FRESH) for subject in plan.subjects()]
