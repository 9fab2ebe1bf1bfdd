"""All that a study of selective prediction finds, from its records."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.words import plural
from ...methods.method import METHODS
from ...records.shift_record import ShiftRecord
from ...stats.shifted import CLEAN, OOD, Results, detected, results
from .agreement import FormatAgreement, comparisons
from .plan import VALIDATION, SelectivePlan
from .referral import Choices, Referral, selections
from .sample import RESAMPLES, SEED, SplitSample

if TYPE_CHECKING:
    from ...core.waiting import Report
    from ...workload.workload import Workload

#: `analyse` takes long enough to report progress.
SLOW = True
DETECTORS = ("entropy", "mutual_information")
"""What images from outside are told by."""


@dataclass(frozen=True)
class Told:
    """How well one format tells images from outside from those of one split.

    Attributes:
        split: inside.
        outside: name of the set.
        variant: of the format.
        by: `entropy` or `mutual_information`.
        seed: of the MC draw.
        auroc: in 0 … 1.
        aupr: average precision, in 0 … 1.
        prevalence: share of the images that are from outside, in 0 … 1.
    """

    split: str
    outside: str
    variant: str
    by: str
    seed: int
    auroc: float
    aupr: float
    prevalence: float


@dataclass(frozen=True)
class SelectiveFindings:
    """What a study of selective prediction found.

    Attributes:
        workload: its name.
        choices: what was asked.
        mc: T of the Bayesian formats.
        formats: variant to its format, in the order of tables.
        letters: letter of a variant to what it stands for.
        missing: what the study lacks, one sentence each.
        sources: split to how many sources its images were cut from, where that is known.
        samples: split to its images in every format.
        selections: by split, then format.
        comparisons: by split, then format.
        outside: detection of images from outside.
        classes: how many there are.
        class_names: of each; empty where classes have numbers alone.
        split_notes: as `Workload.split_notes`.
        methods: variant to its method, of those with a temperature.
    """

    workload: str
    choices: Choices
    mc: int
    formats: Mapping[str, str]
    letters: Mapping[str, str]
    missing: tuple[str, ...]
    sources: Mapping[str, int]
    samples: Mapping[str, SplitSample]
    selections: tuple[Referral, ...]
    comparisons: tuple[FormatAgreement, ...]
    outside: tuple[Told, ...]
    classes: int = 0
    class_names: tuple[str, ...] = ()
    split_notes: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)

    @property
    def splits(self) -> list[str]:
        """Names, in the order of the tables."""
        return list(self.samples)

    def class_name(self, label: int) -> str:
        """What tables call a class: its name, or its number where it has none."""
        return self.class_names[label] if self.class_names else str(label)

    def of(self, split: str) -> list[Referral]:
        """Selections of one split."""
        return [one for one in self.selections if one.split == split]

    def as_they_are(self, split: str) -> list[Referral]:
        """Selections of one split by formats without a temperature."""
        return [one for one in self.of(split) if one.variant not in self.methods]

    def draws(self, variant: str) -> bool:
        """Whether another seed is another draw."""
        method, format = self.methods.get(variant), self.formats[variant]
        if method is not None:
            return method in METHODS and METHODS.get(method).draws
        return format in FORMATS and FORMATS.get(format).bayesian

    def compared(self, split: str) -> list[FormatAgreement]:
        """Comparisons on one split."""
        return [one for one in self.comparisons if one.found.split == split]


@dataclass(frozen=True)
class SelectiveStudy:
    """What a study shows.

    Attributes:
        found: of its records.
        plan: that they are of; None where that is not known.
        unrecorded: a line for each test set of the plan that is left out for want of records.
    """

    found: SelectiveFindings
    plan: SelectivePlan | None = None
    unrecorded: tuple[str, ...] = ()


def analyse(
    records: Sequence[ShiftRecord],
    plan: SelectivePlan | None = None,
    report: Report | None = None,
) -> list[SelectiveStudy]:
    """Findings of every study among the records.

    Args:
        records: from one machine.
        plan: that they are of; where it is not known, every split but `validation` is referred of,
            with the choices that a user has by default.
        report: progress, in resamples.

    Raises:
        UserError: there is no record of a split, or records cannot answer.
    """
    if plan is not None:
        splits, unrecorded = plan.recorded(records)
        workload = plan.cells.base.workload
        found = findings(records, splits, plan.choices, workload=workload, report=report)
        return [SelectiveStudy(found, plan, unrecorded)]
    return [
        SelectiveStudy(findings(mine, splits, Choices(), workload=_registered(mine), report=report))
        for mine, splits in _studies(records)
    ]


def _studies(records: Sequence[ShiftRecord]) -> Iterator[tuple[list[ShiftRecord], list[str]]]:
    """Those of clean images and of images from outside that hold predictions, by what sets studies
    apart, with the splits that images are referred of."""
    groups: dict[tuple[object, ...], list[ShiftRecord]] = {}
    for record in records:
        cell = record.subject
        if cell.severity == 0 and "prediction" in record.arrays:
            key = (cell.workload, cell.workload_version, cell.limit)
            groups.setdefault(key, []).append(record)
    for mine in groups.values():
        splits = dict.fromkeys(record.subject.split for record in mine if record.labelled)
        chosen = [name for name in splits if name != VALIDATION] or list(splits)
        if chosen:
            yield mine, chosen


def _registered(records: Sequence[ShiftRecord]) -> Workload | None:
    from ...workload.workload import WORKLOADS

    name = records[0].subject.workload
    return WORKLOADS.get(name) if name in WORKLOADS else None


def findings(
    records: Sequence[ShiftRecord],
    splits: Sequence[str],
    choices: Choices,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    workload: Workload | None = None,
    report: Report | None = None,
) -> SelectiveFindings:
    """Put the records of a study to its questions.

    Args:
        records: of one workload.
        splits: that images are referred of.
        choices: what is asked.
        resamples: of the sources of the images.
        seed: of the resampling.
        workload: names classes and says what splits do not show; None where it is not known.
        report: progress, in resamples.

    Raises:
        UserError: there is no record of a split, or records cannot answer.
    """
    found = {study.split: study for study in results(records)}
    _check_recorded(found, splits)
    samples = {name: SplitSample.of(found[name], choices.by) for name in splits}
    chosen_on = found.get(VALIDATION)
    validation = SplitSample.of(chosen_on, choices.by) if chosen_on is not None else None
    for sample in samples.values():
        _check_coverage(sample, choices)
    advance = _progress(report, 2 * resamples * len(samples))
    how: dict[str, Any] = {"resamples": resamples, "seed": seed, "advance": advance}
    chosen = [
        selection
        for name, sample in samples.items()
        for selection in selections(found[name], sample, validation, choices, **how)
    ]
    compared = comparisons(list(samples.values()), choices, **how)
    widest = max(found.values(), key=lambda study: len(study.formats))
    labels = max(int(sample.labels.max()) for sample in samples.values())
    return SelectiveFindings(
        workload=records[0].subject.workload,
        choices=choices,
        mc=max(record.subject.mc for record in records),
        formats=widest.formats,
        letters=widest.letters,
        missing=tuple(_missing(found, samples, chosen)),
        sources=_sources(samples),
        samples=samples,
        selections=tuple(chosen),
        comparisons=tuple(compared),
        outside=tuple(_outside(found, splits)),
        classes=labels + 1 if workload is None else workload.classes,
        class_names=() if workload is None else workload.class_names,
        split_notes={} if workload is None else workload.split_notes,
        methods=widest.methods,
    )


def _check_recorded(found: Mapping[str, Results], splits: Sequence[str]) -> None:
    lacking = [name for name in splits if name not in found]
    if lacking:
        raise UserError(
            f"There is no record of the {lacking[0]} split; leave out --policy never to score it."
        )


def _sources(samples: Mapping[str, SplitSample]) -> dict[str, int]:
    """How many sources the images of a split are of, where that is fewer than the images."""
    counts = {name: (sample.units.count, sample.images) for name, sample in samples.items()}
    return {name: units for name, (units, images) in counts.items() if units < images}


def _progress(report: Report | None, total: int) -> Callable[[int], None]:
    """What counts resamples of all splits."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        if report is not None:
            report("Resampling", done, total)

    return advance


def _check_coverage(sample: SplitSample, choices: Choices) -> None:
    """Some image is kept and some is referred."""
    images = sample.images
    kept = round(choices.coverage * images)
    if 0 < kept < images:
        return
    if images < 2:
        raise UserError(
            f"The {sample.split} split has {plural(images, 'image')}, too few to keep one and refer"
            " another; score at least 2."
        )
    wrong = "keeps all" if kept else "keeps none"
    raise UserError(
        f"--coverage {100 * choices.coverage:g} {wrong} of the {images} images of the "
        f"{sample.split} split; give a percentage from {100 / images:.3g} to "
        f"{100 - 100 / images:.3g}, or score more images."
    )


def _missing(
    found: Mapping[str, Results], samples: Mapping[str, SplitSample], chosen: Sequence[Referral]
) -> list[str]:
    lines = [f"{study.split}: {line}" for study in found.values() for line in study.missing()]
    lines += [
        f"{name}: nothing is judged: {sample.too_few}."
        for name, sample in samples.items()
        if sample.too_few
    ]
    if VALIDATION not in found:
        return [*lines, "The validation split was not scored, so no threshold could be chosen."]
    without = dict.fromkeys(one.variant for one in chosen if one.bounded is None)
    lines += [
        f"{variant} has no threshold: not all its seeds were scored on the validation split."
        for variant in without
    ]
    partly = dict.fromkeys(
        f"{one.variant} has a threshold in {one.bounded.held} of {plural(one.seeds, 'seed')}; "
        "nothing is kept in the rest, which the mean coverage counts as 0 % and the error leaves "
        "out."
        for one in chosen
        if one.bounded is not None and 0 < one.bounded.held < one.seeds
    )
    return [*lines, *partly]


def _outside(found: Mapping[str, Results], splits: Sequence[str]) -> Iterator[Told]:
    """Every set from outside against every split; it was scored once, beside one of them."""
    for study in found.values():
        beyond = itertools.product(study.ood, splits, study.formats, DETECTORS)
        for name, split, variant, by in beyond:
            others = study.at(variant, f"{OOD}{name}")
            for inside in found[split].at(variant, *CLEAN):
                got = detected(inside, others, by)
                if got is not None:
                    yield Told(split, name, variant, by, inside.subject.seed, **asdict(got))
