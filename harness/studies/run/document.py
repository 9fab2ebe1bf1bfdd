"""What a run shows of its records: one screen, or all tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure
from ...report import table, verdicts
from ...report.rows import Section, deterministic, variant_lines
from .analyse import RunFindings
from .run_conclusions import conclusions
from .summary_sheet import summary

_MOST = 3  # failed audits, and variants of formats


def document(found: Sequence[RunFindings], *, full: bool = False) -> Document:
    """One screen: one row per format at the largest T, conclusions and verdicts; with `full` the
    tables of every T."""
    records = [record for one in found for record in one.section.records]
    said = [conclusions(one) for one in found]
    screens = [
        block for one, lines in zip(found, said, strict=True) for block in _screen(one, lines)
    ]
    return Document(
        name=records[0].subject.workload,
        blocks=(table.narrow(records),) if full else tuple(screens),
        values=[
            {**table.summary(record), "conclusions": list(lines)}
            for one, lines in zip(found, said, strict=True)
            for record in one.section.records
        ],
        title=found[0].section.title,
        lines=tuple(_measured(one.section) for one in found),
        conclusions=tuple(line for lines in said for line in lines),
        sheets=tuple(map(summary, found)),
        figures=lambda: _figures(found),
    )


def _figures(found: Sequence[RunFindings]) -> list[Figure]:
    from ...report.figures import figures

    return [figure for one in found for figure in figures(one.section)]


def _screen(found: RunFindings, said: Sequence[str]) -> Iterator[Any]:
    section = found.section
    yield Words(section.title, "bold")
    yield Words(_measured(section), "dim")
    yield from with_notes([summary(found)])
    yield from map(Words, _few(variant_lines(section.variants)))
    yield Words()
    yield from map(Words, said)
    yield Words()
    yield Words(verdicts.line(section.records))
    failed = [note for note in section.notes if note.kind == "fail"]
    yield from map(Words, _few([table.note_line(note) for note in failed]))
    yield Words(_more(section), "dim")


def _measured(section: Section) -> str:
    """By what machine, with how many threads, and from which posterior: its digest is what two who
    made it from the same weights compare."""
    threads = sorted({record.subject.threads for record in section.records})
    digests = dict.fromkeys(
        record.subject.posterior
        for record in section.records
        if not deterministic(record.subject.format)
    )
    made = f"; posterior {', '.join(digests)}" if digests else ""
    return f"{section.records[0].fingerprint.shown}; {text.either(threads, 'thread')}{made}"


def _few(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST
    return [*lines[:_MOST], *([f"and {more} more"] if more > 0 else [])]


def _more(section: Section) -> str:
    findings = sum(note.kind == "finding" for note in section.notes)
    also = f", audits and {text.plural(findings, 'finding')}" if findings else " and audits"
    return (
        f"The same command with --full shows every T, intervals, bytes moved{also}; "
        "`sigmabench report` shows all that is stored."
    )
