"""The part of the claim on safety that is about people: whom quantization refers that FP32 does
not, held against what another draw of the weights changes."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

from ..core import words as text
from ..data.units import ALPHA
from ..stats.shifted import HEADROOM, PAPER_FORMATS
from ..studies.selective.agreement import LESS, MORE, FormatAgreement, comparisons
from ..studies.selective.referral import Choices
from ..studies.selective.sample import SplitSample
from .evidence import Evidence, ScoredStudy
from .findings import Finding, all_or_none, command_of, days, machines, not_measured
from .papers import SAFETY
from .scored_claims import VALIDATION

ABOUT = "who is referred"
_Z = NormalDist().inv_cdf(0.975)


def referrals(evidence: Evidence) -> list[Finding]:
    """Of every workload that the claim is asked of."""
    return [_referral(evidence, name) for name in SAFETY.workloads]


def _referral(evidence: Evidence, workload: str) -> Finding:
    """On the machine that has most splits, the youngest of equal ones."""
    places: dict[tuple[object, ...], list[ScoredStudy]] = {}
    for one in evidence.studies:
        if one.workload == workload and one.results.split != VALIDATION and _predicted(one):
            places.setdefault(one.place, []).append(one)
    if not places:
        return not_measured(SAFETY, workload, ABOUT)
    mine = max(places.values(), key=lambda found: (len(found), max(one.created for one in found)))
    largest = {one.results.split: one for one in sorted(mine, key=lambda one: one.images)}
    choices = Choices()
    samples = [SplitSample.of(one.results, choices.by) for one in largest.values()]
    kinds = {
        (split, variant)
        for split, one in largest.items()
        for variant, format_ in one.results.formats.items()
        if format_ in PAPER_FORMATS and one.results.kind(variant) == HEADROOM
    }
    found = [
        one
        for one in comparisons(samples, choices)
        if (one.found.split, one.found.variant) in kinds
    ]
    return _finding(workload, found, list(largest.values()))


def _finding(
    workload: str, found: Sequence[FormatAgreement], studies: Sequence[ScoredStudy]
) -> Finding:
    records = [record for one in studies for record in one.records]
    lacking = set(PAPER_FORMATS) - {one.found.variant.split()[0] for one in found}
    worst = max(found, key=_excess, default=None)
    key = None
    if worst is not None:
        (study,) = [one for one in studies if one.results.split == worst.found.split]
        key = ("shift", study.results.at(worst.found.variant)[0].subject.key)
    return Finding(
        SAFETY,
        workload,
        ABOUT,
        all_or_none([one.verdict for one in found], (LESS,), (MORE,), not lacking),
        _sentence(found, studies),
        machines(records),
        days(records),
        key,
        command_of(SAFETY, workload),
        tuple(
            {
                "split": one.found.split,
                "variant": one.found.variant,
                "switched": one.found.switched.value,
                "by_luck": None if one.luck is None else one.luck.switched.value,
                "excess": None if one.excess is None else one.excess.value,
                "verdict": one.verdict,
                **{f"p_holm_{name}": value for name, value in one.p_holm.items()},
            }
            for one in found
        ),
    )


def _sentence(found: Sequence[FormatAgreement], studies: Sequence[ScoredStudy]) -> str:
    more, less = (sum(one.verdict == name for one in found) for name in (MORE, LESS))
    unjudged = sum(not one.verdict for one in found)
    rest = len(found) - more - less - unjudged
    where = ", ".join(
        f"{text.plural(one.images, 'image')} of {one.results.split}" for one in studies
    )
    told = (
        f"On {where}, the least sure fifth referred: of {text.plural(len(found), 'comparison')} "
        f"{more} {text.verb(more, 'changes', 'change')} more images than another draw of FP32 "
        f"does, {less} fewer, {rest} cannot be told from it"
        + (f", {unjudged} {text.verb(unjudged)} not judged" if unjudged else "")
        + "."
    )
    shown = [one for one in found if one.excess is not None]
    if shown:
        told += f" The most: {_told(max(shown, key=_excess))}."
    return told + _decides(found)


def _told(one: FormatAgreement) -> str:
    assert one.excess is not None
    low, high = one.excess.low, one.excess.high
    return (
        f"{one.found.variant} on {one.found.split}, {text.signed(one.excess.value, 1)} images of "
        f"{round(one.found.referred)} (95 % interval {text.signed(low, 1)} to "
        f"{text.signed(high, 1)})"
    )


def _decides(found: Sequence[FormatAgreement]) -> str:
    """How many images, and how many times the seeds, it takes where nothing is told apart."""
    tests = 2 * len([one for one in found if one.p])
    level = NormalDist().inv_cdf(1 - ALPHA / max(tests, 1))
    times: list[tuple[float, FormatAgreement]] = []
    for one in found:
        got = one.excess
        if one.verdict in (MORE, LESS) or got is None or got.low is None or got.high is None:
            continue
        error = (got.high - got.low) / (2 * _Z)
        if abs(got.value) > 0 and error > 0:
            times.append((max(1.0, (level * error / abs(got.value)) ** 2), one))
    if not times:
        return ""
    factor, first = min(times, key=lambda pair: pair[0])
    images = text.significant(factor * first.found.images, 2)
    return (
        f" About {images} images of {first.found.split}, {text.significant(factor, 2)} times as "
        "many, from as many more sources and with as many more seeds would decide the first of the "
        "rest, if the differences are as they seem."
    )


def _excess(one: FormatAgreement) -> float:
    return float("-inf") if one.excess is None else one.excess.value


def _predicted(study: ScoredStudy) -> bool:
    """Clean images, with what was predicted of each."""
    return 0 in study.results.severities and all(
        "prediction" in one.arrays for one in study.records if one.subject.severity == 0
    )
