"""Figures of a study of selective prediction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...core.formats import FORMATS
from ...report.lines import safe
from ...report.style import FAINT, INK, figure, format_look, legend_above, save_twice, styled
from ...stats.bootstrap import Array
from ...stats.bound import balanced_curve
from ...stats.ranking import once
from .analyse import SelectiveFindings
from .referral import Referral
from .sample import Interval, Outputs

_COVERAGES = np.linspace(0.1, 1.0, 91)
_LEGEND = 0.55  # inches
_NAMED = 40  # classes whose names fit below an axis


@dataclass(frozen=True)
class SelectiveDrawing:
    """A kind of figure.

    Attributes:
        name: part of its file name.
        draw: makes it; None where there is nothing to show.
    """

    name: str
    draw: Callable[[SelectiveFindings], Figure | None]


def selective_figures(found: SelectiveFindings, out_dir: Path, name: str) -> list[Path]:
    """Write every figure of a study as SVG and PNG, called `<name>-<figure>`.

    Raises:
        UserError: the directory cannot be written.
    """
    written: list[Path] = []
    for drawing in DRAWINGS:
        drawn = drawing.draw(found)
        if drawn is not None:
            written += save_twice(drawn, out_dir, safe(name), drawing.name)
    return written


def risk_coverage(found: SelectiveFindings) -> Figure:
    """Error and balanced error of what is kept against coverage, a row of panels a split. Means
    over seeds. Bars are 95 % intervals: left at the chosen coverage, right of coverage and balanced
    error at the threshold that the validation split chose; the bound is a line."""
    with styled():
        drawn = figure(_LEGEND + 1.6 * len(found.splits))
        panels = drawn.subplots(len(found.splits), 2, sharex=True, squeeze=False)
        for row, split in zip(panels, found.splits, strict=True):
            for one in found.of(split):
                style = _style(found, one.variant)
                runs = found.samples[split].outputs[one.variant]
                _curve(row[0], [_errors(run, found.choices.by) for run in runs], style)
                _curve(row[1], [_balanced(run, found.choices.by) for run in runs], style)
                _bars(row, found, one, style)
            row[0].set_ylabel(f"{split}\nerror, %")
            row[1].set_ylabel("balanced error, %")
            row[1].axhline(100 * found.choices.bound, color=FAINT, linewidth=0.8)
            for panel in row:
                panel.set_ylim(bottom=0)
                panel.set_xlim(10, 102)
        for panel in panels[-1]:
            panel.set_xlabel("coverage, %")
        for one in found.of(found.splits[0]):
            panels[0, 0].plot([], [], **_style(found, one.variant), label=one.variant)
        legend_above(drawn, panels[0, 0])
    return drawn


def referred(found: SelectiveFindings) -> Figure | None:
    """Images that change sides between a format and its float one, in % of those referred, a panel
    a split, with 95 % intervals. The band is the luck of the draw: the float format with other
    noise."""
    splits = [split for split in found.splits if found.compared(split)]
    if not splits:
        return None
    with styled():
        drawn = figure(0.6 + 1.35 * len(splits))
        panels = drawn.subplots(len(splits), 1, sharex=True, squeeze=False)[:, 0]
        names = list(dict.fromkeys(c.found.variant for c in found.comparisons))
        for panel, split in zip(panels, splits, strict=True):
            for one in found.compared(split):
                scale = 100 / one.found.referred
                style = {**_style(found, one.found.variant), "linestyle": "none"}
                _bar(panel, names.index(one.found.variant), one.found.switched, scale, style)
            lucks = {c.luck.variant: c.luck for c in found.compared(split) if c.luck is not None}
            for luck in lucks.values():
                _band(panel, luck.switched, 100 / luck.referred)
            panel.set_ylabel(f"{split}\nswitch, % of referred")
            panel.set_ylim(bottom=0)
            panel.grid(axis="x", visible=False)
        panels[-1].set_xticks(range(len(names)), [name.replace("_", "\n", 1) for name in names])
        panels[-1].set_xlim(-0.6, len(names) - 0.4)
        if any(c.luck is not None for c in found.comparisons):
            label = "FP32 against itself with other noise"
            panels[0].plot([], [], color=INK, linewidth=0.8, linestyle="--", label=label)
            legend_above(drawn, panels[0])
    return drawn


def classes(found: SelectiveFindings) -> Figure:
    """Share of each class that is referred at the chosen coverage, a panel a split; means over
    seeds. The line is the share of all images."""
    with styled():
        drawn = figure(_LEGEND + 1.35 * len(found.splits))
        panels = drawn.subplots(len(found.splits), 1, sharex=True, squeeze=False)[:, 0]
        labels = sorted({c.label for one in found.selections for c in one.classes})
        for panel, split in zip(panels, found.splits, strict=True):
            shown = found.of(split)
            for place, one in enumerate(shown):
                offset = 0.7 * ((place + 0.5) / len(shown) - 0.5)
                at = [labels.index(c.label) + offset for c in one.classes]
                style = {**_style(found, one.variant), "linestyle": "none"}
                share = [c.referred for c in one.classes]
                panel.plot(at, share, **style, markersize=3, clip_on=False)
            panel.axhline(100 - 100 * found.choices.coverage, color=FAINT, linewidth=0.8)
            panel.set_ylabel(f"{split}\nreferred, %")
            panel.set_ylim(0, 100)
            panel.grid(axis="x", visible=False)
        if len(labels) <= _NAMED:
            names = [found.class_name(label) for label in labels]
            turned = 35 if found.class_names else 0
            panels[-1].set_xticks(range(len(labels)), names, rotation=turned)
        else:
            panels[-1].set_xlabel("class")
        for one in found.of(found.splits[0]):
            style = {**_style(found, one.variant), "linestyle": "none"}
            panels[0].plot([], [], **style, label=one.variant)
        legend_above(drawn, panels[0])
    return drawn


DRAWINGS = (
    SelectiveDrawing("risk-coverage", risk_coverage),
    SelectiveDrawing("referred", referred),
    SelectiveDrawing("referred-classes", classes),
)


def _errors(run: Outputs, by: str) -> Array:
    """Error at each of `_COVERAGES`."""
    ranked, counts = run.ranked(by), once(len(run.labels))
    kept = np.concatenate([ranked.kept(counts, share) for share in _COVERAGES])
    return ranked.error(kept)


def _balanced(run: Outputs, by: str) -> Array:
    """Balanced error at each of `_COVERAGES`."""
    _, coverage, error = balanced_curve(run.uncertainties[by], run.wrong, run.labels)
    curve: Array = np.interp(_COVERAGES, coverage, error)
    return curve


def _curve(panel: Axes, curves: Sequence[Array], style: dict[str, Any]) -> None:
    line = {**style, "marker": "none"}
    panel.plot(100 * _COVERAGES, 100 * np.mean(curves, axis=0), **line)


def _bars(
    row: Sequence[Axes], found: SelectiveFindings, one: Referral, style: dict[str, Any]
) -> None:
    place = {**style, "linestyle": "none", "markersize": 3}
    names = list(found.formats)
    dodge = 1.2 * (names.index(one.variant) - (len(names) - 1) / 2)
    _bar(row[0], 100 * found.choices.coverage + dodge, one.error_kept, 1.0, place)
    if one.bounded is not None and one.bounded.balanced_error is not None:
        at = one.bounded.coverage
        _bar(row[1], at.value, one.bounded.balanced_error, 1.0, place, across=at)


def _bar(
    panel: Axes,
    at: float,
    found: Interval,
    scale: float,
    style: dict[str, Any],
    across: Interval | None = None,
) -> None:
    panel.errorbar(
        at,
        scale * found.value,
        _arms(found, scale),
        _arms(across, 1.0) if across is not None else None,
        **style,
        elinewidth=0.8,
        capsize=1.5,
    )


def _arms(found: Interval, scale: float) -> Array:
    """[2, 1] from the estimate to either end of its interval."""
    if found.low is None or found.high is None:
        return np.zeros((2, 1))
    low, high = found.value - found.low, found.high - found.value
    return scale * np.maximum([[low], [high]], 0.0)


def _band(panel: Axes, luck: Interval, scale: float) -> None:
    if luck.low is not None and luck.high is not None:
        panel.axhspan(scale * luck.low, scale * luck.high, color=FAINT, alpha=0.15, linewidth=0)
    panel.axhline(scale * luck.value, color=INK, linewidth=0.8, linestyle="--")


def _style(found: SelectiveFindings, variant: str) -> dict[str, Any]:
    """The look of the variant's format, as matplotlib's arguments; twins have open markers."""
    name = found.formats[variant]
    same = [v for v, f in found.formats.items() if f == name]
    open_ = not FORMATS.get(name).bayesian
    look = asdict(format_look(name, same.index(variant)))
    return {**look, "fillstyle": "none" if open_ else "full"}
