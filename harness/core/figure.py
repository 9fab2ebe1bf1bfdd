"""A figure before it is drawn: panels of marks on scales, as data that fits into JSON.

It says what is shown and what each mark stands for. Whoever draws it chooses colours and shapes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Width of a column of text, inches.
COLUMN = 3.5

#: One value each; None leaves a gap.
Numbers = tuple[float | None, ...]
#: Colours that belong to no format.
Tone = Literal["ink", "faint", "sky", "vermillion", "green", "orange", "purple", "blue"]
#: Markers that belong to no format.
Marker = Literal["", "circle", "square", "triangle", "diamond", "wedge"]


@dataclass(frozen=True)
class Look:
    """What a mark stands for.

    Attributes:
        format: the number format whose colour, marker and line it has, the same in every figure.
        variant: which of several of its format it is, from 0; marker and line differ.
        tone: its colour where it stands for no format.
        marker: its marker where that does not say the format.
        hollow: markers and boxes are empty, as a deterministic format's own always are.
        invalid: what it shows failed an audit; it is grey and hollow.
    """

    format: str = ""
    variant: int = 0
    tone: Tone = "ink"
    marker: Marker = ""
    hollow: bool = False
    invalid: bool = False


@dataclass(frozen=True)
class Points:
    """Points, a line through them unless they are not `joined`, and bars at them.

    A mark without points is an entry of the legend alone.

    Attributes:
        x: of each point.
        y: of each point.
        look: what they stand for.
        label: in the legend; empty for none.
        low: where the vertical bar of each point begins; empty for no bars.
        high: where it ends.
        left: where the horizontal bar of each point begins; empty for no bars.
        right: where it ends.
        joined: a line joins them.
        marked: they have markers.
        every: the first point with a marker and a bar, and the step to the next; None for all.
        size: of a marker, points.
        width: of the line, points; one below 1 is solid, and its bars have no caps.
        covering: hollow markers hide what lies below them.
        over: markers may reach over the edge of the panel.
    """

    x: Numbers
    y: Numbers
    look: Look
    label: str = ""
    low: Numbers = ()
    high: Numbers = ()
    left: Numbers = ()
    right: Numbers = ()
    joined: bool = True
    marked: bool = True
    every: tuple[int, int] | None = None
    size: float = 4.0
    width: float = 1.2
    covering: bool = False
    over: bool = False
    kind: Literal["points"] = "points"


@dataclass(frozen=True)
class Bars:
    """Bars; several marks whose `starts` are the ends of others make a stack.

    Attributes:
        at: place of each on its axis.
        sizes: length of each.
        look: what they stand for.
        label: in the legend; empty for none.
        starts: where each begins; at 0 where empty.
        thickness: of a bar, in units of the axis.
        flat: they run from left to right.
        hatch: what fills them beside the colour.
        ends: words behind the end of each.
    """

    at: Numbers
    sizes: Numbers
    look: Look
    label: str = ""
    starts: Numbers = ()
    thickness: float = 0.8
    flat: bool = False
    hatch: Literal["", "lines", "dots", "crosses"] = ""
    ends: tuple[str, ...] = ()
    kind: Literal["bars"] = "bars"


@dataclass(frozen=True)
class Boxes:
    """Box plots: quartiles, and whiskers from the least to the greatest value.

    Attributes:
        at: place of each.
        quartiles: of each the least value, the three quartiles and the greatest value.
        look: what they stand for.
        width: of a box, in units of the axis.
    """

    at: Numbers
    quartiles: tuple[tuple[float, float, float, float, float], ...]
    look: Look
    width: float
    kind: Literal["boxes"] = "boxes"


@dataclass(frozen=True)
class Steps:
    """A histogram.

    Attributes:
        edges: of the bins, one more than there are counts.
        counts: of each bin.
        look: what they stand for.
        label: in the legend; empty for none.
        filled: an area behind the others, not a line.
    """

    edges: Numbers
    counts: Numbers
    look: Look
    label: str = ""
    filled: bool = False
    kind: Literal["steps"] = "steps"


@dataclass(frozen=True)
class Rule:
    """A reference line through points, or from edge to edge at one `x` or one `y` alone."""

    x: Numbers = ()
    y: Numbers = ()
    tone: Tone = "faint"
    line: Literal["solid", "dashed", "dotted"] = "solid"
    label: str = ""
    kind: Literal["rule"] = "rule"


@dataclass(frozen=True)
class Band:
    """A range of an axis, shaded from edge to edge of the panel.

    Attributes:
        low: where it begins.
        high: where it ends.
        upright: the axis is the horizontal one, else the vertical one.
        strength: of the shade, 0 … 1.
    """

    low: float
    high: float
    upright: bool = False
    strength: float = 0.1
    kind: Literal["band"] = "band"


@dataclass(frozen=True)
class Picture:
    """An image; its axes count pixels, and are not drawn where they name nothing.

    Attributes:
        png: the pixels, see `encoded`.
        below: lines of words under it.
        tone: of the last of them.
    """

    png: str
    below: tuple[str, ...] = ()
    tone: Tone = "ink"
    kind: Literal["picture"] = "picture"


Mark = Points | Bars | Boxes | Steps | Rule | Band | Picture


@dataclass(frozen=True)
class Scale:
    """An axis.

    Attributes:
        label: quantity with its unit.
        low: where it begins; None for where the marks do.
        high: where it ends; None for where the marks do.
        most: it ends here at the latest, but for a twentieth of its length for markers.
        log: logarithmic.
        ticks: where; at round numbers if empty.
        names: of the ticks; numbers if empty.
        about: how many round ticks at most; 0 leaves it to whoever draws.
        bare: it has neither tick marks nor grid.
        grid: lines at the ticks.
        reverse: from high to low.
        opposite: on the other side of the panel.
        turned: degrees by which names are turned.
        small: the names are.
    """

    label: str = ""
    low: float | None = None
    high: float | None = None
    most: float | None = None
    log: bool = False
    ticks: tuple[float, ...] = ()
    names: tuple[str, ...] = ()
    about: int = 0
    bare: bool = False
    grid: bool = True
    reverse: bool = False
    opposite: bool = False
    turned: float = 0.0
    small: bool = False


@dataclass(frozen=True)
class Panel:
    """Marks on two scales; without marks, an empty place.

    Attributes:
        marks: the later ones lie above the earlier ones.
        x: the horizontal axis.
        y: the vertical axis.
        title: above the middle.
        left: above the left end.
        right: above the right end.
    """

    marks: tuple[Mark, ...] = ()
    x: Scale = Scale()
    y: Scale = Scale()
    title: str = ""
    left: str = ""
    right: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: part of its file name, unique among those shown together.
        title: what it is called.
        description: what it shows, for those who do not see it.
        panels: row by row.
        height: inches.
        width: inches.
        columns: panels in a row.
        heights: of the rows, relative; equal where empty.
        shared: the axis that all panels have in common; it is labelled once.
        aligned: labels of the vertical axes on the left stand in one line.
        heading: above all.
        label: of the horizontal axis of all panels, below them.
        caption: below the labels of the horizontal axis.
        legend: columns of the legend at most, which lists the labels of the first panel.
        note: above the legend.
    """

    name: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    height: float
    width: float = COLUMN
    columns: int = 1
    heights: tuple[float, ...] = ()
    shared: Literal["", "x", "y"] = ""
    aligned: bool = False
    heading: str = ""
    label: str = ""
    caption: str = ""
    legend: int = 3
    note: str = ""


def numbers(values: Iterable[Any]) -> Numbers:
    """Values as a figure holds them: plain floats, None for what is missing or not a number."""
    return tuple(None if v is None or v != v else float(v) for v in values)


def listed(names: Iterable[str], label: str = "", grid: bool = True, small: bool = False) -> Scale:
    """A vertical axis on which names stand one below the other, the first at 0."""
    shown = tuple(names)
    places = tuple(float(place) for place in range(len(shown)))
    return Scale(
        label, -0.5, len(shown) - 0.5,
        ticks=places, names=shown, grid=grid, reverse=True, small=small,
    )  # fmt: skip


def encoded(pixels: NDArray[np.uint8]) -> str:
    """An image as the text of a PNG file in Base64.

    Args:
        pixels: [H, W, 3] uint8.
    """
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="png")
    return base64.b64encode(out.getvalue()).decode()
