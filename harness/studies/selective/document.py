"""Tables of a study of selective prediction for a terminal, and as Markdown, CSV and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType

from ...core import words as text
from ...core.sheet import RichSheet, Sheet, escape, prose
from ...core.sheet import markdown as markdown_sheet
from ...report.rows import variant_lines
from ...workload.workload import Workload
from . import selective_sheets as sheets
from .analyse import answer, sentences, verdicts
from .measure import SelectiveFindings


def tables(found: SelectiveFindings, workload: Workload) -> RenderableType:
    """All tables and conclusions within 80 columns."""
    parts: list[RenderableType] = [prose(title(found), style="bold")]
    for sheet in _sheets(found, workload, intervals=False):
        parts += [prose(""), RichSheet(sheet)]
        parts += [prose(" ".join(sheet.notes), style="dim")] if sheet.notes else []
    notes = _notes(found, workload)
    if notes:
        parts += [prose(""), *map(prose, notes)]
    concluded = [*sentences(found, workload), answer(found)]  # verdicts are in a table
    return Group(*parts, prose(""), prose("Conclusions", style="bold"), *map(prose, concluded))


def markdown(found: SelectiveFindings, workload: Workload) -> str:
    """The same with every interval."""
    lines = [*_notes(found, workload)]
    return "\n".join(
        [f"## {escape(title(found))}", ""]
        + [f"- {escape(line)}" for line in lines]
        + [""] * bool(lines)
        + ["**Conclusions**", ""]
        + [
            f"- {escape(line)}"
            for line in (answer(found), *sentences(found, workload), *verdicts(found))
        ]
        + [""]
        + [markdown_sheet(sheet) for sheet in _sheets(found, workload, intervals=True)]
    )


def to_dict(found: SelectiveFindings, workload: Workload) -> dict[str, Any]:
    """All numbers and conclusions, of JSON's types.

    Errors, coverages and shares are percentages; areas and AUROC are in 0 … 1.
    """
    return {
        "workload": found.workload,
        "by": found.choices.by,
        "coverage": 100 * found.choices.coverage,
        "bound": 100 * found.choices.bound,
        "mc": found.mc,
        "variants": dict(found.formats),
        "letters": dict(found.letters),
        "missing": list(found.missing),
        "split_notes": dict(workload.split_notes),
        "sources": dict(found.sources),
        "classes": [workload.class_name(label) for label in range(workload.classes)],
        "selections": [asdict(one) for one in found.selections],
        "comparisons": [asdict(one) for one in found.comparisons],
        "outside": [asdict(one) for one in found.outside],
        "conclusions": [*sentences(found, workload), *verdicts(found)],
        "answer": answer(found),
    }


def csv(found: SelectiveFindings, workload: Workload) -> dict[str, str]:
    """Files by name: selections, classes, agreements and detection, a row each. What has no row
    has no file."""
    rows: dict[str, list[dict[str, Any]]] = {
        "selections": list(_selections(found)),
        "classes": [
            {"split": one.split, "variant": one.variant, **asdict(each)}
            | {"class": workload.class_name(each.label)}
            for one in found.selections
            for each in one.classes
        ],
        "referred": list(_agreements(found)),
        "outside": [asdict(one) for one in found.outside],
    }
    return text.csv_files(rows)


def title(found: SelectiveFindings) -> str:
    """Of the whole study."""
    return f"{found.workload}: selective prediction, T = {found.mc}"


def _sheets(found: SelectiveFindings, workload: Workload, intervals: bool) -> Iterator[Sheet]:
    shown = [
        sheets.kept(found, intervals=intervals),
        sheets.bounded(found, intervals=intervals),
        *(sheets.classes(found, split, workload, every=intervals) for split in found.splits),
        sheets.outside(found, text.spread if intervals else text.concise),
        sheets.referred(found, intervals=intervals),
    ]
    return (sheet for sheet in shown if sheet.rows)


def _notes(found: SelectiveFindings, workload: Workload) -> list[str]:
    lines = [*variant_lines(found.letters), *found.missing]
    for split, count in found.sources.items():
        lines.append(
            f"{split}: its {text.plural(found.samples[split].images, 'image')} "
            f"{text.verb(found.samples[split].images, 'was', 'were')} cut from "
            f"{text.plural(count, 'larger one')}, which {text.verb(count)} what is resampled."
        )
    lines += [f"{s}: {workload.split_notes[s]}" for s in found.splits if s in workload.split_notes]
    if "validation" in found.splits:
        lines.append(
            "The thresholds kept for the validation split were chosen on these very images."
        )
    return lines


def _selections(found: SelectiveFindings) -> Iterator[dict[str, Any]]:
    for one in found.selections:
        row = asdict(one)
        row.pop("classes")
        yield _flat(row)


def _agreements(found: SelectiveFindings) -> Iterator[dict[str, Any]]:
    for one in found.comparisons:
        row = _flat(asdict(one.found)) | {"verdict": one.verdict}
        if one.luck is not None and one.excess is not None:
            row |= _flat({"luck": asdict(one.luck), "excess": asdict(one.excess)})
            row |= _flat({"p": one.p, "p_holm": one.p_holm})
        yield row


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields under joined names; lists as words."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}_")
        elif isinstance(value, (list, tuple)):
            flat[prefix + name] = " ".join(map(str, value))
        else:
            flat[prefix + name] = value
    return flat
