"""What the records of a shift study say: tests of equivalence, and what they add up to, in
sentences that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.words import plural, verb
from ...data.units import too_few
from ...metrics.metric import METRICS
from ...records.shift_record import ShiftRecord
from ...stats.equivalence import (
    EQUIVALENT,
    INCONCLUSIVE,
    NOT_JUDGED,
    WORSE,
    Outcome,
    equivalence,
)
from ...stats.pairs import rivals_at
from ...stats.shifted import HEADROOM, PAPER_RANGE, TWIN, Results, results

if TYPE_CHECKING:
    from ...workload.conditions import ShiftPlan

CLAIM = "no significant degradation in accuracy and model calibration under dataset shift"
"""Of the 2021 paper (figures 3 to 5)."""

_KINDS = {
    HEADROOM: "of BNNs whose range has headroom for the noise",
    PAPER_RANGE: "of BNNs in the paper's own range",
    TWIN: "of the deterministic twin",
}
_NAMED = 3


@dataclass(frozen=True, eq=False)
class ShiftFindings:
    """What there is of one study.

    Attributes:
        workload: its name.
        records: that it is made of.
        results: them, put together.
        outcomes: of the tests of equivalence.
        paper: format to metric to the paper's figure (`Workload.paper`).
        rivals: of the tests of methods against one pass of the mean network, each with a
            temperature.
    """

    workload: str
    records: Sequence[ShiftRecord]
    results: Results
    outcomes: Sequence[Outcome]
    paper: Mapping[str, Mapping[str, float]] | None
    rivals: Sequence[Outcome] = ()


def analyse(records: Sequence[ShiftRecord], plan: ShiftPlan | None = None) -> list[ShiftFindings]:
    """Tests of every study among the records.

    Args:
        records: from one machine.
        plan: that they are of; where it is not known, of the workload that is registered.
    """
    from ...workload.workload import paper_of

    found = []
    for one in results(records):
        mine = [record for group in one.records.values() for record in group]
        name = mine[0].subject.workload
        paper = paper_of(name) if plan is None else plan.base.workload.paper
        rivals = equivalence(one, pairing=rivals_at)
        found.append(ShiftFindings(name, mine, one, equivalence(one), paper, rivals))
    return found


def sentences(outcomes: Sequence[Outcome]) -> list[str]:
    """One sentence per variant and metric, in the order of the outcomes."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.variant, outcome.metric), []).append(outcome)
    return [_sentence(group) for group in groups.values()]


def claims(outcomes: Sequence[Outcome]) -> list[str]:
    """What they say of `CLAIM`, a sentence for each kind of variants (`Results.kind`).

    It is borne out only where every comparison under shift is equivalent. The clean images play no
    part: the claim is about shift.
    """
    lines = []
    for kind, words in _KINDS.items():
        mine = [outcome for outcome in outcomes if outcome.kind == kind]
        if mine:
            shifted = [outcome for outcome in mine if outcome.severity > 0]
            lines.append(f'The paper\'s "{CLAIM}", {words}: {_judgement(shifted)}.')
    return lines or [
        f'The paper\'s "{CLAIM}": not tested, because no format of the paper has its float '
        "reference here."
    ]


def _judgement(shifted: Sequence[Outcome]) -> str:
    if not shifted:
        return "not tested, nothing was compared under shift"
    few = [outcome for outcome in shifted if outcome.verdict == NOT_JUDGED]
    worse = [outcome for outcome in shifted if outcome.verdict == WORSE]
    if few and not worse:
        return f"not judged: {too_few(min(outcome.units for outcome in few))}"
    equivalent = sum(outcome.verdict == EQUIVALENT for outcome in shifted)
    improved = sum(outcome.improved for outcome in shifted)
    undecided = len(shifted) - equivalent - len(worse) - improved - len(few)
    total = plural(len(shifted), "comparison")
    better = f", {improved} better beyond the margin" if improved else ""
    unjudged = f", {len(few)} not judged" if few else ""
    rest = f"{equivalent} equivalent{better}, {undecided} inconclusive{unjudged}"
    if worse:
        count = f"{len(worse)} of {total} {verb(len(worse))} worse beyond the margin"
        return f"contradicted. {count} ({_named(worse)}), {rest}"
    if undecided:
        return f"not decided. Of {total} none is shown to be worse, {rest}"
    return f"borne out. Of {total} {equivalent} {verb(equivalent)} equivalent{better}"


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
            clauses.append(f"{words.format(first.reference)} at {_severities(where)}")
    near = [o.severity for o in group if o.near_floor and o.verdict == EQUIVALENT]
    floor = f" (near the noise floor at {severity_ranges(near)})" if near else ""
    few = [outcome.units for outcome in group if outcome.verdict == NOT_JUDGED]
    why = f" ({too_few(min(few))})" if few else ""
    return f"{first.variant}, {METRICS.get(first.metric).called}: {'; '.join(clauses)}{floor}{why}."


_IMPROVED = "improved"
_WORDS = {
    EQUIVALENT: "equivalent to {}",
    WORSE: "worse than {}",
    _IMPROVED: "better than {}",
    INCONCLUSIVE: "inconclusive",
    NOT_JUDGED: "not judged",
}


def _kind(outcome: Outcome) -> str:
    return _IMPROVED if outcome.improved else outcome.verdict


def _named(outcomes: Sequence[Outcome]) -> str:
    """By variant and metric; those with the largest harm, in margins, first."""
    ranked = sorted(outcomes, key=lambda o: -abs(o.effect) / (METRICS.get(o.metric).margin or 1.0))
    where: dict[tuple[str, str], list[int]] = {}
    for outcome in ranked:
        where.setdefault((outcome.variant, outcome.metric), []).append(outcome.severity)
    names = [
        f"{v} {METRICS.get(m).called} at {_severities(found)}" for (v, m), found in where.items()
    ]
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more


def _severities(severities: Sequence[int]) -> str:
    noun = "severity" if len(severities) == 1 else "severities"
    return f"{noun} {severity_ranges(severities)}"
