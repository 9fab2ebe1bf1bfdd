"""Instances side by side, setting by setting, in turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ...core.waiting import warn_if_long
from ...core.words import plural
from ...machine.topology import topology
from ...measure.clock import passes_per_query
from ...measure.watch import CoreWatch
from ...race.handed import Handed
from ...race.instances import WindowWork, expected_seconds, in_turns, window_seconds
from ...race.references import References
from ...records.scaling_record import InstanceSetting, ScalingBody, ScalingSubject
from ...workload.prepare import Prepared, prepare
from ..study import Measured, Surroundings, Task

if TYPE_CHECKING:
    from .plan import ScalingPlan


def measurer(
    plan: ScalingPlan, tasks: Sequence[Task[ScalingSubject]], surroundings: Surroundings
) -> ScalingMeasurer:
    """The networks and images.

    Raises:
        UserError: a format's backend cannot run here.
    """
    surroundings.report("Loading data", 0, 1)
    return ScalingMeasurer(prepare(plan.base), surroundings)


class ScalingMeasurer:
    """Measures the settings of one format at one batch size after the other.

    Args:
        prepared: what the formats are made of.
        surroundings: see there.
    """

    def __init__(self, prepared: Prepared, surroundings: Surroundings) -> None:
        self.prepared, self.report = prepared, surroundings.report

    def __call__(self, task: Task[ScalingSubject]) -> Iterator[Measured[ScalingSubject]]:
        """Start processes, let them work, end them; again and again."""
        (subject,) = task.subjects
        settings = [InstanceSetting(n, k, 0, subject.batch) for n, k in subject.settings]
        watch, there = CoreWatch(), topology()
        fixed, total = References(len(there.cpus)), subject.rounds * len(settings)
        what = f"{subject.format} at batch {subject.batch}"
        self.report(what, 0, total)

        def rest(done: int) -> None:
            self.report(what, done, total)
            fixed()

        asked = (subject.format, subject.backend, {subject.batch}, subject.seed)
        with Handed(self.prepared, *asked) as handed:
            passes, work = self._work(handed, subject, len(there.cpus))
            seconds = expected_seconds(work, settings, subject.rounds)
            count = plural(len(settings), "setting")
            warn_if_long(self.report, f"Measuring {count} of {what}", seconds)
            found = in_turns(work, settings, there, subject.rounds, rest)
        conditions = watch.conditions
        yield Measured(
            subject,
            ScalingBody(
                mc=passes,
                settings=tuple(found),
                topology=there.cpus,
                findings=watch.told(),
                references=fixed.taken(),
            ),
            conditions=conditions,
        )

    def close(self) -> None:
        """Nothing is kept."""

    def _work(
        self, handed: Handed, subject: ScalingSubject, there: int
    ) -> tuple[int, dict[int, WindowWork]]:
        """Passes of a query, the same in all settings, and what instances are to do."""
        one = handed.pass_seconds(subject.batch)
        most = max(cores for _, cores in subject.settings)
        passes = passes_per_query(one, subject.mc, most)
        crowd = max(-(-n * k // there) for n, k in subject.settings)
        seconds = window_seconds(subject.seconds, passes * one, crowd)
        return passes, {subject.batch: WindowWork(handed.job(subject.batch, passes), seconds)}
