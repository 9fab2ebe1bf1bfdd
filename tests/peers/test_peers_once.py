"""What the first of several processes has found of peers is not found again by the others."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from peer_fakes import fake_peer

from sigmabench.harness.peers import contender
from sigmabench.harness.peers.contender import Absent, remotes_of
from sigmabench.harness.peers.environment import Peer, find
from sigmabench.harness.peers.process import PeerError
from sigmabench.harness.race.networks import LENET5
from sigmabench.harness.records.peers_record import PeersRecord
from sigmabench.harness.records.runtime_record import Contender
from sigmabench.harness.records.store import PREDICTIONS
from sigmabench.harness.studies import fresh
from sigmabench.harness.studies.driver import Request, conduct
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.peers import judge, measure
from sigmabench.harness.studies.peers import plan as plans

JOB: dict[str, Any] = {
    "source": LENET5.source(),
    "shape": list(LENET5.input_shape),
    "batch": 2,
    "inputs": 2,
    "threads": 2,
    "seed": 0,
}
CHOICES: dict[str, Any] = {
    "workload": "lenet-digits",
    "peers": ("fake",),
    "posterior": None,
    "data": None,
    "seed": 0,
    "formats": ("DNN_FP32",),
    "mc": 4,
    "batch": 16,
    "limit": 32,
    "split": "validation",
    "seconds": 0.02,
    "threads": 1,
    "processes": 2,
}


def builds(peer: Peer) -> Counter[str]:
    """How often its worker built what."""
    return Counter(Path(f"{peer.worker}.built").read_text().splitlines())


class Waits:
    """In place of a process: which are being built at one time, and in what order."""

    def __init__(self) -> None:
        self.lock, self.both = threading.Lock(), threading.Barrier(2, timeout=30)
        self.at, self.order, self.most = set[str](), list[str](), 0

    def __call__(self, one: Any, job: Any, started: list[Any]) -> PeerError:
        with self.lock:
            self.at.add(one.environment.peer.name)
            self.order.append(one.name)
            self.most = max(self.most, len(self.at))
        self.both.wait()
        with self.lock:
            self.at.discard(one.environment.peer.name)
        return PeerError(f"{one.name} was not built.")


def test_peers_are_built_side_by_side_and_formats_of_one_in_turn(tmp_path, monkeypatch):
    waits = Waits()
    monkeypatch.setattr(contender, "_built", waits)
    environments = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        peer = fake_peer(tmp_path / name, ("GOOD", "BESIDE"))
        found = find(peer, tmp_path / name)
        named = Peer(name, "", peer.worker, {}, (), peer.formats)
        environments.append(type(found)(named, found.python))
    told: list[str] = []
    with remotes_of(JOB, environments, told.append) as (running, absent):
        assert not running
    assert waits.most == 2
    for name in ("a", "b"):
        own = [one for one in waits.order if one.startswith(name)]
        assert own == [f"{name} GOOD", f"{name} BESIDE"]
    assert sorted(told) == sorted(waits.order)
    assert absent[0].reason == "a GOOD was not built."


def test_whoever_failed_before_is_not_started(tmp_path, monkeypatch):
    monkeypatch.setattr(contender, "_built", None)
    peer = fake_peer(tmp_path, ("REFUSE",))
    failed = Contender("fake REFUSE", "fake", "DNN_FP32", "fake", 1, unavailable="It would not.")
    before = {"fake REFUSE": failed}
    with remotes_of(JOB, [find(peer, tmp_path)], before=before) as (running, absent):
        assert not running
        assert [(type(one), one.reason) for one in absent] == [(Absent, "It would not.")]


@pytest.mark.thorough
def test_a_study_that_is_interrupted_leaves_no_peer_behind(tmp_path, monkeypatch):
    started: list[Any] = []
    peer = fake_peer(tmp_path, ("HANG",))
    make = contender.Process

    def process(*given: Any) -> Any:
        started.append(make(*given))
        return started[-1]

    monkeypatch.setattr(contender, "Process", process)

    def interrupted(name: str) -> None:
        while not started:
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), remotes_of(JOB, [find(peer, tmp_path)], interrupted):
        pass
    assert started[0]._process.poll() is not None


@pytest.fixture
def measured(tmp_path, monkeypatch) -> tuple[Peer, PeersRecord, list[str], Path]:
    """A comparison in two processes: the peer, its record, who was judged, the results."""
    peer = fake_peer(tmp_path, ("GOOD", "KEEPS", "REFUSE"))
    judged: list[str] = []
    before = judge.judge_theirs

    def judging(exam: Any, remote: Any, std: Any) -> Any:
        judged.append(remote.name)
        return before(exam, remote, std)

    monkeypatch.setattr(measure, "judge_theirs", judging)
    monkeypatch.setattr(plans, "chosen", lambda names: [peer])
    monkeypatch.setattr(fresh, "_run", lambda job, report: job.measure(report))
    choices = {**CHOICES, "environments": tmp_path}
    study = STUDIES.get("peers")
    made, _ = study.plan.plan(**choices, scoring=True)
    results = tmp_path / "results"
    ((record,),) = conduct(study, made, Request(results, "test", choices=choices))
    return peer, record, judged, results


@pytest.mark.thorough
def test_nothing_is_found_twice(measured):
    peer, record, judged, results = measured
    assert builds(peer) == {
        "GOOD any": 1,
        "GOOD quick": 1,
        "KEEPS any": 1,
        "KEEPS quick": 1,
        "KEEPS it": 1,
        "REFUSE any": 1,
    }
    assert judged == ["fake GOOD", "fake KEEPS"]
    rows = {row.contender.name: row for row in record.body.rows}
    assert list(rows) == ["DNN_FP32 (fixed)", "fake GOOD", "fake KEEPS", "fake REFUSE"]
    for name in ("DNN_FP32 (fixed)", "fake GOOD", "fake KEEPS"):
        assert len(rows[name].contender.processes) == 2
        assert rows[name].scores["accuracy"] > 0.9
    assert rows["fake GOOD"].scores == rows["fake KEEPS"].scores
    assert "slow" in rows["fake GOOD"].contender.details["tried"]
    assert rows["fake REFUSE"].contender.unavailable == "fake REFUSE: it would rather not."
    assert not list(results.rglob(PREDICTIONS))
    assert not list(results.rglob(fresh.PROCESSES))
