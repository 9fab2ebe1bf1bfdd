"""What a study shows: tables, figures and sentences, before they are put on a terminal, a page or
into files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .figure import Figure
from .sheet import Sheet


@dataclass(frozen=True)
class Words:
    """A paragraph.

    Attributes:
        text: of it; empty for a blank line.
        style: `bold`, `dim`, or empty.
    """

    text: str = ""
    style: str = ""


@dataclass(frozen=True, eq=False)
class Document:
    """What a study shows of its records on one machine.

    Attributes:
        name: how files of it begin.
        blocks: for a terminal of 80 columns, from top to bottom: words, sheets, and what draws
            itself on a console.
        values: all of it, of JSON's types.
        title: of the whole.
        lines: what a reader should know, one sentence each.
        conclusions: computed sentences.
        sheets: tables with every interval, as they stand in files.
        data: name to rows of numbers, each a mapping of one set of columns.
        figures: makes them where they are asked for, with a line for each that cannot be made.
        asides: lines for who asked for it, beside all that is shown and written.
    """

    name: str
    blocks: tuple[Any, ...]
    values: Any
    title: str = ""
    lines: tuple[str, ...] = ()
    conclusions: tuple[str, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    data: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    figures: Callable[[], Iterable[Figure | str]] = tuple
    asides: tuple[str, ...] = ()


def with_notes(sheets: Sequence[Sheet]) -> list[Any]:
    """Blocks of those sheets that have rows: a blank line, the table, its notes."""
    found: list[Any] = []
    for sheet in sheets:
        if sheet.rows:
            found += [Words(), sheet]
            found += [Words(" ".join(sheet.notes), "dim")] if sheet.notes else []
    return found
