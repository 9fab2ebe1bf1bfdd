"""What both formats of a pair got on the same images, at one severity."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..units import Units
from .blocks import shares_of
from .bootstrap import Array, Luck, Means, ece_draws, gaps_of
from .record import ShiftRecord
from .results import Results

NEAR = 2.0
"""Times its noise floor, below which an ECE is near it."""


@dataclass(frozen=True)
class Pair:
    """A quantized variant and its reference at one severity."""

    variant: str
    reference: str
    kind: str
    types: tuple[str, ...]


def pairs_at(results: Results, severity: int) -> list[Pair]:
    found = []
    for variant in results.formats:
        reference = results.reference(variant)
        if reference is not None:
            shared = set(results.types(variant, severity)) & set(results.types(reference, severity))
            if shared:
                found.append(Pair(variant, reference, results.kind(variant), tuple(sorted(shared))))
    return found


class Sample:
    """The per-image values of all pairs at one severity, and their effects."""

    def __init__(self, results: Results, severity: int, pairs: Sequence[Pair]) -> None:
        self.severity, self.pairs = severity, pairs
        names = dict.fromkeys(n for pair in pairs for n in (pair.variant, pair.reference))
        self._records = {
            name: {t: results.at(name, t, severity) for t in results.types(name, severity)}
            for name in names
        }
        self.units = _same_units(self._records)
        self.images = len(self.units.which)
        self._means = {
            "accuracy": Means.of(100.0 * self._difference("correct"), self.units),
            "nll": Means.of(self._difference("nll"), self.units),
        }

    def effects(self) -> dict[str, Array]:
        """Metric to [pairs], on the images as they are."""
        means = {name: found.centre for name, found in self._means.items()}
        return {**means, "ece": self._ece_effects(lambda gaps: _ece(gaps))[0]}

    def draws(self, counts: Array) -> dict[str, Array]:
        """Metric to [B, pairs] draws of the effect, from counts [B, U] of `resampled`."""
        return {
            "accuracy": self._means["accuracy"].draws(counts),
            "nll": self._means["nll"].studentized(counts),
            "ece": self._ece_effects(lambda gaps: ece_draws(gaps, counts)),
        }

    def luck(self, pair: Pair, metric: str) -> list[Luck]:
        """Of the MC draw, in the mean over types; see `luck_of`."""
        variant, reference = (
            [self._records[name][t] for t in pair.types] for name in (pair.variant, pair.reference)
        )
        return luck_of(variant, reference, metric)

    def near_floor(self, pair: Pair) -> bool:
        """Whether the reference's ECE is not far above what perfect calibration would show."""
        records = [r for t in pair.types for r in self._records[pair.reference][t]]
        found, floor = (sum(r.score(name) or 0.0 for r in records) for name in ("ece", "ece_floor"))
        return found < NEAR * floor

    def _difference(self, name: str) -> Array:
        """[N, pairs] mean over types and seeds of (quantized − float)."""
        columns = []
        for pair in self.pairs:
            sides = [
                np.mean([_seed_mean(self._records[v][t], name) for t in pair.types], axis=0)
                for v in (pair.variant, pair.reference)
            ]
            columns.append(sides[0] - sides[1])
        return np.stack(columns, axis=1)

    def _ece_effects(self, ece: Callable[[Means], Array]) -> Array:
        """[B, pairs], from what gives [B] of the gaps of a record; mean over types and seeds."""
        found = {
            name: {
                t: np.mean([ece(Means.of(gaps_of(r), self.units)) for r in records], axis=0)
                for t, records in types.items()
            }
            for name, types in self._records.items()
        }
        columns = []
        for pair in self.pairs:
            sides = [
                np.mean([found[v][t] for t in pair.types], axis=0)
                for v in (pair.variant, pair.reference)
            ]
            columns.append(sides[0] - sides[1])
        return np.stack(columns, axis=1)


def _ece(gaps: Means) -> Array:
    """[1], %."""
    return 100.0 * np.abs(gaps.centre).sum(keepdims=True)


def _same_units(records: Mapping[str, Mapping[str, Sequence[ShiftRecord]]]) -> Units:
    """Of all records, which hold the same images.

    Raises:
        UserError: some say what images were cut from and others say otherwise or nothing.
    """
    every = [r for types in records.values() for found in types.values() for r in found]
    units = every[0].units
    if any(not np.array_equal(r.units.which, units.which) for r in every[1:]):
        cell = every[0].cell
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

    A pass has the same weights for all types, so halves of the passes are averaged over types
    before they are compared.

    Args:
        variant: of each type its records, one a seed.
        reference: the same of what it is compared with.
        metric: a name of `HALVED`.

    Returns:
        Empty where a side draws no weights, or too few to tell.
    """
    every = [r for records in itertools.chain(variant, reference) for r in records if r.halves]
    apart = bool(every) and all(metric in r.blocks for r in every)
    shares = shares_of(every[0].units) if apart else (1.0,)
    sides = [_halves(records, metric, apart) for records in (variant, reference)]
    noises = [{r.cell.noise for r in itertools.chain(*side)} for side in (variant, reference)]
    one, other = sides
    if one and noises[0] == noises[1] and one.keys() == other.keys():
        return [Luck.of(np.stack([one[seed] - other[seed] for seed in one]), shares)]
    return [Luck.of(np.stack(list(side.values())), shares) for side in sides if side]


def _halves(records: Sequence[Sequence[ShiftRecord]], metric: str, apart: bool) -> dict[int, Array]:
    """Seed to [K, halves] scores in the mean over types, of blocks or of all images as one block;
    empty if some type has too few passes."""
    every = list(itertools.chain(*records))
    if not all(record.halves.get(metric) for record in every):
        return {}
    found: dict[int, list[Array]] = {}
    for record in every:
        halves = record.block_scores(metric) if apart else np.array([record.halves[metric]])
        found.setdefault(record.cell.seed, []).append(halves)
    whole = {seed: halves for seed, halves in found.items() if len(halves) == len(records)}
    return {seed: np.asarray(np.mean(whole[seed], axis=0)) for seed in sorted(whole)}


def _seed_mean(records: Sequence[ShiftRecord], name: str) -> Array:
    """[N] mean over seeds of a per-image value."""
    mean: Array = np.mean([r.array(name).astype(np.float64) for r in records], axis=0)
    return mean
