"""What both formats of a pair got on the same images, at one severity."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..core.errors import UserError
from ..data.units import Units
from ..metrics.calibration import BINS
from ..metrics.metric import judged_metrics
from ..records.shift_record import CONTRAST, ShiftRecord, array_of
from .blocks import shares_of
from .bootstrap import Array, Luck, Means, gaps_of, halved, pseudo_units, resampled
from .shifted import Results

NEAR = 2.0
"""Times its noise floor, below which an ECE is near it."""

_FREEDOM = 5  # of halves of 6 groups, `ShiftRecord.halves`


#: Kind of the pairs whose reference is one pass of the mean network with a temperature.
AGAINST_MEAN = "against the mean network"


@dataclass(frozen=True)
class Pair:
    """A variant and its reference at one severity."""

    variant: str
    reference: str
    kind: str
    types: tuple[str, ...]


def pairs_at(results: Results, severity: int) -> list[Pair]:
    """Quantized variants and their floats."""
    references = {name: results.reference(name) for name in results.formats}
    return _shared(results, severity, references, results.kind)


def rivals_at(results: Results, severity: int) -> list[Pair]:
    """Methods, and one pass of the mean network."""
    rivals = {name: results.rival(name) for name in results.formats}
    return _shared(results, severity, rivals, lambda _: AGAINST_MEAN)


def _shared(
    results: Results,
    severity: int,
    references: Mapping[str, str | None],
    kind: Callable[[str], str],
) -> list[Pair]:
    """Those of which both were scored on the same types."""
    found = []
    for variant, reference in references.items():
        if reference is not None:
            shared = set(results.types(variant, severity)) & set(results.types(reference, severity))
            if shared:
                found.append(Pair(variant, reference, kind(variant), tuple(sorted(shared))))
    return found


class PairedValues:
    """The per-image values of all pairs at one severity, and their effects."""

    def __init__(self, results: Results, severity: int, pairs: Sequence[Pair]) -> None:
        self.severity, self.pairs, self._results = severity, pairs, results
        names = dict.fromkeys(n for pair in pairs for n in (pair.variant, pair.reference))
        self._records = {
            name: {t: results.at(name, t, severity) for t in results.types(name, severity)}
            for name in names
        }
        self.units = _same_units(self._records)
        self.images = self.units.images
        self._accuracy = Means.of(self._differences(_correct), self.units)
        self._losses = {
            name: Means.of(self._differences(partial(_loss, name)), self.units)
            for name in _losses(self._records)
        }
        self._ece = self._differences(_ece)[0]

    def effects(self) -> dict[str, Array]:
        """Metric to [pairs], on the images as they are."""
        losses = {name: means.centre for name, means in self._losses.items()}
        return _ordered({"accuracy": self._accuracy.centre, "ece": self._ece, **losses})

    def draws(self, resamples: int, seed: int) -> dict[str, Array]:
        """Metric to [resamples, pairs] draws of the effect."""
        found: dict[str, list[Array]] = {name: [] for name in ("accuracy", *self._losses)}
        for counts in resampled(self.units.count, resamples, seed):
            found["accuracy"].append(self._accuracy.draws(counts))
            for name, means in self._losses.items():
                found[name].append(means.studentized(counts))
        drawn = {name: np.concatenate(chunks) for name, chunks in found.items()}
        drawn["accuracy"] += pseudo_units(self._accuracy, resamples, [seed, 1])
        return {**drawn, "ece": self._ece_draws(resamples, seed)}

    def _ece_draws(self, resamples: int, seed: int) -> Array:
        """[resamples, pairs], by random halves of the units (McCarthy, Rev. Int. Stat. Inst. 1969):
        half the difference of the effect on a half and on the others, either way round.

        Where confidence is right, a bin's gap is noise around 0, and resamples would add their own
        noise to what is in it already (Andrews, "Inconsistency of the bootstrap when a parameter is
        on the boundary", Econometrica 2000). Two halves have each their own, and the variance of
        their difference is right for a gap of 0, g ↦ |g| being homogeneous, as for a clear one.
        """
        records = [r for of in self._records.values() for each in of.values() for r in each]
        gaps = np.hstack([self.units.sums(gaps_of(r)) for r in records])
        place = {id(r): i for i, r in enumerate(records)}

        def moved_by(half: Array) -> Array:
            one, images = half @ gaps, (half @ self.units.sizes)[:, None]
            eces = _eces(one, images) - _eces(gaps.sum(axis=0) - one, self.images - images)
            return self._differences(lambda record: eces[:, place[id(record)]] / 2)

        halves = halved(self.units.count, -(-resamples // 2), [seed, 3])
        moved = np.concatenate([moved_by(half) for half in halves])
        draws: Array = self._ece + np.concatenate([moved, -moved])[:resamples]
        return draws

    def luck(self, pair: Pair, metric: str) -> list[Luck]:
        """Of the MC draw, in the mean over types; see `luck_of`."""
        variant, reference = (
            [self._records[name][t] for t in pair.types] for name in (pair.variant, pair.reference)
        )
        return luck_of(variant, reference, metric)

    def drawn(self, pair: Pair) -> bool:
        """Whether a draw of the weights is in either."""
        return any(map(self._results.draws, (pair.variant, pair.reference)))

    def near_floor(self, pair: Pair) -> bool:
        """Whether the reference's ECE is not far above what perfect calibration would show."""
        records = [r for t in pair.types for r in self._records[pair.reference][t]]
        found, floor = (sum(r.score(name) or 0.0 for r in records) for name in ("ece", "ece_floor"))
        return found < NEAR * floor

    def _differences(self, values: Callable[[ShiftRecord], Array]) -> Array:
        """[n, pairs] mean over types and seeds of (quantized − float), of [n] of a record."""
        found = {
            name: {t: np.mean([values(r) for r in records], axis=0) for t, records in types.items()}
            for name, types in self._records.items()
        }

        def side(name: str, types: Sequence[str]) -> Array:
            return np.asarray(np.mean([found[name][t] for t in types], axis=0))

        each = [side(p.variant, p.types) - side(p.reference, p.types) for p in self.pairs]
        return np.stack(each, axis=1)


def _correct(record: ShiftRecord) -> Array:
    """[N], points."""
    return 100.0 * record.array("correct")


def _ordered(found: Mapping[str, Array]) -> dict[str, Array]:
    """By the order of the metrics that are judged."""
    return {name: found[name] for name in judged_metrics() if name in found}


def _losses(records: Mapping[str, Mapping[str, Sequence[ShiftRecord]]]) -> list[str]:
    """Judged metrics whose values all records hold for each image; correctness and ECE have ways of
    their own."""
    every = [r for types in records.values() for found in types.values() for r in found]
    names = [name for name in judged_metrics() if name not in ("accuracy", "ece")]
    return [name for name in names if all(array_of(name) in r.arrays for r in every)]


def _loss(metric: str, record: ShiftRecord) -> Array:
    """[N], in the metric's unit."""
    return record.array(array_of(metric)).astype(np.float64)


def _ece(record: ShiftRecord) -> Array:
    """[1], %."""
    found: Array = _eces(gaps_of(record).sum(axis=0)[None], np.array([[record.body.images]]))[0]
    return found


def _eces(sums: Array, images: Array) -> Array:
    """[b, R] in %, of sums [b, 15 R] of the gaps of R records over as many images, [b, 1]."""
    found: Array = 100.0 * np.abs(sums).reshape(len(sums), -1, BINS).sum(axis=2) / images
    return found


def _same_units(records: Mapping[str, Mapping[str, Sequence[ShiftRecord]]]) -> Units:
    """Of all records, which hold the same images.

    Raises:
        UserError: some say what images were cut from and others say otherwise or nothing.
    """
    every = [r for types in records.values() for found in types.values() for r in found]
    units = every[0].units
    if any(not np.array_equal(r.units.which, units.which) for r in every[1:]):
        cell = every[0].subject
        raise UserError(
            f"Records of {cell.workload} at severity {cell.severity} disagree about which images "
            "have one source; score them again with --policy always."
        )
    return units


def luck_of(
    variant: Sequence[Sequence[ShiftRecord]],
    reference: Sequence[Sequence[ShiftRecord]],
    metric: str,
) -> list[Luck]:
    """Of the MC draw, in the mean over types: of the difference where both sides have the same
    noise, else of the variant and of its reference.

    A pass has the same weights for all types, so contrasts of halves are averaged over types before
    they are compared.

    Args:
        variant: of each type its records, one per seed.
        reference: the same of what it is compared with.
        metric: a name of `HALVED`.

    Returns:
        Empty where a side draws no weights, or too few to tell.
    """
    records = [*itertools.chain(*variant, *reference)]
    apart = _apart(records)
    one, other = (_contrasts(side, metric) for side in (variant, reference))
    noises = [{r.subject.noise for r in itertools.chain(*side)} for side in (variant, reference)]
    sides = [side for side in (one, other) if side]
    if one and noises[0] == noises[1] and one.keys() == other.keys():
        sides = [{seed: one[seed] - other[seed] for seed in one}]
    shares = shares_of(records[0].units) if apart else np.ones(1)
    found = [np.stack(list(side.values())) for side in sides]
    return [Luck.of(each, shares, each.shape[2] if apart else _FREEDOM) for each in found]


def _apart(records: Sequence[ShiftRecord]) -> bool:
    """Whether they tell what images have in common from what each has of its own.

    Raises:
        UserError: some do and some, from before contrasts, do not.
    """
    found = {r.contrasted for r in records if r.contrasted or r.body.halves}
    if len(found) > 1:
        cell = records[0].subject
        raise UserError(
            f"Some records of {cell.workload} at severity {cell.severity} were made before records "
            "separated the luck of the draw; score them again with --policy always."
        )
    return True in found


def _contrasts(records: Sequence[Sequence[ShiftRecord]], metric: str) -> dict[int, Array]:
    """Seed to [K, H] contrasts in the mean over types, of blocks, or of all images as one block
    (`ShiftRecord.halves`); empty if some type has too few passes."""
    found: dict[int, list[Array]] = {}
    for record in itertools.chain(*records):
        if f"{CONTRAST}{metric}" in record.arrays:
            own = record.contrast(metric)
        elif metric in record.body.halves:
            halves = np.array([record.body.halves[metric]])
            own = halves - halves.mean()
        else:
            return {}
        found.setdefault(record.subject.seed, []).append(own)
    whole = {seed: each for seed, each in found.items() if len(each) == len(records)}
    return {seed: np.asarray(np.mean(whole[seed], axis=0)) for seed in sorted(whole)}
