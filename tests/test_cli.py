"""The command line: what a user's mistake prints, and the main job end to end on real digits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from sigmabench.harness.cli.main import main
from sigmabench.harness.posterior import Posterior, load, save
from sigmabench.harness.records.record_file import to_json
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.workload.workload import resolve_workload

QUICK = ("--mc", "1,3", "--batch", "1", "--limit", "40", "--seeds", "2", "--seconds", "0.02")


def sigmabench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """The one sentence of a mistake: status 2, no traceback."""
    assert result.exit_code == 2, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    message = result.stderr.strip()
    assert "Traceback" not in result.output
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "lenet-digit"), "did you mean lenet-digits or"),
        (("run", "no_such_module:WORKLOAD"), "no_such_module"),
        (("run", "--formats", "INT9"), "There is no format named 'INT9'; did you mean INT8"),
        (("run", "--backend", "nativ"), "did you mean native?"),
        (("run", "--backend", "float"), "does not compute INT8"),
        (("run", "--mc", "0"), "--mc is 0"),
        (("run", "--mc", "1,x"), "not a list of whole numbers"),
        (("run", "--mc", "auto,0"), "--mc is 0"),
        (("run", "--mc", "autoo"), "--mc 'autoo' is not a list of whole numbers"),
        (("run", "--mc", "1,auto"), "needs a larger limit than 1"),
        (("run", "--confidence", "2"), "--confidence is 2.0"),
        (("run", "--batch", "-1"), "--batch is -1"),
        (("run", "--batch", "1,x"), "--batch '1,x' is not a list of whole numbers such as"),
        (("run", "--batch", ""), "--batch '' is not a list of whole numbers such as"),
        (("run", "--threads", "0"), "--threads is 0"),
        (("run", "--threads", "4096"), "--threads is 4096"),
        (("run", "--limit", "0"), "--limit is 0"),
        (("run", "--seconds", "0"), "--seconds is 0"),
        (("run", "--seconds", "1e300"), "--seconds is 1e+300"),
        (("run", "--seed", "-3"), "--seed is -3"),
        (("run", "--range", "wide"), "There is no range named 'wide'"),
        (("run", "--observer", "max"), "There is no observer named 'max'"),
        (("run", "--policy", "sometimes"), "There is no policy named 'sometimes'"),
        (("run", "--split", "train"), "'train' is not scored"),
        (("run", "--posterior", "nowhere.safetensors"), "nowhere.safetensors"),
        (("run", "lenet5-mnist", "--data", "nowhere"), "There is no data directory nowhere"),
        (("train", "lenet-digits", "--recipe", "bests"), "did you mean best?"),
        (("train", "resnet50-imagenet", "--data", "nowhere"), "There is no data directory nowhere"),
        (("train", "torchvision:resnet18"), "torchvision-resnet18 has no recipes to train by"),
        (("train", "lenet-digits", "--seed", str(2**70)), "--seed is 1180591620717411303424"),
        (("inspect", "nowhere.safetensors"), "There is no file nowhere.safetensors"),
        (("report", "--results", "nowhere"), "There is no results directory nowhere"),
        (("report", "lenet-digits", "--results", "."), ". holds no records; run `sigmabench run`"),
        (("compare", "nowhere", "elsewhere"), "There is no results directory nowhere"),
    ],
)
def test_mistakes_get_one_sentence(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert says in refused(sigmabench(*arguments))
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "lenet5-mnist"),
        ("train", "lenet5-mnist"),
        ("quantize", "lenet5-mnist"),
        ("profile", "lenet5-mnist"),
        ("weights", "lenet5-mnist"),
        ("peers", "lenet5-mnist"),
        ("shift", "resnet20-cifar10"),
        ("ablation", "resnet20-cifar10"),
        ("corruptions", "resnet20-cifar10"),
        ("selective", "histology-colorectal"),
    ],
    ids=" ".join,
)
def test_every_command_that_reads_data_names_the_variable(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIGMABENCH_DATA", str(tmp_path / "nowhere"))
    assert "nowhere; correct SIGMABENCH_DATA, or leave it out." in refused(sigmabench(*arguments))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_results_that_cannot_be_written_are_noticed_first(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    message = refused(sigmabench("run", *QUICK, "--results", blocked))
    assert "Results cannot be written" in message
    assert str(blocked) in message


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("results")
    done = sigmabench("run", *QUICK, "--formats", "fp32,int8,int8_sigma1", "--results", path)
    assert done.exit_code == 0, done.output
    return path


def test_main_job_stores_every_cell_with_its_audits(results):
    records = Store(results, RUN_RECORDS).records()
    assert {(r.subject.format, r.subject.mc) for r in records} == {
        (name, mc) for name in ("FP32", "INT8", "INT8_SIGMA1") for mc in (1, 3)
    }
    for record in records:
        assert record.body.quality.images == 40
        assert record.body.quality.seeds == (0, 1)
        assert min(record.body.quality.scores["accuracy"]) > 90
        assert (record.body.quality.scores["mutual_information"][0] is None) == (
            record.subject.mc == 1
        )
        assert len(record.body.timing.latency_ns) == sum(record.body.timing.slices) >= 20
        assert record.verdict.audits["scored the timed path"] == "pass"
        assert record.verdict.audits["every timed pass drew"] == "pass"
        assert record.verdict.audits["draws differ"] == "pass"
        assert record.verdict.audits["moments"] == "pass"
        assert {layer.layer for layer in record.body.fidelity} == {
            "conv1",
            "conv2",
            "fc1",
            "fc2",
            "fc3",
        }
        assert (
            record.body.size.ratio_weights
            == {"FP32": 1, "INT8": 4, "INT8_SIGMA1": 64 / 9}[record.subject.format]
        )
        assert set(record.body.unavailable) == {"DRAM traffic"}
        assert all(record.body.unavailable.values())


def test_second_run_measures_nothing_again(results):
    before = {path: path.stat().st_mtime_ns for path in results.rglob("*.json")}
    again = sigmabench("run", *QUICK, "--formats", "fp32,int8,int8_sigma1", "--results", results)
    assert again.exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in results.rglob("*.json")}
    lines = again.stdout.splitlines()
    assert len(lines) <= 45
    for start in ("T = 3 passes: ", "INT8_SIGMA1 ", "Quality: ", "Speed: ", "Size: "):
        assert sum(line.startswith(start) for line in lines) == 1
    assert lines[-1] == "6 of 6 records were stored before; --policy always measures again."


def test_prefixes_score_as_runs_of_their_own(results, tmp_path):
    options = ("--mc", "1", "--batch", "1", "--limit", "40", "--seeds", "2", "--seconds", "0.02")
    sigmabench("run", *options, "--formats", "INT8", "--results", tmp_path)
    (alone,) = Store(tmp_path, RUN_RECORDS).records()
    (prefix,) = Store(results, RUN_RECORDS).records(format="INT8", mc=1)
    assert alone.body.quality == prefix.body.quality


@pytest.mark.parametrize("form", ["table", "wide", "fidelity", "size", "markdown", "csv"])
def test_report_has_every_format(results, form):
    shown = sigmabench("report", "--results", results, "--format", form)
    assert shown.exit_code == 0, shown.output
    assert "INT8" in shown.output
    assert "SIGMA1" in shown.output


def test_report_writes_page_and_figures(results, tmp_path):
    done = sigmabench("report", "--results", results, "--out", tmp_path / "page")
    assert done.exit_code == 0, done.output
    page = (tmp_path / "page" / "index.html").read_text()
    assert "lenet-digits" in page
    assert any((tmp_path / "page").glob("*.svg"))


def test_json_is_for_scripts(results):
    for command in (
        ("run", *QUICK, "--formats", "fp32", "--results", results, "--json"),
        ("report", "--results", results, "--json"),
        ("compare", results, results, "--json"),
        ("list", "--json"),
        ("doctor", "--seconds", "0.01", "--json"),
    ):
        shown = sigmabench(*command)
        assert shown.exit_code == 0, shown.output
        json.loads(shown.stdout)


def test_newer_and_broken_records_are_named(results, tmp_path):
    record = Store(results, RUN_RECORDS).records()[0]
    folder = tmp_path / "lenet-digits" / "00000000"
    folder.mkdir(parents=True)
    newer = to_json(RUN_RECORDS, record).replace('"schema_version": 4', '"schema_version": 99')
    (folder / "new.json").write_text(newer)
    assert "newer SigmaBench" in refused(sigmabench("report", "--results", tmp_path))
    (folder / "new.json").write_text("{")
    assert "new.json" in refused(sigmabench("report", "--results", tmp_path))


def test_quantize_then_inspect(tmp_path):
    done = sigmabench("quantize", "--formats", "INT8_SIGMA2", "--out", tmp_path, "--json")
    assert done.exit_code == 0, done.output
    (written,) = json.loads(done.stdout)
    shown = sigmabench("inspect", written["path"], "--json")
    told = json.loads(shown.stdout)
    assert told["format"] == "INT8_SIGMA2"
    assert (told["sigma_grid"], told["rounding"]) == ("affine", "nearest")
    assert "fc1" in sigmabench("inspect", written["path"]).output
    posterior = resolve_workload("lenet-digits").posterior
    assert "fc1.weight" in sigmabench("inspect", posterior).output


def test_inspect_shows_the_last_epoch_of_a_long_log(tmp_path):
    path = tmp_path / "posterior.safetensors"
    log = [{"epoch": epoch, "loss": epoch / 8} for epoch in range(1, 50)]
    save(resolve_workload("lenet-digits").load_posterior()[0], path, {"log": log})
    shown = " ".join(sigmabench("inspect", path).output.split())
    assert "the last of 49 epochs: epoch 49, loss 6.12" in shown
    assert "epoch 48" not in shown
    assert json.loads(sigmabench("inspect", path, "--json").stdout)["log"] == log


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "other network"])
def test_bad_posteriors_are_refused_by_name(damage, tmp_path):
    workload = resolve_workload("lenet-digits")
    path = tmp_path / "posterior.safetensors"
    data = bytearray(workload.posterior.read_bytes())
    if damage == "truncated":
        path.write_bytes(data[:1000])
    elif damage == "flipped":
        data[-100] ^= 1
        path.write_bytes(data)
    elif damage == "foreign":
        sigmabench("quantize", "--formats", "INT8", "--out", tmp_path)
        next(tmp_path.glob("*int8*")).rename(path)
    else:
        kept, _ = load(workload.posterior)
        mean = {**kept.mean, "fc3.weight": torch.zeros(9, 32)}
        rho = {**kept.rho, "fc3.weight": torch.zeros(9, 32)}
        save(Posterior(mean, rho, kept.state), path)
    message = refused(sigmabench("run", *QUICK, "--posterior", path, "--results", tmp_path / "r"))
    assert "posterior.safetensors" in message or "fc3.weight" in message
    assert not (tmp_path / "r").exists() or not any((tmp_path / "r").rglob("*.json"))


@pytest.mark.thorough
def test_interrupt_leaves_whole_records_and_the_rest_is_measured_next_time(tmp_path, monkeypatch):
    from sigmabench.harness.records import store

    saved = store.Store.save
    count = 0

    def save_twice_then_stop(self, record):
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt
        return saved(self, record)

    command = ("run", *QUICK, "--formats", "INT8,INT8_SIGMA4", "--results", tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(store.Store, "save", save_twice_then_stop)
        stopped = sigmabench(*command)
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    first = {path: path.read_bytes() for path in (tmp_path / "lenet-digits").rglob("*.json")}
    assert len(first) == 2
    assert sigmabench(*command).exit_code == 0
    after = {path: path.read_bytes() for path in (tmp_path / "lenet-digits").rglob("*.json")}
    assert len(after) == 4
    assert all(after[path] == content for path, content in first.items())


def test_help_imports_nothing_heavy():
    code = "import sys, sigmabench.harness.cli.main; print(sorted("
    code += "{'torch', 'numpy', 'rich', 'pydantic'} & set(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert shown.stdout.strip() == "[]"


@pytest.mark.thorough
def test_adaptive_t_from_the_command_line(tmp_path):
    options = ("--batch", "1,4", "--limit", "16", "--seeds", "2", "--seconds", "0.02")
    command = ("run", *options, "--formats", "INT8,DNN_INT8", "--results", tmp_path)
    shown = sigmabench(*command, "--mc", "9,auto", "--confidence", "0.95", "--full")
    assert shown.exit_code == 0, shown.output
    assert "Adaptive T: passes spent" in shown.output
    assert {r.subject.mc for r in Store(tmp_path, RUN_RECORDS).records(stopping="auto 0.95")} == {9}
    again = sigmabench(*command, "--mc", "auto", "--json")
    found = json.loads(again.stdout)
    assert {(one["cell"]["format"], one["cell"]["mc"]) for one in found} == {
        ("INT8", 50),
        ("DNN_INT8", 1),
    }
    for one in found:
        about = [line.partition(":")[0] for line in one["conclusions"]]
        assert about == ["Quality", "Speed", "Size"]
        assert (one["adaptive"] is None) == (one["cell"]["format"] == "DNN_INT8")
        assert one["verdict"]["quality"]["audits"]["scored the timed path"] == "pass"
        drew = one["verdict"]["speed"]["audits"]["every timed pass drew"]
        assert not drew.startswith("fail")
