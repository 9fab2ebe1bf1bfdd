"""A peer's process: what it answers, and how each way to fail becomes one sentence."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from peer_fakes import fake_peer

from sigmabench.harness.machine import cores
from sigmabench.harness.peers.environment import find
from sigmabench.harness.peers.process import PeerError, Process
from sigmabench.harness.race.networks import LENET5

PATIENCE = 120.0


def job(format: str) -> dict[str, dict[str, object]]:
    return {
        "build": {
            "source": LENET5.source(),
            "format": format,
            "shape": list(LENET5.input_shape),
            "batch": 2,
            "inputs": 3,
            "threads": 1,
            "seed": 0,
        }
    }


def loaded(process: Process, format: str, **more: object) -> dict[str, Any]:
    process.ask({"build": {**job(format)["build"], **more}}, PATIENCE)
    told = process.ask({"load": True}, PATIENCE)["loaded"]
    assert isinstance(told, dict)
    return told


def start(folder: Path, worker: str | None = None) -> Process:
    peer = fake_peer(folder)
    if worker is not None:
        peer.worker.write_text(worker)
    return Process([find(peer, folder).python, peer.worker], 1, "fake GOOD")


def test_it_times_itself_and_takes_its_faster_form(tmp_path):
    with start(tmp_path) as process:
        told = loaded(process, "GOOD")
        assert told["form"] == "quick"
        assert set(told["forms"]) == {"slow", "quick"}
        assert "torch" in told["versions"]
        taken = process.ask({"run": 7}, PATIENCE)["ns"]
        assert len(taken) == 7
        assert all(isinstance(ns, int) and ns > 0 for ns in taken)
        assert 0 <= process.idle_share(0.05) < 0.9
    with pytest.raises(psutil.NoSuchProcess):
        psutil.Process(process._process.pid)


def test_what_computes_passes_side_by_side_times_them_together(tmp_path):
    with start(tmp_path) as process:
        told = loaded(process, "BESIDE")
        assert (told["together"], told["streams"]) == (True, 2)
        assert told["details"] == {"kernels": "made up"}
        (taken,) = process.ask({"run": 7}, PATIENCE)["ns"]
        assert taken > 0
    log = (tmp_path / "worker.py.log").read_text().split()
    assert log[0] == "1"  # built
    assert set(log[1:-1]) == {"8"}  # it was tried with four passes a stream
    assert log[-1] == "7"


def test_a_form_that_was_chosen_is_not_chosen_again(tmp_path):
    """Neither is it timed, nor is it built beside others."""
    with start(tmp_path) as process:
        assert process.ask(job("GOOD"), PATIENCE) == {"built": ["slow", "quick"]}
    for name in ("again", "other"):
        (tmp_path / name).mkdir()
    with start(tmp_path / "again") as process:
        told = loaded(process, "GOOD", form="slow")
        assert (told["form"], told["forms"]) == ("slow", {})
    with start(tmp_path / "other") as process, pytest.raises(PeerError, match="form 'gone' any"):
        loaded(process, "GOOD", form="gone")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_it_has_all_cores_whatever_openmp_binds(tmp_path, monkeypatch):
    """It is born with ours, and without the variables that would bind it."""
    before = os.sched_getaffinity(0)
    worker = (
        "import json, os, sys\nsys.stdin.readline()\n"
        "print(json.dumps({'cores': len(os.sched_getaffinity(0)), 'bound': sorted("
        "set(os.environ) & {'OMP_PROC_BIND', 'GOMP_CPU_AFFINITY'})}))\n"
    )
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "0")
    os.sched_setaffinity(0, {min(before)})
    try:
        with start(tmp_path, worker) as process:
            told = process.ask({}, PATIENCE)
    finally:
        os.sched_setaffinity(0, before)
    assert told == {"cores": len(cores.allowed()), "bound": []}


@pytest.mark.parametrize(
    ("format", "says"),
    [
        ("NAN", "fake GOOD: its logits are not finite."),
        pytest.param("REFUSE", "fake GOOD: it would rather not.", marks=pytest.mark.thorough),
        pytest.param("RAISE", "fake GOOD: ValueError: first line.", marks=pytest.mark.thorough),
    ],
)
def test_what_it_cannot_do_is_one_sentence(tmp_path, format, says):
    with start(tmp_path) as process, pytest.raises(PeerError) as told:
        process.ask(job(format), PATIENCE)
    assert str(told.value) == says


def test_a_crash_tells_status_and_last_words(tmp_path):
    with start(tmp_path) as process:
        process.ask(job("CRASH"), PATIENCE)
        with pytest.raises(PeerError, match=r"fake GOOD ended with status 7: out of luck\."):
            process.ask({"run": 50}, PATIENCE)
        process.close()


def test_a_hang_ends(tmp_path):
    with start(tmp_path, "import time; time.sleep(600)") as process:
        with pytest.raises(PeerError, match="no answer within 0 s"):
            process.ask({"run": 1}, 0.2)
        assert process._process.poll() is not None


@pytest.mark.parametrize(
    ("worker", "says"),
    [
        ("input(); print('hello')", "answered b'hello', which is not a JSON object"),
        ("input(); print('[1]')", "which is not a JSON object"),
        ("raise SystemExit('not today')", "ended with status 1: not today"),
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
    ],
)
def test_nonsense(tmp_path, worker, says):
    with start(tmp_path, worker) as process, pytest.raises(PeerError) as told:
        process.ask({"run": 1}, PATIENCE)
    assert says in str(told.value)
    assert "\n" not in str(told.value)


def test_an_interpreter_that_is_not_there():
    with pytest.raises(PeerError, match="fake does not start"):
        Process([Path("nowhere/python"), sys.executable], 1, "fake")
