"""From where to where the axes of a figure's panels reach, when nothing but the marks says it."""

from __future__ import annotations

import base64
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import singledispatch
from itertools import chain, compress
from typing import Any

from ..core.figure import Band, Bars, Boxes, Panel, Picture, Points, Rule, Scale, Steps

#: Share of an axis that is left free at each end.
_MARGIN = 0.05
#: Where a PNG file says its width and its height.
_PNG_WIDTH, _PNG_HEIGHT = slice(16, 20), slice(20, 24)

Span = tuple[float, float]


def domain(panels: Sequence[Panel], which: str, scale: Scale) -> Span:
    """Both ends of an axis, the lower one first.

    Args:
        panels: whose marks it holds.
        which: `x` or `y`.
        scale: of the axis, whose own ends count instead.
    """
    marks = [mark for panel in panels for mark in panel.marks]
    values = [v for mark in marks for v in _reach(mark, which, scale.log) if _fits(v, scale.log)]
    low, high = (min(values), max(values)) if values else ((1.0, 10.0) if scale.log else (0.0, 1.0))
    feet = set() if scale.log else {foot for mark in marks for foot in _feet(mark, which)}
    low, high = _with_margins(low, high, scale.log, feet)
    if scale.most is not None:
        high = min(high, scale.most + _MARGIN * (scale.most - low))
    low = low if scale.low is None else scale.low
    high = high if scale.high is None else scale.high
    if scale.log and low <= 0:
        low = high / 10
    return (low, high) if low < high else (low - 0.5, low + 0.5)


def size_of(picture: Picture) -> tuple[int, int]:
    """Width and height of a picture, pixels."""
    head = base64.b64decode(picture.png[:44])
    return int.from_bytes(head[_PNG_WIDTH], "big"), int.from_bytes(head[_PNG_HEIGHT], "big")


def _fits(value: float | None, log: bool) -> bool:
    return value is not None and math.isfinite(value) and (value > 0 or not log)


def _with_margins(low: float, high: float, log: bool, feet: Collection[float]) -> Span:
    """`feet`: where bars stand, and nothing is left free beyond."""
    if low == high:
        room = 0.1 if log else (abs(low) * _MARGIN or 0.5)
        return (low / (1 + room), high * (1 + room)) if log else (low - room, high + room)
    if log:
        factor = (high / low) ** _MARGIN
        return low / factor, high * factor
    room = _MARGIN * (high - low)
    return low if low in feet else low - room, high if high in feet else high + room


@singledispatch
def _reach(mark: Any, which: str, log: bool) -> Iterable[Any]:
    """Values that an axis has to hold."""
    raise TypeError(type(mark).__name__)


@_reach.register
def _(mark: Points, which: str, log: bool) -> Iterable[Any]:
    columns = (mark.x, mark.left, mark.right) if which == "x" else (mark.y, mark.low, mark.high)
    there = [None not in pair for pair in zip(mark.x, mark.y, strict=False)]
    return chain(*(compress(column, there) for column in columns))


@_reach.register
def _(mark: Bars, which: str, log: bool) -> Iterator[Any]:
    if mark.flat == (which == "x"):
        starts = mark.starts or (0.0,) * len(mark.sizes)
        yield from starts
        yield from (a + b for a, b in zip(starts, mark.sizes, strict=False) if None not in (a, b))  # type: ignore[operator]
    else:
        yield from _around(mark.at, mark.thickness)


@_reach.register
def _(mark: Boxes, which: str, log: bool) -> Iterable[Any]:
    return _around(mark.at, mark.width) if which == "x" else chain(*mark.quartiles)


@_reach.register
def _(mark: Steps, which: str, log: bool) -> Iterable[Any]:
    return mark.edges if which == "x" else chain(mark.counts, _feet(mark, which))


@_reach.register
def _(mark: Rule, which: str, log: bool) -> Iterable[Any]:
    return mark.x if which == "x" else mark.y


@_reach.register
def _(mark: Band, which: str, log: bool) -> Iterable[Any]:
    return (mark.low, mark.high) if mark.upright == (which == "x") else ()


@_reach.register
def _(mark: Picture, which: str, log: bool) -> Iterable[Any]:
    return (-0.5, size_of(mark)[which == "y"] - 0.5)


def _around(at: Sequence[float | None], width: float) -> Iterator[float]:
    for place in at:
        if place is not None:
            yield from (place - width / 2, place + width / 2)


def _feet(mark: Any, which: str) -> Iterable[float]:
    """Where bars stand on an axis along which they run."""
    if isinstance(mark, Bars) and mark.flat == (which == "x"):
        return [start or 0.0 for start in mark.starts] or [0.0]
    return [0.0] if isinstance(mark, Steps) and mark.filled and which == "y" else []
