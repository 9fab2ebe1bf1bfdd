"""What a run adds up to, in three sentences that are computed: quality, speed, size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from ...core import words as text
from ...stats.latency import Ratio
from .analyse import QualityFinding, RunFindings, ScoreDifference, SizeFinding

_NAMED = 3  # differences that are shown, with their intervals


def conclusions(found: RunFindings) -> tuple[str, str, str]:
    """On quality, speed and size, in this order."""
    return (
        f"Quality: {_quality(found)}",
        f"Speed: {_speed(found)}",
        f"Size: {_size(found)}",
    )


def _quality(run: RunFindings) -> str:
    found = run.quality
    left_out = ""
    if found.invalid:
        left_out = f" Left out, because its quality is marked invalid: {', '.join(found.invalid)}."
    if found.reason or not found.differences:
        reason = found.reason or "all images come from one source"
        return f"no difference from {found.reference} is judged: {reason}.{left_out}"
    where = f"{text.plural(found.images, 'image')}, {_passes(run)}"
    if not found.corrected:
        return f"{_uncorrected(found, where)}{left_out}"
    named = [one for one in found.differences if one.shown]
    if named:
        return f"{_shown(found, named, where)}{left_out}"
    return f"{_none_shown(found, where)}{left_out}"


def _none_shown(found: QualityFinding, where: str) -> str:
    alone = sum(one.excludes_0 for one in found.differences)
    chance = ""
    if alone:
        chance = (
            f" {alone} of {text.plural(len(found.differences), 'interval')} alone "
            f"{text.verb(alone, 'excludes', 'exclude')} 0, but not after Holm's correction for "
            "so many."
        )
    return f"{_nothing(found, where)}; {_allowed(found.differences)}.{chance}"


def _nothing(found: QualityFinding, where: str) -> str:
    labels = list(dict.fromkeys(one.label for one in found.differences))
    of = labels[0] if len(labels) == 1 else f"any of {text.plural(len(labels), 'format')}"
    return (
        f"no difference from {found.reference} in {_metrics(found.differences, 'or')} could be "
        f"shown for {of} ({where})"
    )


def _shown(found: QualityFinding, named: Sequence[ScoreDifference], where: str) -> str:
    """The largest first, in units of the interval's width."""
    ranked = sorted(named, key=lambda one: -abs(one.harm) / (one.high - one.low or 1.0))
    told = text.first([_difference(one) for one in ranked], _NAMED)
    rest = [one for one in found.differences if not one.shown]
    others = f" In the others none could be shown; {_allowed(rest)}." if rest else ""
    return (
        f"against {found.reference} ({where}), {told}; {len(named)} of "
        f"{text.plural(len(found.differences), 'difference')} "
        f"{text.verb(len(named))} shown after Holm's correction.{others}"
    )


def _uncorrected(found: QualityFinding, where: str) -> str:
    """Of records that do not say how many independent images their intervals come from."""
    alone = [one for one in found.differences if one.excludes_0]
    if not alone:
        return f"{_nothing(found, where)}; {_allowed(found.differences)}."
    told = text.first([_difference(one) for one in alone], _NAMED)
    return (
        f"{len(alone)} of {text.plural(len(found.differences), 'interval')} of 95 % "
        f"{text.verb(len(alone), 'excludes', 'exclude')} a difference of 0 from {found.reference} "
        f"({where}), and one in twenty does by chance: {told}."
    )


def _difference(one: ScoreDifference) -> str:
    low, high = sorted((abs(one.low), abs(one.high))) if one.excludes_0 else (one.low, one.high)
    value, low_end, high_end = (
        text.beyond(end, 0.0, one.metric.decimals) for end in (abs(one.harm), low, high)
    )
    return (
        f"{one.label}'s {_name(one)} is {'worse' if one.harm > 0 else 'better'} by "
        f"{value}{_unit(one)} (95 % interval {low_end} to {high_end})"
    )


def _allowed(differences: Sequence[ScoreDifference]) -> str:
    """How much worse the intervals allow a format to be, at most, by metric."""
    worst: dict[str, ScoreDifference] = {}
    for one in differences:
        name = one.metric.name
        if name not in worst or one.high > worst[name].high:
            worst[name] = one
    told = [
        f"{text.fixed(_up(one), one.metric.decimals)}{_unit(one)} of {_name(one)}"
        for one in worst.values()
        if one.high > 0
    ]
    if not told:
        return "the 95 % intervals allow no loss"
    return f"within the 95 % intervals no format is worse by more than {_listed(told, 'or')}"


def _up(one: ScoreDifference) -> float:
    """The end of its interval, rounded up: a loss of more is excluded, one of less is not."""
    unit = 10.0**one.metric.decimals
    return math.ceil(one.high * unit - 1e-9) / unit


def _metrics(differences: Iterable[ScoreDifference], word: str) -> str:
    return _listed(list(dict.fromkeys(map(_name, differences))), word)


def _name(one: ScoreDifference) -> str:
    return one.metric.title or one.metric.called


def _unit(one: ScoreDifference) -> str:
    unit = {"%": "points"}.get(one.metric.unit, one.metric.unit)
    return f" {unit}" if unit else ""


def _passes(run: RunFindings) -> str:
    return f"T = {run.mc}"


def _speed(run: RunFindings) -> str:
    if run.subject is None:
        return f"there is no other format to compare with {run.base}."
    judged = [(one.batch, one.ratio) for one in run.speed if one.ratio is not None]
    told = [
        *_ratios(f"{run.subject} is", "as fast as", run.base, [j for j in judged if j[1].low > 1]),
        *_ratios(
            f"{run.subject} takes",
            "as long as",
            run.base,
            [(at, _inverse(ratio)) for at, ratio in judged if ratio.high < 1],
        ),
        *_undecided(run, [j for j in judged if j[1].low <= 1 <= j[1].high]),
        *_leads(run),
        *_not_formed(run),
    ]
    return f"{'per pass, ' if judged else ''}{'; '.join(told)}.{_processes(run)}"


def _processes(run: RunFindings) -> str:
    counts = {one.processes for one in run.speed if one.ratio is not None}
    if not counts:
        return ""
    if counts == {1}:
        return " Timed in one process; another may differ."
    told = _listed(list(map(str, sorted(counts))), "or")
    return f" Timed in {told} fresh processes, and the intervals are of these."


def _ratios(start: str, than: str, base: str, found: Sequence[tuple[int, Ratio]]) -> Iterator[str]:
    """One clause for those of all batches that point the same way."""
    if not found:
        return
    (batch, ratio), *others = found
    told = [f"{_times(ratio)} times {than} {base} at batch {batch} ({_interval(ratio)})"]
    told += [f"{_times(ratio)} times at batch {at} ({_ends(ratio)})" for at, ratio in others]
    yield f"{start} {_listed(told, 'and')}"


def _undecided(run: RunFindings, found: Sequence[tuple[int, Ratio]]) -> Iterator[str]:
    if not found:
        return
    told = [f"at batch {at} ({_times(one)} times as fast, {_interval(one)})" for at, one in found]
    yield (
        f"no difference between {run.subject} and {run.base} could be shown {_listed(told, 'or')}"
    )


def _leads(run: RunFindings) -> Iterator[str]:
    for one in run.speed:
        if one.fastest is not None:
            ratio = one.fastest.ratio
            yield (
                f"{one.fastest.label} is the fastest at batch {one.batch}, {_times(ratio)} times "
                f"as fast as {run.base} ({_ends(ratio)})"
            )


def _not_formed(run: RunFindings) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for one in run.speed:
        if one.ratio is None:
            reasons.setdefault(one.reason, []).append(str(one.batch))
    for reason, batches in reasons.items():
        yield (
            f"no ratio of {run.subject} and {run.base} is formed at batch "
            f"{_listed(batches, 'and')}: {reason}"
        )


def _inverse(ratio: Ratio) -> Ratio:
    return Ratio(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)


def _times(ratio: Ratio) -> str:
    return text.fixed(ratio.value, 2)


def _interval(ratio: Ratio) -> str:
    return f"95 % interval {_ends(ratio)}"


def _ends(ratio: Ratio) -> str:
    low, high = (text.beyond(end, 1.0, 2) for end in (ratio.low, ratio.high))
    return f"{low} to {high}"


def _size(run: RunFindings) -> str:
    unit, scale = text.byte_unit([run.base_bytes or 0, *(one.file_bytes for one in run.sizes)])

    def kept(count: int) -> str:
        return f"{text.significant(count / scale)} {unit}"

    first, *rest = run.sizes
    if run.subject is None:
        return f"{first.label}'s file takes {kept(first.file_bytes)}; there is no other to compare."
    whole = f"{run.base}'s" + (f" of {kept(run.base_bytes)}" if run.base_bytes else "")
    told = [f"{first.label}'s file of {kept(first.file_bytes)} {_smaller(first, whole)}"]
    told += [
        f"{one.label}'s, the smallest, of {kept(one.file_bytes)} {_smaller(one)}" for one in rest
    ]
    return f"{'; '.join(told)}."


def _smaller(one: SizeFinding, whole: str = "") -> str:
    if one.ratio is None:
        return "has no other to be compared with"
    smaller, than = ("smaller", "than") if one.ratio >= 1 else ("as large", "as")
    told = f"is {text.fixed(max(one.ratio, 1 / one.ratio), 2)} times {smaller}"
    told += f" {than} {whole}" if whole else ""
    if one.weights_ratio is None:
        return told
    same = (one.weights_ratio >= 1) == (one.ratio >= 1)
    weights = f"{text.fixed(one.weights_ratio, 2)} times{'' if same else ' smaller'}"
    if one.bits is None:
        return f"{told}, its weights alone {weights}"
    return f"{told}, its weights alone exactly {weights} ({one.bits[0]} to {one.bits[1]} bits each)"


def _listed(words: Sequence[str], word: str) -> str:
    *first, last = words
    return f"{', '.join(first)} {word} {last}" if first else last
