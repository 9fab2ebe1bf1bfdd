"""The sheets a report is made of: quality, speed, size, fidelity, beside the paper, all in one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ..core import words as text
from ..core.sheet import Column, Sheet
from ..measure.clock import QUERY_SECONDS
from ..metrics.metric import METRICS, NO_INFORMATION, Metric, compared_metrics, shown_metrics
from ..records.reference_times import Reference
from ..records.run_record import Fidelity, Paired, RunRecord
from ..records.verdict import FIDELITY, KINDS, QUALITY, SPEED, Outcome, worst
from . import adaptive_sheet as adaptive
from .cache_level import level_of
from .rows import RecordRow, Section, deterministic, largest_mc, passes, unique
from .timing_notes import sentences
from .verdicts import mark

Writer = Callable[[Sequence[float | None] | None, int], str]
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

_SPREADS: dict[Writer, str] = {
    text.concise: "in brackets the standard deviation, in units of the last digit",
    text.spread: "± standard deviation",
}


_ADAPTIVE = " (at adaptive T, over the mean latency; so is × FP32)"


def quality(section: Section, write: Writer = text.concise) -> Sheet:
    """Scores, mean and standard deviation over the seeds, one row per format and T.

    Batches share a row where they agree to the printed digits; otherwise each has one.
    """
    written = {id(row): _scores(row.record, write) for row in section.rows}
    rows = unique(section.rows, lambda r: (r.label, *_count(r), *written[id(r)]))
    rows.sort(key=_count)
    worst_of = _worst(section.rows, _label_and_count, QUALITY)
    cells = [
        (row.passes, row.label, *written[id(row)], mark(worst_of[_label_and_count(row)]))
        for row in rows
    ]
    keys = [_label_and_count(row) for row in rows]
    notes = [_scores_note(section.records, write)]
    if len(set(keys)) < len(keys):
        notes.append(
            "Formats that appear twice at one T score differently by batch, the smallest first."
        )
    columns = (
        Column("T"),
        Column("format", numeric=False),
        *_score_columns(),
        Column(""),
    )
    return Sheet("Quality", columns, _aligned(cells), {}, 1, tuple(notes))


def paired(section: Section) -> list[Sheet]:
    """The scores of each format minus those of the one it is compared with, and the share of mutual
    information that it keeps, one row per format and T; no sheet where no record has them."""
    rows = [row for row in section.rows if row.record.body.paired is not None]
    rows = unique(rows, lambda row: (row.label, *_count(row)))
    rows.sort(key=_count)
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


def _and_of_the_draw(rows: Sequence[RecordRow]) -> str:
    """Whether intervals count the luck of the MC draw, which one seed does not show."""
    found = [row.record.body.paired for row in rows]
    counted = [bool(one.luck) for one in found if one is not None]
    if not any(counted):
        return " alone, not of the draw of the weights"
    return " and of the draw of the weights" + ("" if all(counted) else ", where several were kept")


def speed(section: Section) -> Sheet:
    """Latency of a query of T passes, throughput and bytes moved, one row per cell."""
    rows = section.rows
    unit, size = text.byte_unit(r.record.body.bandwidth.pass_bytes for r in rows)
    cells = [
        (
            *_setting(row),
            row.label,
            *_speed_cells(row, size),
            mark(row.record.verdict.of(SPEED)),
        )
        for row in rows
    ]
    columns = (
        Column("T"),
        Column("batch"),
        Column("format", numeric=False),
        *_speed_columns(unit),
        Column(""),
    )
    notes = (
        "Latency of one query: a batch, T passes, fresh weights for each. Images/s: batch over p50"
        f"{_ADAPTIVE if any(row.record.body.adaptive for row in rows) else ''}.",
        *_cut_note(rows),
        "× FP32: speed in units of FP32's at the same T and batch, measured in turns with it; – "
        "where it was not. Moved: bytes of μ, σ, sampled weights and activations per pass, which "
        "are counted, not measured, and 10^9 of them per second. From: the smallest cache of a "
        "core that holds them, where what is both written and read counts once; – where the "
        "machine does not report its caches.",
        *sentences(_races(rows)),
    )
    return Sheet("Speed", columns, tuple(cells), {}, 2, notes)


def _cut_note(rows: Sequence[RecordRow]) -> tuple[str, ...]:
    if not any(row.record.body.timing.passes for row in rows):
        return ()
    return (
        f"Queries that would take more than {QUERY_SECONDS:g} s were timed with fewer passes; "
        "their p50 is T times the median time of a pass.",
    )


def _races(rows: Sequence[RecordRow]) -> list[tuple[Reference, ...]]:
    """What took turns in each race."""
    found = {r.record.body.timing.race: r.record.body.references for r in rows}
    return list(found.values())


def size(section: Section, exact: bool = False) -> Sheet:
    """Bytes on disk, itemised, and ratios to FP32, one row per format.

    Args:
        section: what to show.
        exact: whole bytes, instead of a unit in which the largest reads well.
    """
    rows = unique(section.rows, lambda r: (r.label, r.record.body.size))
    unit, scale = text.byte_unit(r.record.body.size.file_bytes for r in rows)
    if exact:
        unit, scale = "B", 1.0
    write = (lambda v: f"{v:,}") if exact else (lambda v: text.significant(v / scale))
    divided = any(row.record.body.size.constant_bytes for row in rows)
    fp32 = next((r.record.body.size for r in rows if r.record.subject.format == "FP32"), None)
    cells = []
    for row in rows:
        s = row.record.body.size
        parts = [s.weight_bytes, s.scale_bytes, s.bias_bytes, s.graph_bytes, s.header_bytes]
        parts += [s.constant_bytes] if divided else []
        same = fp32 is not None and fp32.weights == s.weights and s.weight_bytes > 0
        measured = fp32.weight_bytes / s.weight_bytes if fp32 is not None and same else None
        ratios = (text.times(measured), text.times(s.ratio_weights), text.times(s.ratio_file))
        cells.append((row.label, write(s.file_bytes), *map(write, parts), *ratios))
    names = ("file", "μ, σ", "scales", "biases", "graph", "header", *(["float"] if divided else ()))
    columns = (
        Column("format", numeric=False),
        *(Column(name, unit) for name in names),
        Column("μ, σ", "÷"),
        Column("bits", "÷"),
        Column("file", "÷"),
    )
    counts = sorted({r.record.body.size.weights for r in rows})
    notes = (
        f"{text.either(counts, 'weight')}. File: all bytes, which are those of μ and σ, their "
        "scales, the biases, the graph with its activation scales, and the header. ÷: FP32's bytes "
        "over this format's, for μ and σ, and for the file; bits ÷: the same by the closed form, "
        "64 bits per weight (μ and σ in float32) over this format's bits per weight.",
        *(["Float: parameters of operations that stay float."] if divided else ()),
    )
    return Sheet("Size on disk", columns, tuple(cells), {}, 0, notes)


def fidelity(section: Section) -> Sheet:
    """What each layer's sampled weights keep of the posterior, one row per layer and format."""
    cells: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    valid = _worst(section.rows, _label, FIDELITY)
    for row in largest_mc(section.rows):
        if row.record.body.fidelity:
            headings[len(cells)] = f"{row.label} {mark(valid[row.label])}"
        cells += [_fidelity_cells(layer) for layer in row.record.body.fidelity]
    columns = (
        Column("layer", numeric=False),
        Column("weights"),
        Column("std", "ratio"),
        Column("clamp", "%"),
        Column("fixed", "%"),
        Column("σ = 0", "%"),
        Column("W₂", "rms σ"),
        Column("mean", "z"),
        Column("var", "z"),
        Column("sat.", "%"),
    )
    notes = (
        "Weights: how many the layer has. Std ratio: standard deviation of the sampled weights "
        "over that of the FP32 posterior. Clamp: draws that saturate. Fixed: weights that no draw "
        "can move. σ = 0: weights whose quantized σ is 0. W₂: distance of the quantized posterior "
        "from the original, in units of the layer's rms σ. Mean z, var z: the draws' first two "
        "moments against their exact law. Sat.: sampled activations beyond their range.",
    )
    return Sheet("Fidelity to the posterior", columns, tuple(cells), headings, 0, notes)


def paper(section: Section, reference: Mapping[str, Mapping[str, float]], mc: int = 50) -> Sheet:
    """Our scores beside published ones, one row per metric and format.

    Args:
        section: the records; those with T = `mc` are shown.
        reference: format to metric (`accuracy`, `ece`, `nll`, `brier`) to the published value.
        mc: T of the published figures.
    """
    rows = [r for r in section.rows if _count(r) == (mc, False)]
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


def everything(section: Section) -> Sheet:
    """Every quantity of a cell in one row."""
    unit, scale = text.byte_unit(r.record.body.bandwidth.pass_bytes for r in section.rows)
    disk, disk_scale = text.byte_unit(r.record.body.size.file_bytes for r in section.rows)
    cells = [
        (
            *_setting(row),
            row.label,
            *_scores(row.record, text.spread),
            *_speed_cells(row, scale),
            text.significant(row.record.body.size.file_bytes / disk_scale),
            text.times(row.record.body.size.ratio_file),
            " ".join(mark(row.record.verdict.of(kind)) for kind in KINDS),
        )
        for row in section.rows
    ]
    columns = (
        Column("T"),
        Column("batch"),
        Column("format", numeric=False),
        *_score_columns(),
        *_speed_columns(unit),
        Column("disk", disk),
        Column("disk", "÷"),
        Column("Q S F"),
    )
    notes = (
        "p50, p90, p99: latency of one query, a batch with T passes. Moved: bytes per pass, 10^9 "
        "of them per second, and the smallest cache of a core that holds them. ÷: FP32's file "
        "over this one. Q S F: whether quality, speed and fidelity are valid.",
    )
    return Sheet("Cells", columns, tuple(cells), {}, 2, notes)


def document(
    section: Section, reference: Mapping[str, Mapping[str, float]] | None = None
) -> list[Sheet]:
    """What a page shows of a section, beside published figures where there are some."""
    shown = [
        quality(section, text.spread),
        *paired(section),
        *([paper(section, reference)] if reference else []),
        speed(section),
        *adaptive.document(section),
        size(section, exact=True),
        fidelity(section),
    ]
    return [sheet for sheet in shown if sheet.rows]


def heading(metric: str) -> tuple[str, str]:
    """What a metric is called in a table, and its unit."""
    found = METRICS.get(metric)
    return found.called, found.unit


def decimals(metric: str) -> int:
    """How many decimals of a metric are shown."""
    return METRICS.get(metric).decimals


def _worst(
    rows: Sequence[RecordRow], key: Callable[[RecordRow], object], kind: str
) -> dict[object, Outcome]:
    """The outcome of a kind of numbers over all cells of each key."""
    found: dict[object, set[Outcome]] = {}
    for row in rows:
        found.setdefault(key(row), set()).add(row.record.verdict.of(kind))
    return {which: worst(outcomes) for which, outcomes in found.items()}


def _label(row: RecordRow) -> str:
    return row.label


def _label_and_count(row: RecordRow) -> tuple[object, ...]:
    return row.label, *_count(row)


def _setting(row: RecordRow) -> tuple[str, str]:
    return passes(row.record.subject), str(row.record.subject.batch)


def _count(row: RecordRow) -> tuple[int, bool]:
    """Passes at most, and whether images may have fewer."""
    return row.record.subject.mc, row.record.subject.adaptive


def _scores(record: RunRecord, write: Writer) -> tuple[str, ...]:
    q = record.body.quality
    cells = [write(q.scores.get(m.name), m.decimals) for m in shown_metrics()]
    return (*cells[:2], text.fixed(text.mean(q.ece_floor_percent), decimals("ece")), *cells[2:])


def _score_columns() -> tuple[Column, ...]:
    """Of `_scores`."""
    columns = [Column(metric.called, metric.unit) for metric in shown_metrics()]
    return (*columns[:2], Column("floor", columns[1].unit), *columns[2:])


def seeds_note(counts: Sequence[int], write: Writer) -> str:
    """What scores are means of, and a blank; nothing where nothing is drawn.

    Args:
        counts: of seeds, of the formats that draw their weights.
        write: of the scores.
    """
    if not counts:
        return ""
    if set(counts) == {1}:
        return "One seed of the MC draw, so no standard deviation. "
    return f"Mean over {text.either(counts, 'seed')} of the MC draw; {_SPREADS[write]}. "


def _scores_note(records: Sequence[RunRecord], write: Writer) -> str:
    counts = [len(r.body.quality.seeds) for r in records if not deterministic(r.subject.format)]
    return (
        f"{seeds_note(counts, write)}Floor: the ECE that a perfectly calibrated model would show "
        "on this number of images."
    )


def _key(row: RecordRow) -> tuple[object, ...]:
    cell = row.record.subject
    return cell.format, row.label.removeprefix(cell.format), *_count(row)


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


def _speed_columns(unit: str) -> tuple[Column, ...]:
    return (
        Column("p50", "ms"),
        Column("p90", "ms"),
        Column("p99", "ms"),
        Column("images", "/s"),
        Column("×", "FP32"),
        Column("moved", unit),
        Column("moved", "GB/s"),
        Column("moved", "from"),
    )


def _speed_cells(row: RecordRow, byte_scale: float) -> tuple[str, ...]:
    timing, moved = row.record.body.timing, row.record.body.bandwidth
    return (
        *map(text.milliseconds, _percentiles(row.record)),
        text.significant(timing.images_per_second),
        text.times(row.speedup),
        text.significant(moved.pass_bytes / byte_scale),
        text.significant(moved.achieved_gb_per_s),
        level_of(row.record) or text.MISSING,
    )


def _percentiles(record: RunRecord) -> tuple[float | None, ...]:
    """p50, p90 and p99 of a query, ns; of one that was timed with fewer passes, T times the median
    of a pass, which says nothing of the tail of T."""
    found = record.body.timing.percentiles_ns
    median = found.get("p50")
    if record.body.timing.passes:
        return None if median is None else median * record.of_all_passes, None, None
    return median, found.get("p90"), found.get("p99")


def _fidelity_cells(layer: Fidelity) -> tuple[str, ...]:
    return (
        layer.layer,
        f"{layer.weights:,}",
        text.fixed(layer.std_ratio, 3),
        text.percent(layer.clamped_share, 2),
        text.percent(layer.immovable_share, 2),
        text.percent(layer.zero_sigma_share, 2),
        text.fixed(layer.w2, 3),
        text.signed(layer.moment_mean_z, 1),
        text.signed(layer.moment_var_z, 1),
        text.percent(layer.saturation, 2),
    )


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
