"""The bootstrap over independent units: resamples, and what each metric's draws are made of.

A resample draws as many units as there are (`units.Units`) with replacement, each with all its
images and all their corruptions in every format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from ..data.units import Units
from ..metrics.calibration import BINS
from ..records.shift_record import ShiftRecord
from .significance import welch

Array = NDArray[np.float64]

_STEEP = np.sqrt(np.cos(1.0) / (1.0 - np.cos(1.0)))
_COUNTS = 1 << 22  # counts at a time: 32 MB


def resampled(units: int, resamples: int, seed: int | list[int]) -> Iterator[Array]:
    """Counts [b, U] of units in resamples of U with replacement, some resamples at a time."""
    generator = np.random.Generator(np.random.PCG64(seed))
    step = max(1, _COUNTS // units)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float64)


def halved(units: int, halves: int, seed: int | list[int]) -> Iterator[Array]:
    """[b, U] whether each of U ≥ 2 units is in a random half, 1 or 0, some halves at a time."""
    generator = np.random.Generator(np.random.PCG64(seed))
    step = max(1, _COUNTS // units)
    whole = np.arange(units) % 2.0
    for start in range(0, halves, step):
        yield generator.permuted(np.tile(whole, (min(step, halves - start), 1)), axis=1)


@dataclass(frozen=True, eq=False)
class Means:
    """Means of K values over images, ready to be drawn over their units.

    Attributes:
        centre: [K] over the images as they are.
        rest: [U, K] sums over each unit's images of what differs from the centre.
        sizes: [U] images of each unit.
    """

    centre: Array
    rest: Array
    sizes: Array

    @classmethod
    def of(cls, values: Array, units: Units) -> Means:
        """Of values [N, K], one row per image."""
        centre = values.mean(axis=0)
        return cls(centre, units.sums(values - centre), units.sizes)

    @property
    def variance(self) -> Array:
        """[K] of the means, by the spread between units."""
        found: Array = np.square(self.rest).sum(axis=0) / self.sizes.sum() ** 2
        return found

    def moved(self, counts: Array) -> Array:
        """[B, K] how far the means of resamples lie from the centre; counts [B, U]."""
        return counts @ self.rest / (counts @ self.sizes)[:, None]

    def draws(self, counts: Array) -> Array:
        """[B, K] means of resamples."""
        return self.centre + self.moved(counts)

    def studentized(self, counts: Array) -> Array:
        """Draws by the bootstrap-t (Efron, "Nonparametric Standard Errors and Confidence
        Intervals", Canadian J. Stat. 1981).

        Losses are skewed: a few images make most of a mean, and a sample without them has a small
        mean and a small spread together. Studentized draws know that, those of the mean itself do
        not.

        Returns:
            [B, K] m − s (m_b − m) / s_b, of means m and their standard errors s; s_b is taken to be
            at least s / √U, for a resample may hold one value alone.
        """
        moved = self.moved(counts)
        squares = (
            counts @ np.square(self.rest)
            - 2 * moved * (counts @ (self.rest * self.sizes[:, None]))
            + np.square(moved) * (counts @ np.square(self.sizes))[:, None]
        )
        errors = np.sqrt(np.maximum(squares, 0.0)) / (counts @ self.sizes)[:, None]
        error = np.sqrt(self.variance)
        least = error / np.sqrt(len(self.sizes))
        shares = np.divide(
            error, np.maximum(errors, least), out=np.ones_like(moved), where=error > 0
        )
        draws: Array = self.centre - moved * shares
        return draws


def pseudo_units(means: Means, count: int, seed: int | list[int]) -> Array:
    """[count, K] what half a pseudo-unit each way adds to draws of accuracy, points.

    Units on which two formats disagree may be so few that none is in the sample, and no resample
    can then show one (after Agresti and Min, Biometrics 2005; as Poisson counts). A pseudo-unit
    differs by as much as those that do, in root mean square, or in all its images if none does.
    Each column has the same draw, so that none depends on which others there are.

    Args:
        means: of differences of correctness, points.
        count: of draws.
        seed: of the generator.
    """
    own = means.rest / means.sizes[:, None] + means.centre
    differ = np.abs(own) > 1e-9
    squares = np.square(own).sum(axis=0) / np.maximum(differ.sum(axis=0), 1)
    size = np.where(differ.any(axis=0), np.sqrt(squares), 100.0)
    generator = np.random.Generator(np.random.PCG64(seed))
    gained, lost = generator.poisson(0.5, (2, count, 1))
    change: Array = size / len(own) * (gained - lost)
    return change


@dataclass(frozen=True)
class Luck:
    """Of one score in the draw of the weights.

    Attributes:
        variance: of the score, the images being as they are.
        freedom: degrees of freedom of the variance.
        apart: whether the images' own part was told apart and left out; else `variance` is an upper
            bound of what all images share.
    """

    variance: float
    freedom: int
    apart: bool = False

    @classmethod
    def of(cls, contrasts: Array, shares: ArrayLike, freedom: int) -> Luck:
        """Told by balanced halves of the passes (`predict.halves`). Leaving out less, as the
        jackknife does, is far too noisy about what is not smooth: one pass of twenty changes few
        predictions, but what it changes counts twenty-fold.

        A draw of the weights moves every image on its own, too, and the spread between images holds
        that already. Images and draws are crossed random effects (Searle, Casella and McCulloch,
        "Variance Components", 1992), and what is common to all images is the covariance of
        different images. So with the contrasts d_kh of K blocks, of shares w_k of the images,

            variance = mean over h of Σ_{k ≠ l} d_kh d_lh / (1 − Σ_k w_k²), at least 0.

        Args:
            contrasts: [seeds, K, H] half the difference between what a block contributes to the
                score by a half of the passes and by its complement; the score is the sum over
                blocks of the seeds' mean.
            shares: [K] w_k. A single block cannot be told apart.
            freedom: degrees of freedom of one seed's contrasts.
        """
        seeds, blocks, _ = contrasts.shape
        variance = float(np.square(contrasts.sum(axis=1)).mean(axis=1).sum())
        if blocks > 1:
            own = float(np.square(contrasts).sum(axis=1).mean(axis=1).sum())
            variance = max(variance - own, 0.0) / (1.0 - float(np.square(shares).sum()))
        return cls(variance / seeds**2, seeds * freedom, blocks > 1)


def luck_draws(sides: Sequence[Luck], count: int, seed: int | list[int]) -> Array:
    """What the luck of the MC draw adds to draws of a difference, around 0.

    A pass samples its weights once for all images, so its luck is shared by all of them and no
    resample of the images shows it. Student's t, of Welch's error and freedom.

    Args:
        sides: of either format that draws weights; none adds nothing.
        count: of draws.
        seed: of the generator.
    """
    if not sides:
        return np.zeros(count)
    found = welch(0.0, [side.variance for side in sides], [side.freedom for side in sides])
    generator = np.random.Generator(np.random.PCG64(seed))
    draws: Array = found.error * generator.standard_t(found.freedom, count)
    return draws


def binned_gaps(confidence: Array, correct: NDArray[np.bool_]) -> Array:
    """[N, 15]: confidence − correctness of each image, in the column of its bin of confidence.

    With w [N] how often an image counts, ECE is 100 Σ_b |Σ_i w_i gaps_ib| / Σ_i w_i, %.
    """
    where = np.digitize(confidence, (np.arange(BINS + 1) / BINS)[1:-1])
    gaps = np.zeros((len(confidence), BINS))
    gaps[np.arange(len(confidence)), where] = confidence - correct
    return gaps


def gaps_of(record: ShiftRecord) -> Array:
    """`binned_gaps` of a record."""
    return binned_gaps(record.array("confidence").astype(np.float64), record.array("correct"))


def slopes(gaps: Means) -> Array:
    """[15] what a change of each bin's gap g changes ECE by. The influence of an image on ECE is
    then 100 Σ_b slope_b gaps_ib, %.

    Where a gap is clear that is its sign. Where confidence is right g is noise around 0, with a
    standard error s, and |x| is not smooth there: resamples would add their own noise to what is in
    g already (Andrews, "Inconsistency of the bootstrap when a parameter is on the boundary",
    Econometrica 2000). The slope of E|γ + s z|, z being standard normal, is 2 Φ(γ / s) − 1. Here

        slope = 2 Φ(a g / s) − 1,    a² = cos 1 / (1 − cos 1)

    where a makes slope² s² right on average for the variance of |g| at γ = 0 too, which is
    (1 − 2/π) s²: E(2 Φ(a z) − 1)² = (2/π) arcsin(a² / (1 + a²)).
    """
    error = np.sqrt(gaps.variance)
    size = np.divide(gaps.centre, error, out=np.zeros_like(error), where=error > 0)
    found: Array = np.where(error > 0, 2.0 * ndtr(_STEEP * size) - 1.0, np.sign(gaps.centre))
    return found
