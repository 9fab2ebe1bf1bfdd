"""Other scores than NLL against one pass of the mean network, each a family of its own; the AUROC
of all sets from outside is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...data.units import ALPHA, too_few
from ...methods.method import MAIN_FORMAT
from ...metrics.metric import METRICS
from ...records.methods_record import TEMPERED, MethodRecord
from ...stats.significance import holm
from ...stats.tempered_scores import PerImage, TemperedDifference, score_differences
from .analyse import AgainstMean, MethodsFindings
from .at_equal_time import shown_decimals
from .detection_sheet import DetectedOutside

SCORES = ("ece", "brier", "aurc")
AUROC = "auroc"
_AUROC_DECIMALS = 4


@dataclass(frozen=True, eq=False)
class Secondary:
    """Scores of one method less those of the mean network's one pass, each with a temperature.

    Attributes:
        compared: the method.
        differences: by metric; the AUROC of each set from outside as `auroc NAME`.
        p_holm: the same, after Holm's correction over the methods.
    """

    compared: AgainstMean
    differences: Mapping[str, TemperedDifference]
    p_holm: Mapping[str, float]


def secondary(found: MethodsFindings, outside: Sequence[DetectedOutside]) -> list[Secondary]:
    """Of the main format, for methods of enough independent images.

    Args:
        found: of one workload.
        outside: what was told from outside.
    """
    chosen = [
        one
        for one in found.compared
        if one.record.subject.format == MAIN_FORMAT and not too_few(one.record.units.count)
    ]
    each = [
        score_differences(_per_image(one.record), _per_image(one.reference), one.record.units)
        for one in chosen
    ]
    told = [
        {f"{AUROC} {o.outside}": o.against_mean for o in outside if _is_of(o, one)}
        for one in chosen
    ]
    whole = [{**a, **{n: d for n, d in b.items() if d}} for a, b in zip(each, told, strict=True)]
    p_holm: list[dict[str, float]] = [{} for _ in chosen]
    for family in (*SCORES, AUROC):
        places = [
            (place, name)
            for place, one in enumerate(whole)
            for name in one
            if name.partition(" ")[0] == family
        ]
        adjusted = holm([whole[place][name].p for place, name in places])
        for (place, name), p in zip(places, adjusted, strict=True):
            p_holm[place][name] = p
    return [Secondary(*one) for one in zip(chosen, whole, p_holm, strict=True)]


def _is_of(outside: DetectedOutside, one: AgainstMean) -> bool:
    subject = one.record.subject
    return (outside.method, outside.format) == (subject.method, subject.format)


def _per_image(record: MethodRecord) -> PerImage:
    return PerImage(
        record.each(f"{TEMPERED}brier"),
        record.each(f"{TEMPERED}confidence"),
        record.each("correct").astype(bool),
    )


def secondary_sheet(rows: list[Secondary]) -> Sheet:
    """A row for each method and score."""
    cells = []
    for one in rows:
        subject = one.compared.record.subject
        for name, difference in one.differences.items():
            called, digits = _called(name)
            low, high = (text.signed(end, digits) for end in (difference.low, difference.high))
            cells.append(
                (
                    subject.method,
                    str(subject.mc[-1]),
                    called,
                    text.signed(difference.value, digits),
                    f"{low} … {high}",
                    text.fixed(one.p_holm[name], 3),
                    "yes" if one.p_holm[name] < ALPHA else "no",
                )
            )
    columns = (
        Column("method", numeric=False),
        Column("T"),
        Column("score", numeric=False),
        Column("difference"),
        Column("95 % interval"),
        Column("p", "Holm"),
        Column("shown", numeric=False),
    )
    note = (
        f"{MAIN_FORMAT}, clean images: less the score of the mean network's one pass, both with a "
        "temperature; negative is better, of an AUROC, by which predictive entropy tells a set "
        "from outside, positive. Secondary: intervals and p-values of a paired bootstrap over "
        "independent images, p after Holm's correction over the methods for each score, and over "
        f"the sets. Shown: whether a difference is shown at {100 * ALPHA:g} %."
    )
    return Sheet("Other scores against one pass", columns, tuple(cells), {}, 1, (note,))


def _called(name: str) -> tuple[str, int]:
    """What a score is called, with its unit, and its decimals."""
    family, _, outside = name.partition(" ")
    if family == AUROC:
        return f"AUROC, {outside}", _AUROC_DECIMALS
    metric = METRICS.get(name)
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.called}{unit}", shown_decimals(name)
