"""Each mark of a figure as layers of a Vega-Lite specification.

A layer has its own rows; what they are called is the same in all: x and y, `x2` and `y2` where a
mark has an end, `low` and `high`, `left` and `right` of error bars, `s` for what the mark stands
for. The panel's encoding of x and y holds for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import singledispatch
from itertools import zip_longest
from typing import Any

from ..core.escape import visible
from ..core.figure import Band, Bars, Boxes, Look, Numbers, Picture, Points, Rule, Scale, Steps
from .palette import FAINT, INK, PALE, TONES, colour, hollow, step
from .vega_domain import Span, size_of

#: The colour of the page, which is told from others by its name alone.
PAPER = "#fffffe"
Layer = dict[str, Any]
Row = dict[str, Any]

_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right")
_NAMED = {
    "circle": "circle", "square": "square", "triangle": "triangle-up", "diamond": "diamond",
    "wedge": "triangle-down",
}  # fmt: skip
_DASHES: tuple[list[int], ...] = (
    [],
    [6, 3],
    [7, 3, 2, 3],
    [2, 3],
    [11, 3],
    [5, 2, 2, 2, 2, 2],
    [2, 2],
)
_RULES = {"solid": [], "dashed": [6, 4], "dotted": [2, 3]}
#: Through its rows as they come.
_LINE: Layer = {"type": "line", "order": False}
_SCREEN = 1.45  # pixels for a point of a printed figure
_HOVER = 90  # area around a point that has no marker, in which it is told of


@dataclass(frozen=True)
class Frame:
    """What the marks of a panel share.

    Attributes:
        x: the horizontal axis.
        y: the vertical axis.
        across: from where to where the former reaches.
        up: and the latter.
    """

    x: Scale
    y: Scale
    across: Span
    up: Span

    def tooltip(self, row: Row) -> list[dict[str, Any]]:
        """What is said of a row where a pointer rests on it."""
        shown: list[dict[str, Any]] = []
        if "s" in row:
            shown.append({"field": "s", "title": "shown"})
        for name, scale in (("x", self.x), ("y", self.y)):
            title = visible(" ".join(scale.label.split())) or name
            if f"{name}n" in row:
                shown.append({"field": f"{name}n", "title": title})
            elif name in row:
                shown.append(_number(name, title))
        for pair in (("low", "high"), ("left", "right"), ("count",)):
            shown += [_number(name, name) for name in pair if row.get(name) is not None]
        return shown


def layers(mark: Any, frame: Frame) -> list[Layer]:
    """A mark, the lowest layer first; none where it has nothing to show."""
    return list(_layers(mark, frame))


def shape(look: Look) -> str:
    """Vega's name of a marker."""
    return _NAMED.get(look.marker) or _SHAPES[step(look) % len(_SHAPES)]


def dash(look: Look) -> list[int]:
    """Lengths of the strokes and gaps of a line; empty for a solid one."""
    return list(_DASHES[step(look) % len(_DASHES)]) if look.format else []


def rule_dash(rule: Rule) -> list[int]:
    """The same of a reference line."""
    return list(_RULES[rule.line])


@singledispatch
def _layers(mark: Any, frame: Frame) -> Iterator[Layer]:
    raise TypeError(type(mark).__name__)


@_layers.register
def _(mark: Points, frame: Frame) -> Iterator[Layer]:
    rows = [_named(row, frame) for row in _points(mark)]
    if not rows:
        return
    tint = colour(mark.look)
    if mark.joined and len(rows) > 1:
        strokes = [] if mark.width < 1 else dash(mark.look)
        line = _LINE | {"stroke": tint, "strokeWidth": _SCREEN * mark.width}
        yield _layer(rows, line | ({"strokeDash": strokes} if strokes else {}), {}, frame)
    first, every = mark.every or (0, 1)
    barred = [
        row for place, row in enumerate(rows) if place >= first and not (place - first) % every
    ]
    yield from _bars(barred, tint, frame)
    shown = barred if mark.marked else []
    if shown:
        area = (_SCREEN * mark.size) ** 2
        point: Layer = {"type": "point", "shape": shape(mark.look), "size": round(area, 1)}
        point |= {"stroke": tint, "strokeWidth": 1.4, "opacity": 1}
        point["fill"] = PAPER if hollow(mark.look) else tint
        yield _layer(shown, point, {"tooltip": frame.tooltip(shown[0])}, frame, over=mark.over)
    if len(shown) < len(rows):
        unseen = {"type": "point", "size": _HOVER, "opacity": 0, "filled": True}
        yield _layer(rows, unseen, {"tooltip": frame.tooltip(rows[0])}, frame)


@_layers.register
def _(mark: Bars, frame: Frame) -> Iterator[Layer]:
    long, wide = ("x", "y") if mark.flat else ("y", "x")
    lowest = (frame.across if mark.flat else frame.up)[0]
    logarithmic = (frame.x if mark.flat else frame.y).log
    rows = []
    for place, size, start, end in zip_longest(mark.at, mark.sizes, mark.starts, mark.ends):
        if place is None or size is None or not math.isfinite(size):
            continue
        base = start or 0.0
        row: Row = {long: max(base, lowest) if logarithmic else base, f"{long}2": base + size}
        row |= {wide: place - mark.thickness / 2, f"{wide}2": place + mark.thickness / 2}
        row |= _series(mark.label) | {"size": size} | ({"end": visible(end)} if end else {})
        name = _tick_name(frame.y if mark.flat else frame.x, place)
        rows.append({k: _rounded(v) for k, v in row.items()} | ({"name": name} if name else {}))
    if not rows:
        return
    told = [{"field": "s", "title": "shown"}] if mark.label else []
    told += [{"field": "name", "title": "of"}] if "name" in rows[0] else []
    scale = frame.x if mark.flat else frame.y
    told.append(_number("size", visible(" ".join(scale.label.split())) or "size"))
    rect = {"type": "rect", "fill": colour(mark.look), "stroke": PAPER, "strokeWidth": 0.5}
    yield _layer(rows, rect, {"x2": {"field": "x2"}, "y2": {"field": "y2"}, "tooltip": told}, frame)
    named = [row | {wide: (row[wide] + row[f"{wide}2"]) / 2} for row in rows if "end" in row]
    if named:
        words = {"type": "text", "fill": INK, "fontSize": 11}
        words |= {"align": "left", "dx": 4} if mark.flat else {"baseline": "bottom", "dy": -3}
        yield _layer(named, words, {long: {"field": f"{long}2"}, "text": {"field": "end"}}, frame)


@_layers.register
def _(mark: Boxes, frame: Frame) -> Iterator[Layer]:
    rows = []
    for place, five in zip(mark.at, mark.quartiles, strict=False):
        if place is None:
            continue
        names = ("low", "y", "median", "y2", "high")
        row: Row = dict(zip(names, map(_rounded, five), strict=True))
        row |= {"x": place - mark.width / 2, "x2": place + mark.width / 2, "middle": place}
        rows.append(row)
    if not rows:
        return
    tint = colour(mark.look)
    told = [_number("median", "median"), _number("y", "lower quartile")]
    told += [_number("y2", "upper quartile"), _number("low", "least"), _number("high", "greatest")]
    stroke = {"type": "rule", "stroke": tint, "strokeWidth": 1.2}
    ends = {"x": {"field": "middle"}, "y": {"field": "low"}, "y2": {"field": "high"}}
    yield _layer(rows, stroke, ends, frame)
    box: Layer = {"type": "rect", "stroke": tint, "strokeWidth": 1.2, "fill": PAPER}
    corners = {"x2": {"field": "x2"}, "y2": {"field": "y2"}, "tooltip": told}
    yield _layer(rows, box, corners, frame)
    if not hollow(mark.look):
        yield _layer(rows, {"type": "rect", "fill": tint, "fillOpacity": PALE}, corners, frame)
    middle = {"y": {"field": "median"}, "x2": {"field": "x2"}}
    yield _layer(rows, stroke | {"strokeWidth": 2}, middle, frame)


@_layers.register
def _(mark: Steps, frame: Frame) -> Iterator[Layer]:
    if not mark.counts:
        return
    base = frame.up[0] if frame.y.log else 0.0
    counts = [base if frame.y.log and not c else c for c in (*mark.counts, mark.counts[-1])]
    rows = [
        {"x": _rounded(x), "y": _rounded(y)} | _series(mark.label)
        for x, y in zip(mark.edges, counts, strict=False)
    ]
    tint = colour(mark.look)
    told = {"tooltip": frame.tooltip(rows[0])}
    if mark.filled:
        rows = [row | {"y2": base} for row in rows]
        area = {
            "type": "area",
            "order": False,
            "interpolate": "step-after",
            "fill": tint,
            "fillOpacity": 0.5,
        }
        yield _layer(rows, area, told | {"y2": {"field": "y2"}}, frame)
        return
    line = _LINE | {"interpolate": "step-after", "stroke": tint, "strokeWidth": 1.3}
    yield _layer(rows, line | {"strokeDash": dash(mark.look)}, told, frame)


@_layers.register
def _(mark: Rule, frame: Frame) -> Iterator[Layer]:
    xs, ys = mark.x, mark.y
    if ys and not xs:
        xs, ys = frame.across, (ys[0], ys[0])
    elif xs and not ys:
        xs, ys = (xs[0], xs[0]), frame.up
    rows = [{"x": _rounded(x), "y": _rounded(y)} for x, y in zip(xs, ys, strict=False)]
    if rows:
        line = _LINE | {"stroke": TONES[mark.tone], "strokeWidth": 1.2}
        yield _layer(rows, line | {"strokeDash": rule_dash(mark)}, {}, frame)


@_layers.register
def _(mark: Band, frame: Frame) -> Iterator[Layer]:
    (left, right), (low, high) = frame.across, frame.up
    if mark.upright:
        left, right = mark.low, mark.high
    else:
        low, high = mark.low, mark.high
    row = {"x": left, "x2": right, "y": low, "y2": high}
    shade = {"type": "rect", "fill": FAINT, "fillOpacity": mark.strength}
    yield _layer([row], shade, {"x2": {"field": "x2"}, "y2": {"field": "y2"}}, frame)


@_layers.register
def _(mark: Picture, frame: Frame) -> Iterator[Layer]:
    width, height = size_of(mark)
    row = {"x": (width - 1) / 2, "y": (height - 1) / 2, "u": f"data:image/png;base64,{mark.png}"}
    image: Layer = {"type": "image", "aspect": True}
    image |= {"width": {"expr": "width"}, "height": {"expr": "height"}}
    yield _layer([row], image, {"url": {"field": "u", "type": "nominal"}}, frame)


def _layer(
    rows: list[Row], mark: Layer, encoding: Layer, frame: Frame, over: bool = False
) -> Layer:
    return {
        "data": {"values": rows},
        "mark": mark | ({} if over else {"clip": True}),
        "encoding": encoding,
    }


def _bars(rows: Iterable[Row], tint: str, frame: Frame) -> Iterator[Layer]:
    """Error bars of points."""
    for axis, low, high in (("y", "low", "high"), ("x", "left", "right")):
        found = [row for row in rows if row.get(low) is not None and row.get(high) is not None]
        if found:
            rule = {"type": "rule", "stroke": tint, "strokeWidth": 1.1}
            ends = {axis: {"field": low}, f"{axis}2": {"field": high}}
            yield _layer(found, rule, ends, frame)


def _points(mark: Points) -> Iterator[Row]:
    """Rows of points; of an end of a bar on the wrong side, the point itself."""
    columns = {"low": mark.low, "high": mark.high, "left": mark.left, "right": mark.right}
    for place, (x, y) in enumerate(zip(mark.x, mark.y, strict=False)):
        row: Row = {"x": _rounded(x), "y": _rounded(y)} | _series(mark.label or mark.look.format)
        for name, values in columns.items():
            centre = y if name in ("low", "high") else x
            end = _at(values, place)
            if end is not None and centre is not None:
                pick = min if name in ("low", "left") else max
                row[name] = _rounded(pick(end, centre))
        yield row


def _named(row: Row, frame: Frame) -> Row:
    """With the name of a tick that a point stands at, or next to."""
    for axis, scale in (("x", frame.x), ("y", frame.y)):
        if name := _tick_name(scale, row.get(axis)):
            row = row | {f"{axis}n": name}
    return row


def _tick_name(scale: Scale, value: Any) -> str:
    """Empty where it has none; of a logarithmic axis, that of the nearest tick up to a tenth away,
    because lines stand beside one another there."""
    if not scale.names or value is None:
        return ""
    names = dict(zip(scale.ticks, scale.names, strict=False))
    if not names or (scale.log and value <= 0):
        return ""

    def distance(tick: float) -> float:
        return abs(math.log(value / tick)) if scale.log else abs(value - tick)

    nearest = min(names, key=distance)
    near = distance(nearest) <= (0.35 if scale.log else 0.5)
    return visible(" ".join(names[nearest].split())) if near else ""


def _series(label: str) -> Row:
    return {"s": visible(label)} if label else {}


def _at(values: Numbers, place: int) -> float | None:
    return values[place] if place < len(values) else None


def _rounded(value: Any) -> Any:
    """Six digits: nobody sees more, and a page holds many."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _number(field: str, title: str) -> dict[str, Any]:
    return {"field": field, "type": "quantitative", "format": ",.5~g", "title": title}
