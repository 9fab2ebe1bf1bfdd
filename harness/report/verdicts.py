"""Verdicts in marks and sentences: what a reader of several records may believe."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import words as text
from ..records.run_record import RunRecord
from ..records.verdict import INVALID, KINDS, NOT_JUDGED, PASS, VALID, Outcome, Verdict, worst

_MARKS = {VALID: "✓", INVALID: "✗", NOT_JUDGED: text.MISSING}


def mark(outcome: Outcome) -> str:
    """✓ for what may be believed, ✗ for what may not, – for what no audit judged."""
    return _MARKS[outcome]


def line(records: Sequence[RunRecord]) -> str:
    """`trust` after its mark: ✓ where every cell is valid, ✗ where one is not, – where no audit
    judged some of them."""
    return f"{mark(overall(records))} {trust(records)}"


def overall(records: Sequence[RunRecord]) -> Outcome:
    """The worst outcome of all that audits judged."""
    return worst(map(_overall, records))


def trust(records: Sequence[RunRecord]) -> str:
    """How many cells are valid, and of how many the quality, the speed or the fidelity is not."""
    judged = [record for record in records if _overall(record) != NOT_JUDGED]
    valid = sum(record.verdict.valid for record in judged)
    told = f"{valid} of {text.plural(len(records), 'cell')} valid"
    counts = {kind: sum(kind in r.verdict.invalid for r in judged) for kind in KINDS}
    why = [f"{kind} of {count:,} is invalid" for kind, count in counts.items() if count]
    if len(judged) < len(records):
        why.append(f"{len(records) - len(judged):,} not judged by any audit")
    if why:
        return f"{told}: {', '.join(why)}."
    return f"{told}: no audit failed." if records else f"{told}."


def outcomes(verdict: Verdict) -> str:
    """The three outcomes of one record, each with the audits that it passed."""
    return " ".join(_outcome(verdict, kind) for kind in KINDS)


def _overall(record: RunRecord) -> Outcome:
    """Of all that was judged."""
    return worst({record.verdict.of(kind) for kind in KINDS} - {NOT_JUDGED})


def _outcome(verdict: Verdict, kind: str) -> str:
    audits: dict[str, str] = getattr(verdict, kind).audits
    passed = [name for name, result in audits.items() if result == PASS]
    told = f" ({', '.join(passed)})" if passed and verdict.of(kind) == VALID else ""
    return f"{kind.capitalize()}: {verdict.of(kind)}{told}."
