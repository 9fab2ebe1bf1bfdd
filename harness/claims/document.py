"""What is shown of the claims: a verdict each, why, and by what it was judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ..core.document import Document, Words
from ..core.sheet import Column, Sheet
from ..core.words import MISSING, plural, verb
from .findings import OUTCOMES, Finding
from .papers import Claim

TITLE = "The papers' claims, judged from these records"
MARKS = dict(zip(OUTCOMES, ("✓", "✗", "–"), strict=True))
_COLUMNS = tuple(
    Column(name, numeric=False)
    for name in (
        "claim", "source", "workload", "about", "verdict", "what the records say", "margin",
        "test", "machine", "measured", "record",
    )
)  # fmt: skip


def document(findings: Sequence[Finding]) -> Document:
    """Of findings, in their order.

    Args:
        findings: of `judge`, or some of them.
    """
    found = list(findings)
    return Document(
        name="claims",
        blocks=tuple(_blocks(found)),
        values=[to_dict(one) for one in found],
        title=TITLE,
        lines=(_counted(found),),
        sheets=(_sheet(found),),
        data={"claims": [_row(one) for one in found]},
    )


def by_claim(findings: Sequence[Finding]) -> list[tuple[Claim, list[Finding]]]:
    """The findings of each claim, in order of first appearance."""
    groups: dict[str, tuple[Claim, list[Finding]]] = {}
    for one in findings:
        groups.setdefault(one.claim.name, (one.claim, []))[1].append(one)
    return list(groups.values())


def to_dict(one: Finding) -> dict[str, Any]:
    """All of a finding, of JSON's types."""
    study, key = one.record or (None, None)
    return {
        "claim": asdict(one.claim),
        "workload": one.workload,
        "about": one.about,
        "outcome": one.outcome,
        "sentence": one.sentence,
        "machine": one.machine,
        "day": one.day,
        "study": study,
        "key": key,
        "command": one.command,
        "numbers": list(one.numbers),
    }


def _row(one: Finding) -> dict[str, Any]:
    """A line of CSV."""
    rest = {name: value for name, value in to_dict(one).items() if name not in ("claim", "numbers")}
    return {
        "claim": one.claim.name,
        "title": one.claim.title,
        "source": one.claim.source,
        **rest,
        "margin": one.margin,
        "test": one.test,
    }


def _blocks(found: Sequence[Finding]) -> Iterator[Words]:
    """For a terminal: the claims one below the other, sentences and not columns."""
    yield Words(TITLE, "bold")
    yield Words(_counted(found))
    for claim, mine in by_claim(found):
        yield Words()
        yield Words(claim.title, "bold")
        yield Words(f"{claim.source}.", "dim")
        for one in mine:
            yield Words(f"{MARKS[one.outcome]} {_called(one)}: {one.outcome}. {one.sentence}")
        yield Words(f"Margin: {claim.margin}. Test: {claim.test}.", "dim")


def _called(one: Finding) -> str:
    return ", ".join(filter(None, (one.workload, one.about)))


def _counted(found: Sequence[Finding]) -> str:
    """How many parts of how many claims are shown, and how many are not."""
    counts = {name: sum(one.outcome == name for one in found) for name in OUTCOMES}
    holds, against, cannot = (counts[name] for name in OUTCOMES)
    return (
        f"{plural(len(by_claim(found)), 'claim')} in {plural(len(found), 'part')}: {holds} "
        f"{verb(holds, 'holds', 'hold')}, {against} {verb(against)} contradicted, {cannot} cannot "
        "be shown."
    )


def _sheet(found: Sequence[Finding]) -> Sheet:
    rows = tuple(
        (
            one.claim.title,
            one.claim.source,
            one.workload,
            one.about or MISSING,
            one.outcome,
            one.sentence,
            one.margin,
            one.test,
            one.machine,
            one.day,
            MISSING if one.record is None else " ".join(one.record),
        )
        for one in found
    )
    return Sheet(TITLE, _COLUMNS, rows, {}, 2)
