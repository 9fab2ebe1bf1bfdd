"""Runs a program's queries and keeps what its own clocks say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...measure.watch import CoreWatch
from ...race.profiled import load_target, profile
from ...race.target import TargetPlan
from ...records.profile_record import ProfileSubject
from ..study import Measured, Surroundings, Task


def measurer(
    plan: TargetPlan, tasks: Sequence[Task[ProfileSubject]], surroundings: Surroundings
) -> ProfileMeasurer:
    """What runs and reads the program's clocks."""
    return ProfileMeasurer(plan, surroundings)


class ProfileMeasurer:
    """Builds a target, and profiles it.

    Args:
        plan: what to profile.
        surroundings: see there.
    """

    def __init__(self, plan: TargetPlan, surroundings: Surroundings) -> None:
        self.plan, self.report = plan, surroundings.report

    def __call__(self, task: Task[ProfileSubject]) -> Iterator[Measured[ProfileSubject]]:
        """Run queries and take the median of every step's times.

        Raises:
            UserError: the data are missing, or no compiled program computes this format here.
        """
        (subject,) = task.subjects
        self.report(f"Building {subject.target}", 0, 1)
        target = load_target(self.plan)
        watch = CoreWatch()

        def rest() -> None:
            self.report("Measuring", 0, 1)
            watch.look()

        body = profile(target, subject, rest)
        yield Measured(subject, body, conditions=watch.conditions)

    def close(self) -> None:
        """Nothing is kept."""
