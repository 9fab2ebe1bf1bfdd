"""Figures of records: each a function of one section that returns a matplotlib figure, or None
where the section has nothing to show in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

from ..core import words as text
from ..records.run_record import RunRecord
from ..records.verdict import INVALID, QUALITY, SPEED
from ..stats.significance import wilson
from .rows import RecordRow, Section, fixed, largest_mc, sections, unique
from .style import FAINT, INK, caption, figure, judged_look, legend_above, look, save_twice, styled


@dataclass(frozen=True)
class Drawing:
    """A kind of figure.

    Attributes:
        name: part of its file name.
        title: what it is called.
        description: what it shows, for those who do not see it.
        draw: makes it from a section.
    """

    name: str
    title: str
    description: str
    draw: Callable[[Section], Figure | None]


def figures(records: Iterable[RunRecord], out_dir: Path) -> list[Path]:
    """Write every figure of every section as SVG and PNG.

    Args:
        records: what to show.
        out_dir: directory, made if missing.

    Returns:
        The files, `<workload>-<split>-<figure>.<svg|png>`. Equal records give equal bytes.

    Raises:
        UserError: the directory cannot be written.
    """
    written: list[Path] = []
    for section in sections(records):
        for drawing in DRAWINGS:
            drawn = drawing.draw(section)
            if drawn is not None:
                written += save_twice(drawn, out_dir, section.slug, drawing.name)
    return written


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
    lines = -(-len(rows) // 2)
    with styled():
        drawn = figure(0.3 + 2.0 * lines)
        ratios = [3, 1] * lines
        axes = drawn.subplots(
            2 * lines, 2, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
        )
        for i in range(2 * lines):
            top, bottom = axes[2 * (i // 2), i % 2], axes[2 * (i // 2) + 1, i % 2]
            if i < len(rows):
                _reliability_panel(rows[i], top, bottom, first=i % 2 == 0)
            else:
                top.set_axis_off()
                bottom.set_axis_off()
        last = len(rows) - 1
        for i in {last, max(last - 1, 0)}:
            panel = axes[2 * (i // 2) + 1, i % 2]
            panel.tick_params(labelbottom=True)
        said = _lines("confidence, % (first seed)", caption(rows, QUALITY))
        drawn.supxlabel(said, fontsize="medium")
    return drawn


def against_mc(section: Section) -> Figure | None:
    """Accuracy and NLL against fixed T, one line a format, error bars of ± 1 standard deviation.

    No bar where a single seed tells none.
    """
    rows = unique(fixed(section), lambda r: (r.label, r.record.subject.mc))
    if not rows:
        return None
    passes = sorted({row.record.subject.mc for row in rows})
    with styled():
        drawn = figure(4.2)
        panels = drawn.subplots(2, 1, sharex=True)
        labels = list(dict.fromkeys(row.label for row in rows))
        for place, label in enumerate(labels):
            line = sorted((r for r in rows if r.label == label), key=lambda r: r.record.subject.mc)
            dodge = 1.0 + 0.03 * (place - (len(labels) - 1) / 2)
            _score_line(panels[0], line, "accuracy", dodge)
            _score_line(panels[1], line, "nll", dodge)
        _at_most_100(panels[0])
        panels[0].set_ylabel("accuracy, %")
        panels[1].set_ylabel("NLL, nats")
        panels[1].set_xlabel(_lines("Monte Carlo passes T", caption(rows, QUALITY)))
        panels[1].set_xscale("log")
        panels[1].set_xticks(passes, [str(t) for t in passes])
        panels[1].xaxis.set_minor_locator(NullLocator())
        legend_above(drawn, panels[0])
    return drawn


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
    with styled():
        drawn = figure(4.0)
        panels = drawn.subplots(2, 1, sharex=True)
        for row in rows:
            curve = row.record.body.quality.accuracy_vs_confidence
            for panel, name in zip(panels, ("accuracy", "share"), strict=True):
                _curve(panel, row, _percent(curve["threshold"]), _percent(curve[name]))
        for panel in panels:
            _at_most_100(panel)
        panels[0].set_ylabel("accuracy, %")
        panels[1].set_ylabel("share of images, %")
        said = _lines("confidence at least τ, % (first seed)", caption(rows, QUALITY))
        panels[1].set_xlabel(said)
        legend_above(drawn, panels[0])
    return drawn


def risk_coverage(section: Section) -> Figure | None:
    """Error rate of the most confident images against how many are kept, of the first seed."""
    rows = [r for r in largest_mc(section.rows) if r.record.body.quality.risk_coverage.get("risk")]
    if not rows:
        return None
    with styled():
        drawn = figure(2.8)
        panel = drawn.subplots()
        for row in rows:
            curve = row.record.body.quality.risk_coverage
            _curve(panel, row, _percent(curve["coverage"]), _percent(curve["risk"]))
        said = _lines("coverage, % of images (first seed)", caption(rows, QUALITY))
        panel.set_xlabel(said)
        panel.set_ylabel("risk, % wrong")
        panel.set_ylim(bottom=0)
        legend_above(drawn, panel)
    return drawn


def latency(section: Section) -> Figure | None:
    """Median latency of a pass (query over fixed T) by format, a panel a batch, 95 % intervals.

    An interval that reaches beyond half as much again as the largest median is cut off there.
    """
    if not (rows := fixed(section)):
        return None
    batches = sorted({row.record.subject.batch for row in rows})
    labels = list(dict.fromkeys(row.label for row in rows))
    passes = sorted({row.record.subject.mc for row in rows})
    with styled():
        drawn = figure(0.5 + len(batches) * (0.5 + 0.28 * len(labels)))
        panels = drawn.subplots(len(batches), 1, squeeze=False)[:, 0]
        for panel, batch in zip(panels, batches, strict=True):
            shown = [row for row in rows if row.record.subject.batch == batch]
            for row in shown:
                _latency_point(panel, row, labels, passes)
            panel.set_yticks(range(len(labels)), labels)
            panel.set_ylim(len(labels) - 0.5, -0.5)
            panel.set_xlim(0, _room(panel, shown))
            panel.set_title(f"batch {batch}", loc="left")
        panels[-1].set_xlabel(_lines("median latency of a pass, ms", caption(rows, SPEED)))
        for place, mc in enumerate(passes):
            shape = _PASS_MARKERS[place % len(_PASS_MARKERS)]
            panels[0].plot([], [], shape, color=INK, fillstyle="none", label=f"T = {mc}")
        legend_above(drawn, panels[0])
    return drawn


def model_size(section: Section) -> Figure | None:
    """Bytes of the artefact by what they hold, and how many times smaller than FP32's it is."""
    rows = unique(section.rows, lambda r: (r.record.subject.format, r.record.body.size))
    unit, scale = text.byte_unit(row.record.body.size.file_bytes for row in rows)
    parts = ("weight", "scale", "bias", "graph", "header")
    names = ("μ and σ", "scales", "biases", "graph", "header")
    colours = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", FAINT)
    hatches = ("", "///", "...", "xxx", "")
    with styled():
        drawn = figure(0.9 + 0.26 * len(rows))
        panel = drawn.subplots()
        left = np.zeros(len(rows))
        for part, name, colour, hatch in zip(parts, names, colours, hatches, strict=True):
            width = np.array([getattr(r.record.body.size, f"{part}_bytes") for r in rows]) / scale
            panel.barh(
                range(len(rows)),
                width,
                left=left,
                color=colour,
                hatch=hatch,
                label=name,
                height=0.7,
                linewidth=0,
            )
            left += width
        for place, (end, row) in enumerate(zip(left, rows, strict=True)):
            ratio = text.times(row.record.body.size.ratio_file)
            panel.annotate(ratio, (end, place), (3, 0), textcoords="offset points", va="center")
        panel.set_yticks(range(len(rows)), [row.label for row in rows])
        panel.invert_yaxis()
        panel.set_xlim(0, 1.18 * max(left))
        panel.grid(axis="y", visible=False)
        panel.set_xlabel(f"artefact on disk, {unit}; times smaller than FP32")
        legend_above(drawn, panel)
    return drawn


_PASS_MARKERS = ("o", "s", "^", "D", "v")

DRAWINGS = (
    Drawing(
        "reliability",
        "Reliability diagram, first seed",
        "For each format, accuracy against confidence in bins with 95 percent intervals, of the "
        "first seed; on the diagonal a model is calibrated. Below, the number of images in each "
        "bin."
        " Grey: quality invalid.",
        reliability,
    ),
    Drawing(
        "mc",
        "Accuracy and NLL against T",
        "Accuracy and negative log-likelihood of each format against the number of Monte Carlo "
        "passes, with one standard deviation where there are several seeds."
        " Grey: quality invalid.",
        against_mc,
    ),
    Drawing(
        "confidence",
        "Accuracy against confidence, first seed",
        "Accuracy of the images that are at least so confident, and the share of all images that "
        "they are, against the threshold, for each format, of the first seed."
        " Grey: quality invalid.",
        accuracy_against_confidence,
    ),
    Drawing(
        "risk-coverage",
        "Risk–coverage curve, first seed",
        "Error rate among the most confident images against the share of images kept, for each "
        "format, of the first seed."
        " Grey: quality invalid.",
        risk_coverage,
    ),
    Drawing(
        "latency",
        "Latency of a pass",
        "Median latency of one Monte Carlo pass of each format, by batch and T, with 95 percent "
        "confidence intervals; one that leaves the panel is wider than it."
        " Grey: speed invalid.",
        latency,
    ),
    Drawing(
        "size",
        "Model size",
        "Bytes of each format's file by what they hold, and how many times smaller than the FP32 "
        "file it is.",
        model_size,
    ),
)


def _reliability_panel(row: RecordRow, top: Axes, bottom: Axes, first: bool) -> None:
    diagram, style = row.record.body.quality.reliability, judged_look(row, QUALITY)
    count = np.array(diagram["count"])
    filled = count > 0
    confidence, accuracy = (
        np.array(diagram[name], dtype=float)[filled] for name in ("confidence", "accuracy")
    )
    quality = row.record.body.quality
    units = quality.units or quality.images
    low, high = wilson(accuracy, count[filled] * units / quality.images)
    top.plot([0, 100], [0, 100], color=FAINT, linewidth=0.8)
    bars = np.clip([accuracy - low, high - accuracy], 0, None)
    top.errorbar(
        100 * confidence,
        100 * accuracy,
        100 * bars,
        color=style.color,
        marker=style.marker,
        fillstyle=style.fillstyle,
        linewidth=0.9,
        elinewidth=0.7,
        markersize=3,
    )
    top.set_title(f"{row.label}, T = {row.passes}", fontsize=7)
    top.set(xlim=(-2, 102), ylim=(-2, 102), xticks=(0, 50, 100), yticks=(0, 50, 100))
    centres = 100 * (np.arange(len(count)) + 0.5) / len(count)
    bottom.bar(centres, count, width=85 / len(count), color=style.color)
    bottom.set_yscale("log")
    bottom.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    bottom.set_ylim(0.5, 2 * count.max())
    bottom.yaxis.set_minor_locator(NullLocator())
    for panel, name in ((top, "accuracy, %"), (bottom, "images")):
        panel.tick_params(labelbottom=False)
        if first:
            panel.set_ylabel(name)


def _score_line(panel: Axes, line: Sequence[RecordRow], name: str, dodge: float) -> None:
    scores = [row.record.body.quality.scores.get(name) for row in line]
    centre = [text.mean(values) for values in scores]
    sd = [math.nan if s is None else s for s in map(text.deviation, scores)]
    points = [
        (row.record.subject.mc * dodge, c, s)
        for row, c, s in zip(line, centre, sd, strict=True)
        if c is not None
    ]
    if points:
        x, y, error = zip(*points, strict=True)
        panel.errorbar(
            x,
            y,
            error,
            label=line[0].label,
            **asdict(look(line[0])),
            elinewidth=0.8,
            capsize=2,
        )
    for row, c in zip(line, centre, strict=True):
        if c is not None and row.record.verdict.of(QUALITY) == INVALID:
            shown = judged_look(row, QUALITY)
            panel.plot(row.record.subject.mc * dodge, c, shown.marker, color=FAINT, mfc="white")
    panel.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    panel.ticklabel_format(axis="y", useOffset=False)


def _at_most_100(panel: Axes) -> None:
    """End a vertical axis of percentages at 100, with room for the markers there."""
    low, high = panel.get_ylim()
    panel.set_ylim(low, min(high, 100 + 0.05 * (100 - low)))


def _lines(*said: str) -> str:
    return "\n".join(filter(None, said))


def _percent(shares: Sequence[float | None]) -> list[float | None]:
    return [None if share is None else 100.0 * share for share in shares]


def _curve(
    panel: Axes, row: RecordRow, x: Sequence[float | None], y: Sequence[float | None]
) -> None:
    at, values = (np.array(v, dtype=float) for v in (x, y))  # None becomes NaN: a gap
    panel.plot(
        at,
        values,
        label=row.label,
        **asdict(judged_look(row, QUALITY)),
        markevery=max(1, len(values) // 8),
        markersize=3.5,
    )


def _room(panel: Axes, rows: Sequence[RecordRow]) -> float:
    """Where the axis of latencies ends: beyond all intervals, unless one dwarfs the medians."""
    end = panel.get_xlim()[1]
    medians = [_of_a_pass(row, row.record.body.timing.percentiles_ns.get("p50")) for row in rows]
    return min(end, 1.5 * max(text.known(medians), default=end))


def _of_a_pass(row: RecordRow, nanoseconds: float | None) -> float | None:
    """A query's latency as that of a pass, ms."""
    return None if nanoseconds is None else nanoseconds / row.record.subject.mc / 1e6


def _latency_point(
    panel: Axes, row: RecordRow, labels: Sequence[str], passes: Sequence[int]
) -> None:
    timing = row.record.body.timing
    ends = (timing.percentiles_ns.get("p50"), *timing.p50_ci95_ns)
    found = text.known(_of_a_pass(row, end) for end in ends)
    if len(found) < 3:
        return
    middle, low, high = found
    which = passes.index(row.record.subject.mc)
    offset = 0.25 * (which - (len(passes) - 1) / 2)
    panel.errorbar(
        middle,
        labels.index(row.label) + offset,
        xerr=[[max(middle - low, 0.0)], [max(high - middle, 0.0)]],
        marker=_PASS_MARKERS[which % len(_PASS_MARKERS)],
        color=judged_look(row, SPEED).color,
        fillstyle="none",
        markersize=3,
        capsize=1.5,
        elinewidth=0.8,
    )
