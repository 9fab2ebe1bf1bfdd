"""A table before it is drawn: titles, columns and cells of text, and its renderers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from .escape import plain, visible

#: Longer names fold; shorter ones stand whole as long as the numbers do.
_NAME = 16


@dataclass(frozen=True)
class Column:
    """A column of a sheet.

    Attributes:
        name: of the quantity.
        unit: its unit, or the second line of a longer name.
        numeric: aligned to the right, and never folded.
        whole: folded only where a terminal is too narrow for the column beside what names a row.
    """

    name: str
    unit: str = ""
    numeric: bool = True
    whole: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        title: what it shows; the caption.
        columns: its columns.
        rows: of each row, as many cells as there are columns.
        headings: row index to a heading that stands above that row.
        grouped: how many leading columns rows are grouped by; a terminal shows their repeats blank.
        notes: how to read it.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    headings: dict[int, str]
    grouped: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RichSheet:
    """A sheet for people. No cell is ever cut, for half a number is another number.

    Columns move together, then long names fold, to fit the console. What is piped is as wide as it
    has to be; on a terminal that is too narrow the columns stand in parts, one below the other, and
    names fold that else are whole. From 40 columns on every table of a command fits.
    """

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = options.max_width
        sheet = _shown(self.sheet, options.encoding)
        parts = _parts(sheet, room) if console.is_terminal else [sheet]
        for part in parts:
            width = max(_width(part, _heads(part), _gap(part, room)), room)
            yield from console.render(_table(part, room), options.update(width=width))
        if len(parts) > 1:
            yield Text(f"In {len(parts)} parts, for want of width.", style="dim")


class SafeConsole(Console):
    """A console that sends no control characters but its own."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Segments of what is printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def prose(words: str, style: str = "") -> Text:
    """Text as it is: no markup, and nothing in it that steers the terminal."""
    return Text(visible(words), style=style)


def _shown(sheet: Sheet, encoding: str) -> Sheet:
    """The sheet in characters that may be sent, and that the encoding has: widths are theirs."""

    def each(cell: str) -> str:
        return plain(visible(cell), encoding)

    return Sheet(
        each(sheet.title),
        tuple(replace(one, name=each(one.name), unit=each(one.unit)) for one in sheet.columns),
        tuple(tuple(map(each, row)) for row in sheet.rows),
        {index: each(heading) for index, heading in sheet.headings.items()},
        sheet.grouped,
        sheet.notes,
    )


def _parts(sheet: Sheet, room: int) -> list[Sheet]:
    """The sheet, or its columns in as many parts as it takes; each begins with what names a row."""
    if _fits(sheet, room):
        return [sheet]
    columns = sheet.columns
    named = next((i for i, column in enumerate(columns) if not column.numeric), 0) + 1
    first = list(range(max(named, sheet.grouped)))
    parts = [first]
    for place in range(len(first), len(columns)):
        wider = [*parts[-1], place]
        if parts[-1] == first or _fits(_of(sheet, wider), room):
            parts[-1] = wider
        else:
            parts.append([*first, place])
    return [
        replace(_folding(_of(sheet, part), room), title=sheet.title * (part is parts[0]))
        for part in parts
    ]


def _folding(sheet: Sheet, room: int) -> Sheet:
    """The sheet, in which every name may fold if it is too wide."""
    if _fits(sheet, room):
        return sheet
    return replace(sheet, columns=tuple(replace(one, whole=False) for one in sheet.columns))


def _of(sheet: Sheet, places: Sequence[int]) -> Sheet:
    """Some columns of a sheet."""
    rows = tuple(tuple(row[place] for place in places) for row in sheet.rows)
    return replace(sheet, columns=tuple(sheet.columns[place] for place in places), rows=rows)


def _fits(sheet: Sheet, room: int) -> bool:
    return _width(sheet, _heads(sheet), gap=1) <= room


def _table(sheet: Sheet, room: int) -> Table:
    heads = _heads(sheet)
    gap = _gap(sheet, room)
    table = Table(
        title=prose(sheet.title, "bold") if sheet.title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap - 1, 0, 0),
        header_style="dim",
        highlight=False,
    )
    widths = _widest(sheet, heads)
    for column, head, widest in zip(sheet.columns, heads, widths, strict=True):
        whole = column.numeric or column.whole or widest <= _NAME
        table.add_column(
            prose("\n".join(_aligned(line, column, widest) for line in head)),
            no_wrap=whole,
            overflow="ignore" if whole else "fold",
            min_width=widest if whole else _NAME,
        )
    for index, row in enumerate(sheet.rows):
        above = sheet.rows[index - 1][: sheet.grouped] if index else ()
        group = row[: sheet.grouped]
        if index and (group != above or index in sheet.headings):
            table.add_section()
        if index in sheet.headings:
            table.add_row(prose(sheet.headings[index], "bold"))
        cells = [
            _aligned(cell, column, widest)
            for cell, column, widest in zip(
                (*_unrepeated(group, above), *row[sheet.grouped :]),
                sheet.columns,
                widths,
                strict=True,
            )
        ]
        table.add_row(*map(prose, cells[: sheet.grouped]), *map(_styled, cells[sheet.grouped :]))
    return table


def _aligned(cell: str, column: Column, width: int) -> str:
    """Numbers to the right. Rich does not align what it may not cut."""
    return " " * (width - cell_len(cell)) + cell if column.numeric else cell


def _unrepeated(group: tuple[str, ...], above: tuple[str, ...]) -> list[str]:
    """The cells of a group, blank up to the first that differs from the row above."""
    same = [group[: i + 1] == above[: i + 1] for i in range(len(group))]
    return ["" if repeat else cell for cell, repeat in zip(group, same, strict=True)]


def _heads(sheet: Sheet) -> list[tuple[str, ...]]:
    two = any(column.unit for column in sheet.columns)
    return [(c.name, c.unit) if two else (c.name,) for c in sheet.columns]


def _widest(sheet: Sheet, heads: list[tuple[str, ...]]) -> list[int]:
    """Terminal cells that each column takes; headings stand in the first."""
    columns = list(zip(*sheet.rows, strict=True)) or [()] * len(heads)
    columns[0] = (*columns[0], *sheet.headings.values())
    lines = [
        [line for cell in (*head, *cells) for line in cell.split("\n")]
        for head, cells in zip(heads, columns, strict=True)
    ]
    return [max(map(cell_len, column)) for column in lines]


def _gap(sheet: Sheet, room: int) -> int:
    """1 where that makes the sheet fit, else 2."""
    heads = _heads(sheet)
    return 1 if _width(sheet, heads, gap=1) <= room < _width(sheet, heads, gap=2) else 2


def _width(sheet: Sheet, heads: list[tuple[str, ...]], gap: int) -> int:
    """Terminal cells that the sheet takes with its long names folded."""
    widest = [
        width if column.numeric or column.whole else min(width, _NAME)
        for width, column in zip(_widest(sheet, heads), sheet.columns, strict=True)
    ]
    return sum(widest) + gap * (len(widest) - 1)


def markdown(sheet: Sheet) -> str:
    """The sheet as a GitHub-flavoured Markdown table with its title and notes."""
    heads = [f"{c.name} {c.unit}".strip() for c in sheet.columns]
    lines = [f"**{escape(sheet.title)}**", "", _md_row(heads)]
    lines.append("|" + "|".join("---:" if c.numeric else "---" for c in sheet.columns) + "|")
    for index, row in enumerate(sheet.rows):
        if index in sheet.headings:
            heading = f"**{escape(sheet.headings[index])}**"
            lines.append("| " + " | ".join([heading, *[""] * (len(heads) - 1)]) + " |")
        lines.append(_md_row([cell.strip() for cell in row]))
    lines += ["", *(f"{escape(note)}  " for note in sheet.notes)]
    return "\n".join(lines).rstrip() + "\n"


def _md_row(cells: list[str]) -> str:
    return "| " + " | ".join(map(escape, cells)) + " |"


def escape(line: str) -> str:
    """Words that GitHub's Markdown shows as they are, inside a line."""
    return re.sub(r"([\\|<>&*_`~$#\[\]])", r"\\\1", visible(" ".join(line.split("\n"))))


def _styled(cell: str) -> Text:
    styles = {"✓": "green", "✗": "bold red"}
    return prose(cell, styles.get(cell, ""))
