"""What is shown of how many passes are enough: a row per format, every T, and the curves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Band, Figure, Look, Panel, Points, Rule, Scale, numbers
from ...core.sheet import Column, Sheet
from ...stats.enough import Gap, Share
from .analyse import MARGIN, SHARE, Count, Curve, SamplesFindings
from .enough_conclusions import nats, percent, sentence

_HIGHEST = 5 * MARGIN  # of the figure: beyond it, a T is far from enough
_DODGE = 1.04  # from format to format, so that their bars stand apart
_COLUMNS = (
    "T: the smallest number of passes whose 95 % interval, and that of all larger ones tried, lies "
    f"within what is asked: an NLL within {MARGIN} nats of that of {{reference}} passes (gap), and "
    f"{100 * SHARE:.0f} % of the images decided as with {{reference}} passes (alike). Where none "
    "is shown to be enough, the intervals are those of the largest T tried."
)
_LEFT = (
    "Reference: what the NLL of {reference} passes itself lies above its limit, if the excess "
    "falls as 1/T."
)


def document(found: SamplesFindings, *, full: bool = False) -> Document:
    """A row per format, one sentence per format; with `full` every T too."""
    said = tuple(map(sentence, found.curves))
    title = f"How many MC samples are enough: {found.workload}"
    summary = summary_sheet(found)
    sheets = (summary, *map(curve_sheet, found.curves))
    return Document(
        name=found.workload,
        blocks=(
            Words(title, "bold"),
            *with_notes(sheets if full else (summary,)),
            Words(),
            *map(Words, said),
        ),
        values={
            "workload": found.workload,
            "margin_nats": MARGIN,
            "share_asked": SHARE,
            "formats": list(map(_to_dict, found.curves)),
            "conclusions": list(said),
        },
        title=title,
        conclusions=said,
        sheets=sheets,
        data={"samples": list(_rows(found))},
        figures=lambda: [figure(found)],
    )


def summary_sheet(found: SamplesFindings) -> Sheet:
    """The smallest T of each format."""
    first = found.curves[0].record
    images = text.plural(first.body.images, "validation image")
    independent = text.independent(first.body.images, first.units.count)
    reference = first.subject.reference
    columns = (
        Column("format", numeric=False),
        Column("T", "both"),
        Column("T", "NLL"),
        Column("NLL gap", "95 %, nats"),
        Column("T", "decisions"),
        Column("alike", "95 %, %"),
        Column("reference", "nats"),
    )
    notes = (_COLUMNS.format(reference=reference), _LEFT.format(reference=reference))
    rows = tuple(map(_row, found.curves))
    return Sheet(f"{images}{independent}", columns, rows, {}, notes=notes)


def _row(curve: Curve) -> tuple[str, ...]:
    last = curve.counts[-1]
    nll, decisions = curve.nll or last, curve.decisions or last
    counts = (curve.enough, curve.nll, curve.decisions)
    both, for_nll, for_decisions = (text.MISSING if c is None else str(c.at.mc) for c in counts)
    return (
        curve.record.subject.format,
        both,
        for_nll,
        _nats(nll.gap),
        for_decisions,
        _percent(decisions.alike),
        text.fixed(curve.left, 5),
    )


def curve_sheet(curve: Curve) -> Sheet:
    """Every T of one format."""
    columns = (
        Column("T"),
        Column("NLL", "nats"),
        Column("draw", "±"),
        Column("gap", "nats"),
        Column("95 %", "nats"),
        Column("alike", "%"),
        Column("95 %", "%"),
        Column("enough", "for", numeric=False),
    )
    rows = tuple(
        (
            str(one.at.mc),
            text.fixed(one.at.nll_nats, 4),
            text.fixed(one.at.nll_spread_nats, 4),
            nats(one.gap.value),
            _nats(one.gap),
            percent(one.alike.value),
            _percent(one.alike),
            _enough(one),
        )
        for one in curve.counts
    )
    reference = curve.record.body.reference
    notes = (
        f"Two draws of {reference.mc} passes decide {percent(reference.agreeing)} % of the images "
        "alike.",
        "Draw: standard deviation of the NLL of all images from one draw of T passes to another. "
        "Enough: what this T alone, whatever larger ones do, is shown to be enough for.",
    )
    return Sheet(f"{curve.record.subject.format}: every T", columns, rows, {}, notes=notes)


def figure(found: SamplesFindings) -> Figure:
    """NLL and decisions against T, with intervals."""
    nll: list[Any] = [Band(-MARGIN, MARGIN), Rule(y=(0.0,))]
    alike: list[Any] = [Rule(y=(100 * SHARE,), line="dashed")]
    for place, curve in enumerate(found.curves):
        format = curve.record.subject.format
        x = numbers(one.at.mc * _DODGE**place for one in curve.counts)
        gaps, same = ([getattr(c, n) for c in curve.counts] for n in ("gap", "alike"))
        nll.append(_points(x, gaps, 1.0, format, format))
        alike.append(_points(x, same, 100.0, format, ""))
    reference = found.curves[0].record.subject.reference
    passes = Scale("passes T", log=True)
    panels = (
        Panel(
            tuple(nll),
            passes,
            Scale(f"NLL less that of {reference} passes (nats)", low=-2 * MARGIN, most=_HIGHEST),
        ),
        Panel(tuple(alike), passes, Scale(f"decided as with {reference} passes (%)")),
    )
    return Figure(
        "samples",
        f"How many MC samples are enough: {found.workload}",
        f"The NLL of T passes less that of {reference}, and the share of images that T passes "
        f"decide as {reference} do, against T, with 95 % intervals; shaded is a difference of at "
        f"most {MARGIN} nats, and the dashed line is at {100 * SHARE:.0f} %.",
        panels,
        height=3.2,
        width=7.0,
        columns=2,
    )


def _points(
    x: tuple[float | None, ...], values: Sequence[Gap | Share], unit: float, format: str, label: str
) -> Points:
    value, low, high = (
        numbers(unit * getattr(one, name) for one in values) for name in ("value", "low", "high")
    )
    return Points(x, value, Look(format), label, low, high)


def _nats(gap: Gap) -> str:
    return f"{nats(gap.low)} to {nats(gap.high)}"


def _percent(alike: Share) -> str:
    return f"{percent(alike.low)}–{percent(alike.high)}"


def _enough(one: Count) -> str:
    if one.nll_enough and one.decisions_enough:
        return "both"
    return "NLL" * one.nll_enough or "decisions" * one.decisions_enough


def _to_dict(curve: Curve) -> dict[str, Any]:
    return {
        **asdict(curve.record.subject),
        **asdict(curve.record.provenance),
        "images": curve.record.body.images,
        "enough": _mc(curve.enough),
        "nll_enough": _mc(curve.nll),
        "nll_too_few": curve.nll_few,
        "decisions_enough": _mc(curve.decisions),
        "decisions_too_few": curve.decisions_few,
        "not_judged": curve.why_not,
        "reference_above_limit_nats": curve.left,
        "counts": [asdict(one) for one in curve.counts],
    }


def _mc(count: Count | None) -> int | None:
    return None if count is None else count.at.mc


def _rows(found: SamplesFindings) -> Iterator[Mapping[str, Any]]:
    """A row for each format and T."""
    for curve in found.curves:
        for one in curve.counts:
            yield {
                "format": curve.record.subject.format,
                "mc": one.at.mc,
                "images": curve.record.body.images,
                "draws": one.at.stretches,
                "nll": one.at.nll_nats,
                "nll_spread": one.at.nll_spread_nats,
                "gap": one.gap.value,
                "gap_low": one.gap.low,
                "gap_high": one.gap.high,
                "alike": one.alike.value,
                "alike_low": one.alike.low,
                "alike_high": one.alike.high,
            }
