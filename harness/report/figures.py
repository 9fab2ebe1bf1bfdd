"""Figures of records: each a function of one section that returns a figure as data, or None where
the section has nothing to show in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate

from ..core import words as text
from ..core.figure import (
    Bars,
    Figure,
    Look,
    Marker,
    Numbers,
    Panel,
    Points,
    Scale,
    Tone,
    listed,
    numbers,
)
from ..records.verdict import INVALID, QUALITY, SPEED
from .panels import calibration, passes_scale
from .rows import RecordRow, Section, fixed, largest_mc, unique

_MARKERS: tuple[Marker, ...] = ("circle", "square", "triangle", "diamond", "wedge")
#: Of a file: part, its name, colour and hatch.
_PARTS: tuple[tuple[str, str, Tone, str], ...] = (
    ("weight", "μ and σ", "blue", ""),
    ("scale", "scales", "orange", "lines"),
    ("bias", "biases", "green", "dots"),
    ("graph", "graph", "purple", "crosses"),
    ("header", "header", "faint", ""),
)


def figures(section: Section) -> Iterator[Figure]:
    """Every figure of a section."""
    return filter(None, (figure(section) for figure in FIGURES))


def reliability(section: Section) -> Figure | None:
    """Reliability diagram of each format at its largest T, with the images in each bin.

    Points are bins at their mean confidence, bars the 95 % Wilson interval of the accuracy; below,
    how many images a bin holds (logarithmic). Of the first seed.
    """
    rows = [
        row for row in largest_mc(section.rows) if row.record.body.quality.reliability.get("count")
    ]
    if not rows:
        return None
    panels: list[Panel] = []
    for left in range(0, len(rows), 2):
        pairs = [_reliability_pair(row, place == 0) for place, row in enumerate(rows[left:][:2])]
        tops, bottoms = ([*row, Panel()][:2] for row in zip(*pairs, strict=True))
        panels += [*tops, *bottoms]
    lines = len(panels) // 4
    return Figure(
        "reliability",
        "Reliability diagram, first seed",
        "For each format, accuracy against confidence in bins with 95 percent intervals, of the "
        "first seed; on the diagonal a model is calibrated. Below, the number of images in each "
        "bin. Grey: quality invalid.",
        tuple(panels),
        height=0.3 + 2.0 * lines,
        columns=2,
        heights=(3.0, 1.0) * lines,
        shared="x",
        label="confidence, % (first seed)",
        caption=_caption(rows, QUALITY),
    )


def against_mc(section: Section) -> Figure | None:
    """Accuracy and NLL against fixed T, one line per format, error bars of ± 1 standard deviation.

    No bar where a single seed tells none.
    """
    rows = unique(fixed(section), lambda r: (r.label, r.record.subject.mc))
    if not rows:
        return None
    labels = list(dict.fromkeys(row.label for row in rows))
    across = passes_scale(row.record.subject.mc for row in rows)
    accuracy, nll = (
        tuple(
            mark
            for place, label in enumerate(labels)
            for mark in _score_line(
                sorted((r for r in rows if r.label == label), key=lambda r: r.record.subject.mc),
                name,
                dodge=1.0 + 0.03 * (place - (len(labels) - 1) / 2),
            )
        )
        for name in ("accuracy", "nll")
    )
    return Figure(
        "mc",
        "Accuracy and NLL against T",
        "Accuracy and negative log-likelihood of each format against the number of Monte Carlo "
        "passes, with one standard deviation where there are several seeds. Grey: quality invalid.",
        (
            Panel(accuracy, across, Scale("accuracy, %", most=100.0, about=5)),
            Panel(nll, across, Scale("NLL, nats", about=5)),
        ),
        height=4.2,
        shared="x",
        caption=_caption(rows, QUALITY),
    )


def accuracy_against_confidence(section: Section) -> Figure | None:
    """Accuracy of the images at least so confident, and their share (the 2021 paper, figure 2).

    Of the first seed.
    """
    rows = [
        r
        for r in largest_mc(section.rows)
        if r.record.body.quality.accuracy_vs_confidence.get("share")
    ]
    if not rows:
        return None
    across = Scale("confidence at least τ, % (first seed)")
    curves = [(row, row.record.body.quality.accuracy_vs_confidence) for row in rows]
    accuracy, share = (
        tuple(_curve(row, curve["threshold"], curve[name]) for row, curve in curves)
        for name in ("accuracy", "share")
    )
    return Figure(
        "confidence",
        "Accuracy against confidence, first seed",
        "Accuracy of the images that are at least so confident, and the share of all images that "
        "they are, against the threshold, for each format, of the first seed. Grey: quality "
        "invalid.",
        (
            Panel(accuracy, across, Scale("accuracy, %", most=100.0)),
            Panel(share, across, Scale("share of images, %", most=100.0)),
        ),
        height=4.0,
        shared="x",
        caption=_caption(rows, QUALITY),
    )


def risk_coverage(section: Section) -> Figure | None:
    """Error rate of the most confident images against how many are kept, of the first seed."""
    rows = [r for r in largest_mc(section.rows) if r.record.body.quality.risk_coverage.get("risk")]
    if not rows:
        return None
    curves = [(row, row.record.body.quality.risk_coverage) for row in rows]
    panel = Panel(
        tuple(_curve(row, curve["coverage"], curve["risk"]) for row, curve in curves),
        Scale("coverage, % of images (first seed)"),
        Scale("risk, % wrong", low=0.0),
    )
    return Figure(
        "risk-coverage",
        "Risk–coverage curve, first seed",
        "Error rate among the most confident images against the share of images kept, for each "
        "format, of the first seed. Grey: quality invalid.",
        (panel,),
        height=2.8,
        caption=_caption(rows, QUALITY),
    )


def latency(section: Section) -> Figure | None:
    """Median latency of a pass (query over fixed T) by format, 95 % intervals, one panel per batch.

    An interval that reaches beyond half as much again as the largest median is cut off there.
    """
    if not (rows := fixed(section)):
        return None
    batches = sorted({row.record.subject.batch for row in rows})
    labels = list(dict.fromkeys(row.label for row in rows))
    passes = sorted({row.record.subject.mc for row in rows})
    shapes = {mc: _MARKERS[place % len(_MARKERS)] for place, mc in enumerate(passes)}
    keys = tuple(
        Points((), (), Look(marker=shape, hollow=True), f"T = {mc}", joined=False)
        for mc, shape in shapes.items()
    )
    panels = [
        _latency_panel([r for r in rows if r.record.subject.batch == batch], labels, shapes)
        for batch in batches
    ]
    panels[0] = replace(panels[0], marks=(*panels[0].marks, *keys))
    named = replace(panels[-1].x, label="median latency of a pass, ms")
    return Figure(
        "latency",
        "Latency of a pass",
        "Median latency of one Monte Carlo pass of each format, by batch and T, with 95 percent "
        "confidence intervals; one that leaves the panel is wider than it. Grey: speed invalid.",
        (*panels[:-1], replace(panels[-1], x=named)),
        height=0.5 + len(batches) * (0.5 + 0.28 * len(labels)),
        caption=_caption(rows, SPEED),
    )


def model_size(section: Section) -> Figure | None:
    """Bytes of the artefact by what they hold, and how many times smaller than FP32's it is."""
    rows = unique(section.rows, lambda r: (r.record.subject.format, r.record.body.size))
    unit, scale = text.byte_unit(row.record.body.size.file_bytes for row in rows)
    widths = [
        [getattr(row.record.body.size, f"{part}_bytes") / scale for row in rows]
        for part, *_ in _PARTS
    ]
    edges = list(accumulate(widths, lambda a, b: [x + y for x, y in zip(a, b, strict=True)]))
    names = listed(row.label for row in rows)
    starts = [[0.0] * len(rows), *edges]
    ends = tuple(text.times(row.record.body.size.ratio_file) for row in rows)
    bars = [
        Bars(
            names.ticks, numbers(sizes), Look(tone=tone), name, numbers(start),
            thickness=0.7, flat=True, hatch=hatch,  # type: ignore[arg-type]
        )
        for (_, name, tone, hatch), sizes, start in zip(_PARTS, widths, starts, strict=False)
    ]  # fmt: skip
    across = Scale(f"artefact on disk, {unit}; times smaller than FP32", 0.0, 1.18 * max(edges[-1]))
    return Figure(
        "size",
        "Model size",
        "Bytes of each format's file by what they hold, and how many times smaller than the FP32 "
        "file it is.",
        (
            Panel(
                (*bars[:-1], replace(bars[-1], ends=ends)),
                across,
                replace(names, low=None, high=None, grid=False),
            ),
        ),
        height=0.9 + 0.26 * len(rows),
    )


FIGURES: tuple[Callable[[Section], Figure | None], ...] = (
    reliability,
    against_mc,
    accuracy_against_confidence,
    risk_coverage,
    latency,
    model_size,
)


def row_look(row: RecordRow, kind: str = "") -> Look:
    """Of a row: of its format and the letter of its variant; grey where what is drawn, its quality
    or speed, is invalid."""
    format = row.record.subject.format
    letter = row.label.removeprefix(format).strip()
    variant = ord(letter[0]) - ord("a") if letter else 0
    return Look(format, variant, invalid=bool(kind) and row.record.verdict.of(kind) == INVALID)


def _caption(rows: Iterable[RecordRow], kind: str) -> str:
    """What the grey of `row_look` says, where there is some."""
    invalid = any(row.record.verdict.of(kind) == INVALID for row in rows)
    return f"grey: {kind} invalid" if invalid else ""


def _reliability_pair(row: RecordRow, first: bool) -> tuple[Panel, Panel]:
    quality, diagram = row.record.body.quality, row.record.body.quality.reliability
    count = [n or 0.0 for n in diagram["count"]]
    filled = [place for place, n in enumerate(count) if n > 0]
    top, bottom = calibration(
        row_look(row, QUALITY),
        count,
        [diagram["confidence"][place] or 0.0 for place in filled],
        [diagram["accuracy"][place] or 0.0 for place in filled],
        [count[place] * (quality.units or quality.images) / quality.images for place in filled],
    )
    title = f"{row.label}, T = {row.passes}"
    return (
        replace(top, title=title, y=replace(top.y, label="accuracy, %" if first else "")),
        replace(bottom, y=replace(bottom.y, label="images" if first else "")),
    )


def _score_line(line: Sequence[RecordRow], name: str, dodge: float) -> list[Points]:
    found = [(row, row.record.body.quality.scores.get(name)) for row in line]
    known = [(row, c, text.deviation(s)) for row, s in found if (c := text.mean(s)) is not None]
    sd = [math.nan if s is None else s for _, _, s in known]
    points = Points(
        numbers(row.record.subject.mc * dodge for row, *_ in known),
        numbers(centre for _, centre, _ in known),
        row_look(line[0]),
        line[0].label,
        numbers(c - s for (_, c, _), s in zip(known, sd, strict=True)),
        numbers(c + s for (_, c, _), s in zip(known, sd, strict=True)),
    )
    invalid = [(row, c) for row, c, _ in known if row.record.verdict.of(QUALITY) == INVALID]
    covered = [
        Points(
            (row.record.subject.mc * dodge,),
            (c,),
            row_look(row, QUALITY),
            joined=False,
            covering=True,
        )
        for row, c in invalid
    ]
    return [points, *covered] if known else []


def _percent(shares: Sequence[float | None]) -> Numbers:
    return numbers(None if share is None else 100.0 * share for share in shares)


def _curve(row: RecordRow, x: Sequence[float | None], y: Sequence[float | None]) -> Points:
    return Points(
        _percent(x),
        _percent(y),
        row_look(row, QUALITY),
        row.label,
        every=(0, max(1, len(y) // 8)),
        size=3.5,
    )


def _latency_panel(
    rows: Sequence[RecordRow], labels: Sequence[str], shapes: dict[int, Marker]
) -> Panel:
    marks = []
    for row in rows:
        timing = row.record.body.timing
        ends = (timing.percentiles_ns.get("p50"), *timing.p50_ci95_ns)
        found = text.known(_of_a_pass(row, end) for end in ends)
        if len(found) < 3:
            continue
        middle, low, high = found
        offset = 0.25 * (list(shapes).index(row.record.subject.mc) - (len(shapes) - 1) / 2)
        look = replace(row_look(row, SPEED), marker=shapes[row.record.subject.mc], hollow=True)
        marks.append(
            Points(
                (middle,), (labels.index(row.label) + offset,), look,
                left=(min(low, middle),), right=(max(high, middle),), joined=False, size=3.0,
            )
        )  # fmt: skip
    title = f"batch {rows[0].record.subject.batch}"
    return Panel(tuple(marks), Scale("", 0.0, _cut(marks)), listed(labels), left=title)


def _cut(marks: Sequence[Points]) -> float | None:
    """Where an axis of latencies ends because an interval on it would dwarf the medians; None where
    none does."""
    ends = [end for mark in marks for end in text.known((*mark.left, *mark.right))]
    largest = max(text.known(x for mark in marks for x in mark.x), default=0.0)
    room = max(ends, default=0.0) + 0.05 * (max(ends, default=0.0) - min(ends, default=0.0))
    return 1.5 * largest if room > 1.5 * largest else None


def _of_a_pass(row: RecordRow, nanoseconds: float | None) -> float | None:
    """A timed query's latency as that of a pass, ms."""
    return None if nanoseconds is None else nanoseconds / row.record.query_passes / 1e6
