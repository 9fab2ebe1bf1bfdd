"""Ranges and noise of sampled weights as tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ...core import words as text
from ...core.document import Document, Words
from ...core.figure import Figure, Look, Panel, Scale, Steps, numbers
from ...core.sheet import Column, Sheet
from ...records.weights_record import REFERENCE, LayerRange
from ...report.lines import safe
from ...report.rows import format_order
from .analyse import TOLERANCE, Similarity, SimilarityVerdict, WeightsFindings, verdicts

#: Formats that a figure shows, of those that were sampled.
DRAWN = (REFERENCE, "INT8", "INT8_SIGMA2", "INT8_SIGMA1")


def document(found: WeightsFindings) -> Document:
    """All tables and figures."""
    sheets = weight_sheets(found.ranges)
    notes = ([sheet, Words(" ".join(sheet.notes)), Words()] for sheet in sheets)
    return Document(
        name=found.records[0].subject.workload,
        blocks=tuple(block for blocks in notes for block in blocks),
        values=to_dict(found),
        sheets=tuple(sheets),
        figures=lambda: weight_figures(found.ranges),
    )


def to_dict(found: WeightsFindings) -> dict[str, Any]:
    """All of it for JSON. What is said of machine and command is of the first record's."""
    first = found.records[0]
    return {
        "command": first.provenance.command,
        "workload": first.subject.workload,
        "workload_version": first.subject.workload_version,
        "posterior": first.subject.posterior,
        "fingerprint": asdict(first.fingerprint),
        "keys": [record.subject.key for record in found.records],
        "passes": first.subject.passes,
        "seed": first.subject.seed,
        "layers": [one.to_dict() for one in found.ranges],
        "verdicts": [one.to_dict() for one in found.verdicts],
    }


def weight_sheets(ranges: Sequence[LayerRange], tolerance: float = TOLERANCE) -> list[Sheet]:
    """Range, noise, and what follows from them.

    Args:
        ranges: by layer, then label.
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


def weight_figures(ranges: Sequence[LayerRange]) -> list[Figure]:
    """Histograms of the first, the middle and the last layer: one figure per variant, which is what
    follows the format in a label (`paper`) and the figure's name.

    Args:
        ranges: by layer, then label.
    """
    variants = dict.fromkeys(_variant(r) for r in ranges if r.format != REFERENCE)
    return [
        histograms([r for r in ranges if r.format == REFERENCE or _variant(r) == variant], variant)
        for variant in variants
    ]


def histograms(ranges: Sequence[LayerRange], variant: str = "") -> Figure:
    """One row per layer, for the first, the middle and the last: sampled weights, and their noise.

    Counts are logarithmic; what lies beyond an axis is counted at its ends.

    Args:
        ranges: of one variant of each format.
        variant: its name.
    """
    layers = list(dict.fromkeys(r.layer for r in ranges))
    layers = list(dict.fromkeys((layers[0], layers[len(layers) // 2], layers[-1])))
    formats = [f for f in DRAWN if any(r.format == f for r in ranges)]
    panels: list[Panel] = []
    for layer in layers:
        of_layer = {r.format: r for r in ranges if r.layer == layer}
        shown = [of_layer[format] for format in formats]
        last = layer == layers[-1]
        weight = Scale("sampled weight w" * last, about=4)
        noise = Scale("(w − μ) / FP32's σ" * last, ticks=(-6.0, -3.0, 0.0, 3.0, 6.0))
        left = _histogram_panel(shown, "weights_histogram", weight)
        right = _histogram_panel(shown, "noise_histogram", noise)
        panels += [replace(left, left=layer, y=replace(left.y, label="draws")), right]
    return Figure(
        "-".join(filter(None, ("weights", safe(variant)))),
        "Sampled weights and their noise",
        "Histograms of the sampled weights, and of their noise in units of sigma, of the first, "
        "the middle and the last layer, for each format.",
        tuple(panels),
        height=0.7 + 1.25 * len(layers),
        columns=2,
        legend=2,
    )


def _histogram_panel(shown: Sequence[LayerRange], which: str, across: Scale) -> Panel:
    steps = []
    for found in shown:
        histogram, reference = getattr(found, which), found.format == REFERENCE
        look = Look(tone="faint") if reference else Look(found.format)
        edges, counts = numbers(histogram.edges), numbers(histogram.counts)
        steps.append(Steps(edges, counts, look, found.label, filled=reference))
    ends = replace(across, low=steps[-1].edges[0], high=steps[-1].edges[-1])
    return Panel(tuple(steps), ends, Scale(low=0.7, log=True, about=4))


def _by_layer(
    title: str,
    unit: str,
    ranges: Sequence[LayerRange],
    found: Sequence[SimilarityVerdict],
    value: Callable[[LayerRange], float],
    error: Callable[[Similarity], float],
    note: str,
) -> Sheet:
    """One row per layer, one column per label; a star where it is not similar to FP32."""
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
