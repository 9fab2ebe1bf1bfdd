"""The bootstrap over images: resamples, and what each metric's draws are made of.

A resample draws N images with replacement, each with all its corruptions in every format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..significance import welch
from ..uncertainty.calibration import BINS
from .record import GROUPS, ShiftRecord

Array = NDArray[np.float64]

_COUNTS = 1 << 22  # counts at a time: 32 MB


def resampled(images: int, resamples: int, seed: int) -> Iterator[Array]:
    """Counts [b, N] of images in resamples of N with replacement, some resamples at a time."""
    generator = np.random.Generator(np.random.PCG64(seed))
    step = max(1, _COUNTS // images)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(0, images, (rows, images)) + images * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * images)
        yield counts.reshape(rows, images).astype(np.float64)


def mean_draws(values: Array, counts: Array) -> Array:
    """Draws of a mean by the bootstrap-t (Efron, "Nonparametric Standard Errors and Confidence
    Intervals", Canadian J. Stat. 1981).

    Losses are skewed: a few images make most of a mean, and a sample without them has a small mean
    and a small spread together. Studentized draws know that, those of the mean itself do not.

    Args:
        values: [N, K], a row an image.
        counts: [B, N] of `resampled`.

    Returns:
        [B, K] m − s (m_b − m) / s_b, of means m and standard deviations s; s_b is taken to be at
        least s / √N, for a resample may hold one value alone.
    """
    images = len(values)
    centre = values.mean(axis=0)
    rest = values - centre
    spread = np.sqrt(np.square(rest).mean(axis=0))
    moved = counts @ rest / images
    spreads = np.sqrt(np.maximum(counts @ np.square(rest) / images - np.square(moved), 0.0))
    least = spread / np.sqrt(images)
    shares = np.divide(
        spread, np.maximum(spreads, least), out=np.ones_like(moved), where=spread > 0
    )
    draws: Array = centre - moved * shares
    return draws


def pseudo_images(shape: tuple[int, ...], images: int, seed: int | list[int]) -> Array:
    """What half a pseudo-image each way adds to draws of accuracy and ECE, points.

    Images on which two formats disagree may be so few that none is in the sample, and no resample
    can then show one (after Agresti and Min, Biometrics 2005; as Poisson counts).
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    gained, lost = generator.poisson(0.5, (2, *shape))
    change: Array = 100.0 / images * (gained - lost)
    return change


@dataclass(frozen=True)
class Luck:
    """Of one score in the draw of the weights.

    Attributes:
        variance: of the score, the images being as they are.
        freedom: degrees of freedom of the variance.
    """

    variance: float
    freedom: int

    @classmethod
    def of(cls, halves: Array) -> Luck:
        """Told by half-sampling the passes: the delete-d jackknife (Shao and Wu, Annals of
        Statistics 1989) with d half of their groups, whose factor (n − d) / d is 1. Leaving out
        less is too pessimistic about what is not smooth, accuracy and ECE.

        Args:
            halves: [seeds, halves] scores; the score is their seeds' mean.
        """
        seeds = len(halves)
        variance = float(halves.var(axis=1).sum()) / seeds**2
        return cls(variance, seeds * (GROUPS - 1))


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


def binned_gaps(record: ShiftRecord) -> Array:
    """[N, 15]: confidence − correctness of each image, in the column of its bin of confidence.

    With w [N] how often an image counts, ECE is 100 Σ_b |Σ_i w_i gaps_ib| / Σ_i w_i, %.
    """
    confidence = record.array("confidence").astype(np.float64)
    where = np.digitize(confidence, (np.arange(BINS + 1) / BINS)[1:-1])
    gaps = np.zeros((len(confidence), BINS))
    gaps[np.arange(len(confidence)), where] = confidence - record.array("correct")
    return gaps
