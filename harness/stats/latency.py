"""Medians of latencies with their errors, and ratios of them.

A median's error is that of a bootstrap over slices. Slices are drawn whole, with replacement,
because neighbouring queries share the machine's state (Künsch, "The jackknife and the bootstrap for
general stationary observations", Annals of Statistics 17, 1989). The error of the median's
logarithm is widened by √(n/(n − 1)) for the few slices n there are (Hesterberg, The American
Statistician 2015, section 3), and intervals are Student's with n − 1 degrees of freedom.

Pages, teams of threads and the clock differ from process to process, and no slice of one process
sees that. Samples of several fresh processes say how many slices each of them had; the median is
then the geometric mean of the processes' medians, and errors, noise and intervals come from the
spread between these alone, with one degree of freedom less than there are processes (Georges,
Buytaert and Eeckhout, "Statistically rigorous Java performance evaluation", OOPSLA 2007, section
3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .samples import median, process_medians, split
from .significance import Estimate, welch

RESAMPLES = 2000
_GRID = 4096
_CHUNK = 250  # resamples at once: 8 MB at most


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % confidence interval."""

    value: float
    low: float
    high: float


def median_ci95(
    latency: Sequence[int],
    slices: Sequence[int],
    seed: int = 0,
    *,
    processes: Sequence[int] = (),
) -> tuple[float, float]:
    """95 % confidence interval of the median; from one process at most the range of the samples,
    and from a single slice that range.

    Args:
        latency: samples, in order.
        slices: how many samples each slice held.
        seed: of the resampling.
        processes: how many slices each process had; empty where there was one process.

    Raises:
        ValueError: the slices do not add up to the samples, or the processes to the slices.
    """
    if len(processes) > 1:
        logs = process_medians(latency, slices, processes)
        low, high = map(math.exp, between(logs).interval())
        return low, high
    parts = split(latency, slices)
    least, most = float(min(latency)), float(max(latency))
    if len(parts) < 2:
        return least, most
    medians = _log_medians(parts, _draw(len(parts), np.random.default_rng(seed)))
    error = math.sqrt(_variance(medians, len(parts)))
    low, high = Estimate(0.0, error, len(parts) - 1).interval()
    middle = float(np.median(latency))
    return max(least, middle * math.exp(low)), min(most, middle * math.exp(high))


def log_median_ratio(
    latency: tuple[Sequence[int], Sequence[int]],
    slices: tuple[Sequence[int], Sequence[int]],
    rng: np.random.Generator,
    *,
    paired: bool = False,
    processes: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Estimate | None:
    """log(median(first) / median(second)).

    Args:
        latency: samples of the first and of the second, in order.
        slices: how many samples each slice of them held.
        rng: of the resampling.
        paired: slice i of both was measured in the same turn, so both are drawn together.
        processes: how many slices each process had; process i of both is the same one.

    Returns:
        None where a side has fewer than two slices.

    Raises:
        ValueError: slices do not add up, or paired ones differ in number.
    """
    first, second = (split(*pair) for pair in zip(latency, slices, strict=True))
    counts = len(first), len(second)
    if paired and counts[0] != counts[1]:
        raise ValueError(f"{counts[0]} slices cannot be paired with {counts[1]}")
    if min(counts) < 2:
        return None
    if min(map(len, processes)) > 1:
        if len(processes[0]) != len(processes[1]):
            raise ValueError(
                f"{len(processes[0])} processes and {len(processes[1])} are not a race"
            )
        logs = [process_medians(*one) for one in zip(latency, slices, processes, strict=True)]
        return between(logs[0] - logs[1])
    value = math.log(float(np.median(latency[0])) / float(np.median(latency[1])))
    if paired:
        drawn = _draw(counts[0], rng)
        differences = _log_medians(first, drawn) - _log_medians(second, drawn)
        return Estimate(value, math.sqrt(_variance(differences, counts[0])), counts[0] - 1)
    variances = [_variance(_log_medians(p, _draw(len(p), rng)), len(p)) for p in (first, second)]
    return welch(value, variances, [count - 1 for count in counts])


def ratio_of_medians(
    latency: tuple[Sequence[int], Sequence[int]],
    slices: tuple[Sequence[int], Sequence[int]],
    *,
    paired: bool = False,
    seed: int = 0,
    processes: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Ratio:
    """median(first) / median(second) with its 95 % interval, as `log_median_ratio`.

    From a single slice the interval is that of everything that may be: 0 to infinity.
    """
    first, second = (median(*one) for one in zip(latency, slices, processes, strict=True))
    value = first / second
    rng = np.random.default_rng(seed)
    found = log_median_ratio(latency, slices, rng, paired=paired, processes=processes)
    low, high = map(math.exp, found.interval()) if found else (0.0, math.inf)
    return Ratio(value, low, high)


def between(logs: NDArray[np.float64]) -> Estimate:
    """Their mean, with the error that the spread between processes gives."""
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return Estimate(float(logs.mean()), error, len(logs) - 1)


def _draw(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each of `count` slices is drawn: [RESAMPLES, count]."""
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)


def _variance(resampled: NDArray[np.float64], slices: int) -> float:
    return float(resampled.var(ddof=1)) * slices / (slices - 1)


def _log_medians(parts: list[NDArray[np.int64]], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Logarithm of each resample's lower median, on a grid of at most 4096 pooled samples."""
    pooled = np.sort(np.concatenate(parts))
    grid = pooled[np.linspace(0, len(pooled) - 1, min(len(pooled), _GRID)).astype(np.int64)]
    # float64 so that the product runs in BLAS; the counts are far below 2^53.
    below = np.stack([np.searchsorted(np.sort(p), grid, side="right") for p in parts]).astype(float)
    half = drawn @ np.array([len(part) for part in parts]) / 2
    places = [
        (drawn[i : i + _CHUNK] @ below >= half[i : i + _CHUNK, None]).argmax(axis=1)
        for i in range(0, len(drawn), _CHUNK)
    ]
    return np.asarray(np.log(grid[np.concatenate(places)]))
