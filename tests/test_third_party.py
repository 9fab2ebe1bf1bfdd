"""A package that is installed beside this one adds one of everything, and each stands wherever such
things stand, with nothing else touched."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ENTRY_POINTS = """
[sigmabench.metrics]
second_error = throwaway.things:METRIC
[sigmabench.formats]
COARSE = throwaway.things:FORMAT
[sigmabench.backends]
borrowed = throwaway.things:BACKEND
[sigmabench.corruptions]
inverted = throwaway.things:INVERTED
[sigmabench.peers]
stranger = throwaway.things:PEER
[sigmabench.scenarios]
whenever = throwaway.things:SCENARIO
[sigmabench.studies]
extremes = throwaway.extremes.study:STUDY
broken = throwaway.broken:STUDY
"""
MAIN = "from sigmabench.harness.cli.main import main; main()"
RUN = [
    "--mc",
    "2",
    "--batch",
    "1",
    "--seeds",
    "2",
    "--seconds",
    "0.01",
    "--limit",
    "60",
    "--threads",
    "1",
]


pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the package is installed."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "throwaway").symlink_to(Path(__file__).parent / "throwaway")
    about = folder / "throwaway-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: throwaway\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def ran(installed: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    paths = [str(installed), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=installed,
    )
    assert done.returncode == status, done.stderr
    return done


@pytest.fixture(scope="module")
def results(installed: Path) -> Path:
    folder = installed / "results"
    formats = ("--formats", "FP32,INT8,COARSE")
    ran(installed, "run", "lenet-digits", *RUN, *formats, "--results", str(folder))
    return folder


def test_the_list_names_each(installed: Path) -> None:
    found = json.loads(ran(installed, "list", "--json").stdout)
    names = {kind: {one["name"] for one in things} for kind, things in found.items()}
    assert "second_error" in names["metrics"]
    assert "COARSE" in names["formats"]
    assert "borrowed" in names["backends"]
    assert "inverted" in names["corruptions"]
    assert "stranger" in names["peers"]
    assert "whenever" in names["scenarios"]
    assert "extremes" in names["studies"]


def test_the_doctor_looks_for_the_peer_and_the_backend(installed: Path) -> None:
    found = json.loads(ran(installed, "doctor", "--seconds", "0.01", "--json").stdout)
    assert "stranger" in found["peers"]
    assert "borrowed" in found["backends"]


@pytest.mark.parametrize("form", ["table", "wide", "markdown"])
def test_metric_and_format_stand_in_every_table(installed: Path, results: Path, form: str) -> None:
    shown = ran(installed, "report", "--results", str(results), "--format", form).stdout
    assert "2nd err." in shown
    assert "COARSE" in shown
    if form != "wide":
        beside = shown.split("Beside FP32")[1]
        assert "2nd err." in beside.split("On the same")[0], "it has a paired interval"


def test_metric_and_format_stand_in_csv_json_and_comparison(installed: Path, results: Path) -> None:
    shown = ran(installed, "report", "--results", str(results), "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert {row["format"] for row in rows} == {"FP32", "INT8", "COARSE"}
    assert all(float(row["second_error_mean"]) >= 0 for row in rows)
    told = json.loads(ran(installed, "report", "--results", str(results), "--json").stdout)
    assert all("second_error" in one["scores"] for one in told)
    assert any("second_error_percent" in (one["paired"] or {}).get("intervals", {}) for one in told)
    compared = json.loads(ran(installed, "compare", str(results), str(results), "--json").stdout)
    assert "second_error" in {one["metric"] for one in compared["scores"]}


def test_the_page_shows_metric_and_format(installed: Path, results: Path) -> None:
    ran(installed, "report", "--results", str(results), "--out", str(installed / "page"))
    page = (installed / "page/index.html").read_text()
    assert "2nd err." in page
    assert "COARSE" in page


def test_records_without_the_metric_show_a_dash(results: Path) -> None:
    from sigmabench.harness.records.run_record import RUN_RECORDS
    from sigmabench.harness.records.store import Store
    from sigmabench.harness.report.table import markdown

    records = Store(results, RUN_RECORDS).records()
    assert all("second_error" in one.body.quality.scores for one in records)
    assert "2nd err." not in markdown(records), "the package is not installed here"


def test_the_backend_computes(installed: Path) -> None:
    told = ran(
        installed,
        *("run", "lenet-digits", *RUN, "--formats", "INT8", "--backend", "borrowed", "--json"),
        *("--results", str(installed / "borrowed")),
    )
    (one,) = json.loads(told.stdout)
    assert one["cell"]["backend"] == "borrowed"


def test_the_corruption_is_studied_and_the_metric_judged(installed: Path) -> None:
    told = ran(
        installed,
        *("shift", "lenet-digits", "--types", "inverted", "--severities", "1", "--mc", "4"),
        *("--limit", "60", "--formats", "FP32,INT8", "--ood", "", "--workers", "1"),
        *("--results", str(installed / "shifted"), "--json"),
    )
    found = json.loads(told.stdout)
    assert found["margins"]["second_error"] == 1.5
    judged = [one for one in found["equivalence"] if one["metric"] == "second_error"]
    assert {one["severity"] for one in judged} == {0, 1}
    assert all(one["low"] <= one["effect"] <= one["high"] for one in judged)
    assert {one["metric"] for one in found["severities"]} > {"second_error"}


def test_the_study_has_a_command_records_and_a_report(installed: Path) -> None:
    folder = ("--results", str(installed / "extremes"))
    helped = ran(installed, "--help").stdout
    assert "The largest mean of each parameter." in helped
    assert "parameter" in ran(installed, "extremes", "lenet-digits", *folder, "--loud").stdout
    again = ran(installed, "extremes", "lenet-digits", *folder)
    assert "stored before" in again.stdout
    shown = ran(installed, "report", "--study", "extremes", *folder).stdout
    assert "Extremes" in shown
    never = ran(installed, "extremes", "lenet-digits", *folder, "--policy", "never", "--json")
    assert json.loads(never.stdout)["largest"]
    table = ran(installed, "report", "--study", "extremes", *folder, "--format", "csv").stdout
    assert table.startswith("parameter,largest\n")
    listed = ran(installed, "report", "--list", *folder).stdout
    assert "extremes" in listed


def test_a_study_that_cannot_be_imported_is_one_sentence(installed: Path, results: Path) -> None:
    done = ran(installed, "report", "--list", "--results", str(results))
    (line,) = done.stderr.splitlines()
    assert line.startswith("sigmabench: goes on without a study. The study 'broken'")
    assert "lenet-digits" in done.stdout


def test_without_the_package_its_records_are_named(installed: Path) -> None:
    folder = installed / "extremes"
    if not folder.exists():
        ran(installed, "extremes", "lenet-digits", "--results", str(folder))
    environment = {**os.environ, "COLUMNS": "120"}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, "report", "--list", "--results", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 2
    assert "holds records of kind 'extremes', which this SigmaBench does not know" in done.stderr
