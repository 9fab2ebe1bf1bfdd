"""Other scores than NLL against one pass of the mean network, each a family of its own."""

from __future__ import annotations

from collections.abc import Mapping
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

SCORES = ("ece", "brier", "aurc")


@dataclass(frozen=True, eq=False)
class Secondary:
    """Scores of one method less those of the mean network's one pass, each with a temperature.

    Attributes:
        compared: the method.
        differences: by metric.
        p_holm: by metric, after Holm's correction over the methods.
    """

    compared: AgainstMean
    differences: Mapping[str, TemperedDifference]
    p_holm: Mapping[str, float]


def secondary(found: MethodsFindings) -> list[Secondary]:
    """Of the main format, for methods of enough independent images."""
    chosen = [
        one
        for one in found.compared
        if one.record.subject.format == MAIN_FORMAT and not too_few(one.record.units.count)
    ]
    each = [
        score_differences(_per_image(one.record), _per_image(one.reference), one.record.units)
        for one in chosen
    ]
    adjusted = {name: holm([one[name].p for one in each]) for name in SCORES}
    return [
        Secondary(one, differences, {name: adjusted[name][place] for name in SCORES})
        for place, (one, differences) in enumerate(zip(chosen, each, strict=True))
    ]


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
            metric = METRICS.get(name)
            low, high = (
                text.signed(end, shown_decimals(name)) for end in (difference.low, difference.high)
            )
            cells.append(
                (
                    subject.method,
                    str(subject.mc[-1]),
                    metric.called + (f", {metric.unit}" if metric.unit else ""),
                    text.signed(difference.value, shown_decimals(name)),
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
        "temperature; negative is better. Secondary: intervals and p-values of a paired bootstrap "
        "over images, p after Holm's correction over the methods for each score. Shown: whether a "
        f"difference is shown at {ALPHA:.0%}."
    )
    return Sheet("Other scores against one pass", columns, tuple(cells), {}, 1, (note,))
