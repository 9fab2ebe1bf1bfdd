"""Ranges and noise of sampled weights as tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...core.whole import write_atomically
from ...report.lines import safe
from ...report.rows import format_order
from ...report.style import FAINT, figure, format_look, render, styled
from .analyse import TOLERANCE, Similarity, SimilarityVerdict, verdicts
from .measure import REFERENCE, LayerRange

#: Formats that a figure shows, of those that were sampled.
DRAWN = (REFERENCE, "INT8", "INT8_SIGMA2", "INT8_SIGMA1")


def weight_sheets(ranges: Sequence[LayerRange], tolerance: float = TOLERANCE) -> list[Sheet]:
    """Range, noise, and what follows from them.

    Args:
        ranges: of `weight_ranges`.
        tolerance: relative difference that counts as similar.
    """
    found = verdicts(ranges, tolerance)
    passes = max(r.passes for r in ranges)
    return [
        _by_layer(
            f"Range of the sampled weights, {text.plural(passes, 'pass', 'passes')}",
            "width",
            ranges,
            found,
            lambda r: r.p999 - r.p001,
            lambda s: s.range_error,
            "Width: of FP32's range from the 0.1 % to the 99.9 % quantile, real units; the others "
            "as multiples of it",
        ),
        _by_layer(
            f"Noise of the sampled weights, {text.plural(passes, 'pass', 'passes')}",
            "noise",
            ranges,
            found,
            lambda r: r.noise_std,
            lambda s: s.noise_error,
            "Noise: root mean square of w − μ in FP32, real units; the others as multiples of it",
        ),
        _verdict_sheet(found, tolerance),
    ]


def weight_figures(ranges: Sequence[LayerRange], out_dir: Path, name: str) -> list[Path]:
    """Draw histograms of the first, the middle and the last layer, as SVG and PNG.

    Args:
        ranges: of `weight_ranges`.
        out_dir: directory, made if missing.
        name: how the files' names begin.

    Returns:
        The files, `<name>[-<variant>].<svg|png>`: one figure a variant, which is what follows the
        format in a label (`paper`).

    Raises:
        UserError: the directory cannot be written.
    """
    written = []
    for variant in dict.fromkeys(_variant(r) for r in ranges if r.format != REFERENCE):
        shown = [r for r in ranges if r.format == REFERENCE or _variant(r) == variant]
        drawn = histograms(shown)
        slug = "-".join(part for part in (safe(name), safe(variant)) if part)
        for kind in ("svg", "png"):
            path = out_dir / f"{slug}.{kind}"
            write_atomically(path, render(drawn, kind, salt="weights"))
            written.append(path)
    return written


def histograms(ranges: Sequence[LayerRange]) -> Figure:
    """A row a layer, the first, the middle and the last: the sampled weights, and their noise.

    Counts are logarithmic; what lies beyond an axis is counted at its ends.

    Args:
        ranges: of one variant of each format.
    """
    layers = list(dict.fromkeys(r.layer for r in ranges))
    layers = list(dict.fromkeys((layers[0], layers[len(layers) // 2], layers[-1])))
    formats = [f for f in DRAWN if any(r.format == f for r in ranges)]
    with styled():
        drawn = figure(0.7 + 1.25 * len(layers))
        panels = drawn.subplots(len(layers), 2, squeeze=False)
        for (left, right), layer in zip(panels, layers, strict=True):
            of_layer = {r.format: r for r in ranges if r.layer == layer}
            for format in formats:
                _stairs(left, of_layer[format], "weights_histogram")
                _stairs(right, of_layer[format], "noise_histogram")
            left.set_title(layer, fontsize=7, loc="left")
            left.set_ylabel("draws")
            left.xaxis.set_major_locator(MaxNLocator(4, steps=(1, 2, 5, 10)))
            right.set_xticks((-6, -3, 0, 3, 6))
        panels[-1, 0].set_xlabel("sampled weight w")
        panels[-1, 1].set_xlabel("(w − μ) / FP32's σ")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=2, handlelength=2.6)
    return drawn


def _stairs(panel: Axes, found: LayerRange, which: str) -> None:
    histogram, look = getattr(found, which), format_look(found.format)
    reference = found.format == REFERENCE
    panel.stairs(
        histogram.counts,
        histogram.edges,
        baseline=0.5 if reference else None,
        fill=reference,
        color=FAINT if reference else look.color,
        alpha=0.5 if reference else 1,
        linestyle=look.linestyle,
        linewidth=0 if reference else 0.9,
        label=found.label,
    )
    panel.set_yscale("log")
    panel.set_ylim(bottom=0.7)
    panel.set_xlim(histogram.edges[0], histogram.edges[-1])
    panel.yaxis.set_major_locator(LogLocator(numticks=4))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.yaxis.set_minor_locator(NullLocator())


def _by_layer(
    title: str,
    unit: str,
    ranges: Sequence[LayerRange],
    found: Sequence[SimilarityVerdict],
    value: Callable[[LayerRange], float],
    error: Callable[[Similarity], float],
    note: str,
) -> Sheet:
    """A row a layer, a column a label; a star where it is not similar to FP32."""
    by_place = {(r.layer, r.label): r for r in ranges}
    base = next(r.label for r in ranges if r.format == REFERENCE)
    held = [verdict for verdict in found if verdict.base == base]
    formats = {r.label: r.format for r in ranges}
    order = sorted(held, key=lambda v: (_variant_of(v, formats), format_order(formats[v.label])))
    rows = []
    for place, layer in enumerate(dict.fromkeys(r.layer for r in ranges)):
        own = value(by_place[layer, base])
        cells = [layer, text.significant(own)]
        for verdict in order:
            similar = error(verdict.layers[place]) <= verdict.tolerance
            ratio = value(by_place[layer, verdict.label]) / own if own else None
            cells.append(text.fixed(ratio, 2) + (" " if similar else "*"))
        rows.append(tuple(cells))
    columns = (
        Column("layer", numeric=False),
        Column(REFERENCE, unit),
        *(Column(_short(formats[v.label]), _variant_of(v, formats) or "× FP32") for v in order),
    )
    if found:
        note += f"; * differs by over {text.percent(found[0].tolerance, 0)} %"
    return Sheet(title, columns, tuple(rows), {}, 0, (f"{note}.",))


def _verdict_sheet(found: Sequence[SimilarityVerdict], tolerance: float) -> Sheet:
    rows = [
        (
            verdict.label,
            verdict.base,
            _yes(verdict.similar_range),
            text.percent(verdict.worst_range.range_error),
            _yes(verdict.similar_noise),
            text.percent(verdict.worst_noise.noise_error),
            f"{len(verdict.misleading)}/{len(verdict.layers)}",
        )
        for verdict in found
    ]
    columns = (
        Column("format", numeric=False),
        Column("against", numeric=False),
        Column("range", "similar", numeric=False),
        Column("worst", "%"),
        Column("noise", "similar", numeric=False),
        Column("worst", "%"),
        Column("misled", "layers"),
    )
    note = (
        f"Similar: every layer within {text.percent(tolerance, 0)} %, of the range's width (either "
        "end) and of the noise; worst: the layer that differs most; misled: layers whose range is "
        "similar though their noise is not."
    )
    return Sheet("Does a similar range mean similar noise?", columns, tuple(rows), {}, 0, (note,))


def _variant(found: LayerRange) -> str:
    return found.label.removeprefix(found.format).strip()


def _variant_of(verdict: SimilarityVerdict, formats: dict[str, str]) -> str:
    return verdict.label.removeprefix(formats[verdict.label]).strip()


def _short(format: str) -> str:
    """`SIGMA4` for `INT8_SIGMA4`."""
    return format.removeprefix("INT8_")


def _yes(held: bool) -> str:
    return "yes" if held else "no"
