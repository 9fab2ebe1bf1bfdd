"""The few tests and intervals that comparing needs beyond scipy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RESAMPLES = 2000
#: Elements of one chunk of the bootstrap: 16 MB of int64.
_CHUNK = 2_000_000
_Z = 1.959963984540054


@dataclass(frozen=True)
class LogRatio:
    """Estimate of the logarithm of a ratio.

    Attributes:
        value: the estimate.
        error: its standard error.
        freedom: Welch's degrees of freedom.
    """

    value: float
    error: float
    freedom: float

    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the ratio itself."""
        half = self.error * float(stats.t.ppf(0.975, self.freedom))
        return math.exp(self.value - half), math.exp(self.value + half)

    def p_value(self, margin: float) -> float:
        """p-value of "the logarithm is within ± margin" (Hodges and Lehmann, JRSS B 1954).

        The least favourable value within lies at an end; both tails count.
        """
        size = abs(self.value)
        if self.error == 0:
            return 0.0 if size > margin else 1.0
        ends = np.array([size - margin, size + margin]) / self.error
        return min(1.0, float(stats.t.sf(ends, self.freedom).sum()))

    def detectable(self, margin: float, alpha: float) -> float:
        """The smallest value that `p_value` would have found at level alpha."""
        return margin + self.error * float(stats.t.isf(alpha, self.freedom))


def log_median_ratio(
    a: Sequence[float],
    a_slices: Sequence[int],
    b: Sequence[float],
    b_slices: Sequence[int],
    rng: np.random.Generator,
) -> LogRatio | None:
    """log(median B / median A), its error from a bootstrap over slices of each side.

    Queries of one slice share the machine's mood, so slices are the independent units (Künsch,
    Annals of Statistics 1989). The error is widened by √(n/(n − 1)) for the few there are
    (Hesterberg, The American Statistician 2015, section 3).

    Args:
        a: latencies of A, in order.
        a_slices: how many latencies each slice of A holds.
        b: latencies of B, in order.
        b_slices: how many latencies each slice of B holds.
        rng: of the resampling.

    Returns:
        None where a side has fewer than two slices.
    """
    if min(len(a_slices), len(b_slices)) < 2:
        return None
    value = math.log(float(np.median(b)) / float(np.median(a)))
    variances = [_median_variance(a, a_slices, rng), _median_variance(b, b_slices, rng)]
    spare = [len(a_slices) - 1, len(b_slices) - 1]
    total = sum(variances)
    weights = sum(v**2 / n for v, n in zip(variances, spare, strict=True))
    return LogRatio(value, math.sqrt(total), total**2 / weights if weights > 0 else sum(spare))


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


def _median_variance(
    values: Sequence[float], slices: Sequence[int], rng: np.random.Generator
) -> float:
    """Variance of log(median), slices resampled with replacement."""
    blocks = len(slices)
    samples = np.array(values, dtype=float)
    order = np.argsort(samples, kind="stable")
    owner, samples = np.repeat(np.arange(blocks), slices)[order], np.log(samples[order])
    step = max(1, _CHUNK // len(samples))
    medians = []
    for start in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - start)
        times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=count)
        upto = np.cumsum(times[:, owner], axis=1)
        medians.append(samples[(2 * upto >= upto[:, -1:]).argmax(axis=1)])
    return float(np.concatenate(medians).var(ddof=1)) * blocks / (blocks - 1)
