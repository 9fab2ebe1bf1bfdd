"""What sends queries: LoadGen and the closed loop, to a system that answers by a table, and what it
takes for a test to be valid."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.measure import closed_loop, loadgen
from sigmabench.harness.measure.batching import BatchingQueue, PassesRule
from sigmabench.harness.measure.load_test import (
    OFFLINE,
    LoadTest,
    least_queries,
    length_of,
    order_statistics,
)
from sigmabench.harness.measure.system import SystemUnderTest
from sigmabench.harness.records.load_record import ACCURACY, PERFORMANCE, Generated

IMAGES, CLASSES = 24, 3
needs_loadgen = pytest.mark.skipif(
    loadgen.unavailable() is not None, reason=str(loadgen.unavailable())
)
TESTS = {
    "single-stream": LoadTest("single-stream", PERFORMANCE, 0.05, 64, IMAGES, 8, 0.9, 1e5),
    "multi-stream": LoadTest("multi-stream", PERFORMANCE, 0.05, 64, IMAGES, 8, 0.9, 1e5, samples=8),
    "server": LoadTest(
        "server", PERFORMANCE, 0.05, 64, IMAGES, 8, 0.9, 1e5, rate=2000.0, latency_ns=10**9
    ),
    "offline": LoadTest("offline", PERFORMANCE, 0.0, 1, IMAGES, 8, 0.0, 1e5, rate=200.0),
}


def table(images: Sequence[int], mc: int = 4, number: int = 0) -> np.ndarray:
    """Answers: image i is surely of class i mod 3, but for its own share of doubt."""
    probs = np.full((len(images), CLASSES), 0.01)
    for row, image in enumerate(images):
        probs[row, image % CLASSES] = 1 - 0.01 * (CLASSES - 1) - image * 1e-4
    return np.log(probs).astype(np.float32)


def made(generate: Any, test: LoadTest, answer: Any = table) -> tuple[Generated, Any, list[int]]:
    loads: list[int] = []
    rule = PassesRule(4)
    told, answers = generate(
        test,
        lambda done: SystemUnderTest(answer, BatchingQueue(8, rule), done),
        lambda images: loads.append(len(images)),
    )
    return told, answers.served(np.arange(IMAGES) % CLASSES), loads


def _life(test: LoadTest, connection: Any) -> None:
    connection.send([made(loadgen.generate, test)[:2], made(loadgen.generate, replace(
        test, purpose=ACCURACY, folder=test.folder / "accuracy"
    ))[:2]])  # fmt: skip


def apart(test: LoadTest) -> Any:
    """What LoadGen says of a test and of the one of accuracy, in a process of their own."""
    (test.folder / "accuracy").mkdir(parents=True)
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_life, args=(test, theirs))
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    assert process.exitcode == 0
    return found


@needs_loadgen
@pytest.mark.parametrize("name", TESTS)
def test_loadgen_sends_and_judges(name: str, tmp_path: Path) -> None:
    test = replace(TESTS[name], folder=tmp_path / "logs")
    (told, served), (_, accuracy) = apart(test)
    assert told.errors == ()
    met = (told.duration_met, told.queries_met, told.early_stopping_met, told.latency_met)
    assert told.valid is all(one is not False for one in met)  # a busy machine meets not all
    assert told.queries_met
    assert told.version.startswith("6.")
    assert told.samples == len(served.image) >= test.queries
    assert set(told.settings) >= set(told.mlperf)
    assert told.mlperf["min_duration_ms"] == 600_000
    assert told.settings["qsl_rng_seed"] > 0  # MLPerf's, and so not among what differs
    assert "qsl_rng_seed" not in told.mlperf
    if name == OFFLINE:
        assert told.samples_per_second
        assert told.own_percentiles_ns == {}
    else:
        assert told.percentiles_ns["90.00"] >= told.own_percentiles_ns["90.00"] > 0
        assert told.percentile == 0.9
    sent = test.samples if name == "multi-stream" else 1
    assert told.queries * sent == told.samples or name == OFFLINE
    found = loadgen.read_answers(test.folder / "accuracy", IMAGES)
    assert np.array_equal(found, table(range(IMAGES)))
    assert set(accuracy.image) == set(range(IMAGES))
    assert (test.folder / "mlperf_log_summary.txt").is_file()


@needs_loadgen
def test_a_server_that_is_late_is_not_valid(tmp_path: Path) -> None:
    (told, _), _ = apart(replace(TESTS["server"], latency_ns=1, folder=tmp_path / "logs"))
    assert (told.valid, told.latency_met) == (False, False)
    assert told.late == told.queries


def test_the_closed_loop_sends_one_after_another() -> None:
    busy, most = threading.Semaphore(1), []

    def answer(images: Sequence[int], mc: int, number: int) -> np.ndarray:
        most.append((len(images), busy.acquire(blocking=False)))
        busy.release()
        return table(images)

    test = LoadTest("closed-loop", PERFORMANCE, 0.0, 30, IMAGES, 8)
    told, served, loads = made(closed_loop.generate, test, answer)
    assert most == [(1, True)] * 30
    assert served.image.tolist() == [place % 8 for place in range(30)]
    assert (told.queries, told.valid, loads) == (30, None, [8])
    assert served.passes == 30 * 4
    assert told.percentiles_ns["50.00"] >= told.own_percentiles_ns["50.00"] > 0
    told, served, loads = made(closed_loop.generate, replace(test, purpose=ACCURACY))
    assert served.image.tolist() == list(range(IMAGES))
    assert loads == [8, 8, 8]
    assert served.correct.all()
    assert np.array_equal(served.nll, -table(range(IMAGES))[range(IMAGES), served.image % 3])


def test_a_system_that_fails_lets_nobody_wait() -> None:
    def fails(images: Sequence[int], mc: int, number: int) -> np.ndarray:
        if number == 2:
            raise MemoryError("none left")
        return table(images)

    test = LoadTest("closed-loop", PERFORMANCE, 0.0, 6, IMAGES, 8)
    with pytest.raises(MemoryError, match="none left"):
        made(closed_loop.generate, test, fails)


@pytest.mark.parametrize("percentile", [0.9, 0.97, 0.99])
@pytest.mark.parametrize("late", [0, 1, 5])
def test_early_stopping_is_a_binomial_bound(percentile: float, late: int) -> None:
    least = least_queries(percentile, late)
    assert (
        binom.cdf(late, least, 1 - percentile) <= 0.01 < binom.cdf(late, least - 1, 1 - percentile)
    )


def test_the_least_are_those_that_loadgen_was_seen_to_need() -> None:
    assert [least_queries(0.9, 1), least_queries(0.99, 1), least_queries(0.99, 0)] == [64, 662, 459]


def test_a_test_is_as_long_as_it_has_to_be() -> None:
    assert length_of("multi-stream", 0.01, None).queries == 662
    long = length_of("multi-stream", 1.0, None)
    assert (long.queries, long.percentile) == (64, 0.9)
    assert length_of("single-stream", 0.01, 1.0).seconds == 1.0
    assert length_of("server", 0.1, 10.0).percentile == 0.9
    with pytest.raises(UserError, match=r"hold about 5 queries of 2 s each, and it takes 64") as e:
        length_of("single-stream", 2.0, 10.0)
    assert "give --seconds 128 or more" in str(e.value)


def test_percentiles_are_loadgens() -> None:
    found = order_statistics(range(100, 0, -1))
    assert [found["50.00"], found["90.00"], found["99.00"], found["99.90"]] == [51, 91, 100, 100]
    assert order_statistics([]) == {}


def test_a_log_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        loadgen.read_log(tmp_path)
    line = {"key": "x", "value": 1, "metadata": {"is_error": True}}
    (tmp_path / loadgen.DETAIL).write_text(f"noise\n:::MLLOG {json.dumps(line)}\n")
    assert loadgen.read_log(tmp_path) == {"x": 1, "errors": ["1"]}
    ran_out = {
        **line,
        "value": "Ending early: Ran out of generated queries to issue ..",
    }
    (tmp_path / loadgen.DETAIL).write_text(f":::MLLOG {json.dumps(ran_out)}\n")
    assert loadgen.read_log(tmp_path)["errors"] == []  # `result_min_duration_met` says it
    (tmp_path / loadgen.DETAIL).write_text(":::MLLOG [1]\n")
    with pytest.raises(UserError, match="cannot be read"):
        loadgen.read_log(tmp_path)
    (tmp_path / loadgen.ACCURACY_LOG).write_text('[{"qsl_idx": 0, "data": "0000803f"}]')
    assert loadgen.read_answers(tmp_path, 1).tolist() == [[1.0]]
    with pytest.raises(UserError, match="one answer for each of 2 images"):
        loadgen.read_answers(tmp_path, 2)
