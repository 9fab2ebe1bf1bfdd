"""The few tests and intervals that comparing needs beyond scipy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit  # scipy.stats says the same and takes a second to load

from ..data.units import Units

F64 = NDArray[np.float64]

_Z = 1.959963984540054
_MOST_SURE = 1 - 1e-12


@dataclass(frozen=True)
class Estimate:
    """A difference that was estimated, and how well.

    Attributes:
        value: the estimate.
        error: its standard error; 0 for what is known exactly.
        freedom: degrees of freedom of the error.
    """

    value: float
    error: float
    freedom: float

    def interval(self) -> tuple[float, float]:
        """95 % confidence interval, by Student's t."""
        half = self.error * float(stdtrit(self.freedom, 0.975))
        return self.value - half, self.value + half

    def p_value(self, margin: float) -> float:
        """p-value of "the difference is within ± margin" (Hodges and Lehmann, JRSS B 1954).

        The least favourable value within lies at an end; both tails count.
        """
        size = abs(self.value)
        if self.error == 0:
            return 0.0 if size > margin else 1.0
        return self._tails(size / self.error, margin / self.error)

    def detectable(self, margin: float, alpha: float) -> float:
        """The smallest size of a value with this error whose `p_value` is alpha; 0 < alpha < 1."""
        from scipy.optimize import brentq

        if self.error == 0:
            return margin
        ends = margin / self.error
        most = ends - float(stdtrit(self.freedom, alpha / 4))
        return self.error * float(brentq(lambda t: self._tails(t, ends) - alpha, 0.0, most))

    def _tails(self, size: float, margin: float) -> float:
        """Both tails at a size, in standard errors."""
        return min(1.0, float(stdtr(self.freedom, [margin - size, -margin - size]).sum()))


def welch(value: float, variances: Sequence[float], freedoms: Sequence[int]) -> Estimate:
    """A difference of two independent estimates, each with its variance (Welch, Biometrika 1947).

    Args:
        value: the difference.
        variances: of the two estimates.
        freedoms: degrees of freedom of the variances.
    """
    total = sum(variances)
    weights = sum(v**2 / n for v, n in zip(variances, freedoms, strict=True))
    return Estimate(value, math.sqrt(total), total**2 / weights if weights > 0 else sum(freedoms))


def luck_of(error: float, seeds: tuple[int, int]) -> Estimate:
    """The luck of a draw, an estimate of 0, with the degrees of freedom that seeds give it.

    Args:
        error: its standard error; 0 where one seed shows none.
        seeds: of both sides of a difference.
    """
    return Estimate(0.0, error, min((k for k in seeds if k > 1), default=2) - 1)


def half_of_both(images: Estimate, luck: Estimate, level: float = 0.95) -> float:
    """Half of the interval of what has two independent errors (Howe, JASA 69, 1974)."""
    tail = (1 + level) / 2
    return math.hypot(*(one.error * float(stdtrit(one.freedom, tail)) for one in (images, luck)))


def p_of_both(value: float, images: Estimate, luck: Estimate) -> float:
    """p-value of "it is 0": one less the level of the interval that ends there."""
    from scipy.optimize import brentq

    def beyond(level: float) -> float:
        return half_of_both(images, luck, level) - abs(value)

    if value == 0:
        return 1.0
    if beyond(_MOST_SURE) <= 0:
        return 1.0 - _MOST_SURE
    return 1.0 - float(brentq(beyond, 0.0, _MOST_SURE, xtol=1e-14))


def mean_difference(
    a: Sequence[float], b: Sequence[float], *, exact: bool = False
) -> Estimate | None:
    """Mean of B less mean of A, by Welch.

    Args:
        a: values of A, at least one.
        b: values of B, at least one.
        exact: values that are equal on each side are known without error.

    Returns:
        None where nothing tells the error: a side has one value, or both have equal ones.
    """
    value = float(np.mean(b) - np.mean(a))
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return Estimate(value, 0.0, math.inf) if exact else None
    if min(len(a), len(b)) < 2:
        return None
    variances = [float(np.var(side, ddof=1)) / len(side) for side in (a, b)]
    return welch(value, variances, [len(side) - 1 for side in (a, b)])


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm, Scand. J. Stat. 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, running)
    return adjusted


def wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """95 % intervals of proportions (Wilson, JASA 1927).

    Args:
        share: observed proportions, in 0 … 1.
        count: how many each is of, positive; of the same shape.
    """
    middle = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    root = np.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    half = _Z * root / (1 + _Z**2 / count)
    return middle - half, middle + half


def newcombe(share_a: float, share_b: float, count: int) -> tuple[float, float]:
    """95 % interval of share B − share A, of as many each (Newcombe, Stat. Med. 1998, no. 10)."""
    shares = np.array([share_a, share_b])
    (low_a, low_b), (high_a, high_b) = wilson(shares, np.array([count, count]))
    difference = share_b - share_a
    return (
        difference - math.hypot(share_b - low_b, high_a - share_a),
        difference + math.hypot(high_b - share_b, share_a - low_a),
    )


def luck_of_draws(mine: F64, others: F64, units: Units) -> float:
    """Standard error of the mean difference from what draws do to all units alike."""
    alike = [mine - others] if len(mine) == len(others) else [mine, others]
    return math.sqrt(sum(_luck(side, units) for side in alike if len(side) > 1))


def _luck(seeds: F64, units: Units) -> float:
    """Variance of the mean over seeds from what a draw does to all units alike.

    Args:
        seeds: values of each seed and image, [K, N].
        units: of the images.
    """
    alone = np.var([units.sums(seed) for seed in seeds], axis=0, ddof=1).sum() / seeds.shape[1] ** 2
    return max(0.0, float(np.var(seeds.mean(axis=1), ddof=1) - alone)) / len(seeds)
