"""Records whose every text would steer a terminal, and what to look for in what is shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from dataclasses import fields, is_dataclass, replace
from typing import Any

#: Clears the screen, sets a title, hides a link, C1, direction of reading, carriage return, markup.
HOSTILE = "\x1b[2J\x1b]0;t\x07\x1b]8;;http://x\x1b\\\x9b31m\x85\u202e\r\t\x08[/b][red]"
_BIDI = {
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}

#: Text that decides what a record is; of other content there is no such record.
CLOSED = {"format", "stopping", "outcome", "corruption", "reference", "network"}


def steering(shown: str) -> set[str]:
    """Characters of a text that steer a terminal, line feeds apart."""
    return {
        c for c in shown if c != "\n" and (unicodedata.category(c) in ("Cc", "Cs") or c in _BIDI)
    }


def planted(value: Any, closed: Collection[str] = CLOSED) -> Any:
    """The same with `HOSTILE` at the end of every text, but in fields that are closed; dictionaries
    of text have one more entry, of a hostile name."""
    if isinstance(value, str):
        return value + HOSTILE
    if is_dataclass(value) and not isinstance(value, type):
        given = {one.name: getattr(value, one.name) for one in fields(value) if one.init}
        return replace(
            value, **{k: v if k in closed else planted(v, closed) for k, v in given.items()}
        )
    if isinstance(value, dict):
        more = (
            {HOSTILE: HOSTILE} if value and all(isinstance(v, str) for v in value.values()) else {}
        )
        return {k: planted(v, closed) for k, v in value.items()} | more
    if isinstance(value, (tuple, list)):
        return type(value)(planted(one, closed) for one in value)
    return value
