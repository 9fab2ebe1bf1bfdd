"""What a study of selective prediction shows: tables, figures and conclusions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure
from ...core.sheet import Sheet
from ...report.rows import variant_lines
from . import selective_sheets as sheets
from .analyse import SelectiveFindings, SelectiveStudy
from .conclusions import answer, sentences, verdicts

if TYPE_CHECKING:
    from .plan import SelectivePlan


def document(study: SelectiveStudy) -> Document:
    """All tables and conclusions; verdicts are in a table of the terminal's."""
    found = study.found
    lines, said = _notes(found), sentences(found)
    blocks = [
        Words(title(found), "bold"),
        *with_notes(_sheets(found, intervals=False)),
        *([Words(), *map(Words, lines)] if lines else []),
        Words(),
        Words("Conclusions", "bold"),
        *map(Words, (*said, answer(found))),
    ]
    return Document(
        name=found.workload,
        blocks=tuple(blocks),
        values=to_dict(found),
        title=title(found),
        lines=tuple(lines),
        conclusions=(answer(found), *said, *verdicts(found)),
        sheets=tuple(sheet for sheet in _sheets(found, intervals=True) if sheet.rows),
        data=rows(found),
        figures=lambda: _figures(study),
        asides=study.unrecorded,
    )


def _figures(study: SelectiveStudy) -> Iterator[Figure | str]:
    """What needs no data first."""
    from .selective_figures import selective_figures

    yield from selective_figures(study.found)
    if study.plan is not None:
        yield from _least_sure(study.found, study.plan)


def _least_sure(found: SelectiveFindings, plan: SelectivePlan) -> Iterator[Figure | str]:
    """Sheets of the images of each split; the data may not be here, where all else is written."""
    from .referred_sheet import referred_sheets

    base = plan.cells.base
    splits = base.workload.splits(base.data)
    there = [split for split in found.splits if split not in splits.absent]
    for split in found.splits:
        if split not in there:
            yield f"No sheet of {split} is drawn: {splits.absent[split]}"
    images = {split: splits.scored(split).limit(base.limit).readable() for split in there}
    yield from referred_sheets(found, images, plan.tiles)


def to_dict(found: SelectiveFindings) -> dict[str, Any]:
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
        "methods": dict(found.methods),
        "letters": dict(found.letters),
        "missing": list(found.missing),
        "split_notes": dict(found.split_notes),
        "sources": dict(found.sources),
        "classes": [found.class_name(label) for label in range(found.classes)],
        "selections": [asdict(one) for one in found.selections],
        "comparisons": [asdict(one) for one in found.comparisons],
        "outside": [asdict(one) for one in found.outside],
        "conclusions": [*sentences(found), *verdicts(found)],
        "answer": answer(found),
    }


def rows(found: SelectiveFindings) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Selections, classes, agreements and detection, one row each."""
    return {
        "selections": list(_selections(found)),
        "classes": [
            {"split": one.split, "variant": one.variant, **asdict(each)}
            | {"class": found.class_name(each.label)}
            for one in found.selections
            for each in one.classes
        ],
        "referred": list(_agreements(found)),
        "outside": [asdict(one) for one in found.outside],
    }


def title(found: SelectiveFindings) -> str:
    """Of the whole study."""
    return f"{found.workload}: selective prediction, T = {found.mc}"


def _sheets(found: SelectiveFindings, intervals: bool) -> list[Sheet]:
    return [
        sheets.kept(found, intervals=intervals),
        sheets.against_mean(found, intervals=intervals),
        sheets.bounded(found, intervals=intervals),
        *(sheets.classes(found, split, every=intervals) for split in found.splits),
        sheets.outside(found, text.spread if intervals else text.concise),
        sheets.referred(found, intervals=intervals),
    ]


def _notes(found: SelectiveFindings) -> list[str]:
    lines = [*variant_lines(found.letters), *found.missing]
    for split, count in found.sources.items():
        lines.append(
            f"{split}: its {text.plural(found.samples[split].images, 'image')} "
            f"{text.verb(found.samples[split].images, 'was', 'were')} cut from "
            f"{text.plural(count, 'larger one')}, which {text.verb(count)} what is resampled."
        )
    lines += [f"{s}: {found.split_notes[s]}" for s in found.splits if s in found.split_notes]
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
