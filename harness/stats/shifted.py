"""Records of a shift study, put together: by variant of a format, condition and seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..core.contents import superseded
from ..core.formats import FORMATS
from ..core.labels import label
from ..core.words import plural, verb
from ..metrics.detection import Detection, detection
from ..records.shift_record import ShiftRecord
from ..workload.cell import DETERMINISTIC, MEAN, MEAN_FIELD, Cell

CLEAN = ("none", 0)
OOD = "ood:"

#: Fields of a cell that name the study; records that differ in one are of two studies.
STUDY = ("workload", "workload_version", "split", "limit")
_PER_RECORD = ("corruption", "severity", "shifted", "data", "seed", "format", "range")

HEADROOM, PAPER_RANGE, TWIN = "headroom", "paper range", "deterministic twin"
METHOD = "method"
"""Kinds of variants (`Results.kind`)."""

PAPER_FORMATS = ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")

#: Methods before others, behind what has no temperature.
_ORDER = ("", MEAN_FIELD, MEAN, DETERMINISTIC)

#: Corruption and severity.
Condition = tuple[str, int]


@dataclass(frozen=True)
class Results:
    """What there is of one study: a workload, a split of it and a number of images.

    Attributes:
        title: of the study, in words.
        records: variant and condition to its records, one per seed of the MC draw, in that order.
        formats: variant to its format, in the order of tables. A variant is called as its format,
            behind the name of its method where it has a temperature, with `paper` where its weights
            have that range, and with a letter where there are more.
        letters: letter to what it stands for, the same in every format.
        notes: what was left out, and why.
    """

    title: str
    records: dict[tuple[str, Condition], tuple[ShiftRecord, ...]]
    formats: dict[str, str]
    letters: dict[str, str]
    notes: tuple[str, ...]

    def at(
        self, variant: str, corruption: str = "none", severity: int = 0
    ) -> tuple[ShiftRecord, ...]:
        """The records of one variant on one set of images, by seed; none where it was not run."""
        return self.records.get((variant, (corruption, severity)), ())

    @property
    def split(self) -> str:
        """Name of the split."""
        return next(iter(self.records.values()))[0].subject.split

    @property
    def conditions(self) -> list[Condition]:
        """All that some variant was scored on: clean, then by type, then what is from outside."""
        return sorted({c for _, c in self.records}, key=lambda c: (c[0].startswith(OOD), c[1], c))

    @property
    def severities(self) -> list[int]:
        """Of the images with labels, ascending, 0 for the clean ones."""
        return sorted({s for c, s in self.conditions if not c.startswith(OOD)})

    @property
    def ood(self) -> list[str]:
        """Names of the sets from outside the distribution."""
        return [c.removeprefix(OOD) for c, _ in self.conditions if c.startswith(OOD)]

    def types(self, variant: str, severity: int) -> list[str]:
        """Corruption types that a variant was scored on at a severity; `none` at 0."""
        return sorted(
            c
            for v, (c, s) in self.records
            if (v, s) == (variant, severity) and not c.startswith(OOD)
        )

    def method(self, variant: str) -> str:
        """Its method, where it has a temperature; empty where it is a format as it is."""
        cell = self._cell(variant)
        return cell.method if cell.temperature else ""

    @property
    def methods(self) -> dict[str, str]:
        """Variant to its method, of those with a temperature."""
        return {name: method for name in self.formats if (method := self.method(name))}

    def draws(self, variant: str) -> bool:
        """Whether another seed is another draw."""
        return self._cell(variant).draws

    def rival(self, variant: str) -> str | None:
        """The one pass of the mean network that a method is held against, each with a temperature,
        if it is there: in the same arithmetic, and of the same posterior before others."""
        if self.method(variant) in ("", MEAN):
            return None
        cell = self._cell(variant)
        arithmetic = cell.format.partition("_")[0]
        found = [
            name
            for name, format_ in self.formats.items()
            if self.method(name) == MEAN and format_ == arithmetic
        ]
        own = (name for name in found if self._cell(name).posterior == cell.posterior)
        return next(own, found[0] if found else None)

    def reference(self, variant: str) -> str | None:
        """The float variant of the same network, T and method that this one is compared with, if it
        is there: one with the same noise before others."""
        base = "FP32" if FORMATS.get(self.formats[variant]).bayesian else "DNN_FP32"
        if self.formats[variant] == base:
            return None
        own, noise = self._network(variant), self._cell(variant).noise
        floats = [
            name
            for name, format_ in self.formats.items()
            if format_ == base and self._network(name) == own
        ]
        alike = (name for name in floats if self._cell(name).noise == noise)
        return next(alike, floats[0] if floats else None)

    def kind(self, variant: str) -> str:
        """What a claim of the papers is told apart by, network and range of the weights; `METHOD`
        with a temperature; empty for formats and options that are not the papers'."""
        cell = self._cell(variant)
        if cell.temperature:
            return METHOD
        if cell.format == "DNN_INT8":
            return TWIN
        options = (cell.sigma_grid, cell.rounding)
        if cell.format not in PAPER_FORMATS or options != ("affine", "nearest"):
            return ""
        return PAPER_RANGE if _papers(cell) else HEADROOM

    def missing(self) -> list[str]:
        """What an unfinished study lacks, one sentence each."""
        wanted, lines = self.conditions, [*self.notes, *self._superseded()]
        drawn = list(filter(self.draws, self.formats))
        most = max((self._seeds(variant) for variant in drawn), default=0)
        for variant in self.formats:
            counts = {c: len(self.at(variant, *c)) for c in wanted}
            seeds = self._seeds(variant)
            if variant in drawn and seeds < most:
                lines.append(f"{variant} has {seeds} of {plural(most, 'seed')} of the draw.")
            gone = [_words(c) for c in wanted if counts[c] == 0]
            short = [_words(c) for c in wanted if 0 < counts[c] < seeds]
            if gone:
                lines.append(
                    f"{variant} lacks {len(gone)} of {plural(len(wanted), 'condition')}: "
                    f"{_few(gone)}."
                )
            if short:
                lines.append(f"{variant} has fewer than {plural(seeds, 'seed')} at {_few(short)}.")
            alone = self.formats[variant] not in ("FP32", "DNN_FP32")
            if alone and self.reference(variant) is None:
                lines.append(
                    f"{variant} is not compared with anything, because there is no record of "
                    "its float reference."
                )
        return lines

    def _superseded(self) -> list[str]:
        """What is said of records that can be shown and are not current anywhere."""
        every = (one for found in self.records.values() for one in found)
        told = {superseded(one.subject.data, one.fingerprint.machine) for one in every}
        return [f"{line}." for line in sorted(told) if line]

    def _seeds(self, variant: str) -> int:
        """Of the condition that has most."""
        return max(len(found) for (v, _), found in self.records.items() if v == variant)

    def _network(self, variant: str) -> tuple[object, ...]:
        """Networks, T and method, one of each, for a letter tells others apart."""
        cell = self._cell(variant)
        return cell.posterior, cell.members, cell.mc, self.method(variant)

    def _cell(self, variant: str) -> Cell:
        return next(found[0].subject for (v, _), found in self.records.items() if v == variant)


def results(records: Iterable[ShiftRecord]) -> list[Results]:
    """Put records together, a study each, in order of first appearance.

    Of one cell the youngest record counts. Images of one condition that came from different places
    (`Cell.shifted`) are not the same images: what most records have counts.
    """
    youngest: dict[Cell, ShiftRecord] = {}
    for record in sorted(records, key=lambda r: r.created):
        youngest[record.subject] = record
    studies: dict[tuple[Any, ...], list[ShiftRecord]] = {}
    for record in youngest.values():
        key = tuple(getattr(record.subject, name) for name in STUDY)
        studies.setdefault(key, []).append(record)
    return [_study(found) for found in studies.values()]


def detected(inside: ShiftRecord, candidates: Sequence[ShiftRecord], by: str) -> Detection | None:
    """How well images from outside are told from others.

    Args:
        inside: on images of the distribution.
        candidates: on images from outside, of the same variant; the one of the same seed counts.
        by: `entropy` or `mutual_information`.

    Returns:
        None where there is no such record or score.
    """
    others = [r for r in candidates if r.subject.seed == inside.subject.seed]
    if not others or by not in inside.arrays or by not in others[0].arrays:
        return None
    scores = (torch.from_numpy(r.array(by).copy()) for r in (inside, others[0]))
    return detection(*scores)


def _study(records: list[ShiftRecord]) -> Results:
    kept, notes = _same_images(records)
    kept.sort(key=lambda r: (_rank(r.subject), r.subject.seed))
    variants, letters = _variants(kept)
    table: dict[tuple[str, Condition], tuple[ShiftRecord, ...]] = {}
    formats: dict[str, str] = {}
    for record, variant in zip(kept, variants, strict=True):
        key = (variant, (record.subject.corruption, record.subject.severity))
        table[key] = (*table.get(key, ()), record)
        formats[variant] = record.subject.format
    cell = kept[0].subject
    images = max(r.body.images for r in kept if r.labelled or not any(k.labelled for k in kept))
    title = f"{cell.workload}: {cell.split} split, {plural(images, 'image')}"
    return Results(title, table, formats, letters, notes)


def _same_images(records: list[ShiftRecord]) -> tuple[list[ShiftRecord], tuple[str, ...]]:
    """Of each condition the records on the images that most have; what the others were."""
    places: dict[Condition, Counter[tuple[str, str, int]]] = {}
    for r in records:
        where = places.setdefault((r.subject.corruption, r.subject.severity), Counter())
        where[r.subject.shifted, r.subject.data, r.body.images] += 1
    common = {condition: where.most_common(1)[0][0] for condition, where in places.items()}
    kept = [
        r
        for r in records
        if common[r.subject.corruption, r.subject.severity]
        == (r.subject.shifted, r.subject.data, r.body.images)
    ]
    left = len(records) - len(kept)
    out = f"{left} of {plural(len(records), 'record')} {verb(left)} left out"
    note = f"{out}, made on other images than the rest."
    return kept, (note,) if left else ()


def _rank(cell: Cell) -> tuple[int, str, int, str, bool]:
    """As tables show them: formats before methods, and the headroom range, the default, before the
    paper's."""
    names = FORMATS.names()
    place = names.index(cell.format) if cell.format in names else len(names)
    method = "" if not cell.temperature else cell.method
    known = _ORDER.index(method) if method in _ORDER else len(_ORDER)
    return known, method, place, cell.format, _papers(cell)


def _papers(cell: Cell) -> bool:
    """Whether the paper's range sets it apart; every network without a σ has it."""
    twin = cell.format in FORMATS and not FORMATS.get(cell.format).bayesian
    without = bool(cell.temperature) and cell.granularity == "-"
    return cell.range == "paper" and not (twin or without)


def _called(cell: Cell) -> str:
    name = f"{cell.method} {cell.format}" if cell.temperature else cell.format
    return f"{name} paper" if _papers(cell) else name


def _variants(records: list[ShiftRecord]) -> tuple[list[str], dict[str, str]]:
    """The variant of each record, and what the letters mean."""
    names = [_called(r.subject) for r in records]
    kinds: dict[tuple[str, tuple[object, ...]], dict[str, object]] = {}
    keys = []
    for name, record in zip(names, records, strict=True):
        rest = _rest(record.subject)
        keys.append((name, tuple(rest.values())))
        kinds.setdefault(keys[-1], rest)
    labels, letters = label([name for name, _ in kinds], list(kinds.values()))
    called = dict(zip(kinds, labels, strict=True))
    return [called[key] for key in keys], letters


def _rest(cell: Cell) -> dict[str, object]:
    """What sets variants of one format and range apart."""
    return {k: v for k, v in asdict(cell).items() if k not in (*STUDY, *_PER_RECORD)}


def _words(condition: Condition) -> str:
    corruption, severity = condition
    if condition == CLEAN:
        return "clean"
    return (
        corruption.removeprefix(OOD) if corruption.startswith(OOD) else f"{corruption} {severity}"
    )


def _few(names: list[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
