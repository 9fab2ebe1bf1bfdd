"""Memory of a program: the bound against numbers counted by hand, the process, record and table."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine.describe import fingerprint
from sigmabench.harness.quantize.artefact import from_bytes, to_bytes
from sigmabench.harness.race.networks import LENET5
from sigmabench.harness.records import runtime_record as record
from sigmabench.harness.records.runtime_record import MemoryUse
from sigmabench.harness.studies.bench import memory
from sigmabench.harness.studies.bench.memory_process import _tiny

#: Weights of LeNet-5's layers: 6·25, 16·6·25, 120·400, 84·120 and 10·84.
LAYERS = (150, 2400, 48000, 10080, 840)
#: Activations of an image in the int8 program: at most, conv1's output beside its input (float32
#: images are the caller's) or its pooled output.
CONV1 = 6 * 28 * 28


@pytest.fixture(scope="module")
def used() -> MemoryUse:
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    plan = memory.MemoryPlan(LENET5, "INT8_SIGMA3", (2,), mc=3, threads=1)
    (use,) = memory.measure(plan, "sigmabench bench memory lenet5")
    return use


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
    assert set(program) == set(memory.PURPOSES)
    assert program["mean"] >= used.mean_bytes
    assert program["std"] >= used.std_bytes
    assert program["weights"] >= used.weights_bytes
    assert program["activations"] >= used.live_bytes
    assert used.allocated_bytes == sum(program.values()) > used.bound_bytes


def test_the_process_holds_the_program_and_not_the_suite(used):
    assert used.base_bytes > 20 * 2**20  # PyTorch alone is larger
    assert used.growth_bytes < 60 * 2**20  # of which LeNet-5 is less than one
    assert used.peak_bytes >= used.now_bytes - 2**20


def made(base: int = 1000, now: int = 4000) -> MemoryUse:
    program = dict.fromkeys(memory.PURPOSES, 300)
    return MemoryUse(
        "lenet5", "synthetic", (1, 28, 28), "INT8", 1, 50, 4, 0, 2, 400, 300, 200, 100, program,
        base, now, 5000, "high-water mark", fingerprint(), "", "",
    )  # fmt: skip


def test_figures():
    told = memory.to_dict(made())
    assert told["figures"]["bound_bytes"] == 1000
    assert told["figures"]["allocated_over_bound"] == pytest.approx(2.1)
    assert told["figures"]["growth_over_bound"] == pytest.approx(3)


def test_record_round_trip(tmp_path):
    path = record.save(made(), tmp_path)
    assert path.parent.parent == tmp_path / "runtime" / "lenet5"
    assert path.name.startswith("memory-")
    assert record.load_memory(path) == made()
    assert record.save(replace(made(), batch=9), tmp_path) != path
    with pytest.raises(UserError, match="is not a valid runtime record"):
        record.load(path)  # it is no race
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    with pytest.raises(UserError, match="made by a newer SigmaBench"):
        record.load_memory(path)


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


def test_a_process_that_fails_is_a_sentence(monkeypatch):
    if reason := BACKENDS.get("native").unavailable():
        pytest.skip(reason)
    monkeypatch.setattr(memory.sys, "executable", "/bin/false")
    plan = memory.MemoryPlan(LENET5, batches=(1,), mc=1)
    with pytest.raises(UserError, match="lenet5 at batch 1 ended with status 1"):
        list(memory.measure(plan, ""))


def test_command(tmp_path, monkeypatch, used):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(memory, "_run", lambda plan, artefact, batch: told(used))
    monkeypatch.setattr("sigmabench.harness.machine.cores.usable_cores", lambda: 2)
    command = ["bench", "memory", "lenet5", "--batch", "1,1,2", "--threads", "2"]
    done = CliRunner().invoke(main, [*command, "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for words in ("batch 2, T = 50, 2 threads", "× 2 passes", "synthetic", "growth of the process"):
        assert words in done.output
    lines = [line for line in done.output.splitlines() if "memory-" not in line]
    assert max(map(len, lines)) <= 80
    paths = list((tmp_path / "runtime").rglob("memory-*.json"))
    assert {record.load_memory(path).batch for path in paths} == {1, 2}
    uses = json.loads(
        CliRunner().invoke(main, [*command, "--results", str(tmp_path), "--json"]).stdout
    )
    assert [use["batch"] for use in uses] == [1, 2]


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
