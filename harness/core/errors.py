"""Errors a user can cause, each one sentence that names the thing and the way out."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .escape import visible

MOST_NAMED = 30


class UserError(Exception):
    """Bad input. The CLI prints the message and exits with status 2; there is no traceback. What
    would steer a terminal, or could not be printed, is shown in it."""

    def __str__(self) -> str:
        return visible(super().__str__())


class OutputError(UserError):
    """What a command prints cannot be written."""


class DeclarationError(UserError):
    """What a workload or a split declares does not fit; whoever knows the workload names it."""


class NotFiniteImageError(UserError):
    """An image that holds NaN or infinity.

    Attributes:
        index: of the image, counted from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(
            f"Image {index} (counted from 0) holds a number that is not finite; correct it, or "
            "leave it out."
        )
        self.index = index


def first_line(reason: BaseException) -> str:
    """The first line of an exception's text, or its kind where it has none."""
    return (str(reason).strip().splitlines() or [type(reason).__name__])[0]


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """A `UserError` for a name that is not known, with the nearest names that are.

    Args:
        kind: what was named, singular, as the user would say it (`workload`, `format`).
        name: what the user wrote.
        known: every name that would have been accepted, perhaps none.
    """
    choices = sorted(known)
    folded = {choice.casefold(): choice for choice in choices}
    close = difflib.get_close_matches(name.casefold(), folded, n=2, cutoff=0.5)
    if close:
        hint = "did you mean " + " or ".join(folded[c] for c in close) + "?"
    elif not choices:
        hint = "there are none."
    else:
        more = f" and {len(choices) - MOST_NAMED} more" if len(choices) > MOST_NAMED else ""
        hint = "known: " + ", ".join(choices[:MOST_NAMED]) + more + "."
    return UserError(f"There is no {kind} named {name!r}; {hint}")


@contextmanager
def quiet() -> Iterator[None]:
    """No Python warnings while it lasts: what PyTorch has to say of a module that is only tried
    concerns its developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


#: Whose warnings concern their developers, by the module that they are laid to.
_LIBRARIES = r"(torch|torchvision|PIL|sigmabench)(\.|$)"


@contextmanager
def few_warnings(tell: Callable[[str], object] | None = None) -> Iterator[None]:
    """Python warnings of PyTorch, Pillow and this package are not shown while it lasts; those of
    others, such as a workload's own module, are. `python -W` shows all, as Python does.

    Args:
        tell: called with each warning that is shown, as one sentence; None: Python prints it.
    """
    if sys.warnoptions:
        yield
        return

    def shown(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        assert tell is not None
        text = first_line(message) if isinstance(message, Warning) else message
        tell(f"{category.__name__} of {Path(filename).name}, line {lineno}: {text}")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_LIBRARIES)
        if tell is not None:
            warnings.showwarning = shown
        yield
