"""What both formats of a pair got on the same images, at one severity."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .bootstrap import Array, Luck, binned_gaps, mean_draws
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
        self._types = {name: list(found) for name, found in self._records.items()}
        first = pairs[0]
        self.images = self._records[first.variant][first.types[0]][0].images
        self._differences = {
            "accuracy": 100.0 * self._difference("correct"),
            "nll": self._difference("nll"),
        }

    def effects(self) -> dict[str, Array]:
        """Metric to [pairs], on the images as they are."""
        means = {name: values.mean(axis=0) for name, values in self._differences.items()}
        return {**means, "ece": self._ece_effects(np.ones((1, self.images)))[0]}

    def draws(self, counts: Array) -> dict[str, Array]:
        """Metric to [B, pairs] draws of the effect, from counts [B, N] of `resampled`."""
        return {
            "accuracy": counts @ self._differences["accuracy"] / self.images,
            "nll": mean_draws(self._differences["nll"], counts),
            "ece": self._ece_effects(counts),
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

    def _ece_effects(self, counts: Array) -> Array:
        """[B, pairs]"""
        by_type = {name: self._ece(name, counts) for name in self._records}
        columns = []
        for pair in self.pairs:
            sides = [
                by_type[v][:, [self._types[v].index(t) for t in pair.types]].mean(axis=1)
                for v in (pair.variant, pair.reference)
            ]
            columns.append(sides[0] - sides[1])
        return np.stack(columns, axis=1)

    def _ece(self, name: str, counts: Array) -> Array:
        """[B, types of this variant], %; mean over seeds."""
        columns = []
        for records in self._records[name].values():
            gaps = np.concatenate([binned_gaps(record) for record in records], axis=1)
            columns.append(np.abs(counts @ gaps).sum(axis=1) / len(records))
        return 100.0 / self.images * np.stack(columns, axis=1)


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
    sides = [_halves(records, metric) for records in (variant, reference)]
    noises = [{r.cell.noise for r in itertools.chain(*side)} for side in (variant, reference)]
    one, other = sides
    if one and noises[0] == noises[1] and one.keys() == other.keys():
        return [Luck.of(np.stack([one[seed] - other[seed] for seed in one]))]
    return [Luck.of(np.stack(list(side.values()))) for side in sides if side]


def _halves(records: Sequence[Sequence[ShiftRecord]], metric: str) -> dict[int, Array]:
    """Seed to [halves] scores in the mean over types; empty if some type has too few passes."""
    found: dict[int, list[tuple[float, ...]]] = {}
    for record in itertools.chain(*records):
        found.setdefault(record.cell.seed, []).append(record.halves.get(metric, ()))
    if not all(map(len, itertools.chain(*found.values()))):
        return {}
    whole = {seed: halves for seed, halves in found.items() if len(halves) == len(records)}
    return {seed: np.asarray(np.mean(whole[seed], axis=0)) for seed in sorted(whole)}


def _seed_mean(records: Sequence[ShiftRecord], name: str) -> Array:
    """[N] mean over seeds of a per-image value."""
    mean: Array = np.mean([r.array(name).astype(np.float64) for r in records], axis=0)
    return mean
