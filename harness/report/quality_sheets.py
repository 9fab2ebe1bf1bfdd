"""Sheets of scores: each format by itself, beside another on the same images, beside the paper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..core import words as text
from ..core.sheet import Column, Sheet
from ..metrics.metric import NO_INFORMATION, Metric, compared_metrics, shown_metrics
from ..records.run_record import Paired, RunRecord
from ..records.verdict import QUALITY
from .rows import RecordRow, Section, deterministic, unique
from .score_cells import (
    Writer,
    count,
    decimals,
    label_and_count,
    score_columns,
    scores,
    seeds_note,
    worst_outcomes,
)
from .verdicts import mark

PAPER_COLUMNS = (
    Column("format", numeric=False),
    Column("ours"),
    Column("paper"),
    Column("ours", "− paper"),
    Column("ours", "− FP32"),
    Column("paper", "− its FP32"),
)
PAPER_NOTE = (
    "Ours: mean ± standard deviation over seeds of the MC draw; paper: the published score. "
    "− paper: ours minus the published score. − FP32: ours minus our FP32's. − its FP32: the "
    "published score minus the published FP32's."
)


def quality(section: Section, write: Writer = text.concise) -> Sheet:
    """Scores, mean and standard deviation over the seeds, one row per format and T.

    Batches share a row where they agree to the printed digits; otherwise each has one.
    """
    written = {id(row): scores(row.record, write) for row in section.rows}
    rows = unique(section.rows, lambda r: (r.label, *count(r), *written[id(r)]))
    rows.sort(key=count)
    worst_of = worst_outcomes(section.rows, label_and_count, QUALITY)
    cells = [
        (row.passes, row.label, *written[id(row)], mark(worst_of[label_and_count(row)]))
        for row in rows
    ]
    keys = [label_and_count(row) for row in rows]
    notes = [_scores_note(section.records, write)]
    if len(set(keys)) < len(keys):
        notes.append(
            "Formats that appear twice at one T score differently by batch, the smallest first."
        )
    columns = (
        Column("T"),
        Column("format", numeric=False),
        *score_columns(),
        Column(""),
    )
    return Sheet("Quality", columns, _aligned(cells), {}, 1, tuple(notes))


def paired(section: Section) -> list[Sheet]:
    """The scores of each format minus those of the one it is compared with, and the share of mutual
    information that it keeps, one row per format and T; no sheet where no record has them."""
    rows = [row for row in section.rows if row.record.body.paired is not None]
    rows = unique(rows, lambda row: (row.label, *count(row)))
    rows.sort(key=count)
    if not rows:
        return []
    kept = {_key(row): text.mean(_mutual(row)) for row in section.rows}
    columns = (
        Column("T"),
        Column("format", numeric=False),
        Column("minus", numeric=False),
        *(Column(m.called, "points" if m.unit == "%" else m.unit) for m in compared_metrics()),
        Column("MI", "nats"),
        Column("MI", "kept, %"),
    )
    counts = sorted({row.record.body.quality.images for row in rows})
    found = [row.record.body.quality for row in rows]
    units = " or".join(sorted({text.independent(q.images, q.units) for q in found}))
    cells = tuple(_paired_cells(row, kept) for row in rows)
    whole = ", or in brackets the whole interval where it ends at 100 points"
    cut = whole * any("(" in cell[3] for cell in cells)
    notes = (
        f"On the same {text.either(counts, 'image')}{units}; each score is the format's minus "
        'that of the format under "minus", ± half of the 95 % interval'
        f"{cut}. The interval counts the luck of the images{_and_of_the_draw(rows)}; 1 image is "
        f"{' or '.join(map(_points, counts))}. MI: mean mutual information, and the share of "
        f"FP32's that is kept, {text.MISSING} where FP32 has none." + _uncounted(rows),
    )
    return [Sheet("Beside FP32, image by image", columns, cells, {}, 1, notes)]


def paper(section: Section, reference: Mapping[str, Mapping[str, float]], mc: int = 50) -> Sheet:
    """Our scores beside published ones, one row per metric and format.

    Args:
        section: the records; those with T = `mc` are shown.
        reference: format to metric (`accuracy`, `ece`, `nll`, `brier`) to the published value.
        mc: T of the published figures.
    """
    rows = [r for r in section.rows if count(r) == (mc, False)]
    rows = [r for r in unique(rows, lambda r: r.label) if r.record.subject.format in reference]
    base = next((r for r in rows if r.record.subject.format == "FP32"), None)
    cells: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    for metric in shown_metrics():
        if rows and any(metric.name in reference[r.record.subject.format] for r in rows):
            headings[len(cells)] = f"{metric.called} {metric.unit}".strip()
            cells += [_paper_cells(r, base, reference, metric.name) for r in rows]
    title = f"Beside the paper, T = {mc}"
    return Sheet(title, PAPER_COLUMNS, tuple(cells), headings, 0, (PAPER_NOTE,))


def _and_of_the_draw(rows: Sequence[RecordRow]) -> str:
    """Whether intervals count the luck of the MC draw, which one seed does not show."""
    found = [row.record.body.paired for row in rows]
    counted = [bool(one.luck) for one in found if one is not None]
    if not any(counted):
        return " alone, not of the draw of the weights"
    return " and of the draw of the weights" + ("" if all(counted) else ", where several were kept")


def _scores_note(records: Sequence[RunRecord], write: Writer) -> str:
    counts = [len(r.body.quality.seeds) for r in records if not deterministic(r.subject.format)]
    return (
        f"{seeds_note(counts, write)}Floor: the ECE that a perfectly calibrated model would show "
        "on this number of images."
    )


def _key(row: RecordRow) -> tuple[object, ...]:
    cell = row.record.subject
    return cell.format, row.label.removeprefix(cell.format), *count(row)


def _mutual(row: RecordRow) -> Sequence[float | None] | None:
    return row.record.body.quality.scores.get("mutual_information")


def _paired_cells(
    row: RecordRow, kept: Mapping[tuple[object, ...], float | None]
) -> tuple[str, ...]:
    found = row.record.body.paired
    assert found is not None
    _, *rest = _key(row)
    mine = text.mean(_mutual(row))
    whole = kept.get(("FP32", *rest)) if found.reference == "FP32" else None
    share = None
    if mine is not None and whole is not None and whole > NO_INFORMATION:
        share = mine / whole
    return (
        row.passes,
        row.label,
        found.reference,
        *(_plus_minus(found, metric) for metric in compared_metrics()),
        text.fixed(mine, 4),
        text.percent(share, 0),
    )


def _points(images: int) -> str:
    """Of accuracy, that one of so many images makes."""
    return text.plural(float(f"{100 / images:.3g}"), "point")


def _uncounted(rows: Sequence[RecordRow]) -> str:
    """What intervals of records from before independent images were counted cannot tell."""
    told = (row.record.body.paired for row in rows)
    if all(one is None or one.units is not None for one in told):
        return ""
    return (
        " Superseded where several images come from one source: these records do not count "
        "sources, and their intervals of accuracy are too narrow there."
    )


def _plus_minus(found: Paired, metric: Metric) -> str:
    difference, digits = found.differences.get(metric.field), metric.decimals
    if difference is None:  # an older record
        return text.MISSING
    interval, value = found.intervals[metric.field], text.signed(difference, digits)
    if interval is None:
        return f"{value} ± {text.MISSING}"
    below, above = (abs(end - difference) for end in interval)
    if math.isclose(below, above, rel_tol=1e-6, abs_tol=1e-9):
        return f"{value} ± {(above + below) / 2:.{digits}f}"
    return f"{value} ({' … '.join(text.signed(end, digits) for end in interval)})"


def _paper_cells(
    row: RecordRow,
    base: RecordRow | None,
    reference: Mapping[str, Mapping[str, float]],
    name: str,
) -> tuple[str, ...]:
    def ours(r: RecordRow | None) -> float | None:
        return text.mean(r.record.body.quality.scores.get(name)) if r else None

    digits = decimals(name)
    published = reference[row.record.subject.format].get(name)
    published_fp32 = reference.get("FP32", {}).get(name)
    return (
        row.label,
        text.spread(row.record.body.quality.scores.get(name), digits),
        text.fixed(published, 3 if digits > 2 else 2),
        text.signed(_minus(ours(row), published), digits),
        text.signed(_minus(ours(row), ours(base)), digits),
        text.signed(_minus(published, published_fp32), digits),
    )


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _aligned(rows: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    columns = [text.align(column) for column in zip(*rows, strict=True)]
    return tuple(zip(*columns, strict=True))
