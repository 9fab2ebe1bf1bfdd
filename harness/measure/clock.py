"""The clock: queries timed one by one, tasks in turns.

Tasks that will be compared are measured in short slices, one task after the other, round after
round, so that whatever the machine does in the meantime (frequency, neighbours, temperature) hits
all of them alike. Every sample is kept.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..machine.cores import give_back

#: Runs query `index`. What it returns is its own account of the nanoseconds it took, for a query
#: that another process times; None, and the time of the call counts.
Task = Callable[[int], "int | None"]

_SHARES = 10  # a task's time and samples are spread over at least this many slices
_MIN_SLICES = 5
_STABLE = 0.05
_WARMUP = 3
#: What a timed query takes at most, by fewer passes than T where T would take longer.
QUERY_SECONDS = 1.0
MIN_SAMPLES = 20  # fewer have no median by the rule for percentiles


@dataclass(frozen=True)
class Samples:
    """Timed queries of one task.

    Attributes:
        latency_ns: every timed query, in order.
        slices: how many of them each slice held.
        warmup: queries run before and not counted.
    """

    latency_ns: tuple[int, ...]
    slices: tuple[int, ...]
    warmup: int

    @property
    def median_ns(self) -> float:
        """Median latency."""
        return float(statistics.median(self.latency_ns))


def interleave(
    tasks: Sequence[Task],
    seconds: float = 1.0,
    *,
    min_samples: int | Sequence[int] = 10,
    max_samples: int = 100_000,
    slice_seconds: float = 0.05,
    warmup: int = _WARMUP,
    rest: Callable[[], None] | None = None,
) -> list[Samples]:
    """Time every task for about `seconds`, in turns of about `slice_seconds`.

    A query is one call `task(index)`, timed alone with the monotonic nanosecond clock, or by the
    task itself where it returns nanoseconds. Indices
    count from 0 through warm-up and measurement without a gap, so a task can rotate its inputs and
    seeds. Garbage is collected before and not during measurement.

    A task is finished after `seconds` of its own queries, `min_samples` queries and five slices, or
    after `max_samples` queries. Slow tasks get at least one query per slice.

    Args:
        tasks: what to time.
        seconds: timed seconds per task.
        min_samples: least number of queries per task, however long they take; one number for all,
            or one for each task.
        max_samples: largest number of queries per task.
        slice_seconds: how long a turn takes; shorter if `seconds` would not give ten turns.
        warmup: uncounted queries at least, before the first slice; warming goes on, for up to
            `seconds`, until the median of the last `warmup` queries is within 5 % of that of the
            `warmup` before them.
        rest: called between rounds, outside all timing (a progress bar).

    Returns:
        one `Samples` a task, in order.

    Raises:
        ValueError: a count or a time is not positive.
    """
    least = [min_samples] * len(tasks) if isinstance(min_samples, int) else list(min_samples)
    if len(least) != len(tasks):
        raise ValueError(f"{len(least)} least sample counts are given for {len(tasks)} tasks")
    counts = least or [1]
    if min(seconds, slice_seconds) <= 0 or warmup < 1:
        raise ValueError("seconds, slices and warm-up must be positive")
    if not 1 <= min(counts) <= max(counts) <= max_samples:
        raise ValueError("sample counts must be positive, and the least at most the most")
    limit = _Limit(
        total_ns=int(seconds * 1e9),
        slice_ns=int(min(slice_seconds, seconds / _SHARES) * 1e9),
        max_samples=max_samples,
    )
    meters = [_Meter(task, count) for task, count in zip(tasks, least, strict=True)]
    give_back()
    with _no_garbage_collection():
        for meter in meters:
            meter.warm(warmup, limit.total_ns)
        give_back()  # OpenMP's runtime may bind a thread where it first uses others
        while running := [meter for meter in meters if not meter.finished(limit)]:
            for meter in running:
                meter.turn(limit)
            if rest is not None:
                rest()
    return [Samples(tuple(m.latency), tuple(m.slices), m.warmed) for m in meters]


def fastest(call: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of the calls that fit into so many seconds, of which there are three
    at least: what can be reached where neighbours and interrupts leave it alone.

    Args:
        call: made once before, too.
        seconds: for all calls.
    """
    call()
    least, spent, count = math.inf, 0.0, 0
    while spent < seconds or count < _WARMUP:
        start = time.perf_counter()
        call()
        taken = time.perf_counter() - start
        least, spent, count = min(least, taken), spent + taken, count + 1
    return least


def of_each_process(samples: int, processes: int) -> int:
    """How many samples each of several processes has to take, to be so many together."""
    return max(_MIN_SLICES, -(-samples // processes))


def expected_seconds(query: float, seconds: float, min_samples: int) -> float:
    """About how long `interleave` takes for one task, both warming and timing it.

    Args:
        query: seconds per query.
        seconds: timed seconds per task.
        min_samples: least number of queries per task.
    """
    warming = max(_WARMUP * query, min(2 * _WARMUP * query, seconds))
    return warming + max(seconds, max(min_samples, _MIN_SLICES) * query)


def passes_per_query(
    pass_seconds: float, most: int, threads: int, seconds: float = QUERY_SECONDS
) -> int:
    """T: `most`, or as many as fit into `seconds`, a multiple of `threads` so that passes
    side by side fill every core; 1 where not even `threads` passes fit."""
    fit = int(seconds / pass_seconds)
    if fit >= most:
        return most
    return max(1, fit // threads * threads)


@dataclass(frozen=True)
class _Limit:
    total_ns: int
    slice_ns: int
    max_samples: int


@dataclass
class _Meter:
    """A task and what it has taken so far."""

    task: Task
    min_samples: int
    latency: list[int] = field(default_factory=list)
    slices: list[int] = field(default_factory=list)
    warmed: int = 0
    spent: int = 0

    def query(self) -> int:
        """One call, in nanoseconds."""
        index = self.warmed + len(self.latency)
        start = time.perf_counter_ns()
        told = self.task(index)
        taken = time.perf_counter_ns() - start
        return taken if told is None else told

    def warm(self, least: int, budget_ns: int) -> None:
        times: list[int] = []
        while len(times) < least or (sum(times) < budget_ns and not _stable(times, least)):
            times.append(self.query())
            self.warmed += 1

    def turn(self, limit: _Limit) -> None:
        """One slice."""
        before, left = len(self.latency), limit.slice_ns
        most = min(max(limit.max_samples // _SHARES, 1), limit.max_samples - before)
        while True:
            taken = self.query()
            self.latency.append(taken)
            self.spent += taken
            left -= taken
            if left <= 0 or len(self.latency) - before >= most:
                break
        self.slices.append(len(self.latency) - before)

    def finished(self, limit: _Limit) -> bool:
        count = len(self.latency)
        enough = count >= self.min_samples and len(self.slices) >= _MIN_SLICES
        return count >= limit.max_samples or (enough and self.spent >= limit.total_ns)


def _stable(times: list[int], window: int) -> bool:
    if len(times) < 2 * window:
        return False
    last = statistics.median(times[-window:])
    before = statistics.median(times[-2 * window : -window])
    return abs(last - before) <= _STABLE * before


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
