"""Where a series changed its level: Pelt with a quadratic cost (Killick, Fearnhead and Eckley,
"Optimal detection of changepoints with a linear computational cost", JASA 2012), by `ruptures`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from statistics import fmean, median

from .asv_results import TrackedSeries

ABSENT = (
    "Change points are not looked for, because ruptures is not installed; "
    "run `pip install 'sigmabench[history]'`."
)
#: Points that a level of what is measured has at least: one alone may be a bad minute.
SHORTEST = 2
#: Changes of what is measured that are told, as a share.
LEAST = 0.02
#: Of log n times the variance of the noise: what a change has to be worth. Twice is Bayes's
#: criterion for one more level; the rest pays for the noise being estimated.
_PENALTY = 4.0
_NORMAL = 1.4826  # standard deviation of a normal law over its median absolute deviation


@dataclass(frozen=True)
class LevelChange:
    """A change of level.

    Attributes:
        at: index of the first point of the new level.
        before: mean of the level that ends.
        after: mean of the level that begins.
    """

    at: int
    before: float
    after: float

    @property
    def share(self) -> float | None:
        """The change as a share of the level before; None where that is 0."""
        return (self.after - self.before) / abs(self.before) if self.before else None


def available() -> bool:
    """Whether `ruptures` is installed."""
    return find_spec("ruptures") is not None


def changes(one: TrackedSeries) -> list[LevelChange]:
    """The changes of a series, the oldest first; what is exact changes wherever it differs."""
    values = [point.value for point in one.points]
    places = exact_changes(values) if one.exact else change_points(values)
    ends = [0, *places, len(values)]
    levels = [fmean(values[a:b]) for a, b in pairwise(ends)]
    found = [
        LevelChange(at, before, after)
        for at, before, after in zip(places, levels, levels[1:], strict=False)
    ]
    return found if one.exact else [change for change in found if _matters(change)]


def exact_changes(values: Sequence[float]) -> list[int]:
    """Indices at which a value differs from the one before by more than rounding."""
    return [
        at
        for at in range(1, len(values))
        if not math.isclose(values[at], values[at - 1], rel_tol=1e-9)
    ]


def change_points(values: Sequence[float]) -> list[int]:
    """Indices at which a new level of something measured begins; positive values are compared by
    their logarithms, for their noise grows with them.

    The noise is estimated from first differences, which no level enters and a change enters once.
    """
    if len(values) < 2 * SHORTEST or not available():
        return []
    import numpy as np
    import ruptures

    shown = [math.log(value) for value in values] if min(values) > 0 else list(values)
    noise = noise_of(shown)
    if not noise:
        return exact_changes(values)
    signal = np.asarray(shown) / noise
    search = ruptures.Pelt(model="l2", min_size=SHORTEST, jump=1).fit(signal)
    return [int(at) for at in search.predict(pen=_PENALTY * math.log(len(values)))[:-1]]


def noise_of(values: Sequence[float]) -> float:
    """Standard deviation of the noise about whatever levels there are; 0 where at least half of the
    values are as the one before."""
    steps = [abs(b - a) for a, b in pairwise(values)]
    return _NORMAL * median(steps) / math.sqrt(2) if steps else 0.0


def _matters(change: LevelChange) -> bool:
    share = change.share
    return share is None or abs(share) >= LEAST
