"""A figure as Vega-Lite: a specification for each panel, the legend, and the numbers behind both.

Each panel is a view of its own that is as wide as its place on a page, and not a part of one large
view, whose parts cannot shrink on a phone. The legend is a list, for the page to wrap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ..core.escape import visible
from ..core.figure import Bars, Boxes, Figure, Panel, Picture, Points, Rule, Scale, Steps
from .log_ticks import log_ticks
from .palette import FAINT, INK, TONES, colour, hollow
from .vega_domain import Span, domain
from .vega_marks import PAPER, Frame, dash, layers, rule_dash, shape

#: Of every specification. The page replaces INK and PAPER where it is dark.
CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": "sans-serif",
    "aria": False,  # the place of a panel is labelled, and no mark by itself
    "view": {"stroke": None},
    "axis": {
        "labelColor": INK, "titleColor": INK, "domainColor": INK, "tickColor": INK,
        "gridColor": FAINT, "gridOpacity": 0.3, "domainOpacity": 0.6, "tickOpacity": 0.6,
        "labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 8,
        "labelLimit": 150,
    },
    "text": {"color": INK},
}  # fmt: skip
#: What the page replaces in the dark, by what it stands for.
THEMED = {"ink": INK, "paper": PAPER}

_SCREEN = 104  # pixels for an inch of a printed figure
_AXIS = 34  # pixels that the labels beside panels in columns take at least
_LEAST = 96  # pixels of a panel's height


@dataclass(frozen=True)
class ChartKey:
    """An entry of a legend.

    Attributes:
        label: what it stands for.
        colour: of its mark.
        kind: `points`, `bars` or `line`.
        shape: of a marker; empty for none.
        dash: of a line; None for no line.
        hollow: the marker is empty.
    """

    label: str
    colour: str
    kind: str
    shape: str = ""
    dash: tuple[int, ...] | None = None
    hollow: bool = False


@dataclass(frozen=True, eq=False)
class ChartPanel:
    """A panel.

    Attributes:
        spec: Vega-Lite, but for its width and `CONFIG`.
        title: above it; several parts are joined.
    """

    spec: dict[str, Any]
    title: str


@dataclass(frozen=True, eq=False)
class Chart:
    """A figure as a page shows it.

    Attributes:
        figure: what it is made of.
        stacks: panels that show something; those of a stack share a horizontal axis and stand one
            below the other, however many stacks stand side by side.
        legend: of the first panel.
    """

    figure: Figure
    stacks: tuple[tuple[ChartPanel, ...], ...]
    legend: tuple[ChartKey, ...]


def chart(figure: Figure) -> Chart:
    """The figure for a page."""
    stacks = [
        tuple(_panel(figure, place, place == stack[-1]) for place in stack)
        for stack in _stacks(figure)
    ]
    first = figure.panels[0].marks if figure.panels else ()
    keys = {key.label: key for key in filter(None, map(_key, first))}
    return Chart(figure, tuple(stacks), tuple(keys.values()))


def _stacks(figure: Figure) -> list[list[int]]:
    """Places of the panels that stay one below the other: a column, or, where rows of different
    heights repeat, the part of it that has all of them."""
    rows, columns = -(-len(figure.panels) // figure.columns), figure.columns
    deep = 1
    if figure.shared == "x":
        shares = figure.heights or (1.0,) * rows
        periods = (n for n in range(2, rows + 1) if rows % n == 0)
        deep = next((n for n in periods if shares == shares[:n] * (rows // n)), rows)
        deep = deep if len(set(shares)) > 1 else rows
    found = [
        [
            place
            for row in range(top, min(top + deep, rows))
            if (place := row * columns + column) < len(figure.panels) and figure.panels[place].marks
        ]
        for top in range(0, rows, deep)
        for column in range(columns)
    ]
    return [stack for stack in found if stack]


def _panel(figure: Figure, place: int, last: bool) -> ChartPanel:
    panel = figure.panels[place]
    title = " · ".join(filter(None, (panel.left, panel.title, panel.right)))
    return ChartPanel(_spec(figure, place, last), title)


def numbers_behind(figure: Figure) -> list[dict[str, Any]]:
    """A row for each point, bar, box and bin of a figure, for a file of numbers."""
    return [
        {"panel": _panel_name(figure, place)} | row
        for place, panel in enumerate(figure.panels)
        for mark in panel.marks
        for row in _rows(mark, panel)
    ]


def _panel_name(figure: Figure, place: int) -> str:
    panel = figure.panels[place]
    told = (panel.left, panel.title, panel.right) if panel.left or panel.title else ()
    return " ".join(filter(None, told)) or (str(place + 1) if len(figure.panels) > 1 else "")


def _spec(figure: Figure, place: int, last: bool) -> dict[str, Any]:
    """`last`: of its stack, so that it has the names of the horizontal axis."""
    panel = figure.panels[place]
    across = domain(_sharing(figure, place, "x"), "x", panel.x)
    up = domain(_sharing(figure, place, "y"), "y", panel.y)
    frame = Frame(panel.x, panel.y, across, up)
    bare = any(isinstance(mark, Picture) for mark in panel.marks) and not (
        panel.x.ticks or panel.y.ticks
    )
    x = _encoding("x", panel.x, across, (panel.x.label or figure.label) if last else "")
    y = _encoding("y", panel.y, up, panel.y.label)
    if not last:
        x["axis"] = x["axis"] | {"labels": False, "ticks": False}
    if len(figure.panels) > 1:
        y["axis"] = y["axis"] | {"minExtent": _AXIS}
    if bare:
        x["axis"] = y["axis"] = None
    if any(isinstance(mark, Picture) for mark in panel.marks):
        y["scale"]["reverse"] = True
    return {
        "height": _height(figure, place),
        "autosize": {"type": "fit", "contains": "padding"},
        "encoding": {"x": x, "y": y},
        "layer": [layer for mark in panel.marks for layer in layers(mark, frame)],
    }


def _sharing(figure: Figure, place: int, which: str) -> Sequence[Panel]:
    return figure.panels if figure.shared == which else (figure.panels[place],)


def _height(figure: Figure, place: int) -> int:
    rows = -(-len(figure.panels) // figure.columns)
    shares = figure.heights or (1.0,) * rows
    share = shares[place // figure.columns] / sum(shares)
    return max(_LEAST, round(_SCREEN * (figure.height - 0.3) * share))


def _encoding(which: str, scale: Scale, reach: Span, title: str) -> dict[str, Any]:
    kind: dict[str, Any] = {"domain": [*map(_short, reach)], "nice": False}
    kind |= {"type": "log"} if scale.log else {"zero": False}
    kind |= {"reverse": True} if scale.reverse else {}
    lines = [visible(line) for line in title.split("\n")] if title else None
    return {
        "field": which,
        "type": "quantitative",
        "title": lines[0] if lines and len(lines) == 1 else lines,
        "scale": kind,
        "axis": _axis(which, scale, reach),
    }


def _axis(which: str, scale: Scale, reach: Span) -> dict[str, Any]:
    axis: dict[str, Any] = {"grid": scale.grid and not scale.bare}
    if scale.bare:
        axis |= {"ticks": False}
    if scale.ticks:
        axis |= {"values": list(scale.ticks), "labelOverlap": "greedy"}
    if scale.ticks and scale.names:
        names = [_lines(name) for name in scale.names]
        place = f"indexof({json.dumps(list(scale.ticks))}, datum.value)"
        axis |= {"labelExpr": f"{json.dumps(names)}[{place}]", "ticks": False}
    elif scale.log:
        axis |= {"format": ",~g", "labelOverlap": "greedy"}
        if not scale.ticks:
            axis |= {"values": found} if (found := log_ticks(reach)) else {"tickCount": 6}
    elif scale.about:
        axis |= {"tickCount": scale.about}
    if scale.opposite:
        axis |= {"orient": "top" if which == "x" else "right"}
    if scale.turned:
        axis |= {"labelAngle": -scale.turned, "labelAlign": "right", "labelBaseline": "middle"}
    if scale.small:
        axis |= {"labelFontSize": 9}
    return axis


def _lines(name: str) -> str | list[str]:
    lines = [visible(line) for line in name.split("\n")]
    return lines[0] if len(lines) == 1 else lines


def _short(value: float, digits: int = 10) -> float:
    return float(f"{value:.{digits}g}")


def _key(mark: Any) -> ChartKey | None:
    label = visible(getattr(mark, "label", ""))
    if not label:
        return None
    if isinstance(mark, Rule):
        return ChartKey(label, TONES[mark.tone], "line", dash=tuple(rule_dash(mark)))
    look = mark.look
    if isinstance(mark, Points):
        strokes = tuple(dash(look)) if mark.joined and mark.width >= 1 else ()
        marker = shape(look) if mark.marked else ""
        line = strokes if mark.joined else None
        return ChartKey(label, colour(look), "points", marker, line, hollow(look))
    if isinstance(mark, Steps) and not mark.filled:
        return ChartKey(label, colour(look), "line", dash=tuple(dash(look)))
    return ChartKey(label, colour(look), "bars", hollow=hollow(look))


def _rows(mark: Any, panel: Panel) -> Iterator[dict[str, Any]]:
    shown = {
        "shown": getattr(mark, "label", "") or getattr(getattr(mark, "look", None), "format", "")
    }
    if isinstance(mark, Points):
        yield from (shown | row for row in _point_rows(mark, panel))
    elif isinstance(mark, Bars):
        scale = panel.y if mark.flat else panel.x
        names: dict[Any, str] = dict(zip(scale.ticks, scale.names, strict=False))
        for at, size, start in zip_longest(mark.at, mark.sizes, mark.starts):
            of = " ".join(names.get(at, "").split())
            yield shown | {"of": of, "at": at, "from": start or 0.0, "size": size}
    elif isinstance(mark, Boxes):
        five = ("least", "lower quartile", "median", "upper quartile", "greatest")
        for at, values in zip(mark.at, mark.quartiles, strict=False):
            yield shown | {"at": at} | dict(zip(five, values, strict=True))
    elif isinstance(mark, Steps):
        for low, high, count in zip(mark.edges, mark.edges[1:], mark.counts, strict=False):
            yield shown | {"from": low, "to": high, "count": count}


def _point_rows(mark: Points, panel: Panel) -> Iterator[dict[str, Any]]:
    x, y = (" ".join(scale.label.split()) for scale in (panel.x, panel.y))
    names = (x or "x", y if y and y != x else "y", "low", "high", "left", "right")
    for values in zip_longest(mark.x, mark.y, mark.low, mark.high, mark.left, mark.right):
        yield {name: _short(v, 7) for name, v in zip(names, values, strict=True) if v is not None}
