"""What commands share: kinds of options, the command line as typed, and ways to print.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from .errors import UserError
from .waiting import Lines, Pace, about

if TYPE_CHECKING:
    from .sweep import Report


AUTO = "auto"


class Numbers(click.ParamType):
    """Comma-separated whole numbers."""

    name = "N,N,..."
    example = "a list of whole numbers such as 1,10,50"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """A tuple of integers."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            raise UserError(f"{param.opts[0]} {value!r} is not {self.example}.") from None


class Counts(Numbers):
    """Comma-separated whole numbers, and the word `auto`."""

    name = "N,...,auto"
    example = f"{Numbers.example}, or one with {AUTO} added"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[Any, ...]:
        """A tuple of integers; `auto`, where it is given, is its last element."""
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        numbers = ",".join(part for part in parts if part != AUTO)
        found = super().convert(numbers, param, ctx) if numbers else ()
        return (*found, AUTO) if AUTO in parts else found


class Names(click.ParamType):
    """Comma-separated names."""

    name = "NAME,..."

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        """A tuple of names, empty ones left out."""
        if isinstance(value, tuple):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())


def _allow(_: click.Context, __: click.Parameter, gib: float | None) -> None:
    from .memory_limit import set_limit

    if gib is not None:
        set_limit(gib)


#: Of every command that loads artefacts.
MEMORY = click.option(
    "--memory",
    type=float,
    expose_value=False,
    callback=_allow,
    help="GiB that may be taken.  [default: 80 % of what is free]",
)


def command_line() -> str:
    """The command as a user would type it again; what is no UTF-8 is in the shell's `$'...'`."""
    return " ".join(map(_quoted, ["sigmabench", *sys.argv[1:]]))


def _quoted(word: str) -> str:
    try:
        word.encode()
        return shlex.quote(word)
    except UnicodeEncodeError:
        plain = word.replace("\\", r"\\").replace("'", r"\'")
        return "$'" + plain.encode(errors="surrogateescape").decode(errors="backslashreplace") + "'"


def echo_json(value: object) -> None:
    """Print a value for a script to read."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


def tell(line: str) -> None:
    """Tell the user something on standard error, where it spoils no output."""
    click.echo(line, err=True)


@contextmanager
def progress(wanted: bool) -> Iterator[Report]:
    """Progress on standard error: a bar, or lines where that is no terminal.

    Args:
        wanted: whether a person reads; nothing is shown otherwise.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if wanted and not console.is_terminal:
        with Lines(tell) as lines:
            yield lines
        return
    bar_width = max(4, min(40, console.width - 60))  # the words and the times stay whole
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=bar_width),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    pace = Pace()
    with Progress(*columns, console=console, transient=True, disable=not wanted) as bar:
        task = bar.add_task("Starting", total=None, left="")

        def report(phase: str, done: int, total: int) -> None:
            if not total:
                bar.console.print(phase, markup=False, highlight=False)
                return
            pace.at(phase, done, total)
            left = pace.left()
            told = "" if left is None else f"{about(left)} left"
            bar.update(task, description=phase, completed=done, total=total, left=told)

        yield report


def show(*renderables: Any) -> None:
    """Print tables and text for a person; what is wider than the console is not cut."""
    from rich.console import Console

    console = Console()
    for renderable in renderables:
        console.print(renderable, crop=False)
