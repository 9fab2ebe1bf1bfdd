"""Memory of a program: the bound against numbers counted by hand, the process, record and table."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from records_made import changed
from studied import studied

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.quantize.artefact import from_bytes, to_bytes
from sigmabench.harness.race.networks import NETWORKS
from sigmabench.harness.records.envelope import Provenance
from sigmabench.harness.records.runtime_record import (
    MEMORY,
    PURPOSES,
    RACES,
    MemoryRecord,
    MemorySubject,
    MemoryUse,
)
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.memory import document, measure
from sigmabench.harness.studies.memory.memory_process import _tiny
from sigmabench.harness.studies.memory.plan import plan

#: Weights of LeNet-5's layers: 6·25, 16·6·25, 120·400, 84·120 and 10·84.
LAYERS = (150, 2400, 48000, 10080, 840)
#: Activations of an image in the int8 program: at most, conv1's output beside its input (float32
#: images are the caller's) or its pooled output.
CONV1 = 6 * 28 * 28


def planned(**choices: Any) -> tuple[MemorySubject, ...]:
    asked = {"format": "INT8", "batch": (1,), "mc": 1, "threads": 1, "seed": 0, **choices}
    return plan("lenet5", scoring=True, **asked)[0]


@pytest.fixture(scope="module")
def used(tmp_path_factory) -> MemoryUse:
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    asked = planned(format="int8_sigma3", batch=(2,), mc=3)
    (record,) = studied("memory", asked, tmp_path_factory.mktemp("results"))
    return record.body


def test_bound(used):
    assert used.mean_bytes == sum(LAYERS)
    assert used.std_bytes == sum(-(-3 * count // 8) for count in LAYERS)
    assert used.team == 1
    assert max(LAYERS) <= used.weights_bytes <= 2 * max(LAYERS)
    assert 2 * CONV1 <= used.live_bytes <= 2 * 4 * CONV1
    parts = (used.mean_bytes, used.std_bytes, used.weights_bytes, used.live_bytes)
    assert used.bound_bytes == sum(parts)


def test_the_program_counts_what_it_holds(used):
    program = used.program
    assert set(program) == set(PURPOSES)
    assert program["mean"] >= used.mean_bytes
    assert program["std"] >= used.std_bytes
    assert program["weights"] >= used.weights_bytes
    assert program["activations"] >= used.live_bytes
    assert used.allocated_bytes == sum(program.values()) > used.bound_bytes


def test_the_process_holds_the_program_and_not_the_suite(used):
    assert used.base_bytes > 20 * 2**20  # PyTorch alone is larger
    assert used.growth_bytes < 60 * 2**20  # of which LeNet-5 is less than one
    assert used.peak_bytes >= used.now_bytes - 2**20


def made(base: int = 1000, now: int = 4000) -> MemoryRecord:
    program = dict.fromkeys(PURPOSES, 300)
    use = MemoryUse((1, 28, 28), 2, 400, 300, 200, 100, program, base, now, 5000, "high-water mark")
    subject = MemorySubject("lenet5", "synthetic", "INT8", 1, 50, 4, 0)
    return MemoryRecord(subject, Provenance.now(fingerprint(), ""), None, use)


def test_figures():
    told = document.to_dict(made())
    assert told["figures"]["bound_bytes"] == 1000
    assert told["figures"]["allocated_over_bound"] == pytest.approx(2.1)
    assert told["figures"]["growth_over_bound"] == pytest.approx(3)
    assert (told["network"], told["now_bytes"]) == ("lenet5", 4000)


def test_record_round_trip(tmp_path):
    store = Store(tmp_path, MEMORY)
    one = made()
    path = store.save(one)
    assert path.parent.parent == tmp_path / "runtime" / "lenet5"
    assert path.name.startswith("memory-")
    assert store.load(path) == one
    assert store.records() == [one]
    assert store.save(changed(one, subject=replace(one.subject, batch=9))) != path
    with pytest.raises(UserError, match="not a runtime record"):
        Store(tmp_path, RACES).load(path)  # it is no race
    assert Store(tmp_path, RACES).records() == []
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(UserError, match="made by a newer SigmaBench"):
        store.load(path)


@pytest.mark.parametrize("format", ["INT8", "INT8_SIGMA1", "DNN_INT8", "FP32", "BF16", "DNN_FP32"])
def test_the_warm_up_runs_in_every_format(format):
    tiny = from_bytes(to_bytes(_tiny(format)), "tiny")
    assert tiny.weights == 16
    assert tiny.sampled_weights == (0 if format.startswith("DNN") else 16)
    backend = BACKENDS.get("reference" if tiny.format.quantized else "float")
    assert backend.supports(format)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("lenet6",), "did you mean lenet5"),
        (("lenet5", "--batch", "1,0"), "--batch is 0"),
        (("lenet5", "--mc", "0"), "--mc is 0"),
        (("lenet5", "--threads", "-1"), "--threads is -1"),
        (("lenet5", "--seed", "-1"), "--seed is -1"),
        (("lenet5", "--format", "INT9"), "no format named 'INT9'"),
    ],
)
def test_mistakes_get_one_sentence(options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["bench", "memory", *options])
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


def test_a_process_that_fails_is_a_sentence(monkeypatch, tmp_path):
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UserError, match="lenet5 at batch 1 ended with status 1"):
        studied("memory", planned(), tmp_path)


def test_a_program_that_is_stored_is_not_run_again(monkeypatch, tmp_path, used):
    ran = []

    def run(self: measure.MemoryMeasurer, asked: MemorySubject) -> dict[str, object]:
        ran.append((asked.batch, self.path.exists()))
        if len(ran) == 2:
            raise KeyboardInterrupt
        return told(used)

    monkeypatch.setattr(measure.MemoryMeasurer, "_run", run)
    with pytest.raises(KeyboardInterrupt):
        studied("memory", planned(batch=(1, 2)), tmp_path)
    found = studied("memory", planned(batch=(1, 2)), tmp_path)
    assert [one.subject.batch for one in found] == [1, 2]
    assert ran == [(1, True), (2, True), (2, True)]


def test_the_artefacts_file_is_gone_afterwards(monkeypatch, tmp_path, used):
    places: list[Path] = []

    def run(self: measure.MemoryMeasurer, asked: MemorySubject) -> dict[str, object]:
        places.append(self.path)
        return told(used)

    monkeypatch.setattr(measure.MemoryMeasurer, "_run", run)
    studied("memory", planned(), tmp_path)
    assert not places[0].parent.exists()


def test_command(tmp_path, monkeypatch, used):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(measure.MemoryMeasurer, "_run", lambda self, asked: told(used))
    monkeypatch.setattr("sigmabench.harness.machine.cores.usable_cores", lambda: 2)
    command = ["bench", "memory", "lenet5", "--batch", "1,1,2", "--threads", "2"]
    command += ["--results", str(tmp_path)]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    for words in ("batch 2, T = 50, 2 threads", "× 2 passes", "synthetic", "growth of the process"):
        assert words in done.output
    lines = [line for line in done.output.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    assert {one.subject.batch for one in Store(tmp_path, MEMORY).records("lenet5")} == {1, 2}
    assert (tmp_path / "out" / "lenet5-memory.md").read_text().count("| bound |") == 2
    for policy in ("only-missing", "never"):
        again = CliRunner().invoke(main, [*command, "--policy", policy, "--json"])
        uses = json.loads(again.stdout)
        assert [use["batch"] for use in uses] == [1, 2]
        assert uses[0]["input_shape"] == list(NETWORKS.get("lenet5").input_shape)


def told(used: MemoryUse) -> dict[str, object]:
    """What a process said."""
    sizes = {"largest": 50000, "live": 9000, "teams": 2}
    return {
        "base_bytes": used.base_bytes,
        "now_bytes": used.now_bytes,
        "peak_bytes": used.peak_bytes,
        "peak_method": used.peak_method,
        "team": 1,
        "program": {**used.program, **sizes},
    }
