"""What the sampler's record shows: a row for each width of σ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...core.document import Document, Words
from ...core.sheet import Column, Sheet
from ...core.words import plural
from ...records.envelope import flat
from ...records.runtime_record import SamplerRecord
from ...report.conditions_note import meanwhile
from ...report.timing_notes import sentences
from .analyse import rates, share

HEADINGS = ("σ bits", "10⁹ weights/s", "GB/s", "copy GB/s", "of the copy", "95 %")
_COLUMNS = (
    "GB/s: bytes of μ and σ read, and of weights written, per second. Copy GB/s: those of a plain "
    "copy of as many bytes, timed in turns. Of the copy: the first over the second, with its 95 % "
    "interval."
)


def document(found: Sequence[SamplerRecord]) -> Document:
    """A table for each record."""
    sheets = tuple(map(table, found))
    blocks: list[Any] = []
    for sheet in sheets:
        blocks += [*([Words()] if blocks else []), sheet, *map(Words, sheet.notes)]
    values = [to_dict(record) for record in found]
    return Document(
        name="draws",
        blocks=tuple(blocks),
        values=values[0] if len(values) == 1 else values,
        sheets=sheets,
        data={
            "widths": [
                {"threads": record.subject.threads, "weights": record.subject.weights, **row}
                for record in found
                for row in rows(record)
            ]
        },
    )


def table(record: SamplerRecord) -> Sheet:
    """For every σ width: weights and bytes per second, and the copy of the same bytes."""
    asked, body = record.subject, record.body
    title = (
        f"Drawing {asked.weights / 1e6:.0f} M weights, "
        f"{plural(asked.threads, 'thread')}, {body.sampler}"
    )
    cells = []
    for width in body.widths:
        ratio, speed = share(width), rates(width)
        cells.append(
            (
                str(width.bits),
                f"{speed.weights_per_second / 1e9:.2f}",
                f"{speed.gb_per_s:.1f}",
                f"{speed.copy_gb_per_s:.1f}",
                f"{ratio.value:.2f}",
                f"{ratio.low:.2f}–{ratio.high:.2f}",
            )
        )
    cores = [f"Mind the cores: {finding}." for finding in body.findings]
    while_drawing = meanwhile([record.provenance.conditions])
    notes = (_COLUMNS, *sentences([body.references]), *while_drawing, *cores)
    return Sheet(title, tuple(map(Column, HEADINGS)), tuple(cells), {}, notes=notes)


def rows(record: SamplerRecord) -> list[dict[str, Any]]:
    """What the table shows, in full."""
    return [
        {
            "bits": width.bits,
            **asdict(rates(width)),
            "share_of_copy": share(width).value,
        }
        for width in record.body.widths
    ]


def to_dict(record: SamplerRecord) -> dict[str, Any]:
    """The record, with what the table shows."""
    return {**flat(record), "figures": rows(record)}
