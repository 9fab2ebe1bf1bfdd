"""Sheets of what a format costs: time and bytes of a pass, bytes on disk."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import words as text
from ..core.sheet import Column, Sheet
from ..measure.clock import QUERY_SECONDS
from ..records.reference_times import Reference
from ..records.run_record import RunRecord
from ..records.timed_conditions import Conditions
from ..records.verdict import SPEED
from .cache_level import level_of
from .conditions_note import meanwhile
from .rows import RecordRow, Section, unique
from .score_cells import setting
from .timing_notes import sentences
from .verdicts import mark

_ADAPTIVE = " (at adaptive T, over the mean latency; so is × FP32)"


def speed(section: Section) -> Sheet:
    """Latency of a query of T passes, throughput and bytes moved, one row per cell."""
    rows = section.rows
    unit, size = text.byte_unit(r.record.body.bandwidth.pass_bytes for r in rows)
    cells = [
        (
            *setting(row),
            row.label,
            *speed_cells(row, size),
            mark(row.record.verdict.of(SPEED)),
        )
        for row in rows
    ]
    columns = (
        Column("T"),
        Column("batch"),
        Column("format", numeric=False),
        *speed_columns(unit),
        Column(""),
    )
    notes = (
        "Latency of one query: a batch, T passes, fresh weights for each. Images/s: batch over p50"
        f"{_ADAPTIVE if any(row.record.body.adaptive for row in rows) else ''}.",
        *_cut_note(rows),
        "× FP32: speed in units of FP32's at the same T and batch, measured in turns with it; – "
        "where it was not. Moved: bytes of μ, σ, sampled weights and activations per pass, which "
        "are counted, not measured, and 10^9 of them per second. From: the smallest cache of a "
        "core that holds them, where what is both written and read counts once; – where the "
        "machine does not report its caches.",
        *sentences(_races(rows)),
        *meanwhile(_conditions(rows)),
    )
    return Sheet("Speed", columns, tuple(cells), {}, 2, notes)


def size(section: Section, exact: bool = False) -> Sheet:
    """Bytes on disk, itemised, and ratios to FP32, one row per format.

    Args:
        section: what to show.
        exact: whole bytes, instead of a unit in which the largest reads well.
    """
    rows = unique(section.rows, lambda r: (r.label, r.record.body.size))
    unit, scale = text.byte_unit(r.record.body.size.file_bytes for r in rows)
    if exact:
        unit, scale = "B", 1.0
    write = (lambda v: f"{v:,}") if exact else (lambda v: text.significant(v / scale))
    divided = any(row.record.body.size.constant_bytes for row in rows)
    fp32 = next((r.record.body.size for r in rows if r.record.subject.format == "FP32"), None)
    cells = []
    for row in rows:
        s = row.record.body.size
        parts = [s.weight_bytes, s.scale_bytes, s.bias_bytes, s.graph_bytes, s.header_bytes]
        parts += [s.constant_bytes] if divided else []
        same = fp32 is not None and fp32.weights == s.weights and s.weight_bytes > 0
        measured = fp32.weight_bytes / s.weight_bytes if fp32 is not None and same else None
        ratios = (text.times(measured), text.times(s.ratio_weights), text.times(s.ratio_file))
        cells.append((row.label, write(s.file_bytes), *map(write, parts), *ratios))
    names = ("file", "μ, σ", "scales", "biases", "graph", "header", *(["float"] if divided else ()))
    columns = (
        Column("format", numeric=False),
        *(Column(name, unit) for name in names),
        Column("μ, σ", "÷"),
        Column("bits", "÷"),
        Column("file", "÷"),
    )
    counts = sorted({r.record.body.size.weights for r in rows})
    notes = (
        f"{text.either(counts, 'weight')}. File: all bytes, which are those of μ and σ, their "
        "scales, the biases, the graph with its activation scales, and the header. ÷: FP32's bytes "
        "over this format's, for μ and σ, and for the file; bits ÷: the same by the closed form, "
        "64 bits per weight (μ and σ in float32) over this format's bits per weight.",
        *(["Float: parameters of operations that stay float."] if divided else ()),
    )
    return Sheet("Size on disk", columns, tuple(cells), {}, 0, notes)


def speed_columns(unit: str) -> tuple[Column, ...]:
    """The heads of `speed_cells`; bytes moved are in a unit."""
    return (
        Column("p50", "ms"),
        Column("p90", "ms"),
        Column("p99", "ms"),
        Column("images", "/s"),
        Column("×", "FP32"),
        Column("moved", unit),
        Column("moved", "GB/s"),
        Column("moved", "from"),
    )


def speed_cells(row: RecordRow, byte_scale: float) -> tuple[str, ...]:
    """Latency, throughput and bytes moved of a cell; the scale is of the unit of the bytes."""
    timing, moved = row.record.body.timing, row.record.body.bandwidth
    return (
        *map(text.milliseconds, _percentiles(row.record)),
        text.significant(timing.images_per_second),
        text.times(row.speedup),
        text.significant(moved.pass_bytes / byte_scale),
        text.significant(moved.achieved_gb_per_s),
        level_of(row.record) or text.MISSING,
    )


def _cut_note(rows: Sequence[RecordRow]) -> tuple[str, ...]:
    if not any(row.record.body.timing.passes for row in rows):
        return ()
    return (
        f"Queries that would take more than {QUERY_SECONDS:g} s were timed with fewer passes; "
        "their p50 is T times the median time of a pass.",
    )


def _races(rows: Sequence[RecordRow]) -> list[tuple[Reference, ...]]:
    """What took turns in each race."""
    found = {r.record.body.timing.race: r.record.body.references for r in rows}
    return list(found.values())


def _conditions(rows: Sequence[RecordRow]) -> list[Conditions | None]:
    """In each race."""
    found = {r.record.body.timing.race: r.record.provenance.conditions for r in rows}
    return list(found.values())


def _percentiles(record: RunRecord) -> tuple[float | None, ...]:
    """p50, p90 and p99 of a query, ns; of one that was timed with fewer passes, T times the median
    of a pass, which says nothing of the tail of T."""
    found = record.body.timing.percentiles_ns
    median = found.get("p50")
    if record.body.timing.passes:
        return None if median is None else median * record.of_all_passes, None, None
    return median, found.get("p90"), found.get("p99")
