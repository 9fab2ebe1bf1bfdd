"""What records of memory show: a table for each program, against the least that it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...core.document import Document, Words
from ...core.sheet import Column, Sheet
from ...core.words import plural, times
from ...records.envelope import flat
from ...records.runtime_record import PURPOSES, MemoryRecord, MemoryUse

TARGET = 1.3  # times the bound that a program should not exceed
_MIB = 2**20


def document(found: Sequence[MemoryRecord]) -> Document:
    """A table for each program, with its notes."""
    sheets = tuple(map(table, found))
    blocks: list[Any] = []
    for sheet in sheets:
        blocks += [*([Words()] if blocks else []), sheet, *map(Words, sheet.notes)]
    return Document(
        name=found[0].subject.network,
        blocks=tuple(blocks),
        values=[to_dict(record) for record in found],
        sheets=sheets,
        data={"memory": [{**asdict(one.subject), **figures(one.body)} for one in found]},
    )


def table(record: MemoryRecord) -> Sheet:
    """The bound, what the program holds, and how the process has grown, in MiB (2²⁰ bytes)."""
    asked, use = record.subject, record.body
    shape = "×".join(map(str, use.input_shape))
    title = (
        f"{asked.network} {shape}, {asked.format}, batch {asked.batch}, T = {asked.mc}, "
        f"{plural(asked.threads, 'thread')}"
    )
    concurrent = plural(min(asked.mc, asked.threads // use.team), "pass", "passes")
    parts = {
        "μ, packed": use.mean_bytes,
        "σ, packed": use.std_bytes,
        f"largest layer's sampled weights × {concurrent}": use.weights_bytes,
        f"activations alive at once × {concurrent}": use.live_bytes,
    }
    rows = (
        *((name, _mib(count), "") for name, count in parts.items()),
        ("bound", _mib(use.bound_bytes), "1"),
        *((PURPOSES[purpose], _mib(count), "") for purpose, count in use.program.items()),
        _ratio(use, "the program", use.allocated_bytes),
        _ratio(use, "growth of the process", use.growth_bytes),
        _ratio(use, "its peak, the artefact being loaded", use.peak_bytes - use.base_bytes),
    )
    columns = (Column("memory", numeric=False), Column("MiB"), Column("÷ bound"))
    return Sheet(title, columns, rows, {}, notes=notes(record))


def notes(record: MemoryRecord) -> tuple[str, ...]:
    """What a reader of the table should know, one sentence each."""
    return (
        f"μ and σ are {record.subject.posterior}.",
        "Bound: the least that would do, the sum of the rows above it; ÷ bound: this row over it.",
        f"The aim, for networks of millions of weights, is at most {TARGET} × the bound. Growth is "
        "that of the resident set after imports and a tiny network; it includes oneDNN's kernels.",
    )


def figures(use: MemoryUse) -> dict[str, Any]:
    """What the table computes."""
    return {
        "bound_bytes": use.bound_bytes,
        "allocated_bytes": use.allocated_bytes,
        "growth_bytes": use.growth_bytes,
        "allocated_over_bound": use.allocated_bytes / use.bound_bytes,
        "growth_over_bound": use.growth_bytes / use.bound_bytes,
    }


def to_dict(record: MemoryRecord) -> dict[str, Any]:
    """The record, with what the table shows."""
    return {**flat(record), "figures": figures(record.body)}


def _ratio(use: MemoryUse, name: str, count: int) -> tuple[str, str, str]:
    return name, _mib(count), times(count / use.bound_bytes).removesuffix("×")


def _mib(count: int) -> str:
    return f"{count / _MIB:.2f}"
