"""Throughput of instances side by side, from rounds of fresh processes.

What differs from process to process no window of one shows, so a rate is the geometric mean of the
rounds, its interval that of Student's t on their logarithms, and a ratio is formed round by round
(as `stats.latency` does for several processes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..records.scaling_record import Scaled
from .latency import between

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class Rate:
    """A rate, or a ratio of rates, and its 95 % interval.

    Attributes:
        value: the geometric mean of the rounds.
        low: where the interval begins; None of one round.
        high: where it ends; None of one round.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, logs: F64) -> Rate:
        """Of the logarithm in each round."""
        if len(logs) < 2:
            return cls(math.exp(float(logs.mean())))
        found = between(logs)
        low, high = map(math.exp, found.interval())
        return cls(math.exp(found.value), low, high)

    @property
    def shown_to_differ(self) -> int:
        """Of a ratio: 1 where it is above 1, −1 where it is below, 0 where neither is shown."""
        if self.low is None or self.high is None:
            return 0
        return (self.low > 1) - (self.high < 1)


def images_per_second(one: Scaled) -> Rate:
    """Of all instances of a setting together."""
    return Rate.of(_logs(one))


def times(one: Scaled, other: Scaled) -> Rate:
    """Images per second of one setting over those of another in the same rounds."""
    return Rate.of(_logs(one) - _logs(other))


def slower(one: Scaled, other: Scaled) -> Rate:
    """Median latency of one setting over that of another in the same rounds."""
    sides = [np.log([window.median_ns for window in side.windows]) for side in (one, other)]
    return Rate.of(sides[0] - sides[1])


def noise(one: Scaled) -> float:
    """Standard deviation of the logarithm from round to round; 0 of one round."""
    logs = _logs(one)
    return float(logs.std(ddof=1)) if len(logs) > 1 else 0.0


def latency_ms(one: Scaled) -> float:
    """Median latency of a query, the geometric mean of the rounds'."""
    return _geometric([window.median_ns for window in one.windows]) / 1e6


def p99_ms(one: Scaled) -> float | None:
    """99th percentile of the latency, the geometric mean of the rounds'; None where a round had too
    few queries."""
    found = [window.p99_ns for window in one.windows if window.p99_ns is not None]
    return _geometric(found) / 1e6 if len(found) == len(one.windows) else None


def _geometric(values: Sequence[float]) -> float:
    return math.exp(float(np.log(values).mean()))


def _logs(one: Scaled) -> F64:
    rates = [sum(window.queries) / window.seconds for window in one.windows]
    return np.asarray(np.log(rates)) + math.log(one.setting.batch)
