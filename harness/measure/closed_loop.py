"""The closed loop: one query at a time, the next when the last has been answered. It needs nothing
but this package."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ..records.load_record import ACCURACY, Generated
from .load_test import LoadTest, order_statistics
from .system import Answers, Done, SystemUnderTest


def generate(
    test: LoadTest,
    start: Callable[[Done], SystemUnderTest],
    load: Callable[[Sequence[int]], None],
) -> tuple[Generated, Answers]:
    """Make one test; see `load_test.Generate`. In that of accuracy each image is asked for once.

    Raises:
        BaseException: what the system, or loading its images, raised.
    """
    answered = threading.Semaphore(0)
    system = start(lambda numbers, found: answered.release())
    accuracy = test.purpose == ACCURACY
    latency: list[int] = []
    began = time.perf_counter()
    try:
        for part in _parts(test, accuracy):
            load(part)
            turn = 0
            while turn < len(part) if accuracy else not _enough(test, latency, began):
                start_ns = time.perf_counter_ns()
                system.issue([(len(latency), part[turn % len(part)])])
                answered.acquire()
                latency.append(time.perf_counter_ns() - start_ns)
                turn += 1
    finally:
        answers = system.close()
    return _told(test, latency, answers), answers


def _parts(test: LoadTest, whole: bool) -> list[range]:
    """Images that are in memory at a time; of a test for times the first part."""
    size = min(test.loaded, test.images)
    starts = range(0, test.images if whole else 1, size)
    return [range(start, min(start + size, test.images)) for start in starts]


def _enough(test: LoadTest, latency: Sequence[int], began: float) -> bool:
    return len(latency) >= test.queries and time.perf_counter() - began >= test.seconds


def _told(test: LoadTest, latency: Sequence[int], answers: Answers) -> Generated:
    accuracy = test.purpose == ACCURACY
    return Generated(
        purpose=test.purpose,
        rate=0.0,
        valid=None,
        duration_met=None,
        queries_met=None,
        early_stopping_met=None,
        latency_met=None,
        early_stopping="",
        queries=len(latency),
        samples=len(answers.image),
        late=None,
        percentiles_ns={} if accuracy else order_statistics(latency),
        own_percentiles_ns={} if accuracy else order_statistics(answers.service_ns),
        samples_per_second=None,
        sent_per_second=None,
        errors=(),
        settings={"min_duration_ms": round(1e3 * test.seconds), "min_query_count": test.queries},
        mlperf={},
        percentile=0.0,
    )
