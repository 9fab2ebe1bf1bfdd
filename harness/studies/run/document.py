"""What a run shows of its records."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.document import Document
from ...core.figure import Figure
from ...records.run_record import RunRecord
from ...report import table
from ...report.rows import sections


def document(found: Sequence[RunRecord], *, wide: bool = False) -> Document:
    """The main table; with `wide` all of a cell in one row."""
    return Document(
        name=found[0].subject.workload,
        blocks=(table.wide(found) if wide else table.narrow(found),),
        values=list(table.summaries(found)),
        figures=lambda: _figures(found),
    )


def _figures(found: Sequence[RunRecord]) -> list[Figure]:
    from ...report.figures import figures

    return [one for section in sections(found) for one in figures(section)]
