"""Box plots over the types of corruption, one box per format at each severity."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ...core.figure import Band, Boxes, Figure, Panel, Points, Scale, numbers
from ...core.words import known
from ...corruptions.registered import SEVERITIES
from ...report.lines import Edition, Line, axis_label, known_scores, spread
from ...stats.shifted import CLEAN

REFERENCE = "FP32"
"""Drawn beside the twins."""

_GROUP = 0.86  # of the room of a severity that its boxes take
_BANDS = tuple(
    Band(group - 0.5, group + 0.5, upright=True) for group in range(0, len(SEVERITIES) + 1, 2)
)
_DESCRIPTION = (
    "Box plots over the types of corruption at each severity, one box for each Bayesian format: "
    "quartiles, and whiskers from least to greatest. Clean images are a single point."
)


def severity(edition: Edition) -> Figure | None:
    """Accuracy, ECE and NLL of the Bayesian formats at each severity (the paper's figure 3)."""
    words = ("severity", "Accuracy, ECE and NLL under shift", _DESCRIPTION)
    return _boxes(words, edition, edition.bayesian, ("accuracy", "ece", "nll"))


def severity_uce_brier(edition: Edition) -> Figure | None:
    """UCE and Brier score of the Bayesian formats at each severity (the paper's figure 4)."""
    words = ("severity-uce-brier", "UCE and Brier score under shift", _DESCRIPTION)
    return _boxes(words, edition, edition.bayesian, ("uce", "brier"))


def twins(edition: Edition) -> Figure | None:
    """Accuracy, ECE and NLL of the deterministic formats (the paper's figure 5), FP32 beside."""
    if not edition.twins:
        return None
    reference = [line for line in edition.bayesian if line.format == REFERENCE]
    words = (
        "twins",
        "Deterministic twins under shift",
        "Box plots over the types of corruption at each severity for the deterministic formats, "
        "with the Bayesian network in FP32 beside them.",
    )
    return _boxes(words, edition, [*reference, *edition.twins], ("accuracy", "ece", "nll"))


def _boxes(
    words: tuple[str, str, str], edition: Edition, lines: Sequence[Line], metrics: Sequence[str]
) -> Figure | None:
    """One panel per metric; at each severity one box per format over the types' scores, which are
    means over seeds. Boxes show quartiles and median, whiskers least and greatest. Severity 0 is
    one point per format, with ± 1 standard deviation over seeds. `words`: name, title and
    description."""
    shown = [line for line in lines if any(_scored(line, metric) for metric in metrics)]
    scored = [metric for metric in metrics if any(_scored(line, metric) for line in shown)]
    if not shown:
        return None
    across = Scale(
        f"severity, {_types_in_words(shown)}",
        -0.5,
        len(SEVERITIES) + 0.5,
        ticks=tuple(map(float, (0, *SEVERITIES))),
        names=("clean", *map(str, SEVERITIES)),
        bare=True,
    )
    keys = tuple(line.key for line in shown)
    return Figure(
        *words,
        tuple(
            Panel((*marks, *_BANDS, *keys), across, _upright(metric, marks))
            for metric in scored
            for marks in [tuple(_line_marks(shown, metric))]
        ),
        height=0.6 + 1.45 * len(scored),
        shared="x",
        note=edition.note,
    )


def _scored(line: Line, metric: str) -> bool:
    return len(known_scores(line.records, metric, None)) > 0


def _line_marks(lines: Sequence[Line], metric: str) -> Iterator[Points | Boxes]:
    width = _GROUP / len(lines)
    for place, line in enumerate(lines):
        offset = (place - (len(lines) - 1) / 2) * width
        clean = known_scores(line.at(*CLEAN), metric, None)
        if len(clean):
            middle, sd = clean.mean(), spread(clean)
            ends = numbers([middle - sd]), numbers([middle + sd])
            yield Points(
                (offset,), numbers([middle]), line.look, "", *ends,
                joined=False, size=3.5, over=True,  # a score may be near 0
            )  # fmt: skip
        found = {group: line.means(metric, group) for group in SEVERITIES}
        boxes = {group: values for group, values in found.items() if len(values)}
        yield Boxes(
            tuple(group + offset for group in boxes),
            tuple(tuple(np.percentile(v, (0, 25, 50, 75, 100)).tolist()) for v in boxes.values()),
            line.look,
            0.82 * width,
        )


def _upright(metric: str, marks: Sequence[Points | Boxes]) -> Scale:
    """From 0; accuracies from a multiple of 10 below all, or from just below 0."""
    if metric != "accuracy":
        return Scale(axis_label(metric), 0.0, about=5)
    ends = [
        end
        for mark in marks
        for end in (
            (q[0] for q in mark.quartiles) if isinstance(mark, Boxes) else (*mark.y, *mark.low)
        )
    ]
    floor = max(10 * math.floor((min(known(ends)) - 1) / 10), -2)
    return Scale(axis_label(metric), float(floor), 101.0, about=5)


def _types_in_words(lines: Sequence[Line]) -> str:
    counts = {len(line.types(group)) for line in lines for group in SEVERITIES} - {0}
    if not counts:
        return "none but clean"
    low, high = min(counts), max(counts)
    return f"boxes over {low if low == high else f'{low}–{high}'} type{'s' * (high > 1)}"
