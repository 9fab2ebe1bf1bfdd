"""What a record says: whether each run was in time and well enough, and the highest rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...records.slo_record import ServedRule, SloRecord, SloRun
from ...stats.served import HOLDS, UNDECIDED, Excess, excess
from .plan import BOUNDS, MARGIN

if TYPE_CHECKING:
    from .plan import SloPlan

#: By which single queries may have become slower or faster in the course of the runs.
DRIFT = 0.1


@dataclass(frozen=True, eq=False)
class JudgedRun:
    """One run.

    Attributes:
        run: as it was stored.
        rule: by which T was chosen.
        mean_mc: T, mean of the answers.
        excess: of its NLL over that of all T passes.
        times_alone: 99th percentile of latency over a query that comes alone.
    """

    run: SloRun
    rule: ServedRule
    mean_mc: float
    excess: Excess
    times_alone: float

    @property
    def verdict(self) -> str:
        """On its answers."""
        return self.excess.verdict(MARGIN)


@dataclass(frozen=True, eq=False)
class Best:
    """What one rule reaches within one bound on latency.

    Attributes:
        rule: by which T is chosen.
        bound: times a query that comes alone.
        good: the run of the highest rate that is in time and well enough; None where there is none.
        open: the run of the highest rate above it that is in time, and of whose answers that cannot
            be decided; None where there is none.
        in_time: the run of the highest rate that is in time, however it answers.
    """

    rule: ServedRule
    bound: int
    good: JudgedRun | None
    open: JudgedRun | None
    in_time: JudgedRun | None


@dataclass(frozen=True, eq=False)
class SloFindings:
    """One record, judged.

    Attributes:
        record: see there.
        runs: by rule, then by rate.
        best: of each rule and bound.
    """

    record: SloRecord
    runs: Sequence[JudgedRun]
    best: Sequence[Best] = field(default_factory=tuple)

    def of(self, rule: ServedRule) -> list[JudgedRun]:
        """The runs of a rule, by rate."""
        return [one for one in self.runs if one.rule == rule]

    @property
    def drift(self) -> float:
        """By how much a single query was slower after the runs than before them."""
        before, after = self.record.body.alone_ns
        return after / before - 1


def analyse(records: Sequence[SloRecord], plan: SloPlan | None = None) -> list[SloFindings]:
    """Every record.

    Raises:
        UserError: one lacks its answers.
    """
    return [judged(record) for record in records]


def judged(record: SloRecord) -> SloFindings:
    """One record.

    Raises:
        UserError: it lacks its answers.
    """
    rules = record.subject.rules
    found = [_run(record, place) for place in range(len(record.body.runs))]
    found.sort(key=lambda one: (rules.index(one.rule), one.run.rate))
    best = [
        _best(rule, bound, [one for one in found if one.rule == rule])
        for bound in BOUNDS
        for rule in rules
    ]
    return SloFindings(record, found, best)


def _run(record: SloRecord, place: int) -> JudgedRun:
    run = record.body.runs[place]
    image, mc, batch, nll = record.answers(place)
    sources = record.arrays.get("source")
    return JudgedRun(
        run=run,
        rule=record.subject.rules[run.rule],
        mean_mc=float(mc.mean()),
        excess=excess(nll, image, batch, record.reference, sources),
        times_alone=run.percentiles_ns["99.00"] / record.body.alone_ns[0],
    )


def _best(rule: ServedRule, bound: int, runs: Sequence[JudgedRun]) -> Best:
    in_time = [one for one in runs if one.times_alone <= bound]
    good = _highest([one for one in in_time if one.verdict == HOLDS])
    least = 0.0 if good is None else good.run.rate
    undecided = [one for one in in_time if one.verdict == UNDECIDED and one.run.rate > least]
    return Best(rule, bound, good, _highest(undecided), _highest(in_time))


def _highest(runs: Sequence[JudgedRun]) -> JudgedRun | None:
    return max(runs, key=lambda one: one.run.rate, default=None)
