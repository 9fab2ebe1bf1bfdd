"""Statistics of latencies: percentiles, intervals, noise. No assumption of a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

_GRID = 4096
_MIN_SLICES = 3  # fewer medians have no spread worth the name


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def percentile(samples: ArrayLike, p: float) -> float | None:
    """The p-quantile (linear between order statistics), 0 < p < 1.

    None from fewer than 10 / (1 - p) samples: then fewer than ten lie above it.
    """
    values = np.asarray(samples)
    if values.size * (1 - p) < 10 - 1e-9:
        return None
    return float(np.quantile(values, p))


def median_ci95(samples: ArrayLike) -> tuple[float, float]:
    """Distribution-free 95 % confidence interval of the median.

    The order statistics x(k) and x(n + 1 - k), k the largest with P(Bin(n, 1/2) < k) <= 0.025. From
    fewer than six samples no such pair exists, and the range of the samples is returned.
    """
    values = np.sort(np.asarray(samples))
    k = max(int(binom.ppf(0.025, values.size, 0.5)), 1)
    return float(values[k - 1]), float(values[values.size - k])


def robust_spread(values: ArrayLike) -> float:
    """Robust standard deviation over the median: 1.4826 times the median absolute deviation."""
    array = np.asarray(values, np.float64)
    middle = np.median(array)
    return float(1.4826 * np.median(np.abs(array - middle)) / middle)


def run_noise(latency: Sequence[int], slices: Sequence[int]) -> float:
    """Run-to-run noise: robust spread of the slices' medians.

    From fewer than three slices: the samples' whole range over their median, which is larger.
    """
    parts = split(latency, slices)
    if len(parts) < _MIN_SLICES:
        values = np.asarray(latency, np.float64)
        return float(np.ptp(values) / np.median(values))
    return robust_spread([np.median(part) for part in parts])


def split(latency: Sequence[int], slices: Sequence[int]) -> list[NDArray[np.int64]]:
    """Samples cut into their slices.

    Raises:
        ValueError: the slices do not add up to the samples.
    """
    if sum(slices) != len(latency) or min(slices, default=0) < 1:
        raise ValueError(f"slices hold {sum(slices)} of {len(latency)} samples")
    ends = list(accumulate(slices))
    return np.split(np.asarray(latency, np.int64), ends[:-1])


def ratio_of_medians(
    latency: tuple[Sequence[int], Sequence[int]],
    slices: tuple[Sequence[int], Sequence[int]],
    *,
    paired: bool = False,
    seed: int = 0,
    resamples: int = 2000,
) -> Ratio:
    """median(first) / median(second), 95 % interval by a bootstrap over slices.

    Slices are drawn whole, with replacement, because neighbouring queries share the machine's
    state (Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of
    Statistics 17, 1989).

    Args:
        latency: samples of the first and of the second.
        slices: how many samples each slice of them held.
        paired: slice i of both was measured in the same turn, so both are drawn together.
        seed: of the resampling.
        resamples: how many.

    Raises:
        ValueError: slices do not add up, or paired ones differ in number.
    """
    first, second = (split(*pair) for pair in zip(latency, slices, strict=True))
    if paired and len(first) != len(second):
        raise ValueError(f"{len(first)} slices cannot be paired with {len(second)}")
    rng = np.random.default_rng(seed)
    drawn_first = _multiplicities(len(first), resamples, rng)
    drawn_second = drawn_first if paired else _multiplicities(len(second), resamples, rng)
    ratios = _medians(first, drawn_first) / _medians(second, drawn_second)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return Ratio(float(np.median(latency[0]) / np.median(latency[1])), float(low), float(high))


def _multiplicities(count: int, resamples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of `count` slices is drawn: [resamples, count]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples)


def _medians(parts: list[NDArray[np.int64]], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Lower median of each resample, on a grid of at most 4096 of the pooled samples."""
    pooled = np.sort(np.concatenate(parts))
    grid = pooled[np.linspace(0, len(pooled) - 1, min(len(pooled), _GRID)).astype(np.int64)]
    below = np.stack([np.searchsorted(np.sort(part), grid, side="right") for part in parts])
    sizes = np.array([len(part) for part in parts])
    # float64 so that the product runs in BLAS; the counts are far below 2^53.
    reached = 2 * (drawn.astype(np.float64) @ below) >= (drawn @ sizes)[:, None]
    return grid[reached.argmax(axis=1)].astype(np.float64)
