"""Which rates are tried: the first is from a simulated clock, others are a ladder from there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

import numpy as np

from ...measure.batching import BatchingQueue, PassesRule, simulated

#: From one rate of a ladder to the next, until one is good and a higher one is not.
STEP = 2.0
#: The two are then brought so near, by at most so many rates in all.
NEAR, MOST = 1.15, 8
_ARRIVALS = 5_000
_RATES = 60


class Ladder:
    """Rates in search of the highest that is good: up while they are, else down until one is, then
    between the two.

    Args:
        first: queries per second, where nothing is known.
        least: no lower rate is tried.
        known: rate to whether it is good.
    """

    def __init__(self, first: float, least: float, known: Mapping[float, bool]) -> None:
        self._first, self._least, self._left = max(first, least), least, MOST
        self._known = dict(known)

    def next(self) -> float | None:
        """The next rate; None where there is none."""
        if not self._left:
            return None
        self._left -= 1
        good = [rate for rate, is_good in self._known.items() if is_good]
        low = max(good, default=0.0)
        above = [rate for rate, is_good in self._known.items() if not is_good and rate > low]
        if not self._known:
            return self._first
        if not good:
            return self._lower(min(above))
        if not above:
            return low * STEP
        return math.sqrt(low * min(above)) if min(above) / low > NEAR else None

    def _lower(self, lowest: float) -> float | None:
        return max(lowest / STEP, self._least) if lowest > self._least else None

    def told(self, rate: float, good: bool) -> None:
        """What came of a rate."""
        self._known[rate] = good


@cache
def _arrivals() -> tuple[float, ...]:
    """Of a Poisson process of one query per second."""
    return tuple(np.random.default_rng(0).exponential(1.0, _ARRIVALS).cumsum().tolist())


def simulated_p99(
    rule: PassesRule, largest: int, seconds: Mapping[tuple[int, int], float], rate: float
) -> float:
    """99th percentile of latency on a simulated clock, s.

    Args:
        rule: how many passes a batch has.
        largest: batch, images.
        seconds: how long a batch takes, by its images and passes.
        rate: queries per second.
    """
    came = [at / rate for at in _arrivals()]
    queue: BatchingQueue[float] = BatchingQueue(largest, rule)
    answered = simulated(came, lambda images, mc: seconds[images, mc], queue)
    return float(np.quantile([one.done - one.came for one in answered], 0.99))


def highest_simulated(
    rule: PassesRule, largest: int, seconds: Mapping[tuple[int, int], float], limit_ns: float
) -> float:
    """The highest rate at which 99 % are answered in time on a simulated clock, queries per second,
    to an eighth; a thousandth of what the system can compute if there is none. All are looked at:
    of adaptive T more queries may make each wait less.

    Args:
        rule: how many passes a batch has.
        largest: batch, images.
        seconds: how long a batch takes, by its images and passes.
        limit_ns: in which queries have to be answered.
    """
    most = max(images / spent for (images, _), spent in seconds.items())
    for rate in np.geomspace(most, most / 1e3, _RATES).tolist():
        if 1e9 * simulated_p99(rule, largest, seconds, rate) <= limit_ns:
            return float(rate)
    return most / 1e3
