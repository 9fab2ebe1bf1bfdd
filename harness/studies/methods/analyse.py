"""What T passes buy over one pass and a temperature: differences in NLL on the same images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...data.units import ALPHA, too_few
from ...methods.method import FORMATS_OF_METHODS, MAIN_FORMAT, METHODS
from ...predict.newton import MOST, Derivatives
from ...records.methods_record import FIT, TEMPERED, MethodRecord
from ...stats.refitted import MethodDifference, Side, nll_difference
from ...stats.significance import holm
from ...workload.cell import MEAN

if TYPE_CHECKING:
    from .plan import MethodsPlan

#: The largest difference in NLL that does not matter, nats, and as a share of the mean network's
#: validation NLL: the smaller counts.
MARGIN, SHARE = 0.01, 0.05

#: T of the main question.
MAIN_PASSES = 50
#: How near a temperature's logarithm lies to the end of where it is looked for.
AT_END = 1e-3
#: NLL of the images that a temperature was fitted on, nats, below which none is left to fit.
NOTHING_LEFT = 1e-5

BETTER, WORSE, SAME, UNDECIDED = "better", "worse", "no different", "cannot be shown"
NOT_JUDGED = "not judged"


@dataclass(frozen=True, eq=False)
class AgainstMean:
    """A method with its temperature beside the mean network's one pass with one.

    Attributes:
        record: of the method on clean images.
        reference: of the mean network.
        difference: in NLL, nats.
        margin: that does not matter, nats.
        verdict: after Holm's correction over the `family`.
        family: how many comparisons are judged together.
        deciding: images that would decide where it cannot be shown; None where it could, and where
            more draws would decide it, not more images.
        why: it is not judged; empty where it is.
    """

    record: MethodRecord
    reference: MethodRecord
    difference: MethodDifference
    margin: float
    verdict: str = UNDECIDED
    family: int = 1
    deciding: int | None = None
    why: str = ""

    @property
    def main(self) -> bool:
        """Whether it answers the main question: on the whole test split, and of a method that draws
        with `MAIN_PASSES`."""
        subject = self.record.subject
        draws = subject.method not in METHODS or METHODS.get(subject.method).draws
        return (
            subject.format == MAIN_FORMAT
            and not subject.limit
            and (not draws or subject.mc[-1] == MAIN_PASSES)
        )


@dataclass(frozen=True, eq=False)
class MethodsFindings:
    """What there is of one workload in one setting: one posterior, the same images to score and to
    fit on.

    Attributes:
        workload: its name.
        records: of images that were scored.
        compared: answers to the main question, one for each method and format but the mean
            network itself.
        missing: method and format to why there is none.
        timed: of methods that were timed.
    """

    workload: str
    records: Sequence[MethodRecord]
    compared: Sequence[AgainstMean]
    missing: Mapping[tuple[str, str], str]
    timed: Sequence[MethodRecord] = ()

    @property
    def clean(self) -> list[MethodRecord]:
        """Of the clean images, by method and format as they are listed."""
        return sorted(filter(is_clean, self.records), key=_place)

    def of(self, method: str, format: str) -> MethodRecord | None:
        """One method in one format on clean images."""
        asked = (method, format)
        mine = (one for one in self.clean if (one.subject.method, one.subject.format) == asked)
        return next(mine, None)


def analyse(
    records: Sequence[MethodRecord], plan: MethodsPlan | None = None
) -> list[MethodsFindings]:
    """Every workload and setting among the records, Holm's correction over all of them.

    Args:
        records: from one machine.
        plan: that they are of.
    """
    settings = _settings(records)
    raw = [list(_compared(mine)) for mine in settings]
    judged = iter(_judged([one for each in raw for one in each]))
    return [
        MethodsFindings(
            mine[0].subject.home,
            [record for record in mine if not record.subject.batch],
            [next(judged) for _ in each],
            {} if plan is None else _missing(plan),
            [record for record in mine if record.subject.batch],
        )
        for mine, each in zip(settings, raw, strict=True)
    ]


def is_clean(record: MethodRecord) -> bool:
    """Whether its images are those of the test split as they are."""
    subject = record.subject
    return (subject.split, subject.corruption, subject.batch) == ("test", "none", 0)


def _settings(records: Sequence[MethodRecord]) -> list[list[MethodRecord]]:
    """The records that belong together, the largest setting of each workload first.

    What is of no posterior, as an ensemble, belongs to every one; records of clean images to those
    of as many, and all others to the setting with the most clean images.
    """
    homes: dict[tuple[object, ...], list[MethodRecord]] = {}
    for record in records:
        subject = record.subject
        about = (subject.home, subject.workload_version, subject.network)
        homes.setdefault(about, []).append(record)
    found = []
    for mine in homes.values():
        posteriors = dict.fromkeys(one.subject.networks[0] for one in mine if _of_posterior(one))
        for posterior in posteriors or {"": None}:
            own = [r for r in mine if not _of_posterior(r) or r.subject.networks[0] == posterior]
            images = {_images(r): r.body.images for r in own if is_clean(r)}
            ranked = sorted(images, key=lambda one: images[one], reverse=True)
            for place, chosen in enumerate(ranked or [()]):
                kept = [r for r in own if (_images(r) == chosen if is_clean(r) else not place)]
                found.append(_youngest(kept))
    return found


def _of_posterior(record: MethodRecord) -> bool:
    name = record.subject.method
    return name in METHODS and METHODS.get(name).of_posterior


def _images(record: MethodRecord) -> tuple[object, ...]:
    """Which clean images were scored, and which a temperature was fitted on."""
    subject, body = record.subject, record.body
    return subject.limit, subject.fitted, subject.data, subject.validation, body.skipped


def _youngest(records: Sequence[MethodRecord]) -> list[MethodRecord]:
    """One record of each method, format and set of images: of several the one with the most
    numbers of passes and draws, and of those the youngest."""
    found: dict[object, MethodRecord] = {}
    for record in sorted(
        records, key=lambda one: (len(one.subject.mc), one.subject.seeds, one.created)
    ):
        subject = record.subject
        if subject.batch:
            found[subject.key] = record
        else:
            images = (subject.split, subject.corruption, subject.severity, subject.shifted)
            found[subject.method, subject.format, images] = record
    kept = {id(one) for one in found.values()}
    return [one for one in records if id(one) in kept]


def _missing(plan: MethodsPlan) -> dict[tuple[str, str], str]:
    return {
        (name, format): why
        for name in plan.methods
        for format in plan.formats
        if (why := METHODS.get(name).without(plan.base, format)) is not None
    }


def _place(record: MethodRecord) -> tuple[int, int]:
    names, subject = METHODS.names(), record.subject
    method = names.index(subject.method) if subject.method in names else len(names)
    return method, FORMATS_OF_METHODS.index(subject.format)


def _compared(records: Sequence[MethodRecord]) -> Iterator[AgainstMean]:
    """Each method beside the mean network in the same arithmetic, on the same images."""
    clean = sorted(filter(is_clean, records), key=_place)
    means = {one.subject.format: one for one in clean if one.subject.method == MEAN}
    for record in clean:
        reference = means.get(record.subject.format.partition("_")[0])
        if record.subject.method == MEAN or reference is None or record.units.count < 2:
            continue
        difference = nll_difference(_side(record), _side(reference), record.units, record.fit_units)
        yield AgainstMean(record, reference, difference, margin_of(reference))


def margin_of(mean: MethodRecord) -> float:
    """The margin of a workload, from the validation NLL of its mean network's one pass, nats."""
    return min(MARGIN, SHARE * mean.fitted_nll(1))


def _side(record: MethodRecord) -> Side:
    def each(start: str, count: int) -> list[Derivatives]:
        names = (f"{start}nll", f"{start}slope", f"{start}curvature")
        values = [record.each(name) for name in names]
        return [Derivatives(*(value[draw] for value in values)) for draw in range(count)]

    draws = record.subject.seeds
    half = record.arrays.get("half")
    return Side(each(TEMPERED, draws), each(FIT, draws), half)


def unbounded(record: MethodRecord) -> bool:
    """Whether a temperature of the largest T lies at the end of where it is looked for, or every
    image that it was fitted on became surely right: no finite one fits best."""
    end = math.log(MOST) - AT_END
    last = [each[-1] for each in (*record.body.temperatures, *record.body.crossed)]
    return any(abs(math.log(one.tau)) > end or one.nll < NOTHING_LEFT for one in last)


def _judged(raw: Sequence[AgainstMean]) -> list[AgainstMean]:
    """With verdicts. Those of the main format are one family, and the others, which are secondary,
    one of their own; what cannot be judged is in none."""
    found = {
        place: replace(one, verdict=NOT_JUDGED, why=_why_not(one)) for place, one in enumerate(raw)
    }
    for main in (True, False):
        places = [
            place
            for place, one in enumerate(raw)
            if not found[place].why and (one.record.subject.format == MAIN_FORMAT) == main
        ]
        family = [raw[place] for place in places]
        same = holm([one.difference.p_within(one.margin) for one in family])
        other = holm([_p_of_more(one) for one in family])
        for place, p_same, p_other in zip(places, same, other, strict=True):
            found[place] = _with_verdict(raw[place], p_same, p_other, len(family))
    return [found[place] for place in range(len(raw))]


def _why_not(one: AgainstMean) -> str:
    if why := too_few(one.record.units.count):
        return why
    ends = [side.subject.method for side in (one.record, one.reference) if unbounded(side)]
    return f"no finite temperature fits {' and '.join(ends)} best" if ends else ""


def _p_of_more(one: AgainstMean) -> float:
    """p-value of "the difference is no larger than the margin", either way."""
    below, above = one.difference.p_below(one.margin), one.difference.p_above(one.margin)
    return min(1.0, 2 * min(below, above))


def _with_verdict(one: AgainstMean, p_same: float, p_other: float, family: int) -> AgainstMean:
    if p_same < ALPHA:
        return replace(one, verdict=SAME, family=family)
    if p_other < ALPHA:
        better = one.difference.value < 0
        return replace(one, verdict=BETTER if better else WORSE, family=family)
    # A difference beyond the margin is told by a two-sided test, one within it by one-sided ones.
    level = ALPHA / family if abs(one.difference.value) < one.margin else ALPHA / (2 * family)
    deciding = one.difference.deciding(one.margin, level)
    return replace(one, verdict=UNDECIDED, family=family, deciding=deciding)
