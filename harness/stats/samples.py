"""What timed samples say by themselves: percentiles, medians and noise. numpy alone, for tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

_MIN_SLICES = 3  # fewer medians have no spread worth the name


def percentile(samples: ArrayLike, p: float) -> float | None:
    """The p-quantile (linear between order statistics), 0 < p < 1.

    None from fewer than 10 / (1 - p) samples: then fewer than ten lie above it.
    """
    values = np.asarray(samples)
    if values.size * (1 - p) < 10 - 1e-9:
        return None
    return float(np.quantile(values, p))


def robust_spread(values: ArrayLike) -> float:
    """Robust standard deviation over the median: 1.4826 times the median absolute deviation."""
    array = np.asarray(values, np.float64)
    middle = np.median(array)
    return float(1.4826 * np.median(np.abs(array - middle)) / middle)


def median(
    latency: Sequence[int], slices: Sequence[int] = (), processes: Sequence[int] = ()
) -> float:
    """Of samples, or of several processes the geometric mean of their medians.

    Args:
        latency: samples, in order.
        slices: how many samples each slice held; needed where there are several processes.
        processes: how many slices each process had; empty where there was one process.

    Raises:
        ValueError: the slices do not add up to the samples, or the processes to the slices.
    """
    if len(processes) > 1:
        return math.exp(float(process_medians(latency, slices, processes).mean()))
    return float(np.median(latency))


def run_noise(
    latency: Sequence[int], slices: Sequence[int], processes: Sequence[int] = ()
) -> float:
    """Run-to-run noise: robust spread of the slices' medians; of several processes the standard
    deviation of the logarithms of their medians.

    From fewer than three slices: the samples' whole range over their median, which is larger.

    Args:
        latency: samples, in order.
        slices: how many samples each slice held.
        processes: how many slices each process had; empty where there was one process.

    Raises:
        ValueError: the slices do not add up to the samples, or the processes to the slices.
    """
    if len(processes) > 1:
        return float(process_medians(latency, slices, processes).std(ddof=1))
    parts = split(latency, slices)
    if len(parts) < _MIN_SLICES:
        values = np.asarray(latency, np.float64)
        return float(np.ptp(values) / np.median(values))
    return robust_spread([np.median(part) for part in parts])


def process_medians(
    latency: Sequence[int], slices: Sequence[int], processes: Sequence[int]
) -> NDArray[np.float64]:
    """Logarithm of the median of each process.

    Raises:
        ValueError: the processes do not add up to the slices, or the slices to the samples.
    """
    parts = split(latency, slices)
    if sum(processes) != len(parts) or min(processes, default=0) < 1:
        raise ValueError(f"processes hold {sum(processes)} of {len(parts)} slices")
    ends = [0, *accumulate(processes)]
    medians = [np.median(np.concatenate(parts[a:b])) for a, b in pairwise(ends)]
    return np.log(np.asarray(medians, np.float64))


def split(latency: Sequence[int], slices: Sequence[int]) -> list[NDArray[np.int64]]:
    """Samples cut into their slices.

    Raises:
        ValueError: the slices do not add up to the samples.
    """
    if sum(slices) != len(latency) or min(slices, default=0) < 1:
        raise ValueError(f"slices hold {sum(slices)} of {len(latency)} samples")
    ends = list(accumulate(slices))
    return np.split(np.asarray(latency, np.int64), ends[:-1])
