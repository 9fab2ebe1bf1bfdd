"""Which setting serves the goal, and which others are not shown to serve it less well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...measure.audits import noise_bounded
from ...records.scaling_record import Scaled, TuningRecord
from ...records.verdict import PASS
from ...stats.goal import THROUGHPUT, meets, ranked
from ...stats.throughput import Rate, noise, slower, times
from .plan import TuningPlan


@dataclass(frozen=True, eq=False)
class Tuned:
    """What was found for one goal.

    Attributes:
        record: of it.
        finalists: the best first.
    """

    record: TuningRecord
    finalists: tuple[Scaled, ...]

    @property
    def best(self) -> Scaled | None:
        """The setting that serves the goal; None where none meets the bound."""
        first = self.finalists[0] if self.finalists else None
        return first if first is not None and self.meets(first) else None

    def meets(self, one: Scaled) -> bool:
        """Whether a setting meets the bound."""
        return meets(one, self.record.subject.goal, self.record.subject.bound)

    def behind(self, one: Scaled) -> Rate:
        """How many times less of the goal a finalist has than the best: images per second, or a
        longer query."""
        first = self.finalists[0]
        if self.record.subject.goal == THROUGHPUT:
            return times(first, one)
        return slower(one, first)

    def noisy(self, one: Scaled) -> bool:
        """Whether its rounds differ by more than an audit allows."""
        return noise_bounded(noise(one)) != PASS

    @property
    def alike(self) -> list[Scaled]:
        """Other finalists that meet the bound and are not shown to be behind."""
        return [
            one
            for one in self.finalists[1:]
            if self.meets(one) and self.behind(one).shown_to_differ <= 0
        ]


def analyse(records: Sequence[TuningRecord], plan: TuningPlan | None = None) -> list[list[Tuned]]:
    """The goals of each workload, to be shown together."""
    homes: dict[str, list[Tuned]] = {}
    for record in records:
        subject = record.subject
        order = ranked(record.body.finalists, subject.goal, subject.bound)
        homes.setdefault(subject.home, []).append(Tuned(record, tuple(order)))
    return list(homes.values())
