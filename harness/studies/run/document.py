"""What a run shows of its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...core.document import Document
from ...records.run_record import RunRecord
from ...report import table


def document(found: Sequence[RunRecord], *, wide: bool = False) -> Document:
    """The main table; with `wide` all of a cell in one row."""
    return Document(
        name=found[0].subject.workload,
        blocks=(table.wide(found) if wide else table.narrow(found),),
        values=list(table.summaries(found)),
        draw=lambda out, name: _draw(found, out),
    )


def _draw(found: Sequence[RunRecord], out: Path) -> list[Path]:
    from ...report.figures import figures

    return figures(found, out)
