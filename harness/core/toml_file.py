"""TOML that a user wrote, and the line on which each part of it stands, for messages."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import UserError
from .whole import open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_BYTES = 1 << 16
#: What closes a value that goes on after a line.
_ENDS = ("", "]", "]]", '"""', "'''")


class TomlFile:
    """A file of TOML.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be read, is larger than 64 KiB, or is no TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = _text(path)
        try:
            self.tree: dict[str, Any] = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as reason:
            raise UserError(f"{path} is not TOML: {reason or 'it is nested too deep'}.") from reason
        self._lines = text.splitlines(keepends=True)

    def line(self, place: Sequence[str | int]) -> int:
        """Number of the line on which a part of the tree begins, from 1: the first with which what
        stands down to it holds that part. Of a part that is not there, of the last that is on the
        way to it.

        Args:
            place: keys of tables and places in arrays, from the outermost in.
        """
        asked = list(place)
        while asked and not _holds(self.tree, asked):
            asked.pop()
        if not asked:
            return 1
        lines = range(1, len(self._lines) + 1)
        return 1 + bisect_left(lines, True, key=lambda count: self._holds(count, asked))

    def _holds(self, count: int, place: Sequence[str | int]) -> bool:
        """Whether so many lines do, or as many of them as make TOML."""
        for end in range(count, 0, -1):
            if begun := _begun("".join(self._lines[:end])):
                return any(_holds(tree, place) for tree in begun)
        return False

    def problem(self, place: Sequence[str | int], words: str) -> UserError:
        """What is wrong with a part, as a sentence that begins with the file and the line."""
        return UserError(f"{self.path}, line {self.line(place)}: {words}")


def _text(path: Path) -> str:
    try:
        with open_regular(path) as stream:
            data = stream.read(_MOST_BYTES + 1)
    except OSError as reason:
        raise UserError(f"{path} cannot be read: {reason.strerror or reason}.") from reason
    if len(data) > _MOST_BYTES:
        raise UserError(f"{path} is larger than 64 KiB; divide it.")
    try:
        return data.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as reason:
        raise UserError(f"{path} is not TOML: it is not UTF-8 ({reason}).") from reason


def _begun(text: str) -> list[dict[str, Any]]:
    """What a beginning of a file holds, with its last value closed in each way that makes TOML."""
    found = (_parsed(text + end) for end in _ENDS)
    return [tree for tree in found if tree is not None]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _holds(tree: Any, place: Sequence[str | int]) -> bool:
    for part in place:
        inside = list(tree) if isinstance(tree, dict) else []
        if isinstance(tree, list):
            inside = list(range(len(tree)))
        if part not in inside:
            return False
        tree = tree[part]
    return True
