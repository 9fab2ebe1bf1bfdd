"""What colours and shapes stand for in every figure, whoever draws it."""

from __future__ import annotations

from ..core.figure import Look
from .rows import deterministic, format_order

#: Lines and text; a page replaces it by the colour of its own text.
INK = "#1a1a1b"
FAINT = "#8a8a8b"

#: Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008), without its yellow.
TONES = {
    "ink": INK,
    "sky": "#56b4e9",
    "vermillion": "#d55e00",
    "green": "#009e73",
    "orange": "#e69f00",
    "purple": "#cc79a7",
    "blue": "#0072b2",
}
_COLOURS = tuple(TONES.values())
TONES["faint"] = FAINT
#: How much of a box is its colour, the rest is the colour of the paper.
PALE = 0.45


def colour(look: Look) -> str:
    """A format's colour, which its deterministic twin has too; the tone of what has no format."""
    if look.invalid or not look.format:
        return FAINT if look.invalid else TONES[look.tone]
    return _COLOURS[format_order(look.format.removeprefix("DNN_")) % len(_COLOURS)]


def hollow(look: Look) -> bool:
    """Whether markers and boxes are empty; a marker that is no format's does not say it."""
    return look.hollow or look.invalid or (not look.marker and deterministic(look.format))


def step(look: Look) -> int:
    """Which of the markers, and of the kinds of line, it has; counted round."""
    order = format_order(look.format) if look.format else 0
    return order + order // len(_COLOURS) + look.variant
