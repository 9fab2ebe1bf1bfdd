"""Every setting is tried once; the best are measured anew, in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...core.errors import UserError
from ...core.waiting import warn_if_long
from ...core.words import plural
from ...machine.topology import topology
from ...measure.watch import CoreWatch
from ...race.handed import Handed
from ...race.instances import WindowWork, expected_seconds, in_turns, window_seconds
from ...race.references import References
from ...records.scaling_record import TuningBody, TuningSubject
from ...stats.goal import ranked
from ...workload.prepare import Prepared, prepare
from ..study import Measured, Surroundings, Task

if TYPE_CHECKING:
    from .plan import TuningPlan

FINALISTS = 4


def measurer(
    plan: TuningPlan, tasks: Sequence[Task[TuningSubject]], surroundings: Surroundings
) -> TuningMeasurer:
    """The networks and images."""
    surroundings.report("Loading data", 0, 1)
    return TuningMeasurer(prepare(plan.base), surroundings)


class TuningMeasurer:
    """Tries settings.

    Args:
        prepared: what the format is made of.
        surroundings: see there.
    """

    def __init__(self, prepared: Prepared, surroundings: Surroundings) -> None:
        self.prepared, self.report = prepared, surroundings.report

    def __call__(self, task: Task[TuningSubject]) -> Iterator[Measured[TuningSubject]]:
        """Try all, then measure the best.

        Raises:
            UserError: no setting could be measured.
        """
        (subject,) = task.subjects
        settings, watch, there = subject.settings, CoreWatch(), topology()
        fixed = References(len(there.cpus))
        batches = sorted({one.batch for one in settings})
        with Handed(
            self.prepared, subject.format, subject.backend, batches, subject.seed
        ) as handed:
            work = {batch: _work(handed, subject, batch) for batch in batches}
            seconds = expected_seconds(work, settings, 1)
            seconds += expected_seconds(work, settings[:FINALISTS], subject.rounds)
            warn_if_long(self.report, f"Trying {plural(len(settings), 'setting')}", seconds)

            def tell(phase: str, total: int, done: int) -> None:
                self.report(phase, done, total)
                fixed()

            tried = in_turns(
                work, settings, there, 1, lambda done: tell("Trying", len(settings), done)
            )
            best = ranked(tried, subject.goal, subject.bound)[:FINALISTS]
            if not best:
                raise UserError(f"No setting could be measured: {tried[0].unavailable}")
            total = len(best) * subject.rounds
            left = [one.setting for one in best]
            finalists = in_turns(
                work, left, there, subject.rounds, lambda done: tell("The best", total, done)
            )
        conditions = watch.conditions
        yield Measured(
            subject,
            TuningBody(
                mc=subject.mc,
                tried=tuple(tried),
                finalists=tuple(finalists),
                topology=there.cpus,
                findings=watch.told(),
                references=fixed.taken(),
            ),
            conditions=conditions,
        )

    def close(self) -> None:
        """Nothing is kept."""


def _work(handed: Handed, subject: TuningSubject, batch: int) -> WindowWork:
    query = subject.mc * handed.pass_seconds(batch)
    return WindowWork(handed.job(batch, subject.mc), window_seconds(subject.seconds, query))
