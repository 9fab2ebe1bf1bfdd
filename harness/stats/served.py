"""How much worse answers are than those of a reference on the same images, by the answers of one
run of a server.

An answer a, of image i(a) in batch b(a), has the difference d_a: its NLL less that of i(a) by the
reference, mean over its seeds. Answers of one image are alike, and so are those of one batch, which
share the draws of its weights. The variance of the mean of Q differences therefore is that of
two-way clusters (Cameron, Gelbach and Miller, J. Bus. Econ. Stat. 29, 2011),

    V = V_image + V_batch − V_both,    V_c = G/(G − 1) · Σ_g S_g² / Q²

with S_g the sum of d_a − d̄ over cluster g of G, and no less than the larger of the first two. Where
images have sources (`Split.sources`), these are the clusters. Differences are skewed; Johnson's
correction (JASA 73, 1978), Σ S_g³ / (6 Q Σ S_g²) · (1 + 2 t²) over the images' clusters, moves a
bound where that makes it wider. The luck of the reference's own draws is told by its seeds, and the
squares of half the intervals add up (Howe, JASA 69, 1974).

A few images make most of a loss. Where so few are in the sample that (Σ S_g²)² / Σ S_g⁴, the number
that would show this spread were all alike, is below `LEAST_CARRYING`, others of their kind may well
be missing, no bound is what it says, and nothing is decided.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from ..data.units import Units, too_few
from .significance import Estimate, half_of_both, luck_of, luck_of_draws

F64 = NDArray[np.float64]

HOLDS, EXCEEDS, UNDECIDED, NOT_JUDGED = "holds", "exceeds", "cannot be decided", "not judged"
LEAST_CARRYING = 5.0
_LEVEL = 0.95


@dataclass(frozen=True)
class Excess:
    """By how much the mean NLL of answers exceeds that of the reference, nats.

    Attributes:
        value: the mean difference.
        images: what the answered images and batches do to it, an estimate of 0.
        luck: what the reference's draws do, an estimate of 0.
        skew: Johnson's correction.
        carrying: how many images the spread is of.
        units: independent images that were answered.
        nll: mean of the answers.
    """

    value: float
    images: Estimate
    luck: Estimate
    skew: float
    carrying: float
    units: int
    nll: float

    @cached_property
    def half(self) -> float:
        """From the value to either one-sided 95 % bound, but for the skew."""
        return half_of_both(self.images, self.luck, 2 * _LEVEL - 1)

    @property
    def upper(self) -> float:
        """One-sided 95 % bound above."""
        return self.value + max(self.skew, 0.0) + self.half

    @property
    def lower(self) -> float:
        """One-sided 95 % bound below."""
        return self.value + min(self.skew, 0.0) - self.half

    def verdict(self, margin: float) -> str:
        """Whether it is at most the margin: `holds`, `exceeds`, `cannot be decided`, or, with too
        few independent images, `not judged`."""
        if too_few(self.units):
            return NOT_JUDGED
        if self.carrying < LEAST_CARRYING:
            return UNDECIDED
        if self.upper <= margin:
            return HOLDS
        return EXCEEDS if self.lower > margin else UNDECIDED

    def deciding(self, margin: float) -> int | None:
        """About how many images would decide, were the difference what it is and the luck of the
        reference none; None where it lies on the margin, or where not images are lacking but
        draws of the reference."""
        room = abs(margin - self.value)
        if room == 0:
            return None
        half = half_of_both(self.images, Estimate(0.0, 0.0, 1), 2 * _LEVEL - 1)
        times = max((half / room) ** 2, LEAST_CARRYING / self.carrying)
        return math.ceil(self.units * times) if times > 1 else None


def excess(
    nll: ArrayLike,
    image: NDArray[np.integer],
    batch: NDArray[np.integer],
    reference: NDArray[np.floating],
    sources: Sequence[int] | NDArray[np.integer] | None = None,
) -> Excess:
    """Of the answers of one run.

    Args:
        nll: [Q] of each answer, nats.
        image: [Q] which image it is of.
        batch: [Q] the number of its batch.
        reference: [K, N] NLL of every image in each of K seeds, nats.
        sources: [N] as `Split.sources`; None where each image is its own.
    """
    answers = np.asarray(nll, np.float64)
    others = np.asarray(reference, np.float64)[:, image]
    own = image if sources is None else np.asarray(sources)[image]
    units = Units.of(len(answers), own)
    differences = answers - others.mean(axis=0)
    value = float(differences.mean())
    residuals = differences - value
    error, freedom = _error(residuals, units, Units.of(len(answers), batch))
    sums = units.sums(residuals)
    squares = float(np.square(sums).sum())
    skew, carrying = 0.0, math.inf
    if squares > 0:
        t = float(stdtrit(freedom, _LEVEL))
        skew = float((sums**3).sum()) / (6 * len(answers) * squares) * (1 + 2 * t**2)
        carrying = squares**2 / float((sums**4).sum())
    luck = luck_of_draws(answers[None], others, units) if len(others) > 1 else 0.0
    return Excess(
        value=value,
        images=Estimate(0.0, error, freedom),
        luck=luck_of(luck, (1, len(others))),
        skew=skew,
        carrying=carrying,
        units=units.count,
        nll=float(answers.mean()),
    )


def _error(residuals: F64, units: Units, batches: Units) -> tuple[float, int]:
    """Standard error of the mean, and its degrees of freedom; infinite from one cluster."""
    fewest = min(units.count, batches.count)
    if fewest < 2:
        return math.inf, 1
    pairs = Units.of(len(residuals), units.which * batches.count + batches.which)
    first, second, both = (_variance(residuals, one) for one in (units, batches, pairs))
    return math.sqrt(max(first, second, first + second - both)), fewest - 1


def _variance(residuals: F64, clusters: Units) -> float:
    """Of the mean, by clusters."""
    count = clusters.count
    spread = float(np.square(clusters.sums(residuals)).sum())
    return spread / len(residuals) ** 2 * (count / (count - 1) if count > 1 else 1.0)
