"""What a job says where there is no terminal, and how long it says it will take."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner
from clocked import Clock

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.cli.main import main
from sigmabench.harness.core.waiting import Lines, Pace, about
from sigmabench.harness.measure.clock import expected_seconds, interleave
from sigmabench.harness.measure.estimate import run_seconds
from sigmabench.harness.race.turns import Turns, take_turns
from sigmabench.harness.studies import scored as study
from sigmabench.harness.studies.study import SCORED, Task
from sigmabench.harness.workload.conditions import Condition
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import load_networks, prepare
from sigmabench.harness.workload.workload import WORKLOADS


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "about 1 second"),
        (40, "about 40 seconds"),
        (100, "about 100 seconds"),
        (119, "about 2 minutes"),
        (1210, "about 20 minutes"),
        (6000, "about 100 minutes"),
        (10700, "about 3 hours"),
    ],
)
def test_times_have_one_unit(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_lines_name_each_phase_and_say_now_and_then_where_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sigmabench.harness.core.waiting.FIRST_SECONDS", 1.0)
    clock, lines = Clock(), []
    report = Lines(lines.append, clock)
    report("Short", 0, 1)
    clock.now += 0.9
    report("Quick", 0, 1)
    report("3 cells: about 40 seconds", 0, 0)  # a remark waits, and is not lost
    assert lines == []
    clock.now += 0.2
    report("Scoring", 0, 40)
    assert lines == ["3 cells: about 40 seconds", "Scoring: 0 of 40"]
    del lines[:]
    for done in range(1, 41):  # a second each
        clock.now += 1
        report("Scoring", done, 40)
    assert lines == [
        "Scoring: 15 of 40, about 25 seconds left",
        "Scoring: 30 of 40, about 10 seconds left",
    ]
    report("Timing", 0, 1)
    assert lines[2:] == ["Timing"]
    report("It takes about 2 minutes", 0, 0)  # now told at once
    assert lines[3] == "It takes about 2 minutes"


def test_a_phase_that_reports_once_is_named_after_a_second() -> None:
    lines: list[str] = []
    report = Lines(lines.append)
    report.begin()
    assert lines == []
    report("Calibrating", 0, 1)
    report.begin()  # by the timer
    report.begin()
    assert lines == ["Calibrating"]


def test_what_is_left_is_told_by_the_phase_alone() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 50
    assert pace.at("Scoring", 10, 100)
    assert pace.left() is None
    clock.now += 6
    assert not pace.at("Scoring", 13, 100)
    assert pace.left() == pytest.approx(2 * 87)


@pytest.mark.parametrize(("query", "least"), [(0.001, 20), (0.02, 20), (0.3, 20), (2.0, 10)])
def test_the_estimate_of_timing_is_what_the_clock_takes(query: float, least: int) -> None:
    calls = 0

    def task(index: int) -> int:
        nonlocal calls
        calls += 1
        return round(query * 1e9)

    interleave([task, task], 1.0, min_samples=least)
    taken = calls * query
    assert taken / 1.5 < 2 * expected_seconds(query, 1.0, least) < 1.5 * taken


class Fixed:
    """A contender whose pass takes what a test says."""

    name, by, format, backend, streams = "fixed", "test", "FP32", "float", 1

    def __init__(self, seconds: float) -> None:
        self.seconds, self.spent = seconds, 0.0
        self.packages: dict[str, str] = {}

    def query(self, index: int, passes: int) -> int:
        self.spent += self.seconds * passes
        return round(self.seconds * passes * 1e9)

    def details(self) -> dict[str, str]:
        return {}


def test_a_race_says_before_how_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigmabench.harness.race.turns.time.sleep", lambda _: None)
    runners = [Fixed(0.004), Fixed(0.4), Fixed(3.0)]
    told: list[float] = []
    take_turns(runners, Turns(50, 1, 1.0), lambda: None, lambda e: told.extend((e(1), e(32))))
    taken = sum(one.spent for one in runners)
    assert taken / 2 < told[0] < 2 * taken
    assert told[1] > 2 * told[0]


class Toy:
    """A predictor whose pass of an image takes a hundredth of a second on a test's clock."""

    threads = 1

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def logits(self, x: torch.Tensor, seed: int, passes: range) -> torch.Tensor:
        self.clock.now += 0.01 * len(x) * len(passes)
        return torch.zeros(len(passes), len(x), 10)


def test_the_estimate_of_a_run_counts_scoring_and_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("sigmabench.harness.measure.estimate.time.perf_counter", clock)
    plan = Plan(
        WORKLOADS.get("lenet-digits"), formats=("FP32",), mc=(2, 10), batches=(1,), limit=40
    )
    networks = load_networks(plan)
    prepared = prepare(plan, networks)
    split = prepared.splits.test.limit(40)
    cells = plan.cells(networks)
    found = run_seconds(plan, split, prepared.artefact("FP32"), Toy(clock), cells, 1)
    scoring = 3 * 40 * 10 * 0.01
    timing = 2 * sum(20 * 0.01 * mc for mc in (2, 10))
    assert scoring + timing < found < 2 * (scoring + timing)


LONG: dict[str, tuple[str, str]] = {
    "shift": (
        "shift lenet-digits --formats FP32,INT8 --types fog --severities 1 --mc 2 --limit 20 "
        "--workers 1",
        "Scoring 4 cells takes about",
    ),
    "selective": (
        "selective lenet-digits --formats FP32,INT8 --mc 2 --limit 20 --seeds 1 --workers 1",
        "Scoring 4 cells takes about",
    ),
    "peers": (
        "peers lenet-digits --peers none --formats INT8 --mc 2 --limit 20 --batch 4 --seconds 0.01",
        "Scoring INT8 takes about",
    ),
    "memory": ("bench memory lenet5 --batch 1,2 --mc 2", "Running at batch 1, 2 takes about"),
}


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.thorough
def test_a_long_job_says_before_how_long_it_takes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigmabench.harness.core.waiting.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("sigmabench.harness.core.waiting.LONG_SECONDS", 0.0)
    command, says = LONG[kind]
    ran = CliRunner().invoke(main, [*command.split(), "--results", str(tmp_path)])
    assert ran.exit_code == 0, ran.output
    lines = ran.stderr.splitlines()
    told = next(i for i, line in enumerate(lines) if line.startswith(says))
    phase = says.split(" takes")[0].split()[0]
    begun = [i for i, line in enumerate(lines) if line.startswith(phase) and i != told]
    assert told < min(begun), lines


def test_the_estimate_of_a_study_is_of_its_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of backends that need 1 ms and 10 ms per pass on an image, whose passes are counted."""
    took = {"native": 0.001, "drawn": 0.01}
    monkeypatch.setattr(study, "image_pass_seconds", lambda _, predictor, *__: took[predictor])
    monkeypatch.setattr("sigmabench.harness.studies.scored.time.perf_counter", lambda: 0.0)
    test = WORKLOADS.get("lenet-digits").splits(None).test.limit(20)
    graph = SimpleNamespace(steps=(), activations={"x": SimpleNamespace(shape=(1, 8, 8))})
    formats = {"FP32": ("drawn", 5), "INT8": ("native", 5), "DNN_INT8": ("native", 1)}
    cells = [
        SimpleNamespace(
            format=name, backend=backend, mc=mc, range="-", seed=0, method="", temperature=""
        )
        for name, (backend, mc) in formats.items()
    ]
    job = SimpleNamespace(
        parts={"test": test},
        artefacts={(name, "-"): SimpleNamespace(graph=graph) for name in formats},
        images=lambda condition: test,
        predictor=lambda cell: cell.backend,
    )
    one, other = (Condition("none", 0, name, "test") for name in "ab")
    wanted = [
        Task(tuple(cells[:2]), SCORED, about=one),
        Task(tuple(cells[2:]), SCORED, about=other),
    ]
    seconds, fitting = study._seconds(job, wanted)
    assert seconds == pytest.approx(20 * (5 * 0.01 + 5 * 0.001 + 0.001))
    assert fitting == 0


def test_piped_a_run_names_its_phases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigmabench.harness.core.waiting.FIRST_SECONDS", 0.0)
    monkeypatch.setattr("sigmabench.harness.studies.run.measure.LONG_SECONDS", 0.0)
    assert BACKENDS.get("reference").unavailable() is None
    ran = CliRunner().invoke(
        main,
        "run lenet-digits --formats FP32,INT8 --mc 2 --batch 1 --seeds 1 --limit 20 --threads 1 "
        f"--seconds 0.01 --backend reference --results {tmp_path}".split(),
    )
    assert ran.exit_code == 0, ran.output
    lines = ran.stderr.splitlines()
    phases = (
        "Loading data",
        "2 cells to score and time: about",
        "Scoring FP32",
        "Calibrating and quantizing INT8",
        "Scoring INT8",
        "Measuring copy bandwidth",
        "Timing",
    )
    places = [next(i for i, line in enumerate(lines) if line.startswith(p)) for p in phases]
    assert places == sorted(places), lines
