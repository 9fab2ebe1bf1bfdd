"""How figures look and how they are written: colours, sizes, and files of the same bytes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..core.escape import visible
from ..core.whole import write_atomically
from ..records.verdict import INVALID
from .rows import RecordRow, deterministic, format_order

#: Width of a column of text, inches.
COLUMN = 3.5
#: Lines and text; a page replaces it by the colour of its own text.
INK = "#1a1a1b"
FAINT = "#8a8a8b"

#: Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008), without its yellow.
_COLOURS = (INK, "#56b4e9", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#0072b2")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))

_RC: dict[Any, Any] = {
    "font.size": 8,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,  # a label may hold a $
    "axes.edgecolor": INK,
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


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of one format, the same in every figure. Markers of
    deterministic twins are empty."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[int, ...]]
    fillstyle: str


def look(row: RecordRow) -> Look:
    """The look of a row: its format's; the letter of a variant changes marker and line."""
    letter = row.label.removeprefix(row.record.subject.format).strip()
    return format_look(row.record.subject.format, ord(letter[0]) - ord("a") if letter else 0)


def format_look(format: str, variant: int = 0) -> Look:
    """The look of a format; further variants, counted from 0, have another marker and line. A
    deterministic twin has its format's colour."""
    order = format_order(format)
    step = order + order // len(_COLOURS) + variant
    return Look(
        _COLOURS[format_order(format.removeprefix("DNN_")) % len(_COLOURS)],
        _MARKERS[step % len(_MARKERS)],
        _LINES[step % len(_LINES)],
        "none" if deterministic(format) else "full",
    )


def judged_look(row: RecordRow, kind: str) -> Look:
    """The look of a row, grey and hollow where the quality or speed that is drawn is invalid."""
    shown = look(row)
    invalid = row.record.verdict.of(kind) == INVALID
    return replace(shown, color=FAINT, fillstyle="none") if invalid else shown


def caption(rows: Iterable[RecordRow], kind: str) -> str:
    """What the grey of `judged_look` says, where there is some."""
    invalid = any(row.record.verdict.of(kind) == INVALID for row in rows)
    return f"grey: {kind} invalid" if invalid else ""


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style of the reports, whatever the user's matplotlibrc says."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        yield


def figure(height: float) -> Figure:
    """An empty figure one column wide, with room made for labels; height in inches."""
    drawn = Figure(figsize=(COLUMN, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


def legend_above(drawn: Figure, axes: Axes) -> None:
    """One legend for the whole figure, above it."""
    handles, labels = axes.get_legend_handles_labels()
    drawn.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(3, len(labels)),
        columnspacing=1.2,
        handlelength=2.6,
    )


def save_twice(drawn: Figure, out_dir: Path, slug: str, name: str) -> list[Path]:
    """Write a figure as SVG and as PNG, called `slug-name`.

    Raises:
        UserError: the directory cannot be written.
    """
    paths = [out_dir / f"{slug}-{name}.{kind}" for kind in ("svg", "png")]
    for path in paths:
        write_atomically(path, render(drawn, path.suffix[1:], salt=name))
    return paths


def render(drawn: Figure, kind: str, salt: str, fonttype: str = "path") -> bytes:
    """The figure as a file's bytes, the same for the same data.

    Args:
        drawn: the figure.
        kind: `svg` or `png`.
        salt: of the ids inside an SVG.
        fonttype: of an SVG: `path` looks the same everywhere, `none` keeps text as text.
    """
    out = io.BytesIO()
    metadata = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}[kind]
    with (
        styled(),
        mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": fonttype}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph")  # it has the character that a font lacks
        drawn.savefig(out, format=kind, metadata=metadata, transparent=kind == "svg")
    return visible(out.getvalue().decode()).encode() if kind == "svg" else out.getvalue()


def inline_svg(drawn: Figure, name: str, title: str, description: str) -> str:
    """The figure as an `<svg>` element for a page: labelled, in the page's text colour.

    Args:
        drawn: the figure.
        name: unique on the page; its ids begin with it.
        title: short name, HTML-escaped.
        description: what it shows, HTML-escaped.
    """
    svg = render(drawn, "svg", name, fonttype="none").decode()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'xlink:href="#{name}-')
    svg = svg.replace(INK, "currentColor")
    label = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    svg = svg.replace("<svg ", f"<svg {label} ", 1)
    texts = f'<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>'
    return re.sub(r"(<svg[^>]*>)", lambda m: m.group(1) + texts, svg, count=1)
