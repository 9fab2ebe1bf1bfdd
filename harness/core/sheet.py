"""A table before it is drawn: titles, columns and cells of text, and its renderers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .escape import plain, visible

#: Longer names fold; shorter ones stand whole as long as the numbers do.
_NAME = 16
_STYLES = {"✓": "green", "✗": "bold red"}
#: Whether a blank line stands above, and the cells with their styles; a heading is the first alone.
_Line = tuple[bool, list[tuple[str, str]]]


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
            yield from _drawn(part, console, options)
        if len(parts) > 1:
            yield Text(f"In {len(parts)} parts: the terminal is narrow.", style="dim")


@dataclass(frozen=True)
class RichWords:
    """A paragraph for people, in characters that the console's encoding has before it is laid out:
    what stands in for one may be longer."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(plain(visible(self.text), options.encoding), style=self.style)


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
    return _width(sheet, _widest(sheet), gap=1) <= room


def _drawn(sheet: Sheet, console: Console, options: ConsoleOptions) -> Iterable[Segment]:
    """Rich lays out what folds. Where nothing does, it draws the head alone: a long table takes it
    many times as long as putting cells side by side."""
    widths = _widest(sheet)
    gap = _gap(sheet, widths, options.max_width)
    options = options.update(width=max(_width(sheet, widths, gap), options.max_width))
    table, lines = _head(sheet, widths, gap), _lines(sheet, widths)
    if options.ascii_only or _may_fold(sheet, widths):
        for apart, cells in lines:
            if apart:
                table.add_section()
            table.add_row(*(prose(*cell) for cell in cells))
        return console.render(table, options)
    return chain(console.render(table, options), _side_by_side(lines, widths, gap))


def _may_fold(sheet: Sheet, widths: Sequence[int]) -> bool:
    """Whether a cell may take several lines, or an empty column the room of others."""
    if 0 in widths or not all(map(_stands_whole, sheet.columns, widths)):
        return True
    return any("\n" in cell for row in (sheet.headings.values(), *sheet.rows) for cell in row)


def _stands_whole(column: Column, widest: int) -> bool:
    return column.numeric or column.whole or widest <= _NAME


def _head(sheet: Sheet, widths: Sequence[int], gap: int) -> Table:
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
    for column, head, widest in zip(sheet.columns, _heads(sheet), widths, strict=True):
        whole = _stands_whole(column, widest)
        table.add_column(
            prose("\n".join(_aligned(line, column, widest) for line in head)),
            no_wrap=whole,
            overflow="ignore" if whole else "fold",
            min_width=widest if whole else _NAME,
        )
    return table


def _lines(sheet: Sheet, widths: Sequence[int]) -> Iterator[_Line]:
    above: tuple[str, ...] = ()
    for index, row in enumerate(sheet.rows):
        group = row[: sheet.grouped]
        apart = index > 0 and (group != above or index in sheet.headings)
        if index in sheet.headings:
            yield apart, [(sheet.headings[index], "bold")]
            apart = False
        words = (*_unrepeated(group, above), *row[sheet.grouped :])
        cells = [_aligned(*one) for one in zip(words, sheet.columns, widths, strict=True)]
        styles = [_STYLES.get(one, "") if i >= sheet.grouped else "" for i, one in enumerate(cells)]
        yield apart, list(zip(cells, styles, strict=True))
        above = group


def _side_by_side(lines: Iterable[_Line], widths: Sequence[int], gap: int) -> Iterator[Segment]:
    """What Rich draws of lines of which no cell folds."""
    whole = _line_width(widths, gap)
    starts = [sum(widths[:i]) + gap * i for i in range(len(widths))]
    for apart, cells in lines:
        unstyled, at = " " * whole + "\n" if apart else "", 0
        for (words, style), start in zip(cells, starts, strict=False):
            unstyled += " " * (start - at)
            at = start + _cells(words)
            if style:
                yield from (Segment(unstyled), Segment(words, Style.parse(style)))
                unstyled = ""
            else:
                unstyled += words
        yield Segment(unstyled + " " * (whole - at) + "\n")


def _aligned(cell: str, column: Column, width: int) -> str:
    """Numbers to the right. Rich does not align what it may not cut."""
    return " " * (width - _cells(cell)) + cell if column.numeric else cell


def _unrepeated(group: tuple[str, ...], above: tuple[str, ...]) -> list[str]:
    """The cells of a group, blank up to the first that differs from the row above."""
    same = [group[: i + 1] == above[: i + 1] for i in range(len(group))]
    return ["" if repeat else cell for cell, repeat in zip(group, same, strict=True)]


def _heads(sheet: Sheet) -> list[tuple[str, ...]]:
    two = any(column.unit for column in sheet.columns)
    return [(c.name, c.unit) if two else (c.name,) for c in sheet.columns]


def _widest(sheet: Sheet) -> list[int]:
    """Terminal cells that each column takes; headings stand in the first."""
    heads = _heads(sheet)
    columns = list(zip(*sheet.rows, strict=True)) or [()] * len(heads)
    columns[0] = (*columns[0], *sheet.headings.values())
    lines = [
        [line for cell in (*head, *cells) for line in cell.split("\n")]
        for head, cells in zip(heads, columns, strict=True)
    ]
    return [max(map(_cells, column)) for column in lines]


def _cells(line: str) -> int:
    """Terminal cells of a line in which nothing steers the terminal."""
    return len(line) if line.isascii() else cell_len(line)


def _gap(sheet: Sheet, widest: Sequence[int], room: int) -> int:
    """1 where that makes the sheet fit, else 2."""
    return 1 if _width(sheet, widest, gap=1) <= room < _width(sheet, widest, gap=2) else 2


def _width(sheet: Sheet, widest: Sequence[int], gap: int) -> int:
    """Terminal cells that the sheet takes with its long names folded."""
    folded = [
        width if column.numeric or column.whole else min(width, _NAME)
        for width, column in zip(widest, sheet.columns, strict=True)
    ]
    return _line_width(folded, gap)


def _line_width(widths: Sequence[int], gap: int) -> int:
    return sum(widths) + gap * (len(widths) - 1)


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
