"""Markdown in lines of a length that people read in an editor."""

from __future__ import annotations

import re
import textwrap

WIDTH = 100
_FENCE = "```"
_ITEM = re.compile(r"(\s*)([*-]|\d+\.) +")
#: What begins a line that is left as it is: tables, headings, pictures, comments.
_WHOLE = re.compile(r"\s*(\||#|!\[|<|    )")
#: A space before what Markdown would take for the start of a list, a heading or a quotation, and
#: one that a number and what belongs to it should not be parted at.
_TIED = re.compile(
    r" (?=(?:\d+[.)]|[-+*>]|#+)(?: |$))|(?<=\bT) (?==)|(?<=[=±]) (?=\d)|(?<=\d) (?=[%±])"
)
_TIE = "\0"
#: A line of an item, and a blank one before the next item.
_APART = re.compile(r"^((?:[*-]|  ) ?\S.*)\n\n(?=[*-] )", re.MULTILINE)
#: A row of a table, and a blank line before the next.
_ROWS = re.compile(r"^(\|.*)\n\n(?=\|)", re.MULTILINE)


def wrapped(markdown: str) -> str:
    """Paragraphs and items of lists in lines of at most `WIDTH` characters, no blank line between
    items nor between rows; all else as it is."""
    written: list[str] = []
    block: list[str] = []
    fenced = False

    def end() -> None:
        if block:
            written.extend(_filled(" ".join(block)))
            block.clear()

    for line in markdown.splitlines():
        if line.startswith(_FENCE) or fenced or not line.strip() or _WHOLE.match(line):
            end()
            fenced ^= line.startswith(_FENCE)
            written.append(line.rstrip())
        else:
            if _ITEM.match(line):
                end()
            block.append(line.rstrip() if not block else line.strip())
    end()
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(written)).strip() + "\n"
    return _ROWS.sub(r"\1\n", _APART.sub(r"\1\n", text))


def _filled(text: str) -> list[str]:
    item = _ITEM.match(text)
    rest = _TIED.sub(_TIE, " ".join(text[item.end() if item else 0 :].split()))
    first = f"{item[1]}{item[2]} " if item else ""
    lines = textwrap.wrap(
        rest,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_TIE, " ") for line in lines]
