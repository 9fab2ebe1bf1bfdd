"""Box plots over the types of corruption, a box a format, at each severity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ...corruptions.registered import SEVERITIES
from ...report.lines import Edition, Line, axis_label, known_scores, legend, spread
from ...report.style import FAINT, figure, styled
from ...stats.shifted import CLEAN

REFERENCE = "FP32"
"""Drawn beside the twins."""

_GROUP = 0.86  # of the room of a severity that its boxes take


def severity(edition: Edition) -> Figure | None:
    """Accuracy, ECE and NLL of the Bayesian formats at each severity (the paper's figure 3)."""
    return _boxes(edition, edition.bayesian, ("accuracy", "ece", "nll"))


def severity_uce_brier(edition: Edition) -> Figure | None:
    """UCE and Brier score of the Bayesian formats at each severity (the paper's figure 4)."""
    return _boxes(edition, edition.bayesian, ("uce", "brier"))


def twins(edition: Edition) -> Figure | None:
    """Accuracy, ECE and NLL of the deterministic formats (the paper's figure 5), FP32 beside."""
    if not edition.twins:
        return None
    reference = [line for line in edition.bayesian if line.format == REFERENCE]
    return _boxes(edition, [*reference, *edition.twins], ("accuracy", "ece", "nll"))


def _boxes(edition: Edition, lines: Sequence[Line], metrics: Sequence[str]) -> Figure | None:
    """A panel a metric; at each severity a box a format over the types' scores, the latter means
    over seeds. Boxes show quartiles and median, whiskers least and greatest. Severity 0 is a point
    each, with ± 1 standard deviation over seeds."""
    shown = [line for line in lines if any(_scored(line, metric) for metric in metrics)]
    known = [metric for metric in metrics if any(_scored(line, metric) for line in shown)]
    if not shown:
        return None
    with styled():
        drawn = figure(0.6 + 1.45 * len(known))
        panels = drawn.subplots(len(known), 1, sharex=True, squeeze=False)[:, 0]
        for panel, metric in zip(panels, known, strict=True):
            for place, line in enumerate(shown):
                _box_line(panel, line, metric, place, len(shown))
            for group in range(0, len(SEVERITIES) + 1, 2):
                panel.axvspan(group - 0.5, group + 0.5, color=FAINT, alpha=0.1, linewidth=0)
            panel.grid(axis="x", visible=False)
            panel.tick_params(axis="x", length=0)
            panel.set_ylabel(axis_label(metric))
            panel.set_ylim(bottom=0)
            panel.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
        if known[0] == "accuracy":
            panels[0].set_ylim(_floor(panels[0]), 101)
        panels[-1].set_xlim(-0.5, len(SEVERITIES) + 0.5)
        panels[-1].set_xticks(range(len(SEVERITIES) + 1), ["clean", *map(str, SEVERITIES)])
        panels[-1].set_xlabel(f"severity, {_types_in_words(shown)}")
        legend(drawn, panels[0], shown, edition.note)
    return drawn


def _scored(line: Line, metric: str) -> bool:
    return len(known_scores(line.records, metric, None)) > 0


def _box_line(panel: Axes, line: Line, metric: str, place: int, count: int) -> None:
    width = _GROUP / count
    offset = (place - (count - 1) / 2) * width
    clean = known_scores(line.at(*CLEAN), metric, None)
    if len(clean):
        panel.errorbar(
            offset,
            clean.mean(),
            spread(clean),
            **{**line.style, "linestyle": "none"},
            markersize=3.5,
            clip_on=False,  # a score may be near 0
            elinewidth=0.8,
            capsize=1.5,
        )
    for group in SEVERITIES:
        values = line.means(metric, group)
        if len(values):
            _box(panel, group + offset, values, 0.82 * width, line)


def _box(panel: Axes, at: float, values: np.ndarray, width: float, line: Line) -> None:
    low, q1, median, q3, high = np.percentile(values, (0, 25, 50, 75, 100))
    stats = {"med": median, "q1": q1, "q3": q3, "whislo": low, "whishi": high}
    edge = {"color": line.look.color, "linewidth": 0.7}
    panel.bxp(
        [stats],
        [at],
        widths=width,
        manage_ticks=False,
        showfliers=False,
        showcaps=False,
        patch_artist=True,
        boxprops={"facecolor": _face(line), "edgecolor": line.look.color, "linewidth": 0.7},
        whiskerprops=edge,
        medianprops={"color": line.look.color, "linewidth": 1.1, "solid_capstyle": "butt"},
    )


def _face(line: Line) -> tuple[float, float, float]:
    """The line's colour mixed with white, or white."""
    strength = 0.0 if line.open else 0.45
    parts = (int(line.look.color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (1 - strength * (1 - part) for part in parts)
    return red, green, blue


def _types_in_words(lines: Sequence[Line]) -> str:
    counts = {len(line.types(group)) for line in lines for group in SEVERITIES} - {0}
    if not counts:
        return "none but clean"
    low, high = min(counts), max(counts)
    return f"boxes over {low if low == high else f'{low}–{high}'} type{'s' * (high > 1)}"


def _floor(panel: Axes) -> float:
    """Where an axis of accuracies begins: at a multiple of 10 below all, or just below 0."""
    return max(10 * np.floor((panel.dataLim.y0 - 1) / 10), -2.0)
