"""A test of a load generator: what it is asked, and how many queries it takes to be valid."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..core.words import plural
from ..records.load_record import ACCURACY

if TYPE_CHECKING:
    from ..records.load_record import Generated
    from .system import Answers, Done, SystemUnderTest

#: Of LoadGen's early stopping.
CONFIDENCE = 0.99
SINGLE_STREAM, MULTI_STREAM = "single-stream", "multi-stream"
SERVER, OFFLINE, CLOSED_LOOP = "server", "offline", "closed-loop"
#: Images in a query of MultiStream, as MLPerf has it.
STREAMS = 8
#: MLPerf's percentiles of latency.
PERCENTILES = {SINGLE_STREAM: 0.9, MULTI_STREAM: 0.99, SERVER: 0.99}
#: Seconds of a test that nobody gave a length: at least, and at most at MLPerf's percentile.
SHORT_SECONDS, LONG_SECONDS = 2.0, 60.0
#: That are reported.
REPORTED = ("50.00", "90.00", "95.00", "97.00", "99.00", "99.90")
#: Where a test of MLPerf's percentile would take too long.
LOWER_PERCENTILE = 0.9


@dataclass(frozen=True)
class LoadTest:
    """What a load generator is asked.

    Attributes:
        scenario: name in `SCENARIOS`.
        purpose: of the record.
        seconds: it lasts at least.
        queries: it has at least.
        images: it chooses from.
        loaded: of them in memory at a time.
        percentile: of latency that validity goes by, 0 … 1.
        query_ns: that a query is expected to take.
        rate: of Server queries, of Offline samples per second.
        latency_ns: that Server's queries may take.
        samples: images in a query.
        folder: for logs; it exists.
    """

    scenario: str
    purpose: str
    seconds: float
    queries: int
    images: int
    loaded: int
    percentile: float = 0.0
    query_ns: float = 0.0
    rate: float = 0.0
    latency_ns: int = 0
    samples: int = 1
    folder: Path = Path()

    @property
    def expected_seconds(self) -> float:
        """About how long it takes."""
        each = 1 / self.rate if self.rate else self.query_ns / 1e9
        if self.purpose == ACCURACY:
            return self.images / self.samples * each
        return max(self.seconds, self.queries * each)

    @property
    def limit_seconds(self) -> float:
        """After which one that goes on will not end, however it is overloaded."""
        count = max(self.queries, self.images, self.seconds * self.rate)
        return 60 + 10 * (self.expected_seconds + count * self.query_ns / 1e9)


#: What a generator is given: the test; what starts a system that tells of each batch; and what is
#: told which images will be asked for, and that they will not be any more.
Generate = Callable[
    [LoadTest, "Callable[[Done], SystemUnderTest]", Callable[[Sequence[int]], None]],
    "tuple[Generated, Answers]",
]


def least_queries(percentile: float, late: int) -> int:
    """The fewest queries of which `late` may lie above a percentile's bound: so many that were the
    bound not the percentile's, this would come about in 1 of 100 tests at most. That is LoadGen's
    early stopping; 64 at the 90th with one, 459 at the 99th with none.

    Args:
        percentile: 0 … 1.
        late: how many are discarded.
    """

    def chance(count: int) -> float:
        return sum(
            math.comb(count, k) * (1 - percentile) ** k * percentile ** (count - k)
            for k in range(late + 1)
        )

    count = late + 1
    while chance(count) > 1 - CONFIDENCE:
        count += 1
    return count


@cache
def least_of(scenario: str, percentile: float) -> int:
    """Queries that a test of a scenario has at least: with one discarded, or late."""
    return 1 if scenario == OFFLINE else least_queries(percentile, 1)


def fewest(scenario: str) -> int:
    """Queries without which no test of a scenario is valid."""
    return least_of(scenario, LOWER_PERCENTILE)


@dataclass(frozen=True)
class Length:
    """How long a test is.

    Attributes:
        seconds: at least.
        queries: at least.
        percentile: of latency that validity goes by.
    """

    seconds: float
    queries: int
    percentile: float


def length_of(scenario: str, each: float, asked: float | None) -> Length:
    """How long a test of a scenario is: at MLPerf's percentile, or at the 90th where the queries
    that it takes would last too long.

    Args:
        scenario: its name.
        each: seconds from one query to the next.
        asked: seconds that it lasts; None for as long as it has to.

    Raises:
        UserError: so many seconds do not hold the queries that the percentile takes.
    """
    for percentile in (PERCENTILES.get(scenario, LOWER_PERCENTILE), LOWER_PERCENTILE):
        least = least_of(scenario, percentile)
        if least * each <= (LONG_SECONDS if asked is None else asked):
            return Length(SHORT_SECONDS if asked is None else asked, least, percentile)
    least = fewest(scenario)
    if asked is None:
        return Length(SHORT_SECONDS, least, LOWER_PERCENTILE)
    held = plural(int(asked / each), "query", "queries")
    raise UserError(
        f"--seconds {asked:g} of {scenario} hold about {held} of {each:.3g} s each, and it takes "
        f"{least} to tell a percentile; give --seconds {math.ceil(least * each)} or more, or a "
        "smaller --mc."
    )


def order_statistics(values: Iterable[float]) -> dict[str, float]:
    """LoadGen's percentiles: of N values the one with ⌊N p⌋ below it; none of no values."""
    ranked = sorted(values)
    return {
        name: float(ranked[int(len(ranked) * float(name) / 100)]) for name in REPORTED if ranked
    }
