"""The queue of a server, on a simulated clock: against M/D/1, against Lindley's recursion, and what
it makes of images that wait."""

from __future__ import annotations

import numpy as np
import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.measure.batching import (
    BatchingQueue,
    PassesRule,
    shapes,
    simulated,
    sizes,
)

FIXED = PassesRule(50)


def arrivals(load: float, count: int, seed: int = 0) -> np.ndarray:
    """Of a Poisson process, for a service of one second."""
    return np.random.default_rng(seed).exponential(1 / load, count).cumsum()


@pytest.mark.parametrize(("load", "count"), [(0.3, 200_000), (0.6, 200_000), (0.9, 500_000)])
def test_the_mean_wait_is_that_of_m_d_1(load: float, count: int) -> None:
    answered = simulated(arrivals(load, count).tolist(), lambda *_: 1.0, BatchingQueue(1, FIXED))
    wait = sum(one.begun - one.came for one in answered) / count
    assert wait == pytest.approx(load / (2 * (1 - load)), rel=0.02)


def test_each_wait_is_lindleys() -> None:
    came = arrivals(0.8, 5_000, seed=1)
    answered = list(simulated(came.tolist(), lambda *_: 1.0, BatchingQueue(1, FIXED)))
    wait, expected = 0.0, [0.0]
    for gap in np.diff(came):
        wait = max(0.0, wait + 1.0 - gap)
        expected.append(wait)
    assert [one.begun - one.came for one in answered] == pytest.approx(expected, abs=1e-9)
    assert [one.came for one in answered] == came.tolist()


def test_batches_keep_up_where_single_images_could_not() -> None:
    """With a service that takes as long for eight as for one, a load of 4 waits for about one
    service; one by one it would wait for ever."""
    came = arrivals(4.0, 20_000, seed=2).tolist()
    answered = list(simulated(came, lambda *_: 1.0, BatchingQueue(8, FIXED)))
    assert max(one.done - one.came for one in answered[-1000:]) < 10
    alone = list(simulated(came, lambda *_: 1.0, BatchingQueue(1, FIXED)))
    assert alone[-1].done - alone[-1].came > 10_000


def test_what_waits_is_taken_in_order_by_sizes_that_it_fills() -> None:
    queue: BatchingQueue[int] = BatchingQueue(6, FIXED)
    assert sizes(6) == (1, 2, 4, 6)
    for item in range(12):
        queue.put(item, float(item))
    taken = []
    while (batch := queue.take()) is not None:
        taken.append(batch.items)
        assert batch.since == tuple(map(float, batch.items))
        assert batch.mc == 50
    assert taken == [tuple(range(6)), tuple(range(6, 12))]
    for item in range(5):
        queue.put(item, 0.0)
    assert [queue.take().items, queue.take().items, queue.take()] == [(0, 1, 2, 3), (4,), None]


def test_what_waits_shares_the_work() -> None:
    rule = PassesRule(50, work=50)
    assert [rule.passes(waiting) for waiting in (1, 2, 3, 10, 49, 50, 51, 400)] == [
        50, 25, 16, 5, 1, 1, 1, 1,
    ]  # fmt: skip
    assert PassesRule(50, work=125).passes(2) == 50
    assert PassesRule(50, work=50, least=4).passes(25) == 4
    queue: BatchingQueue[int] = BatchingQueue(4, rule)
    for item in range(10):
        queue.put(item, 0.0)
    taken = [queue.take() for _ in range(3)]
    assert [(len(one.items), one.mc) for one in taken if one] == [(4, 5), (4, 8), (2, 25)]


def test_every_shape_that_may_come_is_known_before() -> None:
    rule, came = PassesRule(50, work=100, least=2), arrivals(300.0, 20_000, seed=3).tolist()
    met: set[tuple[int, int]] = set()

    def service(images: int, mc: int) -> float:
        met.add((images, mc))
        return 0.01 + 0.0003 * images * mc

    list(simulated(came, service, BatchingQueue(16, rule)))
    assert len(met) > 10
    assert met <= set(shapes(16, rule))
    assert shapes(8, FIXED) == [(8, 50), (4, 50), (2, 50), (1, 50)]


def test_adaptive_passes_bound_the_wait() -> None:
    """With the work of one image at T = 50 no batch takes longer than that image alone, and at most
    three hold an image up: the one that runs, one of images before it, and its own."""
    came = arrivals(10.0, 50_000, seed=4).tolist()

    def service(images: int, mc: int) -> float:
        return images * mc / 50

    adaptive = list(simulated(came, service, BatchingQueue(64, PassesRule(50, work=50))))
    assert max(one.done - one.came for one in adaptive) <= 3.0
    fixed = list(simulated(came, service, BatchingQueue(64, FIXED)))
    assert fixed[-1].done - fixed[-1].came > 1000


def test_what_makes_no_queue_is_refused() -> None:
    with pytest.raises(UserError, match="--batch is 0"):
        BatchingQueue(0, FIXED)
    with pytest.raises(UserError, match="leaves no T"):
        PassesRule(5, least=6)
