"""How steady this machine is: the same work, again and again."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass

import numpy as np

from ..stats.samples import percentile

_WORK = bytes(256 * 1024)


@dataclass(frozen=True)
class NoiseCheck:
    """Spread of the time that one fixed piece of work takes.

    Attributes:
        repeats: how often it ran.
        p50_ns: median time.
        p99_over_p50: tail over median; None from fewer than 1000 repeats.
        middle_half: from the lower to the upper quartile, over the median.
    """

    repeats: int
    p50_ns: float
    p99_over_p50: float | None
    middle_half: float


def noise_check(seconds: float = 1.0) -> NoiseCheck:
    """Repeat a fixed kernel for about `seconds`: SHA-256 of 256 KiB, one thread, no allocation."""
    times: list[int] = []
    deadline = time.perf_counter_ns() + int(seconds * 1e9)
    while not times or time.perf_counter_ns() < deadline:
        start = time.perf_counter_ns()
        hashlib.sha256(_WORK).digest()
        times.append(time.perf_counter_ns() - start)
    middle = sorted(times)[len(times) // 2]
    tail = percentile(times, 0.99)
    return NoiseCheck(
        repeats=len(times),
        p50_ns=float(middle),
        p99_over_p50=None if tail is None else tail / middle,
        middle_half=float(np.subtract(*np.quantile(times, (0.75, 0.25))) / middle),
    )
