"""The key of every kind of record covers every choice of its command that can change a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import own_workload
import pytest

from sigmabench.harness.cli import main as cli
from sigmabench.harness.machine import cores
from sigmabench.harness.peers.environment import Environment
from sigmabench.harness.posterior import load, save
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.study import Study
from sigmabench.harness.workload import choices
from sigmabench.harness.workload.workload import Workload

OWN = "own_workload:WORKLOAD"
POSTERIOR, OTHER_DATA, SETS = "{tmp}/other.safetensors", "{tmp}/data", "{tmp}/sets"

#: Options that change no result, in any command, and why.
PRINTED = "says how and where results are shown or written"
NO_RESULT = {
    "results": "says where records are kept",
    "policy": "says whether a record is made again",
    "memory": "says what may be taken; what does not fit is refused, and what fits is the same",
    "workers": "which process makes a record changes nothing in it",
    "json": PRINTED,
    "out": PRINTED,
    "full": PRINTED,
    "alone": PRINTED,
    "detailed": PRINTED,
}
MEAN_NETWORK = ["--deterministic", "mean"]
#: A study of selective prediction asks these of its records; none is stored.
ASKED = "asked of the records whenever they are shown"
COMMANDS: dict[str, tuple[list[str], dict[str, str], dict[str, str]]] = {
    "run": (
        [OWN, "--threads", "1", "--formats", "FP32,INT8,DNN_FP32"],
        {
            "workload": "lenet-digits", "formats": "FP32", "posterior": POSTERIOR, "delta": "0.2",
            "data": OTHER_DATA, "mc": "7", "batch": "3", "threads": "2", "team": "1",
            "backend": "reference", "limit": "9", "seed": "5", "seeds": "2", "split": "validation",
            "seconds": "2", "range": "paper", "granularity": "tensor", "sigma-offset": "integer",
            "sigma-grid": "codebook", "rounding": "dithered", "observer": "mse",
            "calibrate": "sampled", "processes": "3",
            "deterministic": f"--posterior {POSTERIOR} --deterministic mean",
            "confidence": "--mc 9,auto --confidence 0.9",
        },
        {"plan": "its jobs are runs, each with a key of its own", "dry-run": "measures nothing"},
    ),
    "shift": (
        [OWN, "--profile", "quick", "--formats", "FP32,INT8", "--types", "contrast"],
        {
            "workload": "lenet-digits", "profile": "regular", "formats": "FP32", "types": "fog",
            "severities": "1", "mc": "7", "limit": "9", "ood": SETS, "seed": "5", "seeds": "2",
            "corruption-seed": "1", "split": "validation", "backend": "reference",
            "data": OTHER_DATA, "posterior": POSTERIOR, "range": "paper", "methods": "mean",
        },
        {},
    ),
    "selective": (
        [OWN, "--formats", "FP32,INT8"],
        {
            "workload": "lenet-digits", "formats": "INT8_SIGMA1", "splits": "test", "mc": "7",
            "seed": "5", "seeds": "2", "limit": "9", "ood": SETS, "backend": "reference",
            "range": "paper", "data": OTHER_DATA, "posterior": POSTERIOR, "methods": "mean",
        },
        {"by": ASKED, "coverage": ASKED, "bound": ASKED, "tiles": PRINTED},
    ),
    "methods": (
        [OWN, "--types", "contrast"],
        {
            "workload": "lenet-digits", "methods": "mean", "formats": "FP32", "mc": "7",
            "types": "fog", "severities": "1", "ood": SETS, "limit": "9", "shifted": "9",
            "fitted": "9", "seed": "5", "seeds": "2", "corruption-seed": "1", "splits": "none",
            "batch": "3", "threads": "2", "seconds": "2", "processes": "3",
            "untimed": "--untimed", "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "scenarios": (
        [OWN, "--scenarios", "closed-loop", "--threads", "1"],
        {
            "workload": "lenet-digits", "scenarios": "closed-loop,server", "formats": "INT8",
            "mc": "7", "batch": "3", "seconds": "2", "latency": "--scenarios server --latency 2",
            "rate": "--scenarios server --rate 2", "limit": "9", "split": "test", "seed": "5",
            "threads": "2", "backend": "reference", "processes": "3", "data": OTHER_DATA,
            "posterior": POSTERIOR,
        },
        {},
    ),
    "slo": (
        [OWN, "--threads", "1"],
        {
            "workload": "lenet-digits", "formats": "FP32", "mc": "7", "batch": "3",
            "seconds": "2", "queries": "700", "limit": "9", "seed": "5", "seeds": "2",
            "threads": "2", "backend": "reference", "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "samples": (
        [OWN],
        {
            "workload": "lenet-digits", "formats": "FP32", "mc": "7", "reference": "300",
            "draws": "3", "limit": "9", "seed": "5", "backend": "reference",
            "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "scaling": (
        [OWN],
        {
            "workload": "lenet-digits", "formats": "FP32", "mc": "7", "batch": "3",
            "instances": "--instances 3 --oversubscribe", "cores": "--cores 3 --oversubscribe",
            "oversubscribe": "--oversubscribe", "rounds": "4", "seconds": "2", "seed": "5",
            "backend": "reference", "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "tune": (
        [OWN],
        {
            "workload": "lenet-digits", "goal": "latency", "within": "5",
            "at-least": "--goal latency --at-least 5", "format": "FP32", "mc": "7", "batch": "3",
            "rounds": "4", "seconds": "2", "seed": "5", "backend": "reference",
            "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "ablation": (
        [OWN],
        {
            "workload": "lenet-digits", "split": "test", "types": "fog", "severity": "4",
            "mc": "7", "limit": "9", "seed": "5", "seeds": "2", "threads": "2",
            "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "weights": (
        [OWN],
        {
            "workload": "lenet-digits", "formats": "FP32", "range": "paper", "passes": "7",
            "seed": "5", "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {},
    ),
    "peers": (
        [OWN],
        {
            "workload": "lenet-digits", "peers": "ipex", "formats": "FP32", "mc": "7",
            "batch": "3", "threads": "2", "limit": "9", "split": "validation",
            "posterior": POSTERIOR, "data": OTHER_DATA, "seed": "5", "seconds": "2",
            "environments": "elsewhere", "processes": "3",
        },
        {},
    ),
    "roofline": (
        [OWN, "--threads", "1"],
        {
            "target": "lenet5", "format": "FP32", "batch": "3", "mc": "7", "threads": "2",
            "seconds": "1", "seed": "5", "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {"all": PRINTED},
    ),
    "profile": (
        [OWN, "--threads", "1"],
        {
            "target": "lenet5", "format": "FP32", "batch": "3", "mc": "7", "threads": "2",
            "seconds": "1", "seed": "5", "data": OTHER_DATA, "posterior": POSTERIOR,
        },
        {"all": PRINTED},
    ),
    "bench passes": (
        ["lenet5", "--batch", "2"],
        {
            "network": "resnet20", "batch": "3", "mc": "10", "threads": "2", "formats": "FP32",
            "peers": "none", "environments": "elsewhere", "seconds": "2", "seed": "5",
            "processes": "3",
        },
        {},
    ),
    "bench sampler": (
        [],
        {"weights": "70000", "threads": "2", "seconds": "1", "seed": "5", "processes": "3"},
        {},
    ),
    "bench memory": (
        ["lenet5", "--batch", "2"],
        {"network": "resnet20", "format": "FP32", "batch": "3", "mc": "7", "threads": "2",
         "seed": "5"},
        {},
    ),
}  # fmt: skip


class Stop(Exception):  # noqa: N818
    """Carries the keys of what a command would have measured."""

    def __init__(self, keys: object) -> None:
        self.keys = keys


def stop(keys: Callable[..., object]) -> Callable[..., None]:
    def call(*given: Any, **named: Any) -> None:
        raise Stop(keys(*given, **named))

    return call


def environment(peer: Any, folder: Path) -> Environment:
    return Environment(peer, folder / "python", {"torch": f"of {folder}"}, "")


def subject_keys(study: Study, plan: Any, request: object) -> set[str]:
    tasks = study.plan.tasks(plan, True)
    return {subject.key for task in tasks for subject in task.subjects}


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Commands go as far as the keys of what they would measure."""
    set_ = monkeypatch.setattr
    plans = [study.plan for study in STUDIES.usable().values()]
    for module in (choices, cores, *plans):
        for name, fake in (("cores_for", lambda wanted, *_: wanted or 1), ("find", environment)):
            if hasattr(module, name):
                set_(module, name, fake)
    set_("sigmabench.harness.studies.driver.conduct", stop(subject_keys))
    set_("sigmabench.harness.measure.loadgen.unavailable", lambda: None)
    set_(Workload, "network_digest", lambda _: "as it was")  # captured once is enough, below
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "turn.txt").write_text("1")
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a.png").write_bytes(b"not opened")
    set_("sigmabench.harness.data.outside.available", lambda sets, *_: (sets, ()))
    set_("sigmabench.harness.data.outside.available", lambda sets, *_: (sets, ()))
    set_("sigmabench.harness.workload.conditions._cannot_be_made", lambda *_: {})
    return tmp_path


def command_of(name: str) -> click.Command:
    found: Any = cli.main
    for part in name.split():
        found = found.get_command(click.Context(found), part)
    return found


def option(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len).removeprefix("--")


def keys(name: str, arguments: list[str], tmp: Path) -> object:
    given = [one.format(tmp=tmp) for one in arguments]
    if POSTERIOR in " ".join(arguments):
        posterior, _ = load(own_workload.DIGITS.posterior)
        save(posterior.scaled(0.5), tmp / "other.safetensors", {})
    with pytest.raises(Stop) as stopped:
        command_of(name).main(given, standalone_mode=False)
    return stopped.value.keys


@pytest.mark.parametrize("name", COMMANDS)
def test_every_choice_is_part_of_the_key_or_changes_no_result(
    name: str, nothing_runs: Path
) -> None:
    base, changes, exempt = COMMANDS[name]
    parameters = {option(one): one for one in command_of(name).params}
    without = set(parameters) - set(changes) - set(exempt) - set(NO_RESULT)
    assert not without, "say how each option changes the key, or why it changes no result"
    assert not set(changes) & (set(exempt) | set(NO_RESULT))
    first = keys(name, base, nothing_runs)
    assert keys(name, base, nothing_runs) == first
    for change, value in changes.items():
        if isinstance(parameters[change], click.Argument):
            arguments = [value, *base[1:]]
        else:
            arguments = [*base, *([f"--{change}", value] if value[:2] != "--" else value.split())]
        other = keys(name, arguments, nothing_runs)
        assert other != first, f"--{change} {value}"


def test_every_command_that_stores_or_writes_results_is_asked() -> None:
    """A new command has to be put into one of the two lists."""
    others = {"list", "doctor", "train", "quantize", "convert", "export", "report", "compare",
              "inspect", "corruptions", "pack", "submit", "verify", "history"}  # fmt: skip
    top: Any = cli.main
    bench: Any = command_of("bench")
    found = set(top.list_commands(click.Context(top))) - {"bench"}
    found |= {f"bench {name}" for name in bench.list_commands(click.Context(bench))}
    assert found - others == set(COMMANDS)


def test_the_mean_network_is_another_than_the_twin(nothing_runs: Path) -> None:
    base = ["resnet20-cifar10", "--threads", "1", "--formats", "DNN_FP32,INT8"]
    twin, mean = (keys("run", [*base, *more], nothing_runs) for more in ([], MEAN_NETWORK))
    assert isinstance(twin, set)
    assert isinstance(mean, set)
    assert len(twin - mean) == len(mean - twin) == 2  # DNN_FP32 at two batch sizes
    own = ["lenet-digits", *base[1:]]  # no twin ships with it
    assert keys("run", own, nothing_runs) == keys("run", [*own, *MEAN_NETWORK], nothing_runs)


def test_an_adaptive_cells_confidence_counts(nothing_runs: Path) -> None:
    base = [*COMMANDS["run"][0], "--mc", "9,auto"]
    assert keys("run", [*base, "--confidence", "0.9"], nothing_runs) != keys(
        "run", base, nothing_runs
    )
