"""Formats held against FP32 by one metric each, and what several such comparisons add up to.

Records of scored images (`shift`, `selective`) are judged by `stats.equivalence`, whose verdicts
stand as they are. Records of runs hold paired differences with the interval of the images alone, by
Student's t. The luck of the draw is added to it: of either format the variance of its score over
seeds, divided by their number, which is an upper bound, for what each image has of it is in the
interval already. The sum has Welch's degrees of freedom, and the same hypotheses are tested by the
same two one-sided tests as there, with Holm's correction over the formats, within a metric and a
hypothesis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist, variance
from typing import Any

from scipy.special import stdtr

from ..core import words as text
from ..data.units import ALPHA, too_few
from ..metrics.metric import METRICS, Metric
from ..records.run_record import Paired, RunRecord
from ..stats.equivalence import EQUIVALENT, INCONCLUSIVE, NOT_JUDGED, WORSE, Outcome
from ..stats.shifted import Results
from ..stats.significance import Estimate, holm, welch
from .findings import all_or_none
from .papers import margin_of, unit_of

IMPROVED = "improved"
_FEW_PASSES = "there are too few passes to tell the luck of the draw"
_NAMED = 3
_Z = NormalDist().inv_cdf(0.975)
#: More images than so many times those that there are decide nothing that anyone will measure.
_MOST_TIMES = 1000


@dataclass(frozen=True)
class Compared:
    """One format held against FP32 by one metric on one set of images.

    Attributes:
        variant: of the format.
        metric: name of the metric; `effect`, `low` and `high` are in its unit.
        where: which images, in words that follow the metric's name; empty for the only ones.
        units: independent images.
        effect: mean of (quantized − FP32).
        low: of its 95 % interval; None where nothing tells it.
        high: likewise.
        verdict: `equivalent`, `worse`, `improved`, `inconclusive` or `not judged`, after Holm.
        tests: how many were corrected together.
        record: study and key.
        p: hypothesis to its p-value after Holm; empty where nothing is judged.
        near_floor: as `equivalence.Outcome`.
        unjudged: why there is no verdict.
    """

    variant: str
    metric: str
    where: str
    units: int
    effect: float
    low: float | None
    high: float | None
    verdict: str
    tests: int
    record: tuple[str, str]
    p: tuple[tuple[str, float], ...] = ()
    near_floor: bool = False
    unjudged: str = ""

    @property
    def harm(self) -> float:
        """The largest loss that the interval allows, in margins; negative where it allows none."""
        found = METRICS.get(self.metric)
        ends = [found.harm * end for end in (self.low, self.high) if end is not None]
        return max(ends, default=found.harm * self.effect) / margin_of(found)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a script."""
        found = METRICS.get(self.metric)
        return {
            "variant": self.variant,
            "metric": self.metric,
            "where": self.where,
            "images": self.units,
            "effect": self.effect,
            "low": self.low,
            "high": self.high,
            "margin": margin_of(found),
            "verdict": self.verdict,
            **{f"p_holm_{name}": value for name, value in self.p},
        }


def of_outcomes(
    found: Results, outcomes: Sequence[Outcome], wanted: Callable[[Outcome], bool]
) -> list[Compared]:
    """What the tests of scored images say.

    Args:
        found: that they are of.
        outcomes: all of them, for those of a metric and kind were corrected together.
        wanted: whether the claim is about one.
    """
    families: dict[tuple[str, str], int] = {}
    for one in outcomes:
        families[one.kind, one.metric] = families.get((one.kind, one.metric), 0) + 1
    return [
        Compared(
            variant=one.variant,
            metric=one.metric,
            where=f"at severity {one.severity}" if one.severity else "",
            units=one.units,
            effect=one.effect,
            low=one.low,
            high=one.high,
            verdict=_verdict(one),
            tests=families[one.kind, one.metric],
            record=_record_of(found, one),
            p=tuple(one.p_holm.items()),
            near_floor=one.near_floor and one.verdict == EQUIVALENT,
            unjudged=too_few(one.units) or ("" if one.luck else _FEW_PASSES),
        )
        for one in outcomes
        if wanted(one)
    ]


def _verdict(one: Outcome) -> str:
    """Without the luck of the draw an interval is too narrow, whatever it says."""
    if not one.luck:
        return NOT_JUDGED
    return IMPROVED if one.improved else one.verdict


def _record_of(found: Results, one: Outcome) -> tuple[str, str]:
    (first, *_) = found.at(one.variant, one.types[0], one.severity)
    return "shift", first.subject.key


def of_runs(
    base: RunRecord, formats: Sequence[RunRecord], metrics: Iterable[str]
) -> list[Compared]:
    """What paired differences of runs say.

    Args:
        base: FP32.
        formats: compared with it in the same run.
        metrics: that the claim is about; those of which no difference is recorded have no part.
    """
    found: list[Compared] = []
    for name in metrics:
        metric = METRICS.get(name)
        raw = [
            (record, metric, paired, *_estimate(base, record, metric, paired))
            for record in formats
            if (paired := record.body.paired) is not None and metric.field in paired.differences
        ]
        found += _tested(raw)
    return found


_Raw = tuple[RunRecord, Metric, Paired, Estimate | None, str]


def _estimate(
    base: RunRecord, record: RunRecord, metric: Metric, paired: Paired
) -> tuple[Estimate | None, str]:
    """The difference with the error of images and draws; None and the reason where one of the two
    is not known."""
    interval = paired.intervals.get(metric.field)
    if paired.units is None:
        return None, "it was recorded before independent images were counted"
    if interval is None or too_few(paired.units):
        return None, too_few(paired.units)
    value = paired.differences[metric.field]
    half = max(interval[1] - value, value - interval[0])
    images = half / Estimate(0.0, 1.0, paired.units - 1).interval()[1]
    sides = [text.known(one.body.quality.scores.get(metric.name)) for one in (record, base)]
    if min(map(len, sides)) < 2:
        return None, "one seed of the draw tells nothing of its luck"
    lucks = [variance(side) / len(side) for side in sides]
    freedoms = [paired.units - 1, *(len(side) - 1 for side in sides)]
    return welch(value, [images**2, *lucks], freedoms), ""


def _tested(raw: Sequence[_Raw]) -> list[Compared]:
    """Of one metric, after Holm."""
    judged = [place for place, one in enumerate(raw) if one[3] is not None]
    p_values: dict[str, dict[int, float]] = {}
    for hypothesis in (EQUIVALENT, WORSE, IMPROVED):
        values = [_p_value(hypothesis, raw[place][3], raw[place][1]) for place in judged]
        p_values[hypothesis] = dict(zip(judged, holm(values), strict=True))
    return [
        _one(one, {name: by[place] for name, by in p_values.items() if place in by}, len(judged))
        for place, one in enumerate(raw)
    ]


def _p_value(hypothesis: str, found: Estimate | None, metric: Metric) -> float:
    """One-sided, by Student's t, as the hypotheses of `stats.equivalence`."""
    assert found is not None
    harm, margin = metric.harm * found.value, margin_of(metric)
    beyond = {EQUIVALENT: abs(harm) - margin, WORSE: margin - harm, IMPROVED: harm + margin}
    if found.error == 0:
        return float(beyond[hypothesis] >= 0)
    return float(stdtr(found.freedom, beyond[hypothesis] / found.error))


def _one(raw: _Raw, p: dict[str, float], tests: int) -> Compared:
    record, metric, paired, estimate, reason = raw
    shown = [name for name in (EQUIVALENT, WORSE, IMPROVED) if p.get(name, 1.0) <= ALPHA]
    low, high = (None, None) if estimate is None else estimate.interval()
    return Compared(
        variant=record.subject.format,
        metric=metric.name,
        where="",
        units=record.body.quality.images if paired.units is None else paired.units,
        effect=paired.differences[metric.field],
        low=low,
        high=high,
        verdict=(shown[0] if shown else INCONCLUSIVE) if p else NOT_JUDGED,
        tests=tests,
        record=("run", record.subject.key),
        p=tuple(p.items()),
        unjudged=reason,
    )


def outcome_of(found: Sequence[Compared], complete: bool = True) -> str:
    """Of a claim that every comparison has to bear out. One of any metric speaks against it, so
    that losses are corrected for the number of metrics, too; that all hold needs no correction."""
    lost = {id(one) for one in found if _lost(one, found)}
    verdicts = [
        INCONCLUSIVE if one.verdict == WORSE and id(one) not in lost else one.verdict
        for one in found
    ]
    return all_or_none(verdicts, (EQUIVALENT, IMPROVED), (WORSE,), complete)


def _lost(one: Compared, found: Sequence[Compared]) -> bool:
    """Whether a loss is shown after Holm within its metric and Bonferroni over the metrics."""
    p, metrics = dict(one.p).get(WORSE, 0.0), len({each.metric for each in found})
    return one.verdict == WORSE and metrics * p <= ALPHA


def told(found: Sequence[Compared], on: str) -> str:
    """What comparisons with FP32 add up to, with the intervals that decide.

    Args:
        found: at least one.
        on: which images, in words.
    """
    counts = {words: sum(one.verdict == name for one in found) for name, words in _WORDS.items()}
    parts = [f"{n} {text.verb(n)} {words}" for words, n in counts.items() if n]
    line = f"{on}: of {text.plural(len(found), 'comparison')} with FP32, {', '.join(parts)}."
    parts = [line, _deciding(found), _by_chance(found), _floor(found), _why_not(found)]
    return " ".join(filter(None, parts))


def _by_chance(found: Sequence[Compared]) -> str:
    weak = sum(one.verdict == WORSE and not _lost(one, found) for one in found)
    if not weak:
        return ""
    return f"Of these losses {weak} may be chance: the metrics are corrected for one another, too."


_WORDS = {
    EQUIVALENT: "equivalent",
    IMPROVED: "better beyond the margin",
    WORSE: "worse beyond the margin",
    INCONCLUSIVE: "undecided",
    NOT_JUDGED: "not judged",
}


def _deciding(found: Sequence[Compared]) -> str:
    """The losses that are shown, else those that the intervals leave most room for."""
    worse = [one for one in found if one.verdict == WORSE]
    open_ = [one for one in found if one.verdict == INCONCLUSIVE]
    shown = worse or open_ or [one for one in found if one.verdict != NOT_JUDGED]
    if not shown:
        return ""
    ranked = sorted(shown, key=lambda one: -one.harm)
    start = "The largest losses shown: " if worse else "The most room for a loss: "
    return f"{start}{text.first([_effect(one) for one in ranked], _NAMED)}."


def _effect(one: Compared) -> str:
    metric = METRICS.get(one.metric)
    unit = f" {unit_of(metric)}" if unit_of(metric) else ""
    digits = metric.decimals
    named = " ".join(filter(None, (one.variant, metric.called, one.where)))
    ends = ""
    if one.low is not None and one.high is not None:
        low, high = (text.signed(end, digits) for end in (one.low, one.high))
        ends = f", 95 % interval {low} to {high}"
    return f"{named} {text.signed(one.effect, digits)}{unit}{ends}"


def _floor(found: Sequence[Compared]) -> str:
    near = sum(one.near_floor for one in found)
    if not near:
        return ""
    return f"In {near} of them FP32's ECE is near its noise floor, where ECE could hardly tell."


def _why_not(found: Sequence[Compared]) -> str:
    """What would decide where nothing is, and why some is not judged."""
    lines = []
    metrics = len({one.metric for one in found})
    needed = [images_that_decide(one) for one in found if one.verdict == INCONCLUSIVE]
    needed += [
        images_that_decide(replace(one, tests=metrics * one.tests))
        for one in found
        if one.verdict == WORSE
    ]
    if needed and not any(_lost(one, found) for one in found):
        known = [count for count in needed if count is not None]
        rest = len(needed) - len(known)
        if known:
            lines.append(
                f"About {text.significant(max(known), 2)} independent images, and more seeds of "
                "the draw in proportion, would decide"
                + (f" all but {rest} of them" if rest else " the rest")
                + ", if the differences are as they seem."
            )
        if rest:
            lines.append(
                f"{rest} {text.verb(rest, 'lies', 'lie')} so near the margin that no number of "
                "images that can be had would decide."
            )
    reasons = dict.fromkeys(one.unjudged for one in found if one.unjudged)
    lines += [f"Not judged: {reason}." for reason in reasons]
    return " ".join(lines)


def images_that_decide(one: Compared) -> float | None:
    """About how many independent images would show the difference to lie within the margin or
    beyond it, were it what it seems, the error falling with the root of their number.

    Returns:
        None where it lies so near the margin that no such number can be had, or no error is known.
    """
    metric = METRICS.get(one.metric)
    margin = margin_of(metric)
    if one.low is None or one.high is None:
        return None
    error = (one.high - one.low) / (2 * _Z)
    apart = abs(abs(one.effect) - margin)
    level = NormalDist().inv_cdf(1 - ALPHA / max(one.tests, 1))
    if apart * math.sqrt(_MOST_TIMES) <= level * error:
        return None
    return max(float(one.units), one.units * (level * error / apart) ** 2)


def merged(first: Sequence[Compared], others: Sequence[Compared]) -> list[Compared]:
    """Of each metric those comparisons that are judged by more independent images, the first ones
    where both are by as many; what is not judged only where nothing else is there."""
    found: list[Compared] = []
    for metric in dict.fromkeys(one.metric for one in (*first, *others)):
        sides = [[one for one in side if one.metric == metric] for side in (first, others)]
        more: list[Compared] = max(sides, key=_weight)
        found += more
    return found


def _weight(side: Sequence[Compared]) -> tuple[int, int]:
    judged = [one.units for one in side if one.verdict != NOT_JUDGED]
    return max(judged, default=0), bool(side)
