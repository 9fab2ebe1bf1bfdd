"""How much other scores of two methods differ on the same images: a paired bootstrap over units.

Both methods' images are resampled alike. Scores are computed of each resample, not approximated:
an image that is drawn twice is two of equal confidence. The intervals have the luck of the images,
not that of fitting a temperature again nor of the draws of the weights, which are averaged over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.units import Units
from .bootstrap import binned_gaps, resampled

F64 = NDArray[np.float64]

RESAMPLES = 1000
_ROWS = 128  # resamples at a time: [128, N] counts


@dataclass(frozen=True, eq=False)
class PerImage:
    """What single images score by, in each draw.

    Attributes:
        brier: [K, N] float64.
        confidence: [K, N] float64, of the prediction, in 0 … 1.
        correct: [K, N] bool.
    """

    brier: F64
    confidence: F64
    correct: NDArray[np.bool_]


@dataclass(frozen=True)
class TemperedDifference:
    """A score of one method less that of another, in the score's unit.

    Attributes:
        value: of the images as they are.
        low: of its 95 % interval, by percentiles.
        high: of its 95 % interval.
        p: two-sided p-value of no difference.
    """

    value: float
    low: float
    high: float
    p: float


def score_differences(
    mine: PerImage, other: PerImage, units: Units, seed: int = 0
) -> dict[str, TemperedDifference]:
    """By metric: `ece` (%), `brier` and `aurc` (0 … 1).

    Args:
        mine: the one method.
        other: the other, on the same images in the same order.
        units: of the images.
        seed: of the bootstrap.
    """
    whole = np.ones((1, units.images))
    found = {}
    for name, prepared in _METRICS.items():
        sides = [prepared(side) for side in (mine, other)]
        drawn = np.concatenate([sides[0](w) - sides[1](w) for w in _counts(units, seed)])
        value = float((sides[0](whole) - sides[1](whole))[0])
        low, high = np.quantile(drawn, (0.025, 0.975))
        tail = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
        p = min(1.0, 2 * float(tail) / (len(drawn) + 1))
        found[name] = TemperedDifference(value, float(low), float(high), p)
    return found


def _counts(units: Units, seed: int) -> list[F64]:
    """[B, N] how often each image is in resamples of the units, some at a time."""
    blocks = []
    for start in range(0, RESAMPLES, _ROWS):
        rows = min(_ROWS, RESAMPLES - start)
        drawn = np.concatenate(list(resampled(units.count, rows, [seed, start])))
        blocks.append(drawn[:, units.which])
    return blocks


#: Counts [B, N] to a score of each resample [B], mean over the draws.
Scores = Callable[[F64], F64]


def _brier(side: PerImage) -> Scores:
    mean = side.brier.mean(axis=0)
    return lambda counts: np.asarray(counts @ mean / counts.sum(axis=1))


def _ece(side: PerImage) -> Scores:
    gaps = [binned_gaps(*one) for one in zip(side.confidence, side.correct, strict=True)]

    def of(counts: F64) -> F64:
        each = [np.abs(counts @ one).sum(axis=1) for one in gaps]
        return np.asarray(100 * np.mean(each, axis=0) / counts.sum(axis=1))

    return of


def _aurc(side: PerImage) -> Scores:
    ranked = [_Ranked(*one) for one in zip(side.confidence, side.correct, strict=True)]
    return lambda counts: np.asarray(np.mean([one.area(counts) for one in ranked], axis=0))


class _Ranked:
    """Images by falling confidence, those of equal confidence together.

    Of a group of s images with e errors behind S images with E errors, the risks of the s coverages
    sum up to e + (E − S e/s) (H(S + s) − H(S)), H being harmonic numbers: within the group errors
    are expected evenly (`metrics.risk_coverage`).
    """

    def __init__(self, confidence: F64, correct: NDArray[np.bool_]) -> None:
        self._order = np.argsort(-confidence, kind="stable")
        ranked = confidence[self._order]
        self._starts = np.flatnonzero(np.diff(ranked, prepend=np.inf) != 0)
        self._wrong = (~correct[self._order]).astype(np.float64)

    def area(self, counts: F64) -> F64:
        """AURC of each resample, counts [B, N] → [B]."""
        drawn = counts[:, self._order]
        sizes = np.add.reduceat(drawn, self._starts, axis=1)
        errors = np.add.reduceat(drawn * self._wrong, self._starts, axis=1)
        upto, wrong = sizes.cumsum(axis=1), errors.cumsum(axis=1)
        before, wrong_before = upto - sizes, wrong - errors
        total = int(upto[:, -1].max())
        harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1.0, total + 1))])
        spread = harmonic[upto.astype(np.int64)] - harmonic[before.astype(np.int64)]
        rate = np.divide(errors, sizes, out=np.zeros_like(errors), where=sizes > 0)
        found = (errors + (wrong_before - before * rate) * spread).sum(axis=1) / upto[:, -1]
        return np.asarray(found)


_METRICS: Mapping[str, Callable[[PerImage], Scores]] = {
    "ece": _ece,
    "brier": _brier,
    "aurc": _aurc,
}
