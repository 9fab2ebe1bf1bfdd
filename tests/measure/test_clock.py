"""The clock, on a clock of our own: no test depends on how fast this machine is."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from sigmabench.harness.measure import clock
from sigmabench.harness.measure.clock import Samples, Task, interleave


class Time:
    """A clock that only tasks move."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[tuple[str, int]] = []

    def perf_counter_ns(self) -> int:
        return self.now

    def task(self, name: str, duration_ns: Callable[[int], int]) -> Task:
        def run(index: int) -> None:
            self.log.append((name, index))
            self.now += duration_ns(index)

        return run


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    fake = Time()
    monkeypatch.setattr(clock, "time", fake)
    return fake


MS = 1_000_000


def test_each_query_is_timed_and_kept(time: Time) -> None:
    (samples,) = interleave(
        [time.task("a", lambda i: (i + 1) * MS)], 0.1, warmup=2, min_samples=9, max_samples=9
    )
    first = samples.warmup
    assert samples.latency_ns == tuple((first + i + 1) * MS for i in range(9))
    assert sum(samples.slices) == 9


def test_tasks_take_turns(time: Time) -> None:
    tasks = [time.task("a", lambda i: MS), time.task("b", lambda i: 2 * MS)]
    a, b = interleave(tasks, 1.0, slice_seconds=0.05)
    assert a.slices == (50,) * 20
    assert b.slices == (25,) * 20
    timed = "".join(name for name, _ in time.log[a.warmup + b.warmup :])
    assert timed == ("a" * 50 + "b" * 25) * 20


def test_indices_have_no_gap(time: Time) -> None:
    interleave([time.task("a", lambda i: MS), time.task("b", lambda i: MS)], 0.2)
    for name in "ab":
        indices = [i for n, i in time.log if n == name]
        assert indices == list(range(len(indices)))


def test_slow_tasks_get_their_samples_and_slices(time: Time) -> None:
    slow, fast = interleave(
        [time.task("slow", lambda i: 1000 * MS), time.task("fast", lambda i: MS)],
        0.5,
        min_samples=7,
    )
    assert slow.slices == (1,) * 7
    assert len(fast.slices) == 10
    assert sum(fast.latency_ns) == 500 * MS


def test_a_task_may_tell_its_own_time(time: Time) -> None:
    def elsewhere(index: int) -> int:
        time.now += 1000 * MS  # waiting for another process is not what it timed
        return 2 * MS

    told, timed = interleave([elsewhere, time.task("a", lambda i: MS)], 0.5)
    assert set(told.latency_ns) == {2 * MS}
    assert set(timed.latency_ns) == {MS}
    assert sum(told.latency_ns) == sum(timed.latency_ns) == 500 * MS


def test_least_samples_task_by_task(time: Time) -> None:
    tasks = [time.task(name, lambda i: 1000 * MS) for name in "ab"]
    assert [len(s.latency_ns) for s in interleave(tasks, 0.5, min_samples=(7, 9))] == [7, 9]
    with pytest.raises(ValueError, match="1 least sample counts are given for 2 tasks"):
        interleave(tasks, 0.5, min_samples=(7,))


def test_sample_limit_still_spreads_over_slices(time: Time) -> None:
    (samples,) = interleave([time.task("a", lambda i: 100)], 10.0, max_samples=1000)
    assert len(samples.latency_ns) == 1000
    assert samples.slices == (100,) * 10


def test_warm_up_goes_on_until_time_is_stable(time: Time) -> None:
    # 40 slow queries (a cold start that halves every four), then constant.
    (settling,) = interleave([time.task("a", lambda i: MS + (100 * MS >> i // 4))], 5.0, warmup=4)
    assert settling.warmup > 20
    (steady,) = interleave([time.task("b", lambda i: MS)], 0.1, warmup=4)
    assert steady.warmup == 8
    assert max(settling.latency_ns) <= 1.1 * MS


def test_warm_up_that_never_settles_ends(time: Time) -> None:
    (samples,) = interleave([time.task("a", lambda i: 2**i * 1000)], 0.1, warmup=3, min_samples=1)
    assert 3 <= samples.warmup < 30
    (slow,) = interleave([time.task("b", lambda i: 10_000 * MS)], 0.1, warmup=3, min_samples=1)
    assert slow.warmup == 3


def test_no_garbage_collection_while_timing(time: Time) -> None:
    states = []

    def task(index: int) -> None:
        states.append(gc.isenabled())
        time.now += MS
        if index == 30:
            raise RuntimeError("stop")

    assert gc.isenabled()
    with pytest.raises(RuntimeError, match="stop"):
        interleave([task], 1.0)
    assert not any(states)
    assert gc.isenabled()


def test_rest_is_called_between_rounds_and_not_timed(time: Time) -> None:
    calls = []

    def rest() -> None:
        calls.append(1)
        time.now += 1000 * MS

    (samples,) = interleave([time.task("a", lambda i: MS)], 0.5, rest=rest)
    assert len(calls) == len(samples.slices) == 10
    assert set(samples.latency_ns) == {MS}


def test_real_clock_runs() -> None:
    samples = interleave([lambda i: None, lambda i: None], 0.01, max_samples=50)
    assert [len(s.latency_ns) for s in samples] == [50, 50]
    assert all(t >= 0 for s in samples for t in s.latency_ns)


@pytest.mark.parametrize(
    "bad",
    [{"seconds": 0}, {"slice_seconds": 0}, {"warmup": 0}, {"min_samples": 0}, {"max_samples": 5}],
)
def test_bad_arguments(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        interleave([lambda i: None], **bad)


def test_median_of_samples() -> None:
    assert Samples((3, 1, 2), (3,), 0).median_ns == 2.0
    assert interleave([]) == []
