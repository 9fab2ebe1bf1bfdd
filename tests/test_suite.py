"""The asv suite: what it asks of the library, how ratios are made, and old commits import it."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]
SUITE = ROOT / "suite"
MODULES = sorted(SUITE.glob("*.py"))
BENCHMARK = re.compile(r"(time|timeraw|mem|peakmem|track)_")
PLUGIN = "asv_machine.py"
#: The library is that of a folder, whatever is installed.
_DISCOVER = """
import json, sys, types
library = types.ModuleType("sigmabench")
library.__path__ = [sys.argv[1] + "/sigmabench"]
sys.modules["sigmabench"] = library
from asv_runner.discovery import list_benchmarks
with open(sys.argv[3], "w") as file:
    list_benchmarks(sys.argv[2], file)
from suite import common, prepared
from sigmabench import harness
assert all(place.startswith(sys.argv[1]) for place in harness.__path__), harness.__path__
prepared.cells = lambda: [("lenet5", "INT8")]
prepared.SAMPLED = {}
print(json.dumps({"absent": common.ABSENT, "prepared": list(prepared.prepare().values())}))
"""


@pytest.fixture
def race(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("suite.race")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_the_library_is_asked_through_its_api_alone(path: Path) -> None:
    asked = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sigmabench"):
            asked |= {f"{node.module}.{alias.name}" for alias in node.names}
        if isinstance(node, ast.Import):
            asked |= {one.name for one in node.names if one.name.startswith("sigmabench")}
    of_plugin = {"sigmabench.harness.history.asv_plugin.install"} if path.name == PLUGIN else set()
    assert asked <= {"sigmabench.harness.api"} | of_plugin


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_benchmark_has_a_version_of_its_own_choosing(path: Path) -> None:
    tree = ast.parse(path.read_text())
    inside = [one for node in tree.body if isinstance(node, ast.If) for one in node.body]
    for node in [*tree.body, *inside]:
        if isinstance(node, ast.ClassDef):
            methods = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
            set_here = {
                target.id
                for one in node.body
                if isinstance(one, ast.Assign)
                for target in one.targets
                if isinstance(target, ast.Name)
            }
            assert "version" in set_here or not any(map(BENCHMARK.match, methods)), node.name
        if isinstance(node, ast.FunctionDef) and BENCHMARK.match(node.name):
            assert f"{node.name}" in path.read_text().partition("for _function in (")[2]


class Clock:
    """Time that passes only where work is done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def work(self, name: str, seconds: float) -> None:
        self.log.append(name)
        self.now += seconds


@pytest.fixture
def clock(race: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()

    def gauge() -> float:
        made.work("gauge", 6.0)
        return 1.5

    monkeypatch.setattr(race.quiet, "gauge", gauge)
    return made


def test_turns_alternate_strictly(race: ModuleType, clock: Clock) -> None:
    one = race.Contestant(
        lambda: clock.work("ours", 3.0), lambda: clock.work("reference", 2.0), turns=4
    )
    found = race.visit(one, clock)
    warm = ["ours", "reference"]
    assert clock.log == [*warm, "reference", *["ours", "reference"] * 4, "gauge"]
    assert found == [race.Turn(2.0, 3.0, 2.0, 1.5)] * 4
    assert found[0].ratio == 1.5


def test_a_drift_cancels(race: ModuleType) -> None:
    rates = [1.0 + 0.02 * k for k in range(21)]
    turns = [
        race.Turn(2 * rates[k], 3 * rates[k + 1], 2 * rates[k + 2], 1.0) for k in range(0, 18, 2)
    ]
    assert race.summary([turns], 1.0)["ratio"] == pytest.approx(1.5, rel=1e-3)
    assert turns[-1].own > 1.3 * turns[0].own


def test_disturbed_turns_and_processes_do_not_count(race: ModuleType) -> None:
    quiet, loud = race.Turn(2.0, 3.0, 2.0, 1.02), race.Turn(2.1, 4.5, 2.1, 1.3)
    late = race.Turn(2.0, 30.0, 2.0, 1.05)
    mixed = [quiet] * 9 + [loud] * 7 + [late] * 2
    assert race.quiet_level({"x": [mixed, [loud] * 40]}) == 1.02
    found = race.summary([mixed, [loud] * 40, [quiet] * 8 + [loud] * 20], 1.0)
    assert found["ratio"] == 1.5
    assert (found["turns"], found["undisturbed"]) == (86, 19)
    assert race.summary([[loud] * 40], 1.0)["ratio"] == pytest.approx(4.5 / 2.1)


def test_the_race_goes_on_until_most_processes_were_undisturbed(race: ModuleType) -> None:
    quiet, loud = [race.Turn(2.0, 3.0, 2.0, 1.0)] * 20, [race.Turn(2.0, 3.0, 2.0, 1.4)] * 20
    assert race.enough({"x": [quiet, loud, quiet]}, 1.0)
    assert not race.enough({"x": [quiet, loud, loud]}, 1.0)
    assert not race.enough({"x": [quiet] * 3, "y": [loud, loud, quiet]}, 1.0)
    few = quiet[:2] + loud[:2]
    assert race.enough({"x": [few, few, loud[:4]]}, 1.0)  # fresh interpreters have few turns


def test_what_several_processes_say_is_their_median(race: ModuleType) -> None:
    processes = [[race.Turn(2.0, own, 2.0, 1.0)] * 10 for own in (3.0, 9.0, 3.2)]
    assert race.summary(processes, 1.0)["ratio"] == 1.6


def test_of_several_copies_the_one_that_lies_best_counts(race: ModuleType) -> None:
    made = iter(range(100))
    assert race.copies(lambda: next(made), 3) == [0, 1, 2]
    asked: list[int] = []
    calls = [lambda n=n: asked.append(n) for n in range(race.COPIES)]
    turn = race.in_turn(calls)
    for _ in range(2 * race.COPIES):
        turn()
    assert asked == [*range(race.COPIES)] * 2
    turns = [race.Turn(2.0, 3.0 if n % race.COPIES == 5 else 5.0, 2.0, 1.0) for n in range(48)]
    assert race.summary([turns], 1.0)["ratio"] == 1.5


def test_a_process_of_its_own_hands_over_what_it_finds(race: ModuleType, tmp_path: Path) -> None:
    made = {
        "x": lambda: race.Contestant(lambda: None, lambda: None, turns=2, laps=3),
        "none": lambda: (_ for _ in ()).throw(NotImplementedError("no such thing")),
    }
    out = tmp_path / "out.json"
    race._in_a_fork(lambda: race._race(made, out, 1))
    told = json.loads(out.read_text())
    assert told["absent"] == {"none": {"lacks": "no such thing"}}
    assert len(told["taken"]["x"]) == 6
    with pytest.raises(RuntimeError, match="ended with status"):
        race._in_a_fork(lambda: 1 / 0)


def test_the_lowest_gauge_is_kept_beside_the_environment(
    race: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = race.quiet
    monkeypatch.delenv("ASV_ENV_DIR", raising=False)
    quiet.remember(1.0)
    assert quiet.remembered() == float("inf")
    monkeypatch.setenv("ASV_ENV_DIR", str(tmp_path))
    assert quiet.remembered() == float("inf")
    gauges = iter([1.3] * 55 + [1.25] * 5)
    monkeypatch.setattr(quiet, "gauge", lambda: next(gauges))
    quiet.learn()
    assert quiet.remembered() == 1.3
    (tmp_path / quiet._FILE).write_text("damaged")
    assert quiet.remembered() == float("inf")


def test_a_disturbed_moment_is_waited_for_and_not_for_ever(
    race: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet, slept = race.quiet, []
    monkeypatch.setenv("ASV_ENV_DIR", str(tmp_path))
    monkeypatch.setattr(quiet.time, "sleep", slept.append)
    monkeypatch.setattr(quiet, "_waited", 0.0)
    monkeypatch.setattr(quiet, "_lowest", float("inf"))
    quiet.remember(1.0)
    gauges = iter([1.5, 1.2, 1.05, 9.0])
    monkeypatch.setattr(quiet, "gauge", lambda: next(gauges))
    quiet.wait()
    assert len(slept) == 2
    monkeypatch.setattr(quiet, "gauge", lambda: 1.5)
    quiet.wait()
    assert sum(slept) == pytest.approx(quiet._PATIENCE, abs=0.1)
    quiet.wait()
    assert sum(slept) == pytest.approx(quiet._PATIENCE, abs=0.1)


def test_the_gauge_is_a_quotient_of_two_times_on_one_core(race: ModuleType) -> None:
    torch.set_num_threads(2)
    race.quiet._product.cache_clear()
    assert 0.01 < race.quiet.gauge() < 1000
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("reason", "raised"), [("lacks", NotImplementedError), ("failed", RuntimeError)]
)
def test_what_is_lacking_is_skipped_and_what_failed_fails(
    race: ModuleType, reason: str, raised: type[Exception]
) -> None:
    common = import_module("suite.common")

    def make() -> None:
        raise NotImplementedError("none") if reason == "lacks" else KeyError("none")

    made, why = common.tried(make)
    assert made is None
    assert list(why) == [reason]
    with pytest.raises(raised, match="none"):
        common.check(why)
    assert common.tried(lambda: 3) == (3, {})


@pytest.mark.slow
def test_old_commits_import_the_suite_and_skip_what_they_lack(tmp_path: Path) -> None:
    pytest.importorskip("asv_runner")
    every = subprocess.run(
        ["git", "log", "--reverse", "--format=%H"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split()
    if len(every) < 100:
        pytest.skip("the history is not here: a shallow clone")
    chosen = [every[1], every[10], every[len(every) // 4], every[len(every) // 2], every[-1]]
    known = [discovered(commit, tmp_path / commit) for commit in chosen]
    assert len({tuple(sorted(names)) for names, _ in known}) == 1
    assert len(known[0][0]) > 15
    assert "harness.api" in known[0][1]["absent"]  # from before there was one
    assert not known[1][1]["absent"]
    for _, told in known:  # nothing is compiled there
        assert all({"lacks"} & {*one, *one.get("pass", {})} for one in told["prepared"]), told


def discovered(commit: str, folder: Path) -> tuple[set[str], dict[str, object]]:
    """Benchmarks that asv finds with the library of a commit, and what the suite says of it."""
    home = folder / "sigmabench"
    home.mkdir(parents=True)
    there = subprocess.run(
        ["git", "ls-tree", "--name-only", commit, "harness", "workloads"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    packed = subprocess.run(
        ["git", "archive", commit, *there], cwd=ROOT, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(home)], input=packed, check=True)
    ran = subprocess.run(
        [sys.executable, "-c", _DISCOVER, str(folder), str(SUITE), str(folder / "found.json")],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "SIGMABENCH_PROFILE": "quick"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    names = {one["name"] for one in json.loads((folder / "found.json").read_text())}
    return names, json.loads(ran.stdout.splitlines()[-1])
