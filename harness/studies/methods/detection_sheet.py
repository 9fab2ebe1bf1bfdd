"""How well methods tell images from outside, with intervals, and how much better than one pass of
the mean network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...data.known_sets import OOD
from ...data.units import too_few
from ...records.methods_record import TEMPERED, MethodRecord
from ...stats.auroc import Auroc, Ordered, TwoKinds, aurocs, difference
from ...stats.tempered_scores import TemperedDifference
from ...workload.cell import MEAN
from .analyse import MethodsFindings

#: Predictive entropy as it is and with the temperature, and mutual information of the passes.
PLAIN, ENTROPY, MUTUAL = "entropy", f"{TEMPERED}entropy", "mutual_information"


@dataclass(frozen=True, eq=False)
class DetectedOutside:
    """One method in one format, and one set of images from outside.

    Attributes:
        outside: name of the set.
        method: see `MethodSubject`.
        format: see there.
        mc: passes T.
        scores: AUROC by `PLAIN`, `ENTROPY` and, where it is defined, `MUTUAL`.
        against_mean: by `ENTROPY`, less that of one pass of the mean network in the same
            arithmetic; None of that itself, and where there is none or too few independent images
            of either kind.
    """

    outside: str
    method: str
    format: str
    mc: int
    scores: Mapping[str, Auroc]
    against_mean: TemperedDifference | None


def detected_outside(found: MethodsFindings) -> list[DetectedOutside]:
    """Of every set and method that was scored on it and on clean images, in the order of the
    tables."""
    names = [one.subject.corruption for one in found.records]
    sets = dict.fromkeys(name for name in names if name.startswith(OOD))
    return [one for name in sets for one in _of_set(found, name)]


def _of_set(found: MethodsFindings, name: str) -> Iterator[DetectedOutside]:
    outside = {
        (one.subject.method, one.subject.format): one
        for one in found.records
        if one.subject.corruption == name
    }
    for inside in found.clean:
        subject = inside.subject
        mine = outside.get((subject.method, subject.format))
        if mine is None:
            continue
        mean = (MEAN, subject.format.partition("_")[0])
        rival = found.of(*mean), outside.get(mean)
        yield _detected(name, (inside, mine), rival if subject.method != MEAN else (None, None))


def _detected(
    name: str,
    mine: tuple[MethodRecord, MethodRecord],
    rival: tuple[MethodRecord | None, MethodRecord | None],
) -> DetectedOutside:
    """Of the records on clean images and on those from outside, of a method and of its rival."""
    measures = [one for one in (PLAIN, ENTROPY, MUTUAL) if all(one in r.arrays for r in mine)]
    scores = [_ordered(mine, one) for one in measures]
    others = [_ordered((rival[0], rival[1]), ENTROPY)] if rival[0] and rival[1] else []
    kinds = TwoKinds(mine[0].units, mine[1].units)
    values, draws = aurocs([*scores, *others], kinds)
    place = measures.index(ENTROPY)
    judged = others and not any(too_few(one.units.count) for one in mine)
    subject = mine[0].subject
    return DetectedOutside(
        name.removeprefix(OOD),
        subject.method,
        subject.format,
        subject.mc[-1],
        dict(zip(measures, values, strict=False)),
        difference(values[place], values[-1], (draws[place], draws[-1])) if judged else None,
    )


def _ordered(records: tuple[MethodRecord, MethodRecord], measure: str) -> Ordered:
    """Of the first draw, which both have."""
    inside, outside = (one.each(measure)[0] for one in records)
    return Ordered(inside, outside)


def detection_sheet(found: Sequence[DetectedOutside]) -> Sheet:
    """A row for each set, method and format."""
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    for name in dict.fromkeys(one.outside for one in found):
        headings[len(rows)] = name
        rows += [
            (one.method, one.format, _value(one, PLAIN), *_ends(one, ENTROPY), *_ends(one, MUTUAL))
            for one in found
            if one.outside == name
        ]
    columns = (
        Column("method", numeric=False),
        Column("format", numeric=False),
        Column("entropy"),
        Column("entropy", "with τ"),
        Column("95 %", "interval"),
        Column("MI"),
        Column("95 %", "interval"),
    )
    note = (
        "AUROC, clean test images against those of the set, by predictive entropy as it is and "
        "with the temperature, and by mutual information (MI) of the passes as they are. Intervals "
        "are of a bootstrap over the independent images of both kinds; differences from the mean "
        "network stand among the other scores."
    )
    return Sheet("Images from outside", columns, tuple(rows), headings, 1, (note,))


def _value(one: DetectedOutside, measure: str) -> str:
    got = one.scores.get(measure)
    return text.fixed(None if got is None else got.value, 4)


def _ends(one: DetectedOutside, measure: str) -> tuple[str, str]:
    got = one.scores.get(measure)
    if got is None or got.low is None or got.high is None:
        return _value(one, measure), text.MISSING
    return _value(one, measure), f"{text.fixed(got.low, 3)}–{text.fixed(got.high, 3)}"


def rows(found: Sequence[DetectedOutside]) -> list[dict[str, Any]]:
    """For JSON and CSV."""
    return [
        {
            "outside": one.outside,
            "method": one.method,
            "format": one.format,
            "mc": one.mc,
            **{
                f"auroc_{name}_{which}": value
                for measure, name in _NAMES.items()
                if (got := one.scores.get(measure)) is not None
                for which, value in asdict(got).items()
            },
            **{f"against_mean_{n}": v for n, v in _less(one).items()},
        }
        for one in found
    ]


_NAMES = {PLAIN: "entropy", ENTROPY: "entropy_tempered", MUTUAL: "mutual_information"}


def _less(one: DetectedOutside) -> dict[str, float]:
    return {} if one.against_mean is None else asdict(one.against_mean)
