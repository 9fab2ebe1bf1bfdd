"""How figures look: colours, markers, lines and sizes, whatever a user's matplotlibrc says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl

from ..core.figure import Look
from .palette import FAINT, INK, PALE, TONES, colour, hollow, step

__all__ = ["FAINT", "INK", "TONES", "colour", "face", "hollow", "line", "marked", "styled"]

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_NAMED = {"circle": "o", "square": "s", "triangle": "^", "diamond": "D", "wedge": "v"}
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))

_RC: dict[Any, Any] = {
    "font.size": 8,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a label may hold a $
    "axes.edgecolor": INK,
    "axes.formatter.useoffset": False,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "grid.color": FAINT,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "figure.dpi": 200,
    "savefig.dpi": 200,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the reports."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def face(look: Look) -> tuple[float, float, float]:
    """What fills a box: its colour mixed with white, or white."""
    strength = 0.0 if hollow(look) else PALE
    parts = (int(colour(look)[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (1 - strength * (1 - part) for part in parts)
    return red, green, blue


def line(look: Look) -> Any:
    """Line style; solid without a format."""
    return _LINES[step(look) % len(_LINES)] if look.format else "-"


def marked(look: Look) -> dict[str, Any]:
    """Colour, marker and line, as matplotlib's arguments."""
    return {
        "color": colour(look),
        "marker": _NAMED.get(look.marker) or _MARKERS[step(look) % len(_MARKERS)],
        "linestyle": line(look),
        "fillstyle": "none" if hollow(look) else "full",
    }
