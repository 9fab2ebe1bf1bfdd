"""Figures of a shift study that need every image: reliability, out-of-distribution detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter
from numpy.typing import NDArray

from ...data.units import Units
from ...metrics.calibration import BINS
from ...records.shift_record import ShiftRecord
from ...report.lines import Edition, Line, titled
from ...report.style import FAINT, INK, figure, styled
from ...stats.shifted import CLEAN, OOD
from ...stats.significance import wilson

WORST = 5
DRAWS = 500
DRAW_SEED = 0

_SCORES = {"entropy": "predictive entropy", "mutual_information": "mutual information"}


def reliability(edition: Edition) -> Figure | None:
    """Reliability diagram of each format on clean images, and on all types at severity 5 together.

    Points are bins at their mean confidence, bars the 95 % Wilson interval of the accuracy; below,
    how many images a bin holds (logarithmic). Of the first seed. Intervals count independent images
    (`units.Units`): an image counts once, however many types put it into a bin.
    """
    pooled = [(line, *_clean_and_worst(line)) for line in edition.lines]
    shown = [row for row in pooled if row[1] or row[2]]
    if not shown:
        return None
    with styled():
        drawn = figure(0.5 + 1.25 * len(shown))
        ratios = [3.2, 1] * len(shown)
        panels = drawn.subplots(
            2 * len(shown), 2, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )
        for place, (line, *columns) in enumerate(shown):
            for side, records in enumerate(columns):
                top, bottom = panels[2 * place, side], panels[2 * place + 1, side]
                _reliability_panel(line, records, top, bottom)
            panels[2 * place, 0].set_title(line.label, fontsize=7, loc="left")
            panels[2 * place, 0].set_ylabel("acc., %")
            panels[2 * place + 1, 0].set_ylabel("images")
        panels[0, 0].set_title("clean", fontsize=7, loc="right")
        types = max(len(row[2]) for row in shown)
        panels[0, 1].set_title(f"severity {WORST}, {types} types", fontsize=7, loc="right")
        drawn.align_ylabels(panels[:, 0])
        drawn.supxlabel("confidence, % (first seed)", fontsize="medium")
        if edition.note:
            drawn.legend([], [], loc="outside upper left", **titled(edition.note))
    return drawn


def out_of_distribution(edition: Edition) -> Figure | None:
    """AUROC by predictive entropy and by mutual information, a panel a set from outside.

    Clean images are those inside. Means over seeds; bars are 95 % intervals of a bootstrap over
    independent images, `DRAWS` draws, the same images in every seed; one has no bar.
    """
    names = sorted(
        {
            record.subject.corruption.removeprefix(OOD)
            for line in edition.lines
            for record in line.records
            if record.subject.corruption.startswith(OOD) and line.at(*CLEAN)
        }
    )
    if not names:
        return None
    lines = [line for line in edition.lines if any(map(line.outside, names)) and line.at(*CLEAN)]
    with styled():
        drawn = figure(1.0 + 0.17 * len(lines))
        panels = drawn.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for panel, name in zip(panels, names, strict=True):
            for place, line in enumerate(lines):
                _detection_points(panel, place, line, name)
            panel.set_title(name, fontsize=7)
            panel.xaxis.set_major_locator(MaxNLocator(2, steps=(1, 2, 4, 5, 10)))
            panel.grid(axis="y", visible=False)
        panels[0].set_yticks(range(len(lines)), [line.label for line in lines])
        panels[0].set_ylim(len(lines) - 0.5, -0.5)
        drawn.supxlabel("AUROC against clean images", fontsize="medium")
        for score, name in _SCORES.items():
            panels[0].plot([], [], color=INK, **_style(score), linestyle="none", label=name)
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=2, **titled(edition.note))
    return drawn


def auroc(
    inside: NDArray[np.floating],
    outside: NDArray[np.floating],
    units: tuple[Units, Units],
    draws: int = DRAWS,
) -> tuple[float, NDArray[np.float64]]:
    """AUROC of scores that are to be larger outside, and of bootstrap samples of the images' units.

    Args:
        inside: [N] scores.
        outside: [M] scores.
        units: of the images inside and outside.
        draws: B, each of as many units as there are inside and outside, with replacement; from a
            fixed seed, so draw b takes the same units whenever there are as many.

    Returns:
        The AUROC, a tie counting one half, and [B] those of the draws.
    """
    generator = np.random.Generator(np.random.PCG64(DRAW_SEED))
    values, place = np.unique(np.concatenate([inside, outside]), return_inverse=True)
    at_inside, at_outside = place[: len(inside)], place[len(inside) :]

    def area(weights: Sequence[NDArray] | None) -> float:
        low, high = weights if weights is not None else (None, None)
        below = np.bincount(at_inside, low, len(values))
        above = np.bincount(at_outside, high, len(values))
        wins = (np.cumsum(below) - below / 2) @ above
        return float(wins / (below.sum() * above.sum()))

    return area(None), np.array(
        [area([_counts(generator, one) for one in units]) for _ in range(draws)]
    )


def _counts(generator: np.random.Generator, units: Units) -> NDArray[np.int64]:
    """[N] how often each image is drawn."""
    drawn = generator.integers(0, units.count, units.count)
    return np.bincount(drawn, minlength=units.count)[units.which]


def _detection_points(panel: Axes, place: int, line: Line, name: str) -> None:
    for score, shift in zip(_SCORES, (-0.14, 0.14), strict=True):
        found = [auroc(*pair) for pair in _pairs(line, name, score)]
        if not found:
            continue
        middle = float(np.mean([area for area, _ in found]))
        low, high = np.percentile(np.mean([draws for _, draws in found], axis=0), (2.5, 97.5))
        few = any(one.count < 2 for *_, units in _pairs(line, name, score) for one in units)
        panel.errorbar(
            middle,
            place + shift,
            xerr=None if few else [[max(middle - low, 0)], [max(high - middle, 0)]],
            color=line.look.color,
            elinewidth=0.8,
            capsize=1.5,
            **_style(score),
        )


def _pairs(
    line: Line, name: str, score: str
) -> Iterator[tuple[NDArray, NDArray, tuple[Units, Units]]]:
    """Scores inside and outside and their units, one pair a seed that has both."""
    outside = {record.subject.seed: record for record in line.outside(name)}
    for record in line.at(*CLEAN):
        other = outside.get(record.subject.seed)
        if other and score in record.arrays and score in other.arrays:
            yield record.array(score), other.array(score), (record.units, other.units)


def _style(score: str) -> dict[str, Any]:
    filled = score == "entropy"
    return {
        "marker": "o" if filled else "D",
        "markersize": 4 if filled else 3.5,
        "fillstyle": "full" if filled else "none",
    }


def _clean_and_worst(line: Line) -> tuple[list[ShiftRecord], list[ShiftRecord]]:
    """Records of the first seed: clean, and of every type at severity 5."""
    worst = (line.at(type, WORST)[:1] for type in line.types(WORST))
    return line.at(*CLEAN)[:1], [record for found in worst for record in found]


def _reliability_panel(line: Line, records: Sequence[ShiftRecord], top: Axes, bottom: Axes) -> None:
    if not records:
        top.set_axis_off()
        bottom.set_axis_off()
        return
    stated = np.concatenate([record.array("confidence") for record in records]).astype(float)
    right = np.concatenate([record.array("correct") for record in records])
    units = np.concatenate([record.units.which for record in records])
    count, independent, confidence, accuracy = binned(stated, right, units)
    low, high = wilson(accuracy, independent)
    bars = np.clip([accuracy - low, high - accuracy], 0, None)
    top.plot([0, 100], [0, 100], color=FAINT, linewidth=0.8)
    top.errorbar(
        100 * confidence,
        100 * accuracy,
        100 * bars,
        **{**line.style, "linestyle": "-"},
        linewidth=0.9,
        elinewidth=0.7,
        markersize=3,
    )
    top.set(xlim=(-3, 103), ylim=(-6, 106), xticks=(0, 50, 100), yticks=(0, 50, 100))
    centres = 100 * (np.arange(BINS) + 0.5) / BINS
    bottom.bar(centres, count, width=85 / BINS, color=line.look.color)
    bottom.set_yscale("log")
    bottom.set_ylim(0.5, 3 * count.max())
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bottom.yaxis.set_minor_locator(NullLocator())


def binned(
    stated: NDArray[np.float64], right: NDArray[np.bool_], units: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Images in each bin [BINS], and of those that hold any, how many units these are of, mean
    confidence and accuracy.

    Bins are those of `reliability_diagram`: closed below, the last one above too.
    """
    edges = np.arange(1, BINS) / BINS
    place = np.searchsorted(edges, stated, side="right")
    count = np.bincount(place, minlength=BINS)
    filled = count > 0
    confidence, accuracy = (
        np.bincount(place, weights, BINS)[filled] / count[filled] for weights in (stated, right)
    )
    independent = np.bincount(np.unique(np.stack([place, units]), axis=1)[0], minlength=BINS)
    return count, independent[filled], confidence, accuracy
