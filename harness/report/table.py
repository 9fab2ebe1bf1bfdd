"""Tables of records for a terminal, and as JSON, Markdown and CSV."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from ..core import words as text
from ..core.sheet import RichSheet, Sheet, escape, prose
from ..core.sheet import markdown as markdown_sheet
from ..records.run_record import RunRecord
from ..records.verdict import KINDS, as_dict
from . import adaptive_sheet as adaptive
from . import cost_sheets, quality_sheets, sheets, verdicts
from .rows import Note, RecordRow, Section, sections, variant_lines

_KINDS = {"fail": "✗", "finding": "•", "unavailable": "–"}


def narrow(records: Iterable[RunRecord]) -> RenderableType:
    """The main table within 80 columns: quality, speed and size, then verdicts in words."""
    return _document(
        records,
        lambda s: [
            quality_sheets.quality(s),
            *quality_sheets.paired(s),
            cost_sheets.speed(s),
            *adaptive.spent(s),
            *adaptive.differences(s),
            cost_sheets.size(s),
        ],
        judged=True,
    )


def wide(records: Iterable[RunRecord]) -> RenderableType:
    """The main table with all of a cell in one row; needs 180 columns."""
    return _document(
        records,
        lambda s: [sheets.everything(s), *adaptive.spent(s), *adaptive.differences(s)],
        judged=True,
    )


def fidelity(records: Iterable[RunRecord]) -> RenderableType:
    """Fidelity to the posterior, by format and layer, within 80 columns."""
    return _document(records, lambda s: [sheets.fidelity(s)])


def size(records: Iterable[RunRecord]) -> RenderableType:
    """Bytes on disk, itemised, with their ratios to FP32, within 80 columns."""
    return _document(records, lambda s: [cost_sheets.size(s)])


def paper(
    records: Iterable[RunRecord], reference: Mapping[str, Mapping[str, float]], mc: int = 50
) -> RenderableType:
    """Our scores beside published ones (`quality_sheets.paper`), within 80 columns."""
    return _document(records, lambda s: [quality_sheets.paper(s, reference, mc)])


def markdown(
    records: Iterable[RunRecord], reference: Mapping[str, Mapping[str, float]] | None = None
) -> str:
    """Quality, speed, size and fidelity, and the paper's figures where given, as Markdown."""
    parts = []
    for section in sections(records):
        lines = [*variant_lines(section.variants), *_verdict_lines(section)]
        parts.append(
            "\n".join(
                [f"## {escape(section.title)}", "", f"Machine: {escape(section.machine)}", ""]
                + [markdown_sheet(sheet) for sheet in sheets.document(section, reference)]
                + ["**Verdicts**", "", *(f"- {escape(line)}" for line in lines)]
            )
        )
    return "\n\n".join(parts).rstrip() + "\n"


def summary(record: RunRecord) -> dict[str, Any]:
    """A record without its raw samples and curves, for scripts.

    Returns:
        The cell's key and fields, `scores` (mean, standard deviation, number of seeds that have
        one), `timing`, `bandwidth`, `size`, `fidelity`, `saturation`, `verdict` and, where there is
        one, `adaptive`, `operations` and `paired`; units are in the names.
    """
    quality, timing = record.body.quality, record.body.timing
    conditions = record.provenance.conditions
    return {
        "key": record.subject.key,
        "cell": asdict(record.subject),
        "images": quality.images,
        "seeds": list(quality.seeds),
        "scores": {
            name: {
                "mean": text.mean(values),
                "std": text.deviation(values),
                "seeds": len(text.known(values)),
            }
            for name, values in quality.scores.items()
        },
        "ece_floor_percent": text.mean(quality.ece_floor_percent),
        "timing": {
            "queries": sum(timing.slices),
            **{f"{name}_ns": value for name, value in timing.percentiles_ns.items()},
            "p50_ci95_ns": list(timing.p50_ci95_ns),
            "images_per_second": timing.images_per_second,
            "noise": timing.noise,
            "race": timing.race,
            "passes": record.query_passes,
            "processes": max(len(timing.processes), 1),
            "interleaved_with": list(timing.interleaved_with),
        },
        "bandwidth": asdict(record.body.bandwidth),
        "size": asdict(record.body.size),
        "peak_memory_bytes": record.body.peak_memory_bytes,
        "fidelity": [asdict(layer) for layer in record.body.fidelity],
        "saturation": record.body.saturation,
        "verdict": as_dict(record.verdict),
        "adaptive": None if record.body.adaptive is None else asdict(record.body.adaptive),
        "operations": None if record.body.operations is None else asdict(record.body.operations),
        "paired": None if record.body.paired is None else asdict(record.body.paired),
        "unavailable": record.body.unavailable,
        "conditions": None if conditions is None else asdict(conditions),
        "dispatched_isa": record.body.dispatched_isa,
        "fingerprint": asdict(record.fingerprint),
        "command": record.provenance.command,
        "created": record.created,
    }


def summaries(records: Iterable[RunRecord]) -> Iterator[dict[str, Any]]:
    """The `summary` of each record, in the order of the tables."""
    return (summary(record) for s in sections(records) for record in s.records)


def json_lines(records: Iterable[RunRecord]) -> Iterator[str]:
    """A JSON array of `summaries` in pieces, each of whole lines: of many records it is large."""
    opening = "["
    for one in summaries(records):
        yield opening
        text = json.dumps(one, indent=2, ensure_ascii=False, allow_nan=False)
        opening = "  " + text.replace("\n", "\n  ") + ","
    yield from ("[]",) if opening == "[" else (opening.removesuffix(","), "]")


def csv(records: Iterable[RunRecord]) -> str:
    """`rows` as CSV."""
    return text.csv_lines(rows(records))


def rows(records: Iterable[RunRecord]) -> list[dict[str, Any]]:
    """One per cell: every field of the cell and every number of `summary` but fidelity."""
    return [flat(row, summary(row.record)) for one in sections(records) for row in one.rows]


def flat(row: RecordRow, whole: dict[str, Any]) -> dict[str, Any]:
    """A cell on one level.

    Args:
        row: the cell.
        whole: `summary` of its record.
    """
    timing = dict(whole["timing"])
    low, high = timing.pop("p50_ci95_ns")
    noise = timing.pop("noise")
    del timing["interleaved_with"]  # keys of a whole race; `race` names it in a word
    found = {"key": whole["key"], **whole["cell"], "images": whole["images"]}
    found["machine"] = row.record.fingerprint.shown
    found["speedup_over_fp32"] = row.speedup
    for name, value in whole["scores"].items():
        found |= {f"{name}_mean": value["mean"], f"{name}_std": value["std"]}
    found["ece_floor_percent"] = whole["ece_floor_percent"]
    found["latency_noise"] = noise
    found |= {**timing, "p50_ci95_low_ns": low, "p50_ci95_high_ns": high}
    found |= {**whole["bandwidth"], **whole["size"]}
    found |= {k: whole[k] for k in ("peak_memory_bytes", "dispatched_isa")}
    found |= _flat_adaptive(row.record)
    found |= {"valid": row.record.verdict.valid}
    found |= {f"{kind}_verdict": row.record.verdict.of(kind) for kind in KINDS}
    return found | {"created": whole["created"]}


def _flat_adaptive(record: RunRecord) -> dict[str, Any]:
    """The means over seeds of a cell's adaptive T, in columns that other cells leave empty."""
    spent = record.body.adaptive
    if spent is None:
        return {}
    names = ("mean_passes", "median_passes", "agreement")
    return {
        **{name: text.mean(getattr(spent, name)) for name in names},
        "mean_latency_ns": spent.mean_latency_ns,
        **{f"{name}_difference": text.mean(v) for name, v in spent.differences.items()},
    }


def _document(
    records: Iterable[RunRecord], show: Callable[[Section], list[Sheet]], judged: bool = False
) -> Group:
    parts: list[RenderableType] = []
    said: set[str] = set()  # how to read a table is said once, under the first of its kind
    for section in sections(records):
        parts += [prose(section.title, style="bold"), prose(section.machine, style="dim")]
        for sheet in show(section):
            if sheet.rows:
                notes = [note for note in sheet.notes if note not in said]
                said.update(notes)
                parts += [prose(""), RichSheet(sheet)]
                parts += [prose(" ".join(notes), style="dim")] if notes else []
        lines = [*variant_lines(section.variants), *(_verdict_lines(section) if judged else ())]
        parts += [prose(""), _listing(lines)] if lines else []
        parts.append(prose(""))
    return Group(*(parts or [prose("There are no records.")]))


def _listing(lines: list[str]) -> Table:
    """Lines whose first word stands out to the left of what wraps."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    for line in lines:
        mark, _, words = line.partition(" ")
        grid.add_row(prose(mark), prose(words))
    return grid


def _verdict_lines(section: Section) -> list[str]:
    return [verdicts.line(section.records), *map(note_line, section.notes)]


def note_line(note: Note) -> str:
    """A note after the mark of its kind, with the cells that it is about."""
    return f"{_KINDS[note.kind]} {note.text} ({note.scope})"
