"""Figures of a shift study: those of the 2021 paper, and what it does not show.

Subedar et al., "Quantization of Bayesian Neural Networks and Its Effect on Quality of Uncertainty",
ICML 2021 workshop on uncertainty and robustness in deep learning.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...core.figure import Figure, Panel, Points, Scale, numbers
from ...metrics.risk_coverage import THRESHOLDS
from ...records.shift_record import ShiftRecord
from ...report.lines import Edition, Line, axis_label, editions, known_scores, spread
from ...report.panels import passes_scale
from ...stats.shifted import CLEAN
from .boxes import severity, severity_uce_brier, twins
from .image_figures import out_of_distribution, reliability

PAPER_SHIFT = ("gaussian_blur", 3)
"""Of the paper's figure 2."""

_EVERY = 4  # thresholds from marker to marker


def shift_figures(records: Iterable[ShiftRecord]) -> list[Figure]:
    """Every figure of a study.

    Args:
        records: of one study; whatever is missing is left out.

    Returns:
        The figures; the name of one begins with its edition, see `editions`.
    """
    found = []
    for index, edition in enumerate(editions(records)):
        for make in FIGURES:
            if index and make is twins:  # they are in every edition, the same ones
                continue
            if (figure := make(edition)) is not None:
                name = "-".join(filter(None, (edition.slug, figure.name)))
                found.append(replace(figure, name=name))
    return found


def confidence(edition: Edition) -> Figure | None:
    """Accuracy of the images with confidence at least τ, and their share, against τ: clean and
    under the paper's shift (its figure 2). Means over seeds, bars of ± 1 standard deviation."""
    conditions = [c for c in (CLEAN, PAPER_SHIFT) if any(line.at(*c) for line in edition.lines)]
    if not conditions:
        return None
    panels = []
    for row, label in enumerate(("accuracy, %", "share of images, %")):
        for column, condition in enumerate(conditions):
            marks = tuple(
                _confidence_curve(line, records, place, row)
                for place, line in enumerate(edition.lines)
                if (records := line.at(*condition))
            )
            title = "" if row else "clean" if condition == CLEAN else _words(*condition)
            up = Scale("" if column else label, most=100.0)
            panels.append(Panel(marks, y=up, title=title))
    panels[0] = replace(panels[0], marks=(*panels[0].marks, *(one.key for one in edition.lines)))
    return Figure(
        "confidence",
        "Accuracy against confidence",
        "Accuracy of the images that are at least so confident, and the share of all images that "
        "they are, against the threshold, for each format: clean images, and Gaussian blur of "
        "severity 3.",
        tuple(panels),
        height=3.6,
        columns=len(conditions),
        shared="x",
        label="confidence at least τ, %",
        note=edition.note,
    )


def against_mc(edition: Edition) -> Figure | None:
    """Accuracy and NLL of clean images against T; means over seeds, bars of ± 1 standard
    deviation."""
    lines = [line for line in edition.bayesian if line.at(*CLEAN)]
    passes = {mc for line in lines for record in line.at(*CLEAN) for mc in record.body.mc}
    if len(passes) < 2:
        return None
    keys = [line.key for line in lines]
    panels = []
    for metric in ("accuracy", "nll"):
        marks = [
            _mc_line(line, metric, 1 + 0.03 * (place - (len(lines) - 1) / 2))
            for place, line in enumerate(lines)
        ]
        up = Scale(axis_label(metric), most=100.0 if metric == "accuracy" else None, about=5)
        panels.append(Panel((*marks, *keys), passes_scale(passes), up))
    return Figure(
        "mc",
        "Accuracy and NLL against T",
        "Accuracy and negative log-likelihood of clean images against the number of Monte Carlo "
        "passes for each Bayesian format, with one standard deviation where there are several "
        "seeds.",
        tuple(panels),
        height=4.0,
        shared="x",
        note=edition.note,
    )


FIGURES = (
    confidence,
    severity,
    severity_uce_brier,
    twins,
    reliability,
    against_mc,
    out_of_distribution,
)


def _confidence_curve(line: Line, records: Sequence[ShiftRecord], place: int, which: int) -> Points:
    values = 100 * np.array([_above(record)[which] for record in records])
    centre = values.mean(axis=0)
    sd = values.std(axis=0, ddof=1) if len(records) > 1 else np.full(len(centre), np.nan)
    return Points(
        numbers(100 * np.array(THRESHOLDS)),
        numbers(centre),
        line.look,
        low=numbers(centre - sd),
        high=numbers(centre + sd),
        every=(place % _EVERY, _EVERY),
        size=3.0,
    )


def _above(record: ShiftRecord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy (NaN where there is none) and share of the images with confidence ≥ τ, [τ] each."""
    stated, right = record.array("confidence"), record.array("correct")
    kept = stated[None] >= np.array(THRESHOLDS, stated.dtype)[:, None]
    count = kept.sum(axis=1)
    correct = (kept & right).sum(axis=1)
    return np.where(count > 0, correct / np.maximum(count, 1), np.nan), count / record.body.images


def _mc_line(line: Line, metric: str, dodge: float) -> Points:
    records = line.at(*CLEAN)
    passes = sorted({mc for record in records for mc in record.body.mc})
    scores = [known_scores(records, metric, mc) for mc in passes]
    points = [
        (mc * dodge, s.mean(), spread(s)) for mc, s in zip(passes, scores, strict=True) if len(s)
    ]
    return Points(
        numbers(x for x, _, _ in points),
        numbers(y for _, y, _ in points),
        line.look,
        low=numbers(y - sd for _, y, sd in points),
        high=numbers(y + sd for _, y, sd in points),
    )


def _words(corruption: str, severity: int) -> str:
    return f"{corruption.replace('_', ' ')}, severity {severity}"
