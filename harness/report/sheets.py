"""The sheets that a report is made of: quality, speed, size, fidelity; and all of it in one."""

from __future__ import annotations

from collections.abc import Mapping

from ..core import words as text
from ..core.sheet import Column, Sheet
from ..records.run_record import Fidelity
from ..records.verdict import FIDELITY, KINDS
from . import adaptive_sheet as adaptive
from .cost_sheets import size, speed, speed_cells, speed_columns
from .quality_sheets import paired, paper, quality
from .rows import Section, largest_mc
from .score_cells import label, score_columns, scores, setting, worst_outcomes
from .verdicts import mark


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


def fidelity(section: Section) -> Sheet:
    """What each layer's sampled weights keep of the posterior, one row per layer and format."""
    cells: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    valid = worst_outcomes(section.rows, label, FIDELITY)
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


def everything(section: Section) -> Sheet:
    """Every quantity of a cell in one row."""
    unit, scale = text.byte_unit(r.record.body.bandwidth.pass_bytes for r in section.rows)
    disk, disk_scale = text.byte_unit(r.record.body.size.file_bytes for r in section.rows)
    cells = [
        (
            *setting(row),
            row.label,
            *scores(row.record, text.spread),
            *speed_cells(row, scale),
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
        *score_columns(),
        *speed_columns(unit),
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
