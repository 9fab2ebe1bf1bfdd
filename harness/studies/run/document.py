"""What a run shows of its records: one screen, or all tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure
from ...core.sheet import Sheet
from ...records.run_record import RunRecord
from ...report import sheets, table, verdicts
from ...report.rows import Section, deterministic, variant_lines
from .analyse import RunFindings
from .run_conclusions import conclusions
from .summary_sheet import summary

_MOST = 3  # failed audits, and variants of formats


class _Tables:
    """The tables of every T, laid out where they are printed."""

    def __init__(self, records: Sequence[RunRecord]) -> None:
        self._records = records

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield table.narrow(self._records)


def document(
    found: Sequence[RunFindings], *, full: bool = False, beside: Document | None = None
) -> Document:
    """One screen: one row per format at the largest T, conclusions, what a study `beside` it
    concludes, and verdicts; with `full` the tables of every T and of the study beside it, and one
    row of numbers for each cell."""
    records = [record for one in found for record in one.section.records]
    said = [conclusions(one) for one in found]
    screens = [
        block
        for one, lines in zip(found, said, strict=True)
        for block in _screen(one, lines, beside if one is found[0] else None)
    ]
    whole = {id(record): table.summary(record) for record in records}
    rows = [row for one in found for row in one.section.rows] if full else []
    cells = [table.flat(row, whole[id(row.record)]) for row in rows]
    return Document(
        name=records[0].subject.workload,
        blocks=(_Tables(records), *(beside.blocks if beside else ())) if full else tuple(screens),
        values=[
            {**whole[id(record)], "conclusions": list(lines)}
            for one, lines in zip(found, said, strict=True)
            for record in one.section.records
        ],
        title=found[0].section.title,
        lines=tuple(line for one in found for line in _lines(one.section, full)),
        conclusions=tuple(line for lines in said for line in lines),
        sheets=tuple(_sheets(found, full)),
        data={"cells": cells} if cells else {},
        figures=lambda: _figures(found),
    )


def _lines(section: Section, full: bool) -> Iterator[str]:
    """Where it was measured; with `full` what letters mean, verdicts, and what audits found."""
    yield _measured(section)
    if full:
        yield from variant_lines(section.variants)
        yield verdicts.line(section.records)
        yield from map(table.note_line, section.notes)


def _sheets(found: Sequence[RunFindings], full: bool) -> Iterator[Sheet]:
    """The summary of each table; with `full` all that there is of it too."""
    for one in found:
        for sheet in (summary(one), *(sheets.document(one.section) if full else ())):
            yield replace(sheet, title=_of(one.section, sheet.title, found))


def _of(section: Section, title: str, found: Sequence[RunFindings]) -> str:
    """The title of a part, with that of the section where there are several."""
    return f"{section.title}: {title}" if len(found) > 1 else title


def _figures(found: Sequence[RunFindings]) -> list[Figure]:
    from ...report.figures import figures

    return [
        replace(figure, title=_of(one.section, figure.title, found))
        for one in found
        for figure in figures(one.section)
    ]


def _screen(found: RunFindings, said: Sequence[str], beside: Document | None) -> Iterator[Any]:
    section = found.section
    yield Words(section.title, "bold")
    yield Words(_measured(section), "dim")
    yield from with_notes([summary(found)])
    yield from map(Words, _few(variant_lines(section.variants)))
    yield Words()
    yield from map(Words, said)
    if beside is not None:
        yield from (Words(f"Passes: {line}") for line in beside.conclusions)
    yield Words()
    yield Words(verdicts.line(section.records))
    failed = [note for note in section.notes if note.kind == "fail"]
    most = _MOST if beside is None else 1  # the sentence takes their room
    yield from map(Words, _few([table.note_line(note) for note in failed], most))
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


def _few(lines: Sequence[str], most: int = _MOST) -> list[str]:
    more = len(lines) - most
    return [*lines[:most], *([f"and {more} more"] if more > 0 else [])]


def _more(section: Section) -> str:
    findings = sum(note.kind == "finding" for note in section.notes)
    also = f", audits and {text.plural(findings, 'finding')}" if findings else " and audits"
    return (
        f"The same command with --full shows every T, intervals, bytes moved{also}; "
        "`sigmabench report` shows all that is stored."
    )
