"""asv's results as series and documents, and `sigmabench history`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from history import asv_files as files

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.history import change_points
from sigmabench.harness.history.asv_results import TrackedSeries, direction, series
from sigmabench.harness.history.history import documents

NAN = float("nan")
SLOWER = [1.0, 1.01, 0.99, 1.0, 1.2, 1.21, 1.19, 1.2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two machines with eight commits each; the second half is slower on the first."""
    files.benchmarks(tmp_path)
    for name in ("machine-aaaaaaaa", "machine-bbbbbbbb"):
        files.machine(tmp_path, name, f"Processor {name[-1]}")
        for number, value in enumerate(SLOWER, 1):
            files.result(
                tmp_path,
                name,
                number,
                {
                    **files.sampler([value if name[-1] == "a" else 5.0 + number % 2 / 100, NAN]),
                    "quality.Scores.track_accuracy": ([["'INT8'"]], [90.0 if number < 6 else 95.0]),
                },
            )
    return tmp_path


def read(folder: Path) -> list[TrackedSeries]:
    def fail(reason: UserError) -> None:
        raise reason

    return series(folder, fail)


def called(*arguments: object) -> Any:
    return CliRunner().invoke(main, ["history", *map(str, arguments)])


def test_machines_are_lines_of_their_own(folder: Path) -> None:
    found = [one for one in read(folder) if "ratio" in one.benchmark]
    assert [one.machine.name for one in found] == ["machine-aaaaaaaa", "machine-bbbbbbbb"]
    assert [point.value for point in found[0].points] == SLOWER
    assert {len(one.points) for one in found} == {8}
    assert found[0].machine.shown == "Processor a, 2 cores (machine aaaaaaaa)"


def test_environments_are_lines_of_their_own(folder: Path) -> None:
    files.result(folder, "machine-aaaaaaaa", 9, files.sampler([7.0]), python="3.12")
    found = [one for one in read(folder) if one.machine.name.endswith("a")]
    assert {one.environment for one in found} == {
        "Python 3.11, torch 2.14.1",
        "Python 3.12, torch 2.14.1",
    }
    assert [one.name for one in documents(folder)] == [
        "history-machine-aaaaaaaa",
        "history-machine-aaaaaaaa-2",
        "history-machine-bbbbbbbb",
    ]


def test_what_was_skipped_or_is_of_another_version_is_no_point(folder: Path) -> None:
    files.result(folder, "machine-aaaaaaaa", 20, files.sampler([8.0]), version="2")
    files.result(folder, "machine-aaaaaaaa", 21, files.sampler([None, "x"]))
    files.result(folder, "machine-aaaaaaaa", 22, {"passes.Pass.time_passes": ([], [True])})
    found = [one for one in read(folder) if "ratio" in one.benchmark]
    assert [one.parameters for one in found] == [(("bits", "8"),)] * 2
    assert [len(one.points) for one in found] == [8, 8]


def test_versions_are_not_joined_though_nobody_says_which_is_meant(folder: Path) -> None:
    (folder / "benchmarks.json").unlink()
    for number in (20, 21):
        files.result(folder, "machine-aaaaaaaa", number, files.sampler([8.0]), version="2")
    (one, _) = [one for one in read(folder) if "ratio" in one.benchmark]
    assert [point.value for point in one.points] == [8.0, 8.0]


def test_a_file_in_another_machine_s_folder_is_named_and_joined_to_nothing(folder: Path) -> None:
    path = files.result(folder, "machine-bbbbbbbb", 20, files.sampler([8.0]))
    moved = path.rename(folder / "machine-aaaaaaaa" / path.name)
    told: list[str] = []
    found = series(folder, lambda reason: told.append(str(reason)))
    assert {len(one.points) for one in found if "ratio" in one.benchmark} == {8}
    (line,) = told
    assert str(moved) in line
    assert "was measured on machine-bbbbbbbb" in line


def test_asv_itself_writes_what_is_read(tmp_path: Path) -> None:
    results = pytest.importorskip("asv.results")
    files.benchmarks(tmp_path)
    files.machine(tmp_path, "m")
    params = {"machine": "m", "cpu": "c"}
    made = results.Results(params, {"torch": "2.14.1"}, "ab" * 20, 5000, "3.11", "env", {})
    name = "passes.Pass.time_passes"
    shown = {"name": name, "version": "1", "params": [["'lenet5'"], ["'INT8'", "'FP32'", "'BF16'"]]}
    taken = [[0.5, 0.25, 0.75], None, None]
    from asv.runner import BenchmarkResult

    made.add_result(
        shown,
        BenchmarkResult([True, NAN, None], taken, [1, None, None], 0, "", None),
        record_samples=True,
    )
    made.save(str(tmp_path))
    (one,) = read(tmp_path)
    assert one.name == f"{name}(lenet5, INT8)"
    assert (one.unit, one.better, one.exact) == ("seconds", "lower", False)
    assert [(point.commit, point.date, point.value) for point in one.points] == [
        ("ab" * 20, 5000, 0.5)
    ]


@pytest.mark.parametrize(
    ("name", "better"),
    [
        ("passes.Pass.time_passes", "lower"),
        ("ratios.Pass.track_pass_ratio", "lower"),
        ("quality.Scores.track_error", "lower"),
        ("quality.Scores.track_accuracy", "higher"),
        ("accuracy.Scores.track_nll", "lower"),
    ],
)
def test_directions_are_known(name: str, better: str) -> None:
    assert direction(name) == better


def test_a_benchmark_may_say_which_direction_is_better(folder: Path) -> None:
    files.benchmarks(folder, **{"ratios.Sampler.track_sampler_ratio": {"better": "higher"}})
    assert {one.better for one in read(folder) if "ratio" in one.benchmark} == {"higher"}


def test_a_document_names_the_commit_and_the_direction(folder: Path) -> None:
    pytest.importorskip("ruptures")
    slow, steady = documents(folder)
    (change,) = [row for row in slow.sheets[0].rows if "ratio" in row[0]]
    assert change[0] == "track_sampler_ratio\n8"
    assert change[1] == "00000005\n1970-01-06"
    assert change[-1] == "worse"
    (better,) = [row for row in slow.sheets[0].rows if "accuracy" in row[0]]
    assert better[-1] == "better"
    assert "1 change for the worse and 1 for the better" in slow.conclusions[0]
    assert "is +20.0 % since 00000005" in slow.conclusions[1]
    assert not [row for row in steady.sheets[0].rows if "ratio" in row[0]]
    told = {one["benchmark"]: one for one in slow.values["series"]}
    (step,) = told["ratios.Sampler.track_sampler_ratio"]["changes"]
    assert step["commit"] == "00000005" + "0" * 32
    assert step["after_commit"] == "00000004" + "0" * 32
    assert step["worse"] is True


def test_figures_have_a_line_for_each_series(folder: Path) -> None:
    figures = {one.name: one for one in documents(folder)[0].figures()}
    assert sorted(figures) == [
        "quality-scores-track_accuracy",
        "ratios-sampler-track_sampler_ratio",
    ]
    (panel,) = figures["ratios-sampler-track_sampler_ratio"].panels
    line = panel.marks[0]
    assert line.y == tuple(SLOWER)
    assert line.label == "8 bits"
    assert panel.x.names[4] == "00000005"
    assert figures["quality-scores-track_accuracy"].panels[0].marks[0].look.format == "INT8"


def test_the_command_prints_writes_and_tells_scripts(folder: Path, tmp_path: Path) -> None:
    done = called("--results", folder, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "Processor a, 2 cores (machine aaaaaaaa)" in done.output
    assert "00000005" in done.output
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert "history-machine-aaaaaaaa-history.md" in made
    assert "history-machine-aaaaaaaa-ratios-sampler-track_sampler_ratio.svg" in made
    with (tmp_path / "out" / "history-machine-bbbbbbbb-series.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if "ratio" in row["benchmark"]]
    assert [float(row["value"]) for row in rows] == [5.0 + n % 2 / 100 for n in range(1, 9)]
    told = json.loads(called("--results", folder, "--json").stdout)
    assert [one["machine"] for one in told] == ["machine-aaaaaaaa", "machine-bbbbbbbb"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("{", "is not a file of asv's results"),
        ("[" * 100_000, "is nested too deep"),
        ('{"version": 2}', "commit_hash: Field required"),
        ("layout", "has layout 3 of asv's results"),
    ],
)
def test_one_sentence_for_what_cannot_be_read_and_the_rest_is_shown(
    folder: Path, damage: str, words: str
) -> None:
    path = folder / "machine-aaaaaaaa" / "00000063-x.json"
    path.write_text(damage)
    if damage == "layout":
        path.unlink()
        path = files.result(folder, "machine-aaaaaaaa", 99, {}, layout=3)
    done = called("--results", folder)
    assert done.exit_code == 2
    assert "machine aaaaaaaa" in done.stdout
    (line,) = [one for one in done.stderr.splitlines() if one]
    assert words in line
    assert path.name in line
    assert any(words in line for line in documents(folder)[0].lines)


@pytest.mark.parametrize("name", ["machine-aaaaaaaa/machine.json", "benchmarks.json"])
def test_damaged_facts_are_told_of(folder: Path, name: str) -> None:
    (folder / name).write_text("no JSON")
    done = called("--results", folder)
    assert done.exit_code == 2
    assert name.rpartition("/")[2] in done.stderr
    assert "machine aaaaaaaa" in done.stdout.replace("machine-", "machine ")


def test_a_folder_without_results_is_one_sentence(tmp_path: Path) -> None:
    done = called("--results", tmp_path)
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1
    assert "holds no results of asv" in done.stderr
    assert documents(tmp_path) == []
    done = called("--results", tmp_path / "none")
    assert done.exit_code == 2
    assert "There is no folder" in done.stderr


def test_without_ruptures_one_sentence_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in ("change_points", "history_document"):
        monkeypatch.setattr(f"sigmabench.harness.history.{place}.available", lambda: False)
    done = called("--results", folder)
    assert done.exit_code == 0
    assert "sigmabench[history]" in done.stdout
    assert change_points.ABSENT in documents(folder)[0].lines
    assert "00000005" not in documents(folder)[0].conclusions


def test_text_of_results_steers_no_terminal(folder: Path) -> None:
    files.machine(folder, "machine-aaaaaaaa", "\x1b[31mred")
    rows = {"x.\x1b[2Jtrack_a": ([["\x1b]0;title\x07"]], [1.0])}
    for number in (1, 2):
        files.result(folder, "machine-aaaaaaaa", number, rows)
    done = called("--results", folder)
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
