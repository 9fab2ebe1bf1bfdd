"""What the records of an ablation say: every configuration beside FP32, with paired differences.

The 95 % interval of a difference comes from a bootstrap over independent units (`units.Units`), in
which an image counts with all its corruptions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...data.units import Units
from ...records.ablation_record import (
    BASE,
    CLEAN,
    PAIRED,
    AblationRecord,
    Choice,
    Difference,
)
from ...stats.bootstrap import Means, pseudo_units, resampled
from .plan import default_choices

if TYPE_CHECKING:
    from .plan import AblationPlan

SHIFTED = "shifted"
RESAMPLES = 10_000


@dataclass(frozen=True)
class AblationRow:
    """What came of one configuration.

    Attributes:
        choice: the configuration.
        backend: what computed it.
        file_bytes: of the artefact.
        weight_bytes: of μ and σ in it.
        ratio_weights: bits of an FP32 weight over its own, by the closed form: no codebooks.
        ratio_file: FP32's file over its own, codebooks and all; None where FP32 has no record.
        scores: `clean` or corruption type, to metric, to one value per seed; None where it is not
            defined. Units are the metrics'.
        differences: `clean` or `shifted` (the mean over types), to `accuracy` or `nll`, to the
            difference to FP32, seeds averaged; empty for FP32 itself.
    """

    choice: Choice
    backend: str
    file_bytes: int
    weight_bytes: int
    ratio_weights: float
    ratio_file: float | None
    scores: dict[str, dict[str, tuple[float | None, ...]]]
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)

    def clean(self, metric: str) -> float | None:
        """Mean over seeds on clean images."""
        return _mean(self.scores[CLEAN][metric])

    def shifted(self, metric: str) -> float | None:
        """Mean over corruption types and seeds."""
        types = [found[metric] for name, found in self.scores.items() if name != CLEAN]
        return _mean([value for values in types for value in values])


@dataclass(frozen=True)
class Ablation:
    """A whole ablation.

    Attributes:
        split: `validation` or `test`.
        images: clean images.
        corrupted_images: images of each corruption.
        units: independent clean images (`units.Units`).
        corrupted_units: independent images of each corruption.
        origins: corruption type to `official` or `generated`.
        severity: of the corruptions.
        corruption_seed: of generated corruptions.
        mc: Monte Carlo passes T.
        seeds: of the MC draws.
        resamples: of the bootstrap; its seed is 0.
        rows: one a configuration, FP32 first.
    """

    split: str
    images: int
    corrupted_images: int
    units: int
    corrupted_units: int
    origins: dict[str, str]
    severity: int
    corruption_seed: int
    mc: int
    seeds: tuple[int, ...]
    resamples: int
    rows: tuple[AblationRow, ...]


@dataclass(frozen=True, eq=False)
class AblationFindings:
    """An ablation and the records that it is made of, one row each."""

    found: Ablation
    records: tuple[AblationRecord, ...]


def analyse(
    records: Sequence[AblationRecord],
    plan: AblationPlan | None = None,
    resamples: int = RESAMPLES,
) -> list[AblationFindings]:
    """Every ablation among the records.

    Args:
        records: from one machine.
        plan: that they are of; the rows stand in its order where it is known.
        resamples: of the bootstrap.
    """
    order = [BASE, *default_choices()] if plan is None else list(plan.choices)
    groups: dict[object, list[AblationRecord]] = {}
    for record in records:
        groups.setdefault(replace(record.subject, choice=BASE), []).append(record)

    def place(record: AblationRecord) -> int:
        choice = record.subject.choice
        return order.index(choice) if choice in order else len(order)

    return [_ablation(sorted(group, key=place), resamples) for group in groups.values()]


def _ablation(records: Sequence[AblationRecord], resamples: int) -> AblationFindings:
    first = records[0]
    subject, body = first.subject, first.body
    base = first if subject.choice == BASE else None
    differences = _differences(records, base, resamples)
    found = Ablation(
        split=subject.split,
        images=body.images,
        corrupted_images=body.corrupted_images,
        units=body.units,
        corrupted_units=body.corrupted_units,
        origins=body.origins,
        severity=subject.severity,
        corruption_seed=subject.corruption_seed,
        mc=subject.mc,
        seeds=tuple(range(subject.seed, subject.seed + subject.seeds)),
        resamples=body.resamples or resamples,
        rows=tuple(
            _row(record, base, mine) for record, mine in zip(records, differences, strict=True)
        ),
    )
    return AblationFindings(found, tuple(records))


def _row(
    record: AblationRecord,
    base: AblationRecord | None,
    differences: dict[str, dict[str, Difference]],
) -> AblationRow:
    body = record.body
    return AblationRow(
        choice=record.subject.choice,
        backend=body.backend,
        file_bytes=body.file_bytes,
        weight_bytes=body.weight_bytes,
        ratio_weights=body.ratio_weights,
        ratio_file=None if base is None else base.body.file_bytes / body.file_bytes,
        scores=body.scores,
        differences=differences,
    )


def _differences(
    records: Sequence[AblationRecord], base: AblationRecord | None, resamples: int
) -> list[dict[str, dict[str, Difference]]]:
    """Of each record those to FP32; the same resamples serve all of them."""
    found = [dict(record.body.differences) for record in records]
    if base is None or not base.arrays:
        return found
    paired = [place for place, one in enumerate(records) if one is not base and one.arrays]
    values = [_means(records[place]) for place in paired]
    types = base.subject.types
    units = {name: base.units_of(name) for name in (CLEAN, *types[-1:])}
    for name, reference in _means(base).items() if paired else ():
        columns = np.stack([mine[name] - reference for mine in values])
        independent = units[CLEAN if name == CLEAN else types[-1]]
        for index, metric in enumerate(PAIRED):
            numbers = _intervals(columns[:, index].T, independent, resamples, metric == "accuracy")
            for place, number in zip(paired, numbers, strict=True):
                found[place].setdefault(name, {})[metric] = number
    return found


def _means(record: AblationRecord) -> Mapping[str, NDArray[np.float64]]:
    """`clean` and, where there is a corruption, `shifted`: [2, N], in the order of `PAIRED`."""
    types = [record.values(name) for name in record.subject.types]
    found = {CLEAN: record.values(CLEAN)}
    return found | ({SHIFTED: np.mean(types, axis=0)} if types else {})


def _intervals(
    values: NDArray[np.float64], units: Units, resamples: int, correctness: bool
) -> list[Difference]:
    """Mean of each column of [N, K] and the ends of its 95 % interval, as in `equivalence`.

    Args:
        values: one row per image.
        units: what is independent among the images.
        resamples: of the units.
        correctness: values are of correctness, in %; else losses.
    """
    means = Means.of(values, units)
    if units.count < 2:
        return [Difference(float(value), None, None) for value in means.centre]
    chunks = resampled(units.count, resamples, 0)
    if correctness:
        draws = np.concatenate([means.draws(counts) for counts in chunks])
        draws = np.clip(draws + pseudo_units(means, len(draws), 0), -100.0, 100.0)
    else:
        draws = np.concatenate([means.studentized(counts) for counts in chunks])
    ends = np.quantile(draws, [0.025, 0.975], axis=0)
    return [Difference(*map(float, one)) for one in zip(means.centre, *ends, strict=True)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None
