"""Text that a terminal, a page or a script gets: what would steer it is shown, not sent.

A record, a model's metadata or a folder's name may hold sequences that clear the screen, set a
title, hide a link or turn the direction of reading. `visible` writes each such character as the
JSON escape of its code (ESC is `\\u001b`), so in JSON it is still the same text.

`plain` is for outputs whose encoding lacks a character: a stand-in of `STAND_INS`, else the letter
without its accents, else its escape.
"""

from __future__ import annotations

import re
import unicodedata

#: C0 but the line feed, DEL, C1, what turns the direction of reading, line and paragraph separators
#: that are none of ours, and halves of characters.
_STEERS = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)

_HALVES = re.compile("[\ud800-\udfff]")

#: What stands for a character that an encoding lacks.
STAND_INS = {
    "✓": "ok", "✗": "no", "×": "x", "÷": "/", "·": ".", "•": "*", "…": "...", "–": "-", "—": "-",
    "−": "-", "±": "+-", "→": "->", "≈": "~", "≤": "<=", "≥": ">=", "√": "sqrt", "∞": "inf",
    "σ": "sigma", "μ": "mu", "µ": "u", "ρ": "rho", "ε": "eps", "δ": "delta", "κ": "kappa",
    "α": "alpha", "τ": "tau", "Σ": "sum", "Δ": "delta", "█": "#", "─": "-", "━": "-", "╸": "-",
    "“": '"', "”": '"', "‘": "'", "’": "'",
}  # fmt: skip


def visible(words: str) -> str:
    """The same text with every character that steers a terminal as its escape; line feeds stay."""
    return _STEERS.sub(_escape, words)


def is_text(name: str) -> bool:
    """Whether it can be written as UTF-8; other names of files hold halves of characters."""
    return not _HALVES.search(name)


def storable(json: str) -> str:
    """JSON for a file, in which halves of characters, of names that are no UTF-8, stand as they are
    shown: no strict reader takes their own escapes."""
    return _HALVES.sub(lambda found: "\\" + _escape(found), json)


def plain(words: str, encoding: str) -> str:
    """The same text in characters that the encoding has."""
    try:
        words.encode(encoding)
    except UnicodeEncodeError:
        return "".join(_stand_in(one, encoding) for one in words)
    return words


def _stand_in(one: str, encoding: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", one) if not unicodedata.combining(c))
    for candidate in (one, STAND_INS.get(one, one), bare):
        try:
            candidate.encode(encoding)
        except UnicodeEncodeError:
            continue
        return candidate
    return "".join(f"\\u{code:04x}" for code in _units(one))


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _units(one: str) -> list[int]:
    """UTF-16 code units, of which JSON makes its escapes."""
    data = one.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
