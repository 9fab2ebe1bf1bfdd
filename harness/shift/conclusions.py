"""What the equivalence tests add up to, in sentences that are computed."""

from __future__ import annotations

from collections.abc import Sequence

from .equivalence import EQUIVALENT, INCONCLUSIVE, MARGINS, WORSE, Outcome

CLAIM = "no significant degradation in accuracy and model calibration under dataset shift"
"""Of the 2021 paper (figures 3 to 5)."""

NAMES = {"accuracy": "accuracy", "nll": "NLL", "ece": "ECE"}
_NAMED = 3


def sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """A sentence a variant and metric, in the order of the outcomes."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.variant, outcome.metric), []).append(outcome)
    return [_sentence(group) for group in groups.values()]


def overall(outcomes: Sequence[Outcome]) -> str:
    """What they say of `CLAIM`: borne out only where every comparison under shift is equivalent.

    The clean images play no part: the claim is about shift.
    """
    shifted = [outcome for outcome in outcomes if outcome.severity > 0]
    if not shifted:
        return f'"{CLAIM}": not tested, nothing was compared under shift.'
    worse = [outcome for outcome in shifted if outcome.verdict == WORSE]
    equivalent = sum(outcome.verdict == EQUIVALENT for outcome in shifted)
    improved = sum(outcome.improved for outcome in shifted)
    total = len(shifted)
    counts = f"{equivalent} of {total} comparisons are equivalent"
    better = f", {improved} better beyond the margin" if improved else ""
    if worse:
        found = f"contradicted. {len(worse)} of {total} comparisons are worse beyond the margin"
        undecided = total - equivalent - len(worse) - improved
        rest = f"{equivalent} equivalent{better}, {undecided} inconclusive"
        return f'"{CLAIM}": {found} ({_named(worse)}), {rest}.'
    if equivalent == total:
        return f'"{CLAIM}": borne out. All {total} comparisons are equivalent.'
    if equivalent + improved == total:
        return f'"{CLAIM}": borne out. {counts}{better}.'
    undecided = total - equivalent - improved
    return (
        f'"{CLAIM}": not decided. None is shown to be worse; {counts}{better}, {undecided} '
        "inconclusive: more images would tell."
    )


def severity_ranges(severities: Sequence[int]) -> str:
    """`0–2, 4`"""
    parts: list[list[int]] = []
    for severity in sorted(severities):
        if parts and severity == parts[-1][-1] + 1:
            parts[-1].append(severity)
        else:
            parts.append([severity])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _sentence(group: Sequence[Outcome]) -> str:
    """Of one variant and metric."""
    first = group[0]
    clauses = []
    for name, words in _WORDS.items():
        where = [outcome.severity for outcome in group if _kind(outcome) == name]
        if where:
            noun = "severity" if len(where) == 1 else "severities"
            clauses.append(f"{words.format(first.reference)} at {noun} {severity_ranges(where)}")
    near = [o.severity for o in group if o.near_floor and o.verdict == EQUIVALENT]
    floor = f" (near the noise floor at {severity_ranges(near)})" if near else ""
    return f"{first.variant}, {NAMES[first.metric]}: {'; '.join(clauses)}{floor}."


_IMPROVED = "improved"
_WORDS = {
    EQUIVALENT: "equivalent to {}",
    WORSE: "worse than {}",
    _IMPROVED: "better than {}",
    INCONCLUSIVE: "inconclusive",
}


def _kind(outcome: Outcome) -> str:
    return _IMPROVED if outcome.improved else outcome.verdict


def _named(outcomes: Sequence[Outcome]) -> str:
    """The largest harms, in margins, first."""
    ranked = sorted(outcomes, key=lambda o: -abs(o.effect) / MARGINS[o.metric])
    names = [f"{o.variant} {NAMES[o.metric]} at severity {o.severity}" for o in ranked[:_NAMED]]
    more = f" and {len(ranked) - _NAMED} more" if len(ranked) > _NAMED else ""
    return ", ".join(names) + more
