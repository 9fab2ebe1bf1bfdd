"""Figures of a shift study: those of the 2021 paper, and what it does not show.

Subedar et al., "Quantization of Bayesian Neural Networks and Its Effect on Quality of Uncertainty",
ICML 2021 workshop on uncertainty and robustness in deep learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from ...metrics.risk_coverage import THRESHOLDS
from ...records.shift_record import ShiftRecord
from ...report.lines import Edition, Line, axis_label, editions, known_scores, legend, safe, spread
from ...report.style import figure, save_twice, styled
from ...stats.shifted import CLEAN
from .boxes import severity, severity_uce_brier, twins
from .image_figures import out_of_distribution, reliability

PAPER_SHIFT = ("gaussian_blur", 3)
"""Of the paper's figure 2."""

_EVERY = 4  # thresholds from marker to marker


@dataclass(frozen=True)
class ShiftDrawing:
    """A kind of figure of a shift study.

    Attributes:
        name: part of its file name.
        title: what it is called.
        description: what it shows, for those who do not see it.
        draw: makes it from an edition; None where there is nothing to show.
        of_twins: it shows the deterministic formats, which no edition changes.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Edition], Figure | None]
    of_twins: bool = False


def shift_figures(records: Iterable[ShiftRecord], out_dir: Path, name: str) -> list[Path]:
    """Write every figure of a study as SVG and PNG.

    Args:
        records: of one study; whatever is missing is left out.
        out_dir: directory, made if missing.
        name: how the files' names begin.

    Returns:
        The files, `<name>[-<edition>]-<figure>.<svg|png>`; editions see `editions`. Equal records
        give equal bytes.

    Raises:
        UserError: the directory cannot be written.
    """
    written: list[Path] = []
    for index, edition in enumerate(editions(records)):
        slug = "-".join(part for part in (safe(name), edition.slug) if part)
        for drawing in SHIFT_DRAWINGS:
            if index and drawing.of_twins:  # they are in every edition, the same ones
                continue
            drawn = drawing.draw(edition)
            if drawn is not None:
                written += save_twice(drawn, out_dir, slug, drawing.name)
    return written


def confidence(edition: Edition) -> Figure | None:
    """Accuracy of the images with confidence at least τ, and their share, against τ: clean and
    under the paper's shift (its figure 2). Means over seeds, bars of ± 1 standard deviation."""
    conditions = [c for c in (CLEAN, PAPER_SHIFT) if any(line.at(*c) for line in edition.lines)]
    if not conditions:
        return None
    with styled():
        drawn = figure(3.6)
        panels = drawn.subplots(2, len(conditions), sharex=True, squeeze=False)
        for column, condition in zip(panels.T, conditions, strict=True):
            column[0].set_title("clean" if condition == CLEAN else _words(*condition), fontsize=7)
            for place, line in enumerate(edition.lines):
                if records := line.at(*condition):
                    _confidence_curves(column, line, records, place)
            for panel in column:
                _at_most_100(panel)
        panels[0, 0].set_ylabel("accuracy, %")
        panels[1, 0].set_ylabel("share of images, %")
        drawn.supxlabel("confidence at least τ, %", fontsize="medium")
        legend(drawn, panels[0, 0], edition.lines, edition.note)
    return drawn


def against_mc(edition: Edition) -> Figure | None:
    """Accuracy and NLL of clean images against T; means over seeds, bars of ± 1 standard
    deviation."""
    lines = [line for line in edition.bayesian if line.at(*CLEAN)]
    passes = sorted({mc for line in lines for record in line.at(*CLEAN) for mc in record.body.mc})
    if len(passes) < 2:
        return None
    with styled():
        drawn = figure(4.0)
        panels = drawn.subplots(2, 1, sharex=True)
        for panel, metric in zip(panels, ("accuracy", "nll"), strict=True):
            for place, line in enumerate(lines):
                _mc_line(panel, line, metric, 1 + 0.03 * (place - (len(lines) - 1) / 2))
            panel.set_ylabel(axis_label(metric))
            panel.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
            panel.ticklabel_format(axis="y", useOffset=False)
        _at_most_100(panels[0])
        panels[1].set_xscale("log")
        panels[1].set_xticks(passes, [str(mc) for mc in passes])
        panels[1].xaxis.set_minor_locator(NullLocator())
        panels[1].set_xlabel("Monte Carlo passes T")
        legend(drawn, panels[0], lines, edition.note)
    return drawn


SHIFT_DRAWINGS = (
    ShiftDrawing(
        "confidence",
        "Accuracy against confidence",
        "Accuracy of the images that are at least so confident, and the share of all images that "
        "they are, against the threshold, for each format: clean images, and Gaussian blur of "
        "severity 3.",
        confidence,
    ),
    ShiftDrawing(
        "severity",
        "Accuracy, ECE and NLL under shift",
        "Box plots over the types of corruption at each severity, one box a Bayesian format: "
        "quartiles, and whiskers from least to greatest. Clean images are a single point.",
        severity,
    ),
    ShiftDrawing(
        "severity-uce-brier",
        "UCE and Brier score under shift",
        "Box plots over the types of corruption at each severity, one box a Bayesian format: "
        "quartiles, and whiskers from least to greatest. Clean images are a single point.",
        severity_uce_brier,
    ),
    ShiftDrawing(
        "twins",
        "Deterministic twins under shift",
        "Box plots over the types of corruption at each severity for the deterministic formats, "
        "with the Bayesian network in FP32 beside them.",
        twins,
        of_twins=True,
    ),
    ShiftDrawing(
        "reliability",
        "Reliability diagrams, clean and severity 5",
        "For each format, accuracy against confidence in bins with 95 percent intervals, of clean "
        "images and of all types of corruption at severity 5; on the diagonal a model is "
        "calibrated. Below, the number of images in each bin.",
        reliability,
    ),
    ShiftDrawing(
        "mc",
        "Accuracy and NLL against T",
        "Accuracy and negative log-likelihood of clean images against the number of Monte Carlo "
        "passes for each Bayesian format, with one standard deviation where there are several "
        "seeds.",
        against_mc,
    ),
    ShiftDrawing(
        "ood",
        "Out-of-distribution detection",
        "Area under the ROC curve with which predictive entropy and mutual information tell images "
        "from outside the distribution from clean ones, for each format, with 95 percent "
        "intervals.",
        out_of_distribution,
    ),
)


def _confidence_curves(
    panels: Sequence[Axes], line: Line, records: Sequence[ShiftRecord], place: int
) -> None:
    curves = np.array([_above(record) for record in records])
    every = slice(place % _EVERY, None, _EVERY)
    for index, panel in enumerate(panels):
        values = 100 * curves[:, index]
        centre = values.mean(axis=0)
        panel.plot(100 * np.array(THRESHOLDS), centre, **line.style, markersize=3, markevery=every)
        if len(records) > 1:
            at, sd = 100 * np.array(THRESHOLDS)[every], values.std(axis=0, ddof=1)[every]
            panel.errorbar(
                at, centre[every], sd, fmt="none", ecolor=line.look.color, elinewidth=0.8
            )


def _above(record: ShiftRecord) -> tuple[np.ndarray, np.ndarray]:
    """Accuracy (NaN where there is none) and share of the images with confidence ≥ τ, [τ] each."""
    stated, right = record.array("confidence"), record.array("correct")
    kept = stated[None] >= np.array(THRESHOLDS, stated.dtype)[:, None]
    count = kept.sum(axis=1)
    correct = (kept & right).sum(axis=1)
    return np.where(count > 0, correct / np.maximum(count, 1), np.nan), count / record.body.images


def _mc_line(panel: Axes, line: Line, metric: str, dodge: float) -> None:
    records = line.at(*CLEAN)
    passes = sorted({mc for record in records for mc in record.body.mc})
    scores = [known_scores(records, metric, mc) for mc in passes]
    points = [(mc, s.mean(), spread(s)) for mc, s in zip(passes, scores, strict=True) if len(s)]
    if points:
        x, y, error = np.array(points).T
        panel.errorbar(x * dodge, y, error, **line.style, elinewidth=0.8, capsize=2)


def _words(corruption: str, severity: int) -> str:
    return f"{corruption.replace('_', ' ')}, severity {severity}"


def _at_most_100(panel: Axes) -> None:
    """End a vertical axis of percentages at 100, with room for the markers there."""
    low, high = panel.get_ylim()
    panel.set_ylim(low, min(high, 100 + 0.05 * (100 - low)))
