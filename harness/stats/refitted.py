"""How much less one method scores than another, each with a temperature of its own, and what is
known of that.

Three kinds of luck are in such a difference. Another draw of the images that are scored, and
another draw of the validation images, on which both temperatures would have been fitted again: a
bootstrap over the independent units of both (`data.units.Units`) resamples both kinds at once, and
fits again by one step of Newton's method (`predict.newton`). And another draw of the weights,
which moves all images alike: what several draws show beyond it (`stats.paired`). The squares of
half the intervals of the two errors add up (Howe, JASA 69, 1974).

Where validation images are few beside those that are scored, the intervals are too wide rather than
too narrow: what the fit does is of second order then, and resamples add their own to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.units import Units
from ..predict.newton import Derivatives, moved, refitted
from .bootstrap import resampled
from .significance import Estimate, half_of_both, luck_of, luck_of_draws, p_of_both

F64 = NDArray[np.float64]

RESAMPLES = 2000
_ROWS = 256  # resamples at a time: [256, N] counts


@dataclass(frozen=True, eq=False)
class Side:
    """One method.

    Attributes:
        scored: of each draw, on the N images that are scored.
        fitted: of each draw, on the M images that its temperature was fitted on.
        half: [N] which half each image is in, where both are the same images and each half was
            fitted on the other (`predict.crossed`); None where they are apart.
    """

    scored: Sequence[Derivatives]
    fitted: Sequence[Derivatives]
    half: NDArray[np.uint8] | None = None

    @property
    def values(self) -> F64:
        """[K, N] NLL, nats."""
        return np.stack([one.nll for one in self.scored])

    def drawn(self, counts: F64, fit_counts: F64) -> F64:
        """[B] mean NLL of resamples, fitted again, averaged over the draws.

        Args:
            counts: [B, N] how often each image counts that is scored.
            fit_counts: [B, M] of those that temperatures are fitted on.
        """
        pairs = zip(self.scored, self.fitted, strict=True)
        if self.half is not None:
            return np.asarray(np.mean([self._crossed(*pair, counts) for pair in pairs], axis=0))
        each = [moved(scored, refitted(fitted, fit_counts), counts) for scored, fitted in pairs]
        return np.asarray(np.mean(each, axis=0))

    def _crossed(self, scored: Derivatives, fitted: Derivatives, counts: F64) -> F64:
        """[B] where images are fitted and scored both: drawn alike for both."""
        total = np.zeros(len(counts))
        for half in (0, 1):
            own = np.asarray(self.half) == half
            other = ~own
            change = refitted(fitted.take(other), counts[:, other])
            drawn = counts[:, own]
            total += moved(scored.take(own), change, drawn) * drawn.sum(axis=1)
        return np.asarray(total / counts.sum(axis=1))


@dataclass(frozen=True)
class MethodDifference:
    """A mean difference, and its errors.

    Attributes:
        value: of the one less the other.
        images: what images and fit do to it, an estimate of 0.
        luck: what the draw of the weights does to all images alike, an estimate of 0.
        count: images that were scored.
    """

    value: float
    images: Estimate
    luck: Estimate
    count: int

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval."""
        half = half_of_both(self.images, self.luck)
        return self.value - half, self.value + half

    def p_within(self, margin: float) -> float:
        """p-value of "it is not within ± margin", by two one-sided tests (Schuirmann, 1987)."""
        return self._one_sided(margin - abs(self.value))

    def p_below(self, margin: float) -> float:
        """p-value of "it is not below −margin"."""
        return self._one_sided(-margin - self.value)

    def p_above(self, margin: float) -> float:
        """p-value of "it is not above margin"."""
        return self._one_sided(self.value - margin)

    def _one_sided(self, distance: float) -> float:
        half = p_of_both(distance, self.images, self.luck) / 2
        return half if distance > 0 else 1.0 - half

    def deciding(self, margin: float, level: float) -> int | None:
        """About how many images would decide whether it is within the margin, were the value what
        it is now and the luck of the draw none; None where it lies on the margin, or so many are
        there already, so that more draws would tell.

        Args:
            margin: that matters.
            level: of each one-sided test.
        """
        room = abs(margin - abs(self.value))
        if room == 0:
            return None
        half = half_of_both(self.images, Estimate(0.0, 0.0, 1), 1 - 2 * level)
        needed = math.ceil(self.count * (half / room) ** 2)
        return needed if needed > self.count else None


def nll_difference(
    mine: Side, other: Side, units: Units, fit_units: Units, seed: int = 0
) -> MethodDifference:
    """Mean NLL of a method less that of another, nats.

    Args:
        mine: the one.
        other: the other, on the same images in the same order.
        units: of the images that are scored.
        fit_units: of those that temperatures are fitted on.
        seed: of the bootstrap.
    """
    drawn = []
    for start in range(0, RESAMPLES, _ROWS):
        rows = min(_ROWS, RESAMPLES - start)
        counts = _counts(units, rows, [seed, start, 0])
        fit_counts = _counts(fit_units, rows, [seed, start, 1])
        drawn.append(mine.drawn(counts, fit_counts) - other.drawn(counts, fit_counts))
    each = np.concatenate(drawn)
    values = mine.values, other.values
    seeds = len(values[0]), len(values[1])
    luck = luck_of_draws(values[0], values[1], units) if max(seeds) > 1 else 0.0
    return MethodDifference(
        value=float(values[0].mean() - values[1].mean()),
        images=Estimate(0.0, float(each.std(ddof=1)), units.count - 1),
        luck=luck_of(luck, seeds),
        count=units.images,
    )


def _counts(units: Units, resamples: int, seed: list[int]) -> F64:
    """[B, N] how often each image is in resamples of the units."""
    found = np.concatenate(list(resampled(units.count, resamples, seed)))
    return np.asarray(found[:, units.which])
