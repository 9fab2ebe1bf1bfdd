"""What T passes buy over one pass and a temperature: differences in NLL on the same images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...data.units import ALPHA, too_few
from ...methods.method import FORMATS_OF_METHODS, MAIN_FORMAT, METHODS
from ...predict.newton import Derivatives
from ...records.methods_record import FIT, TEMPERED, MethodRecord
from ...stats.refitted import MethodDifference, Side, nll_difference
from ...stats.significance import holm
from ...workload.cell import MEAN

if TYPE_CHECKING:
    from .plan import MethodsPlan

#: The largest difference in NLL that does not matter, nats, and as a share of the mean network's
#: validation NLL: the smaller counts.
MARGIN, SHARE = 0.01, 0.05

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
        verdict: after Holm's correction over all methods that are compared.
        deciding: images that would decide where it cannot be shown; None where it could.
    """

    record: MethodRecord
    reference: MethodRecord
    difference: MethodDifference
    margin: float
    verdict: str
    deciding: int | None = None


@dataclass(frozen=True, eq=False)
class MethodsFindings:
    """What there is of one workload.

    Attributes:
        workload: its name.
        records: of images that were scored.
        timed: of methods that were timed.
        compared: answers to the main question, one for each method and format but the mean
            network itself.
        missing: method and format to why there is none.
    """

    workload: str
    records: Sequence[MethodRecord]
    compared: Sequence[AgainstMean]
    missing: Mapping[tuple[str, str], str]
    timed: Sequence[MethodRecord] = ()

    @property
    def clean(self) -> list[MethodRecord]:
        """Of the clean images, by method and format as they are listed."""
        found = [one for one in self.records if is_clean(one)]
        return sorted(found, key=_place)

    def of(self, method: str, format: str) -> MethodRecord | None:
        """One method in one format on clean images."""
        asked = (method, format)
        mine = (one for one in self.clean if (one.subject.method, one.subject.format) == asked)
        return next(mine, None)


def analyse(
    records: Sequence[MethodRecord], plan: MethodsPlan | None = None
) -> list[MethodsFindings]:
    """Every workload among the records, Holm's correction over all of them.

    Args:
        records: from one machine.
        plan: that they are of.
    """
    homes: dict[str, list[MethodRecord]] = {}
    for record in records:
        homes.setdefault(record.subject.home, []).append(record)
    scored = {name: [r for r in mine if not r.subject.batch] for name, mine in homes.items()}
    raw = {name: list(_compared(mine)) for name, mine in scored.items()}
    judged = iter(_judged([one for each in raw.values() for one in each]))
    return [
        MethodsFindings(
            name,
            scored[name],
            [next(judged) for _ in raw[name]],
            {} if plan is None else _missing(plan),
            [record for record in mine if record.subject.batch],
        )
        for name, mine in homes.items()
    ]


def is_clean(record: MethodRecord) -> bool:
    """Whether its images are those of the test split as they are."""
    subject = record.subject
    return (subject.split, subject.corruption, subject.batch) == ("test", "none", 0)


def _missing(plan: MethodsPlan) -> dict[tuple[str, str], str]:
    return {
        (name, format): why
        for name in METHODS.names()
        for format in FORMATS_OF_METHODS
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
        arithmetic = record.subject.format.partition("_")[0]
        reference = means.get(arithmetic)
        if record.subject.method == MEAN or reference is None or not _alike(record, reference):
            continue
        difference = nll_difference(_side(record), _side(reference), record.units, record.fit_units)
        yield AgainstMean(record, reference, difference, margin_of(reference), UNDECIDED)


def margin_of(mean: MethodRecord) -> float:
    """The margin of a workload, from the validation NLL of its mean network's one pass, nats."""
    return min(MARGIN, SHARE * mean.body.temperatures[0][0].nll)


def _alike(one: MethodRecord, other: MethodRecord) -> bool:
    """Whether both were scored and fitted on the same images."""
    mine, others = (
        replace(each.subject, method="", format="", networks=(), mc=(), seed=0, seeds=1)
        for each in (one, other)
    )
    same = (one.body.images, one.body.validation_images, one.body.skipped) == (
        other.body.images,
        other.body.validation_images,
        other.body.skipped,
    )
    return same and mine == others


def _side(record: MethodRecord) -> Side:
    def each(start: str, count: int) -> list[Derivatives]:
        names = (f"{start}nll", f"{start}slope", f"{start}curvature")
        values = [record.each(name) for name in names]
        return [Derivatives(*(value[draw] for value in values)) for draw in range(count)]

    draws = record.subject.seeds
    return Side(each(TEMPERED, draws), each(FIT, draws))


def _judged(raw: Sequence[AgainstMean]) -> list[AgainstMean]:
    """With verdicts. Those of the main format are one family, and the others, which are secondary,
    one of their own."""
    found = {}
    for main in (True, False):
        places = [
            place
            for place, one in enumerate(raw)
            if (one.record.subject.format == MAIN_FORMAT) == main
        ]
        ps = {
            SAME: holm([raw[p].difference.p_within(raw[p].margin) for p in places]),
            BETTER: holm([raw[p].difference.p_below(raw[p].margin) for p in places]),
            WORSE: holm([raw[p].difference.p_above(raw[p].margin) for p in places]),
        }
        for index, place in enumerate(places):
            shown = [name for name, each in ps.items() if each[index] < ALPHA]
            found[place] = _with_verdict(raw[place], shown, len(places))
    return [found[place] for place in range(len(raw))]


def _with_verdict(one: AgainstMean, shown: Sequence[str], family: int) -> AgainstMean:
    if too_few(one.record.units.count):
        return replace(one, verdict=NOT_JUDGED)
    if shown:
        return replace(one, verdict=shown[0])
    deciding = one.difference.deciding(one.margin, ALPHA / family)
    return replace(one, verdict=UNDECIDED, deciding=deciding)
