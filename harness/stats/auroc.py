"""How well a score tells images from outside from others, and how much better than another score: a
bootstrap over the independent units of both kinds of images.

Both kinds are resampled at once, and two scores of the same images alike. The area under the
receiver operating characteristic (AUROC) is computed of each resample: the probability that an
image from outside scores higher than another, ties counting a half (Mann and Whitney, 1947). The
intervals have the luck of the images, not that of fitting a temperature again nor of the draws of
the weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.units import Units
from .bootstrap import resampled
from .tempered_scores import TemperedDifference

F64 = NDArray[np.float64]

RESAMPLES = 1000
_ROWS = 64  # resamples at a time: [64, N + M] counts


@dataclass(frozen=True)
class Auroc:
    """An AUROC, in 0 … 1.

    Attributes:
        value: of the images as they are.
        low: of its 95 % interval, by percentiles; None where one kind has a single unit.
        high: of its 95 % interval; None likewise.
    """

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class TwoKinds:
    """The images, of N inside and M from outside.

    Attributes:
        inside: what is independent among the ones.
        outside: among the others.
    """

    inside: Units
    outside: Units

    def counts(self, seed: int = 0) -> Iterator[F64]:
        """[B, N + M] how often each image is in resamples of the units of both kinds, some at a
        time; none where a kind has a single unit."""
        kinds = (self.inside, self.outside)
        if min(units.count for units in kinds) < 2:
            return
        for start in range(0, RESAMPLES, _ROWS):
            rows = min(_ROWS, RESAMPLES - start)
            drawn = [
                np.concatenate(list(resampled(units.count, rows, [seed, start, which])))
                for which, units in enumerate(kinds)
            ]
            sides = [one[:, units.which] for one, units in zip(drawn, kinds, strict=True)]
            yield np.concatenate(sides, axis=1)


class Ordered:
    """Images of both kinds by rising score, those of equal scores together.

    Args:
        inside: [N] scores.
        outside: [M] scores.
    """

    def __init__(self, inside: F64, outside: F64) -> None:
        scores = np.concatenate([inside, outside])
        self._order = np.argsort(scores, kind="stable")
        ranked = scores[self._order]
        self._starts = np.flatnonzero(np.diff(ranked, prepend=-np.inf) != 0)
        self._outside = self._order >= len(inside)

    def area(self, counts: F64) -> F64:
        """AUROC of each resample, counts [B, N + M] → [B]."""
        drawn = counts[:, self._order]
        outside = np.add.reduceat(drawn * self._outside, self._starts, axis=1)
        inside = np.add.reduceat(drawn * ~self._outside, self._starts, axis=1)
        below = inside.cumsum(axis=1) - inside / 2
        whole = inside.sum(axis=1) * outside.sum(axis=1)
        return np.asarray((outside * below).sum(axis=1) / whole)


def aurocs(
    scores: Sequence[Ordered], images: TwoKinds, seed: int = 0
) -> tuple[list[Auroc], list[F64]]:
    """The AUROC of each score, and what it is in each resample, [RESAMPLES]; no resamples where one
    kind has a single unit.

    Args:
        scores: of the same images, all resampled alike.
        images: what they are.
        seed: of the bootstrap.
    """
    whole = np.ones((1, images.inside.images + images.outside.images))
    values = [float(one.area(whole)[0]) for one in scores]
    chunks = [[one.area(counts) for one in scores] for counts in images.counts(seed)]
    if not chunks:
        return [Auroc(value, None, None) for value in values], [np.empty(0)] * len(scores)
    draws = [np.concatenate(each) for each in zip(*chunks, strict=True)]
    ends = [np.quantile(each, (0.025, 0.975)) for each in draws]
    found = [Auroc(v, float(a), float(b)) for v, (a, b) in zip(values, ends, strict=True)]
    return found, draws


def difference(mine: Auroc, other: Auroc, draws: tuple[F64, F64]) -> TemperedDifference | None:
    """One AUROC less another, of the same resamples; None without resamples."""
    drawn = draws[0] - draws[1]
    if not len(drawn):
        return None
    low, high = np.quantile(drawn, (0.025, 0.975))
    tail = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    p = min(1.0, 2 * float(tail) / (len(drawn) + 1))
    return TemperedDifference(mine.value - other.value, float(low), float(high), p)
