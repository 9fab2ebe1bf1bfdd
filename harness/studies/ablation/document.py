"""What an ablation shows: sizes and scores, then differences to FP32."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ...core import words as text
from ...core.document import Document, with_notes
from ...core.sheet import Column, Sheet
from ...records.ablation_record import BASE, CLEAN, METRICS, Difference
from ...report.score_cells import decimals, heading
from .analyse import Ablation, AblationFindings, AblationRow

_DEFAULT = "default"


def document(findings: AblationFindings) -> Document:
    """All tables."""
    shown = sheets(findings.found)
    return Document(
        name=findings.records[0].subject.workload,
        blocks=tuple(with_notes(shown)[1:]),
        values=to_dict(findings),
        sheets=tuple(shown),
    )


def to_dict(findings: AblationFindings) -> dict[str, Any]:
    """All of it for JSON: choices, seeds, images, every score of every set of images and seed, and
    each row's means (`clean`, `shifted`) over them; units as the metrics'. What is said of machine
    and command is of the first record's."""
    found, first = findings.found, findings.records[0]
    whole = {
        "command": first.provenance.command,
        "workload": first.subject.workload,
        "workload_version": first.subject.workload_version,
        "posterior": first.subject.posterior,
        "fingerprint": asdict(first.fingerprint),
        **asdict(found),
    }
    for row, record, stored in zip(found.rows, findings.records, whole["rows"], strict=True):
        stored["key"] = record.subject.key
        stored["clean"] = {metric: row.clean(metric) for metric in METRICS}
        stored["shifted"] = {metric: row.shifted(metric) for metric in METRICS}
    return whole


def sheets(found: Ablation) -> list[Sheet]:
    """Scores on clean images, under shift where there is any, and the paired differences."""
    shown = [_scores(found, "Ablation: clean images", AblationRow.clean, sizes=True)]
    if found.corrupted_images:
        title = f"Ablation: corruptions of severity {found.severity}"
        shown.append(_scores(found, title, AblationRow.shifted, sizes=False))
    shown += [_differences(found, metric) for metric in ("nll", "accuracy")]
    return [sheet for sheet in shown if sheet.rows]


def _scores(
    found: Ablation,
    title: str,
    mean: Callable[[AblationRow, str], float | None],
    sizes: bool,
) -> Sheet:
    unit, size = text.byte_unit([row.file_bytes for row in found.rows])
    head = (Column("file", unit), Column("file", "÷"), Column("weights", "÷")) if sizes else ()
    rows = []
    for row in found.rows:
        ratios = (text.significant(row.file_bytes / size), text.times(row.ratio_file))
        bytes_ = (*ratios, text.times(row.ratio_weights)) if sizes else ()
        values = (text.fixed(mean(row, metric), decimals(metric)) for metric in METRICS)
        rows.append((*_names(row), *bytes_, *values))
    columns = (*_NAMES, *head, *(Column(*_short(metric)) for metric in METRICS))
    note = _clean_note(found) if sizes else _shifted_note(found)
    return Sheet(title, columns, tuple(rows), {}, 0, (note,))


def _clean_note(found: Ablation) -> str:
    return (
        f"{text.plural(found.images, 'image')}{text.independent(found.images, found.units)} of the "
        f"{found.split} split, T = {found.mc}, "
        f"{text.plural(len(found.seeds), 'seed')}. Change: the one choice that is not the default. "
        "÷: FP32's bytes over this configuration's, of the file, and of the weights without "
        "codebooks. MI: mutual information."
    )


def _shifted_note(found: Ablation) -> str:
    types = ", ".join(name for name in found.rows[0].scores if name != CLEAN)
    units = text.independent(found.corrupted_images, found.corrupted_units)
    return f"Means over {types}, {text.plural(found.corrupted_images, 'image')}{units} each."


def _differences(found: Ablation, metric: str) -> Sheet:
    compared = [row for row in found.rows if row.differences]
    sets = tuple(compared[-1].differences) if compared else ()
    factor, unit, scale = (1000.0, "0.001 nats", 1) if metric == "nll" else (1.0, "points", 2)
    columns = (*_NAMES, *(c for name in sets for c in (Column(name), Column("95 %", "interval"))))
    rows = tuple(
        (
            *_names(row),
            *(
                cell
                for name in sets
                for cell in _difference(row.differences[name][metric], factor, scale)
            ),
        )
        for row in compared
    )
    note = (
        f"Mean over images of this configuration's score minus FP32's, in {unit}; the interval is "
        f"from {found.resamples:,} resamples of the independent images, which do not show the luck "
        "that all images share in a draw of the weights."
    )
    title = f"Ablation: difference in {heading(metric)[0]} to FP32"
    return Sheet(title, columns, rows, {}, 0, (note,))


_NAMES = (Column("format", numeric=False), Column("change", numeric=False))
#: Of records, whose keys hold them, in the words of today.
_SAID = {"σ grid a tensor": "σ grid per tensor"}


def _names(row: AblationRow) -> tuple[str, str]:
    choice = row.choice
    change = _SAID.get(choice.change, choice.change)
    return choice.format, change or (text.MISSING if choice == BASE else _DEFAULT)


def _short(metric: str) -> tuple[str, str]:
    return ("MI", "nats") if metric == "mutual_information" else heading(metric)


def _difference(found: Difference, factor: float, digits: int) -> tuple[str, str]:
    value = text.signed(factor * found.value, digits)
    if found.low is None or found.high is None:
        return value, text.MISSING
    low, high = (text.signed(factor * number, digits) for number in (found.low, found.high))
    return value, f"{low} … {high}"
