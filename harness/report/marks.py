"""Each mark of a figure on matplotlib's axes."""

from __future__ import annotations

import base64
import io
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray
from PIL import Image

from ..core.figure import Band, Bars, Boxes, Mark, Numbers, Picture, Points, Rule, Steps
from .style import FAINT, TONES, colour, face, line, marked

_HATCHES = {"": "", "lines": "///", "dots": "..", "crosses": "xxx"}


def mark_on(axes: Axes, mark: Mark) -> None:
    """Draw a mark."""
    _draw(mark, axes)


@singledispatch
def _draw(mark: Any, axes: Axes) -> None:
    raise TypeError(type(mark).__name__)


@_draw.register
def _(mark: Points, axes: Axes) -> None:
    style = marked(mark.look)
    thin = mark.width < 1
    if thin or not mark.joined:
        style["linestyle"] = "-" if mark.joined else "none"
    if not mark.marked:
        style["marker"] = "none"
    if mark.covering:
        style |= {"fillstyle": "full", "markerfacecolor": "white", "zorder": 3}
    if mark.over:
        style["clip_on"] = False
    style |= {"markersize": mark.size, "linewidth": mark.width}
    style |= {"label": mark.label or None, "markevery": mark.every}
    if not mark.low and not mark.left:
        axes.plot(_array(mark.x), _array(mark.y), **style)
        return
    axes.errorbar(
        _array(mark.x),
        _array(mark.y),
        _arms(mark.y, mark.low, mark.high),
        _arms(mark.x, mark.left, mark.right),
        elinewidth=0.7 if thin else 0.8,
        capsize=0 if thin or mark.every else 2 if mark.joined else 1.5,
        errorevery=mark.every or 1,
        **style,
    )


@_draw.register
def _(mark: Bars, axes: Axes) -> None:
    (axes.barh if mark.flat else axes.bar)(
        _array(mark.at),
        _array(mark.sizes),
        mark.thickness,
        _array(mark.starts) if mark.starts else 0,
        color=colour(mark.look),
        hatch=_HATCHES[mark.hatch],
        linewidth=0,
        label=mark.label or None,
    )
    ends = _array(mark.sizes) + (_array(mark.starts) if mark.starts else 0)
    for words, end, place in zip(mark.ends, ends, _array(mark.at), strict=False):
        at, offset = ((end, place), (3, 0)) if mark.flat else ((place, end), (0, 3))
        axes.annotate(words, at, offset, textcoords="offset points", va="center")


@_draw.register
def _(mark: Boxes, axes: Axes) -> None:
    names = ("whislo", "q1", "med", "q3", "whishi")
    tint = colour(mark.look)
    axes.bxp(
        [dict(zip(names, found, strict=True)) for found in mark.quartiles],
        _array(mark.at),
        widths=mark.width,
        manage_ticks=False,
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        boxprops={"facecolor": face(mark.look), "edgecolor": tint, "linewidth": 0.7},
        whiskerprops={"color": tint, "linewidth": 0.7},
        medianprops={"color": tint, "linewidth": 1.1, "solid_capstyle": "butt"},
    )


@_draw.register
def _(mark: Steps, axes: Axes) -> None:
    axes.stairs(
        _array(mark.counts),
        _array(mark.edges),
        baseline=0.5 if mark.filled else None,  # of a logarithmic axis
        fill=mark.filled,
        color=colour(mark.look),
        alpha=0.5 if mark.filled else 1,
        linestyle=line(mark.look),
        linewidth=0 if mark.filled else 0.9,
        label=mark.label or None,
    )


@_draw.register
def _(mark: Rule, axes: Axes) -> None:
    style: dict[str, Any] = {"color": TONES[mark.tone], "linewidth": 0.8}
    style |= {"linestyle": mark.line, "label": mark.label or None}
    if mark.y and not mark.x:
        axes.axhline(_array(mark.y)[0], **style)
    elif mark.x and not mark.y:
        axes.axvline(_array(mark.x)[0], **style)
    else:
        axes.plot(_array(mark.x), _array(mark.y), **style)


@_draw.register
def _(mark: Band, axes: Axes) -> None:
    span = axes.axvspan if mark.upright else axes.axhspan
    span(mark.low, mark.high, color=FAINT, alpha=mark.strength, linewidth=0)


@_draw.register
def _(mark: Picture, axes: Axes) -> None:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(mark.png))))
    axes.imshow(pixels, interpolation="nearest")
    for place, words in enumerate(mark.below):
        axes.text(
            0.5,
            -0.04 - 0.125 * place,
            words,
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=6,
            color=TONES[mark.tone if place == len(mark.below) - 1 else "ink"],
        )


def _array(values: Numbers) -> NDArray[np.float64]:
    return np.array(values, dtype=float)  # None becomes NaN


def _arms(centre: Numbers, low: Numbers, high: Numbers) -> NDArray[np.float64] | None:
    """[2, N] from points to the ends of their bars; an end on the wrong side is no arm."""
    if not low:
        return None
    middle = _array(centre)
    return np.clip([middle - _array(low), _array(high) - middle], 0, None)
