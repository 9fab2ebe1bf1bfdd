"""The bootstrap over independent units: resamples, and what each metric's draws are made of.

A resample draws as many units as there are (`units.Units`) with replacement, each with all its
images and all their corruptions in every format.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ..significance import welch
from ..uncertainty.calibration import BINS
from ..units import Units
from .record import GROUPS, ShiftRecord

Array = NDArray[np.float64]

_COUNTS = 1 << 22  # counts at a time: 32 MB


def _fit_by_groups() -> Array:
    """[halves, halves] projection of deviations onto what the groups in each half add up to."""
    chosen = list(itertools.combinations(range(GROUPS), GROUPS // 2))
    members = np.array([[group in half for group in range(GROUPS)] for half in chosen], float)
    members -= members.mean(axis=0)
    projection: Array = members @ np.linalg.pinv(members)
    return projection


_BY_GROUPS = _fit_by_groups()


def resampled(units: int, resamples: int, seed: int) -> Iterator[Array]:
    """Counts [b, U] of units in resamples of U with replacement, some resamples at a time."""
    generator = np.random.Generator(np.random.PCG64(seed))
    step = max(1, _COUNTS // units)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, units, (rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units)
        yield counts.reshape(rows, units).astype(np.float64)


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
        """Of values [N, K], a row an image."""
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


def pseudo_units(shape: tuple[int, ...], units: int, seed: int | list[int]) -> Array:
    """What half a pseudo-unit each way adds to draws of accuracy and ECE, points.

    Images on which two formats disagree may be so few that none is in the sample, and no resample
    can then show one (after Agresti and Min, Biometrics 2005; as Poisson counts).
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    gained, lost = generator.poisson(0.5, (2, *shape))
    change: Array = 100.0 / units * (gained - lost)
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
    def of(cls, halves: Array, shares: ArrayLike = (1.0,)) -> Luck:
        """Told by half-sampling the passes: the delete-d jackknife (Shao and Wu, Annals of
        Statistics 1989) with d half of their groups, whose factor (n − d) / d is 1. Leaving out
        less is too pessimistic about what is not smooth, accuracy and ECE. Half of the passes are
        noisier than all in what is not linear in the passes, so of blocks only what each group adds
        by itself counts: the least-squares fit of the halves by the groups in them.

        A draw of the weights moves every image on its own, too, and the spread between images holds
        that already. Images and draws are crossed random effects (Searle, Casella and McCulloch,
        "Variance Components", 1992), and what is common to all images is the covariance of
        different images. So with the scores x_k of K blocks, of shares w_k of the images,

            variance = Σ_{k ≠ l} cov(w_k x_k, w_l x_l) / (1 − Σ_k w_k²), at least 0.

        Args:
            halves: [seeds, K, halves] contributions w_k x_k, of all halves of `GROUPS` groups in
                the order of `Predictive`; the score is the sum over blocks of their seeds' mean.
            shares: [K] w_k. A single block cannot be told apart.
        """
        seeds, blocks, _ = halves.shape
        if blocks == 1:
            variance = float(halves.var(axis=2).sum())
        else:
            moved = (halves - halves.mean(axis=2, keepdims=True)) @ _BY_GROUPS
            common = float(moved.sum(axis=1).var(axis=1).sum() - moved.var(axis=2).sum())
            variance = max(common, 0.0) / (1.0 - float(np.square(shares).sum()))
        return cls(variance / seeds**2, seeds * (GROUPS - 1), blocks > 1)


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


def ece_draws(gaps: Means, counts: Array) -> Array:
    """[B] draws of ECE, %, from the gaps of one record and counts [B, U].

    The mean gap of a bin is 0 or nearly so where confidence is right, and the size of what was
    found is then noise, to which a resample adds its own: it moves a bin by more than another
    sample would have, because |x| is not smooth at 0 (Andrews, "Inconsistency of the bootstrap when
    a parameter is on the boundary", Econometrica 2000). So resamples are drawn around gaps that are
    shrunk by what noise makes of them, g max(0, 1 − s² / g²) (the positive part of James and
    Stein's estimator, bin by bin), which leaves clear gaps as they are.
    """
    draws: Array = 100.0 * np.abs(shrunk(gaps) + gaps.moved(counts)).sum(axis=1)
    return draws


def shrunk(gaps: Means) -> Array:
    """[15] gaps of the bins, nearer to 0 by what noise makes of them."""
    square = np.square(gaps.centre)
    noise = np.divide(gaps.variance, square, out=np.ones_like(square), where=square > 0)
    centre: Array = gaps.centre * np.maximum(0.0, 1.0 - noise)
    return centre


def slopes(gaps: Means) -> Array:
    """[15] what a change of each bin's gap adds to ECE on average: the slope of E|g + s z|, z being
    standard normal, at the shrunk gap g: 2 Φ(g / s) − 1. Where a gap is clear that is its sign."""
    centre, error = shrunk(gaps), np.sqrt(gaps.variance)
    sign = np.sign(centre)
    size = np.divide(centre, error, out=np.zeros_like(centre), where=error > 0)
    found: Array = np.where(error > 0, 2.0 * stats.norm.cdf(size) - 1.0, sign)
    return found
