"""Figures drawn with matplotlib, and their files: the one place that knows how."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawn
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.escape import visible
from ..core.figure import Figure, Panel, Picture, Scale
from ..core.whole import write_atomically
from .log_ticks import log_ticks
from .marks import mark_on
from .style import INK, styled

#: Kinds of file, with what they would say of the day and the program.
KINDS: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None},
}

#: The outline of a shape in an SVG, and a number in it that is more precise than anyone sees.
_PATH = re.compile(r'(?<= d=")[^"]*')
_LONG = re.compile(r"-?\d+\.\d{3,}")


def save(figures: Iterable[Figure], out_dir: Path, slug: str) -> list[Path]:
    """Write figures as SVG and as PNG.

    Args:
        figures: what to draw.
        out_dir: directory, made if missing.
        slug: how the files' names begin.

    Returns:
        The files, `<slug>[-<name>].<svg|png>`. Equal figures give equal bytes.

    Raises:
        UserError: the directory cannot be written.
    """
    written = []
    for figure in figures:
        shown = drawn(figure)
        for kind in ("svg", "png"):
            path = out_dir / f"{'-'.join(filter(None, (slug, figure.name)))}.{kind}"
            write_atomically(path, _bytes(shown, kind, figure.name))
            written.append(path)
    return written


def write(figure: Figure, path: Path) -> None:
    """Write a figure to one file, see `check_file`.

    Raises:
        UserError: the place cannot be written.
    """
    write_atomically(path, render(figure, check_file(path)))


def check_file(path: Path) -> str:
    """The kind of picture that the name of a file says.

    Raises:
        UserError: it ends in none of `KINDS`.
    """
    kind = path.suffix.removeprefix(".").lower()
    if kind not in KINDS:
        raise UserError(
            f"--out {path} is not a kind of picture that can be written; end it in .png, .svg "
            "or .pdf."
        )
    return kind


def render(figure: Figure, kind: str, fonttype: str = "path") -> bytes:
    """A figure as a file's bytes, the same for equal figures.

    Args:
        figure: what to draw.
        kind: one of `KINDS`.
        fonttype: of an SVG: `path` looks the same everywhere, `none` keeps text as text.
    """
    return _bytes(drawn(figure), kind, figure.name, fonttype)


def inline_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """A figure as an `<svg>` element for a page: labelled, in the page's text colour.

    Args:
        figure: what to draw.
        name: unique on the page; its ids begin with it.
        title: short name, HTML-escaped.
        description: what it shows, HTML-escaped.
    """
    svg = _bytes(drawn(figure), "svg", name, fonttype="none").decode()
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


def drawn(figure: Figure) -> Drawn:
    """The figure as matplotlib's."""
    rows = -(-len(figure.panels) // figure.columns)
    with styled():
        made = Drawn(figsize=(figure.width, figure.height), layout="constrained")
        FigureCanvasAgg(made)
        grid = made.subplots(
            rows,
            figure.columns,
            sharex=figure.shared == "x",
            sharey=figure.shared == "y",
            squeeze=False,
            gridspec_kw={"height_ratios": figure.heights} if figure.heights else None,
        )
        _panels(figure, grid.ravel())
        if figure.aligned:
            made.align_ylabels(list(grid[:, 0]))
        if figure.label:
            made.supxlabel(_lines(figure.label, figure.caption), fontsize="medium")
        if figure.heading:
            made.suptitle(figure.heading, fontsize=8, fontweight="bold")
        _legend(made, figure, grid[0, 0])
    return made


def _bytes(made: Drawn, kind: str, salt: str, fonttype: str = "path") -> bytes:
    out = io.BytesIO()
    with (
        styled(),
        mpl.rc_context({"svg.hashsalt": salt, "svg.fonttype": fonttype}),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph")  # it has the character that a font lacks
        made.savefig(out, format=kind, metadata=KINDS[kind], transparent=kind == "svg")
    return _svg(out.getvalue()) if kind == "svg" else out.getvalue()


def _svg(drawn: bytes) -> bytes:
    """Without what steers a terminal, and coordinates to a hundredth of a point."""
    text = _PATH.sub(lambda path: _LONG.sub(_shorter, path[0]), drawn.decode())
    return visible(text).encode()


def _shorter(number: re.Match[str]) -> str:
    return f"{float(number[0]):.2f}"


def _panels(figure: Figure, places: NDArray[Any]) -> None:
    """Marks first: shared scales are those of all."""
    panels = [*figure.panels, *[Panel()] * (len(places) - len(figure.panels))]
    size = 7 if figure.columns > 1 or figure.shared else 8
    for axes, panel in zip(places, panels, strict=True):
        for mark in panel.marks:
            mark_on(axes, mark)
    for place, (axes, panel) in enumerate(zip(places, panels, strict=True)):
        axes.set_title(panel.title, fontsize=size)
        axes.set_title(panel.left, fontsize=size, loc="left")
        axes.set_title(panel.right, fontsize=size, loc="right")
        if not panel.marks:
            axes.set_axis_off()
            continue
        below = [other for other in panels[place + figure.columns :: figure.columns] if other.marks]
        _scales(axes, panel, figure, outer=figure.shared != "x" or not below)
        if not figure.label and not below:
            axes.set_xlabel(_lines(panel.x.label, figure.caption))


def _scales(axes: Axes, panel: Panel, figure: Figure, outer: bool) -> None:
    """`outer`: the horizontal axis has its names here."""
    _scale(axes, "x", panel.x)
    _scale(axes, "y", panel.y)
    axes.set_ylabel(panel.y.label)
    if outer:
        axes.set_xlabel(panel.x.label)
    if figure.shared == "x":
        axes.tick_params(labelbottom=outer)
    if any(isinstance(mark, Picture) for mark in panel.marks):
        _frameless(axes, panel)


def _frameless(axes: Axes, panel: Panel) -> None:
    if panel.x.ticks or panel.y.ticks:
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.set_anchor("E")  # what is left over is for the names
    else:
        axes.set_axis_off()


def _scale(axes: Axes, which: str, scale: Scale) -> None:
    axis = getattr(axes, f"{which}axis")
    if scale.log:
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}" if x >= 1 else f"{x:g}"))
        axis.set_minor_locator(NullLocator())
    if scale.ticks:
        axis.set_ticks(scale.ticks, **_names(scale))
    elif scale.about:
        about, steps = scale.about, (1, 2, 5, 10)
        axis.set_major_locator(
            LogLocator(numticks=about) if scale.log else MaxNLocator(about, steps=steps)
        )
    if scale.most is not None:
        low, high = axis.get_view_interval()
        _limits(axes, which, low, min(high, scale.most + 0.05 * (scale.most - low)))
    _limits(axes, which, scale.low, scale.high)
    if scale.log and not (scale.ticks or scale.about):
        low, high = sorted(axis.get_view_interval())
        if found := log_ticks((low, high)):
            axis.set_ticks([one for one in found if low <= one <= high])
    if scale.bare or not scale.grid:
        axis.grid(visible=False)
    if scale.bare:
        axis.set_tick_params(length=0)
    if scale.reverse:
        axis.set_inverted(True)
    if scale.opposite:
        axis.set_ticks_position("top" if which == "x" else "right")
        axis.set_label_position("top" if which == "x" else "right")


def _limits(axes: Axes, which: str, low: float | None, high: float | None) -> None:
    if low is not None or high is not None:
        getattr(axes, f"set_{which}lim")(low, high)


def _names(scale: Scale) -> dict[str, Any]:
    if not scale.names:
        return {}
    sized = {"fontsize": 5} if scale.small else {}
    turned = {"rotation": scale.turned} if scale.turned else {}
    return {"labels": scale.names, **sized, **turned}


def _legend(made: Drawn, figure: Figure, first: Axes) -> None:
    """Above the whole figure, in as many columns as there is room for, under the note."""
    handles, labels = first.get_legend_handles_labels()
    if not handles and not figure.note:
        return
    note = {"title": figure.note, "title_fontsize": 6, "alignment": "left"} if figure.note else {}
    for columns in range(figure.legend, 0, -1):
        shown = made.legend(
            handles,
            labels,
            loc="outside upper center" if handles else "outside upper left",
            ncols=max(1, min(columns, len(labels))),
            columnspacing=1.2,
            handlelength=2.6,
            **note,
        )
        if columns == 1 or shown.get_window_extent().width <= made.bbox.width:
            break
        shown.remove()


def _lines(*said: str) -> str:
    return "\n".join(filter(None, said))
