"""What commands share: kinds of options, the command line as typed, and ways to print.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..core.errors import OutputError, UserError
from ..core.escape import plain, visible
from ..core.stopping import AUTO
from ..core.waiting import Lines, Pace, about

if TYPE_CHECKING:
    from ..core.waiting import Report


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
    from ..machine.memory_limit import set_limit

    if gib is not None:
        set_limit(gib)


#: Of every command that loads artefacts.
MEMORY = click.option(
    "--memory",
    type=float,
    expose_value=False,
    callback=_allow,
    help="GiB of memory that may be used.  [default: 80 % of what is free]",
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


def write(text: str, err: bool = False) -> None:
    """Write to standard output, or to standard error, in characters that its encoding has.

    Raises:
        OutputError: it cannot be written to.
        BrokenPipeError: nobody reads it any more.
    """
    stream = sys.stderr if err else sys.stdout
    shown = plain(text, stream.encoding or "utf-8")
    try:
        _write_all(stream, shown)
        stream.flush()
    except OSError as reason:
        _give_up(stream)
        if isinstance(reason, BrokenPipeError):
            raise
        raise OutputError(
            f"The output cannot be written ({reason.strerror or reason}); what is there of it is "
            "not whole."
        ) from reason


def _write_all(stream: TextIO, text: str) -> None:
    """As often as it takes: an unbuffered output (PYTHONUNBUFFERED) takes what fits on the disk and
    says no word of the rest."""
    binary = getattr(stream, "buffer", None)
    if binary is None:
        stream.write(text)
        return
    stream.flush()
    left = memoryview(text.encode(stream.encoding))
    while left:
        left = left[binary.write(left) :]


def _give_up(stream: TextIO) -> None:
    """Send what is still buffered nowhere, or the interpreter would try again as it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def echo(words: object, err: bool = False) -> None:
    """Print a line, or lines, in which nothing steers the terminal."""
    write(f"{visible(str(words))}\n", err)


def echo_json(value: object) -> None:
    """Print a value for a script to read."""
    echo(json.dumps(value, indent=1, ensure_ascii=False))


def tell(line: str) -> None:
    """Tell the user something on standard error, where it spoils no output."""
    echo(line, err=True)


@contextmanager
def progress(wanted: bool) -> Iterator[Report]:
    """Progress on standard error: a bar, or lines where that is no terminal.

    Args:
        wanted: whether a person reads; nothing is shown otherwise.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.table import Column

    console = Console(stderr=True)
    if wanted and not console.is_terminal:
        with Lines(tell) as lines:
            yield lines
        return
    # No time is cut: the words wrap, and for want of width first the bar goes, then the time taken.
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False, table_column=Column()),
        TextColumn("{task.fields[left]}"),
    ]
    if console.width >= 50:
        columns.insert(1, TimeElapsedColumn(Column(no_wrap=True)))
    if (room := console.width - 60) >= 0:
        columns.insert(1, BarColumn(max(4, min(40, room)), table_column=Column(no_wrap=True)))
    pace = Pace()
    with Progress(*columns, console=console, transient=True, disable=not wanted) as bar:
        task = bar.add_task("Starting", total=None, left="")

        def report(phase: str, done: int, total: int) -> None:
            phase = visible(phase)
            if not total:
                bar.console.print(phase, markup=False, highlight=False)
                return
            pace.at(phase, done, total)
            left = pace.left()
            told = "" if left is None else f"{about(left)} left"
            bar.update(task, description=phase, completed=done, total=total, left=told)

        yield report


class _Held(io.StringIO):
    """What is to be written to standard output, laid out for it and held back."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return sys.stdout.encoding


def show(*renderables: Any) -> None:
    """Print tables and text for a person; what is wider than the console is not cut."""
    from ..core.sheet import SafeConsole, prose

    held = _Held()
    console = SafeConsole(file=held)
    for one in renderables:
        console.print(prose(one) if isinstance(one, str) else one, crop=False)
    write(held.getvalue())
