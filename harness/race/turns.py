"""Contenders on the clock: queries of T passes, timed in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from ..measure.clock import (
    QUERY_SECONDS,
    Samples,
    expected_seconds,
    interleave,
    of_each_process,
    passes_per_query,
)
from ..peers.contender import PAUSE_SECONDS
from ..peers.process import PeerError
from ..records.runtime_record import OURS, Contender
from ..workload.plan import INT8_BACKEND
from .contenders import Runner

INPUTS = 4  # different batches that timed queries go round
SLICE_SECONDS = 0.2
RACE_QUERY_SECONDS = 0.2  # fewer passes than T where these take longer: there are many contenders
MIN_SAMPLES, MIN_SLOW_SAMPLES = 20, 10
PROBES = 3
WAKE_SECONDS = 0.3  # a query this long pays for waking up without being seen to


@dataclass(frozen=True)
class Turns:
    """How contenders are timed.

    Attributes:
        mc: passes per query, T, at most; fewer where they would take long.
        threads: cores a contender may use.
        seconds: timed seconds per contender, at least.
        query_seconds: T is chosen so that a query takes no more, if one pass does not.
        processes: that time the same, each for so many seconds; they share the least number of
            samples.
        passes: T of those contenders, by name, for which it was chosen already.
    """

    mc: int
    threads: int
    seconds: float
    query_seconds: float = RACE_QUERY_SECONDS
    processes: int = 1
    passes: Mapping[str, int] = field(default_factory=dict)


#: Seconds of a race, were every pass so many times as long as it was measured.
Expected = Callable[[float], float]


def take_turns(
    runners: Sequence[Runner],
    turns: Turns,
    rest: Callable[[], None],
    expect: Callable[[Expected], None] | None = None,
) -> list[Contender]:
    """Time everyone, one after the other, round after round.

    Args:
        runners: loaded.
        turns: how long.
        rest: called between rounds, outside all timing.
        expect: told how long it will take, once everyone's pass was measured.

    Returns:
        What the record says of each, in order; one that failed says why.
    """
    with _torch_threads(turns.threads):
        return _timed(runners, turns, rest, expect or (lambda _: None))


def _timed(
    runners: Sequence[Runner],
    turns: Turns,
    rest: Callable[[], None],
    expect: Callable[[Expected], None],
) -> list[Contender]:
    last = _Last()
    tasks = [_Task(runner, last, turns) for runner in runners]
    # Our int8 formats are one program with and without noise: the same T makes them comparable.
    kin = [task for task in tasks if task.runner.backend == INT8_BACKEND]
    for task in kin:
        task.passes = min(one.passes for one in kin)
    for task in tasks:
        task.passes = turns.passes.get(task.runner.name, task.passes)
    expect(lambda times: sum(task.expected_seconds(times) for task in tasks))
    samples = interleave(
        tasks,
        turns.seconds,
        min_samples=[task.min_samples for task in tasks],
        slice_seconds=SLICE_SECONDS,
        rest=rest,
    )
    return [task.contender(taken) for task, taken in zip(tasks, samples, strict=True)]


def whole_rounds(passes: int, most: int, streams: int) -> int:
    """T of what computes `streams` passes side by side: a multiple of them, unless that is more
    than `most`, so that no stream waits while the others end."""
    return min(most, max(1, passes // streams) * streams)


class _Last:
    """Who was last: whoever follows another waits until the other's threads sleep."""

    def __init__(self) -> None:
        self._last: object = None

    def changed(self, to: object) -> bool:
        changed = self._last is not to
        self._last = to
        return changed


class _Task:
    """A contender on the clock. The first query of a turn is not timed: it wakes threads and
    fetches weights back into the caches, for everyone alike."""

    def __init__(self, runner: Runner, last: _Last, turns: Turns) -> None:
        self.runner = runner
        self.failure = ""
        settled = turns.passes.get(runner.name)
        self._settled = settled is not None
        # Ours divides passes among the cores; a peer takes one after the other, or has streams.
        side_by_side = turns.threads if runner.by == OURS else runner.streams
        self.passes = min(side_by_side, settled or turns.mc)
        self._last, self._turns = last, turns
        self._give_up_ns = int(turns.seconds * 1e9)
        self._calls = 0
        self._pass_seconds = self._probe()
        self.passes = settled or self._passes(self._pass_seconds)

    def __call__(self, index: int) -> int:
        if not self.failure and self._last.changed(self):
            time.sleep(PAUSE_SECONDS)
            if self._query_seconds < WAKE_SECONDS:
                self._query()
        return self._query()

    def expected_seconds(self, times: float) -> float:
        """How long its turns take in all, were a pass so many times as long."""
        each = self._pass_seconds * times
        query = each * (self.passes if self._settled else self._passes(each))
        least = self._least(query)
        return 0.0 if self.failure else expected_seconds(query, self._turns.seconds, least)

    @property
    def min_samples(self) -> int:
        """Fewer for the slow."""
        return self._least(self._query_seconds)

    def _least(self, query: float) -> int:
        whole = MIN_SLOW_SAMPLES if query > QUERY_SECONDS else MIN_SAMPLES
        return of_each_process(whole, self._turns.processes)

    @property
    def _query_seconds(self) -> float:
        return self._pass_seconds * self.passes

    def contender(self, samples: Samples) -> Contender:
        """What the record says of it."""
        runner = self.runner
        known = Contender(
            runner.name,
            runner.by,
            runner.format,
            runner.backend,
            self.passes,
            packages=runner.packages,
            details=runner.details(),
            unavailable=self.failure,
        )
        if self.failure:
            return known
        return replace(
            known,
            latency_ns=samples.latency_ns,
            slices=samples.slices,
            warmup_queries=samples.warmup,
        )

    def _passes(self, seconds: float) -> int:
        turns = self._turns
        fit = passes_per_query(seconds, turns.mc, turns.threads, turns.query_seconds)
        return whole_rounds(fit, turns.mc, self.runner.streams)

    def _probe(self) -> float:
        """Seconds per pass, the best of a few queries; of one where T was chosen already."""
        self._last.changed(self)
        time.sleep(PAUSE_SECONDS)
        self._query()  # plans and buffers are made here
        probes = 1 if self._settled else PROBES
        return min(self._query() for _ in range(probes)) / 1e9 / self.passes

    def _query(self) -> int:
        """Nanoseconds. A contender that has failed is soon done; its samples do not count."""
        if self.failure:
            return self._give_up_ns
        self._calls += 1
        try:
            return self.runner.query(self._calls, self.passes)
        except PeerError as reason:
            self.failure = str(reason)
            return self._give_up_ns


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
