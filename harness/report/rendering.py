"""Documents on a terminal, as Markdown and as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group

from ..core import words as text
from ..core.document import Document, Words
from ..core.sheet import RichSheet, RichWords, Sheet, escape
from ..core.sheet import markdown as markdown_sheet
from ..core.whole import write_atomically


def terminal(document: Document) -> Group:
    """For a terminal of 80 columns."""
    return Group(*map(_shown, document.blocks))


def _shown(block: Any) -> Any:
    if isinstance(block, Words):
        return RichWords(block.text, block.style)
    return RichSheet(block) if isinstance(block, Sheet) else block


def markdown(document: Document) -> str:
    """Title, lines and conclusions where there are some, then the tables."""
    head = [f"## {escape(document.title)}", ""] if document.title else []
    head += [f"- {escape(line)}" for line in document.lines]
    head += [""] * bool(document.lines)
    if document.conclusions:
        head += ["**Conclusions**", ""]
        head += [f"- {escape(line)}" for line in document.conclusions]
        head += [""]
    return "\n".join([*head, *map(markdown_sheet, document.sheets)])


def write(document: Document, study: str, out: Path) -> Iterator[Path | str]:
    """Write tables, figures and numbers into a directory.

    Args:
        document: what is written.
        study: its name.
        out: directory, made if missing.

    Yields:
        Each file when it is there: `<name>-<study>.md`, `<name>-<data>.csv` and figures; and a line
        for each figure that could not be drawn. What has no row has no file.

    Raises:
        UserError: the directory cannot be written to.
    """
    from .draw import save  # a drawing library takes longer than all else

    files = {}
    if document.sheets:
        files[f"{document.name}-{study}.md"] = markdown(document)
    for part, table in text.csv_files(document.data).items():
        files[f"{document.name}-{part}.csv"] = table
    for name, content in files.items():
        write_atomically(out / name, content.encode())
        yield out / name
    for figure in document.figures():
        yield from [figure] if isinstance(figure, str) else save([figure], out, document.name)
