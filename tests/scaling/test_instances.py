"""Instances side by side: what is counted in a common window, and in which order they work."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import cores
from sigmabench.harness.machine.topology import Topology
from sigmabench.harness.race import instance_process, instances
from sigmabench.harness.race.instance_process import answer, inside
from sigmabench.harness.race.instances import Instances, WindowWork, in_turns, window_seconds
from sigmabench.harness.records.scaling_record import InstanceSetting

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
pins = pytest.mark.skipif(not CORES, reason="this system cannot pin processes to cores")
several = pytest.mark.skipif(len(CORES) < 2, reason="this process may use one core only")


def test_queries_that_reach_over_an_end_count_by_their_part_inside() -> None:
    assert inside([0, 10, 20], [10, 20, 30], 0, 30) == 3
    assert inside([0, 10, 20], [10, 20, 30], 5, 25) == 2
    assert inside([0], [40], 10, 20) == pytest.approx(0.25)
    assert inside([0, 50], [10, 60], 20, 40) == 0
    assert inside([], [], 0, 1) == 0


def test_work_is_that_of_every_nanosecond_inside() -> None:
    """By brute force: each nanosecond inside a query is its part of one query."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        edges = sorted(rng.choice(200, 12, replace=False).tolist())
        starts, ends = edges[::2], edges[1::2]
        begin, end = sorted(rng.choice(200, 2, replace=False).tolist())
        by_hand = sum(
            1 / (stop - start)
            for start, stop in zip(starts, ends, strict=True)
            for now in range(start, stop)
            if begin <= now < end
        )
        assert inside(starts, ends, begin, end) == pytest.approx(by_hand)


def test_an_instance_works_until_the_window_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100]
    monkeypatch.setattr(instance_process.time, "monotonic_ns", lambda: now[0])
    asked: list[int] = []

    def query(index: int) -> None:
        asked.append(index)
        now[0] += 7

    told = answer(query, begin=110, end=130)
    assert asked == [0, 1, 2, 3, 4]  # at 100, 107, 114, 121 and 128, to 135
    assert told["queries"] == pytest.approx(4 / 7 + 2 + 2 / 7)
    assert told["latency_ns"] == [7, 7, 7, 7]  # but not the one that had ended before


def test_a_window_holds_several_queries_of_whoever_shares_a_core() -> None:
    assert window_seconds(1.0, 0.1) == 1.0
    assert window_seconds(1.0, 0.5) == 1.5
    assert window_seconds(1.0, 0.5, crowd=4) == 6.0


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "WORKER", "fake_instance")
    monkeypatch.setattr(instances, "LEAD_SECONDS", 0.0)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pins
def test_each_process_is_born_on_its_cores_and_all_work_is_counted(fake: None) -> None:
    pinned = tuple((core,) for core in CORES[:2])
    with Instances({"seed": 0}, InstanceSetting(len(pinned), 1, 0, 1), pinned) as those:
        assert those.isa == "fake"
        window = those.window(0.5)
    assert window.queries == (50.0,) * len(pinned)
    assert (window.seconds, window.median_ns, window.p99_ns) == (0.5, 1e7, None)
    assert sorted(os.sched_getaffinity(0)) == CORES  # this process's own are as they were


@pins
def test_an_instance_that_ends_is_one_sentence(fake: None) -> None:
    with pytest.raises(UserError) as told:
        Instances({"seed": 13}, InstanceSetting(1, 1, 0, 1), ((CORES[0],),))
    assert str(told.value) == (
        "Instance 1 of 1 ended with status 9: no memory; if memory ran out, give fewer "
        "--instances or a smaller --batch."
    )


@pins
def test_an_instance_elsewhere_than_it_was_pinned_is_refused(fake: None) -> None:
    with pytest.raises(UserError, match=r"An instance ran on the cores \[99\], not"):
        Instances({"seed": 14}, InstanceSetting(1, 1, 0, 1), ((CORES[0],),))


@pins
def test_a_core_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match="No process can be pinned to the cores 4000: "):  # noqa: SIM117
        with cores.born_on([4000]):
            pass
    assert sorted(os.sched_getaffinity(0)) == CORES


def test_where_nothing_can_be_pinned_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(UserError, match="This system cannot pin processes"):  # noqa: SIM117
        with cores.born_on([0]):
            pass


def test_settings_take_turns_there_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    order, told = [], []

    class Fake:
        isa = "fake"

        def __init__(self, job: Any, setting: InstanceSetting, pinned: Any) -> None:
            self.setting = setting
            if setting.instances == 3:
                raise UserError("It does not fit.")

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *error: object) -> None: ...

        def window(self, seconds: float) -> Any:
            order.append(self.setting.instances)
            return (self.setting.instances, seconds)

    monkeypatch.setattr(instances, "Instances", Fake)
    work = {1: WindowWork({}, 0.5)}
    asked = [InstanceSetting(n, 1, 0, 1) for n in (1, 2, 3)]
    found = in_turns(work, asked, Topology.of(1, 2), rounds=3, rest=told.append)
    assert order == [1, 2, 2, 1, 1, 2]
    assert told == list(range(9))
    assert [one.windows for one in found] == [((1, 0.5),) * 3, ((2, 0.5),) * 3, ()]
    assert found[2].unavailable == "It does not fit."
    assert [one.pinned for one in found] == [((0,),), ((0,), (1,)), ((0,), (1,), (0,))]


def test_a_study_that_stops_ends_its_instances(fake: None, monkeypatch: pytest.MonkeyPatch) -> None:
    if not CORES:
        pytest.skip("this system cannot pin processes to cores")
    those = Instances({"seed": 0}, InstanceSetting(1, 1, 0, 1), ((CORES[0],),))
    (process,) = those._processes

    def stopped(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(process, "ask", stopped)
    with pytest.raises(KeyboardInterrupt):
        those.window(0.1)
    those.close()
    assert process._process.poll() is not None


@several
def test_the_monotonic_clock_is_common_to_processes() -> None:
    import subprocess

    before = time.monotonic_ns()
    code = "import time; print(time.monotonic_ns())"
    there = int(
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    )
    assert before < there < time.monotonic_ns()
