"""Figures of a shift study that need every image: reliability, out-of-distribution detection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.figure import Figure, Look, Marker, Panel, Points, Scale, listed
from ...data.units import Units
from ...metrics.calibration import BINS
from ...records.shift_record import ShiftRecord
from ...report.lines import Edition, Line
from ...report.panels import calibration
from ...stats.shifted import CLEAN, OOD

WORST = 5
DRAWS = 500
DRAW_SEED = 0

#: Each score with its name, marker and the marker's size.
_SCORES: dict[str, tuple[str, Marker, float]] = {
    "entropy": ("predictive entropy", "circle", 4.0),
    "mutual_information": ("mutual information", "diamond", 3.5),
}


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
    panels: list[Panel] = []
    for line, *columns in shown:
        tops, bottoms = zip(*(_reliability_pair(line, found) for found in columns), strict=True)
        panels += [replace(_named(tops[0], "acc., %"), left=line.label), tops[1]]
        panels += [_named(bottoms[0], "images"), bottoms[1]]
    types = max(len(row[2]) for row in shown)
    for place, words in enumerate(("clean", f"severity {WORST}, {types} types")):
        panels[place] = replace(panels[place], right=words)
    return Figure(
        "reliability",
        "Reliability diagrams, clean and severity 5",
        "For each format, accuracy against confidence in bins with 95 percent intervals, of clean "
        "images and of all types of corruption at severity 5; on the diagonal a model is "
        "calibrated. Below, the number of images in each bin.",
        tuple(panels),
        height=0.5 + 1.25 * len(shown),
        columns=2,
        heights=(3.2, 1.0) * len(shown),
        shared="x",
        aligned=True,
        label="confidence, % (first seed)",
        note=edition.note,
    )


def out_of_distribution(edition: Edition) -> Figure | None:
    """AUROC by predictive entropy and by mutual information, one panel per set from outside.

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
    panels = [
        Panel(
            tuple(
                mark
                for place, line in enumerate(lines)
                for mark in _detection_points(place, line, name)
            ),
            Scale(about=2),
            listed((line.label for line in lines), grid=False),
            title=name,
        )
        for name in names
    ]
    keys = (
        Points((), (), _look(score), said, joined=False, size=size)
        for score, (said, _, size) in _SCORES.items()
    )
    panels[0] = replace(panels[0], marks=(*panels[0].marks, *keys))
    return Figure(
        "ood",
        "Out-of-distribution detection",
        "Area under the ROC curve with which predictive entropy and mutual information tell images "
        "from outside the distribution from clean ones, for each format, with 95 percent "
        "intervals.",
        tuple(panels),
        height=1.0 + 0.17 * len(lines),
        columns=len(names),
        shared="y",
        label="AUROC against clean images",
        legend=2,
        note=edition.note,
    )


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

    def area(weights: Sequence[NDArray[Any]] | None) -> float:
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


def _detection_points(place: int, line: Line, name: str) -> Iterator[Points]:
    for score, shift in zip(_SCORES, (-0.14, 0.14), strict=True):
        found = [auroc(*pair) for pair in _pairs(line, name, score)]
        if not found:
            continue
        middle = float(np.mean([area for area, _ in found]))
        low, high = np.percentile(np.mean([draws for _, draws in found], axis=0), (2.5, 97.5))
        few = any(one.count < 2 for *_, units in _pairs(line, name, score) for one in units)
        yield Points(
            (middle,),
            (place + shift,),
            replace(_look(score), format=line.format),
            left=() if few else (min(middle, float(low)),),
            right=() if few else (max(middle, float(high)),),
            joined=False,
            size=_SCORES[score][2],
        )


def _pairs(
    line: Line, name: str, score: str
) -> Iterator[tuple[NDArray[Any], NDArray[Any], tuple[Units, Units]]]:
    """Scores inside and outside and their units, one pair per seed that has both."""
    outside = {record.subject.seed: record for record in line.outside(name)}
    for record in line.at(*CLEAN):
        other = outside.get(record.subject.seed)
        if other and score in record.arrays and score in other.arrays:
            yield record.array(score), other.array(score), (record.units, other.units)


def _look(score: str) -> Look:
    return Look(marker=_SCORES[score][1], hollow=score != "entropy")


def _clean_and_worst(line: Line) -> tuple[list[ShiftRecord], list[ShiftRecord]]:
    """Records of the first seed: clean, and of every type at severity 5."""
    worst = (line.at(type, WORST)[:1] for type in line.types(WORST))
    return line.at(*CLEAN)[:1], [record for found in worst for record in found]


def _reliability_pair(line: Line, records: Sequence[ShiftRecord]) -> tuple[Panel, Panel]:
    if not records:
        return Panel(), Panel()
    stated = np.concatenate([record.array("confidence") for record in records]).astype(float)
    right = np.concatenate([record.array("correct") for record in records])
    units = np.concatenate([record.units.which for record in records])
    count, independent, confidence, accuracy = binned(stated, right, units)
    return calibration(
        line.look, count.tolist(), confidence, accuracy, independent, (3.0, 6.0), headroom=3.0
    )


def _named(panel: Panel, label: str) -> Panel:
    """The panel with a name at its vertical axis."""
    return replace(panel, y=replace(panel.y, label=label))


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
