"""Plan files: what they ask for, and where they are wrong; only what is missing is measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.toml_file import TomlFile
from sigmabench.harness.machine.cores import cores_for
from sigmabench.harness.measure import estimate
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.plan_file import PlanFile
from sigmabench.harness.studies.run import measure

DOCUMENT = Path(__file__).parents[2] / "docs" / "plans.md"
QUICK = 'workload = "lenet-digits"\nseconds = 0.01\nseeds = 1\nlimit = 40\nthreads = 1\n'
PLACES = """# a comment
[[run]]
workload = [
  "a",   # one
  "b"
]
T = [1, 10]

[[run]]
text = \"\"\"
[[run]]
other = 3
\"\"\"
other = 3
deep.key = [[1], [2,
 3]]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where commands are given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "plan.toml"
    path.write_text(text)
    return path


def run(path: Path, *flags: str) -> Result:
    return CliRunner().invoke(main, ["run", "--plan", str(path), *flags])


def stored(folder: Path) -> list[RunRecord]:
    return Store(folder / "results", RUN_RECORDS).records()


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ((), 1),
        (("run",), 2),
        (("run", 0), 2),
        (("run", 0, "workload"), 3),
        (("run", 0, "workload", 0), 4),
        (("run", 0, "workload", 1), 5),
        (("run", 0, "T", 1), 7),
        (("run", 1), 9),
        (("run", 1, "text"), 10),
        (("run", 1, "other"), 14),  # not 12, which is in a text
        (("run", 1, "deep", "key"), 15),
        (("run", 1, "missing"), 9),
        (("run", 2), 2),
    ],
)
def test_the_line_of_a_part(place: tuple[str | int, ...], line: int, folder: Path) -> None:
    assert TomlFile(written(folder, PLACES)).line(place) == line


def test_lines_that_end_as_windows_has_them(folder: Path) -> None:
    path = folder / "plan.toml"
    path.write_bytes(PLACES.replace("\n", "\r\n").encode())
    assert TomlFile(path).line(["run", 1, "other"]) == 14


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[[run]]\n" + QUICK + "bacth = 3\n", 7, "'bacth'; did you mean batch"),
        ("[[runs]]\n" + QUICK, 1, "'runs'; did you mean run?"),
        ("# nothing\n", 1, "a plan is made of tables [[run]], each with a workload"),
        ("[run]\n" + QUICK, 1, "a plan is made of tables [[run]], each with a workload"),
        ("[[run]]\nT = 1\n\n[[run]]\n" + QUICK, 1, "[[run]] names no workload; give one"),
        ("[[run]]\n" + QUICK + "T = [\n 1,\n 2.5,\n]\n", 9, "T is [1, 2.5]; give whole numbers"),
        ("[[run]]\n" + QUICK + "batch = true\n", 7, "batch is True; give one whole number"),
        ("[[run]]\n" + QUICK + "batch = []\n", 7, "batch is []; give one whole number"),
        ("[[run]]\n" + QUICK + 'delta = "1"\n', 7, "delta is '1'; give a number"),
        ("[[run]]\n" + QUICK + 'format = ["FP32",\n"INT9"]\n', 8, "'INT9'; did you mean INT8"),
        ("[[run]]\n" + QUICK + 'backend = "nativ"\n', 7, "'nativ'; did you mean native"),
        ("[[run]]\n" + QUICK + 'scenario = "closed"\n', 7, "no scenario named 'closed'"),
        ('[[run]]\nworkload = ["lenet-digits",\n "lenet-dig"]\n', 3, "'lenet-dig'; did you mean"),
        ("[[run]]\n" + QUICK + 'backend = "float"\nformat = "INT8"\n', 7, "does not compute INT8"),
        ("[[run]]\n" + QUICK + "team = 2\n", 7, "team is 2; give a number that divides"),
        ("[[run]]\n" + QUICK + "T = [1, 0]\n", 7, "T is 0; give a whole number of at least 1"),
        ("[[run]]\n" + QUICK + 'range = "wide"\n', 7, "wide"),
        ('[[run]]\nworkload = "lenet-digits"\nthreads = [1, 4000]\n', 3, "4000"),
        ("[[run]]\n" + QUICK + 'limit = 1\nlimit = 2\n', 7, "Cannot overwrite a value"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(
    text: str, line: int, said: str, folder: Path
) -> None:
    done = run(written(folder, text), "--dry-run")
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert re.search(rf"line {line}\b", done.stderr), done.stderr
    assert not (folder / "results").exists()


def test_what_is_no_toml_is_said_with_its_line(folder: Path) -> None:
    done = run(written(folder, "[[run]]\nworkload = \n"))
    assert done.exit_code == 2
    assert re.search(r"plan.toml is not TOML: .*line 2", done.stderr)
    path = folder / "plan.toml"
    path.write_bytes(b"\xff")
    assert "is not UTF-8" in run(path).stderr
    path.write_text("#" * (1 << 16) + "\n")
    assert "is larger than 64 KiB" in run(path).stderr
    assert "cannot be read" in run(folder / "absent.toml").stderr
    path.write_text("a = " + "[" * 3000)
    assert "is not TOML" in run(path).stderr


def test_a_grid_becomes_jobs_of_what_takes_turns(folder: Path) -> None:
    text = """
    [[run]]
    workload = ["lenet-digits", "lenet5-mnist"]
    format = ["FP32", "INT8"]
    T = [1, "auto", 10, 1]
    threads = [1, 2]
    backend = ["native", "reference"]
    sigma-grid = "codebook"
    data = "somewhere"

    [[run]]
    workload = "lenet-digits"
    """
    jobs = PlanFile(written(folder, text)).jobs
    shared = {
        "formats": ("FP32", "INT8"),
        "mc": (1, "auto", 10),
        "sigma_grid": "codebook",
        "data": Path("somewhere"),
    }
    assert [(job.study.name, job.table, dict(job.choices)) for job in jobs] == [
        *(
            ("run", 0, {"workload": name, "threads": threads, "backend": backend, **shared})
            for name in ("lenet-digits", "lenet5-mnist")
            for threads in (1, 2)
            for backend in ("native", "reference")
        ),
        ("run", 1, {"workload": "lenet-digits"}),
    ]


def test_other_scenarios_are_jobs_of_the_study_of_load(folder: Path) -> None:
    text = """
    [[run]]
    workload = "lenet-digits"
    format = "INT8"
    T = [2, 10]
    batch = [1, 8]
    scenario = ["server", "closed-loop", "offline"]
    """
    path = written(folder, text)
    shared = {"workload": "lenet-digits", "formats": ("INT8",), "mc": (2, 10)}
    assert [(job.study.name, dict(job.choices)) for job in PlanFile(path).jobs] == [
        ("run", {**shared, "batch": (1, 8)}),
        *(
            ("scenarios", {**shared, "batch": batch, "scenarios": ("server", "offline")})
            for batch in (1, 8)  # a system under test has one
        ),
    ]
    path.write_text(text + "latency = 3.0\n")
    with pytest.raises(UserError, match="line 8: latency says nothing under closed-loop"):
        _ = PlanFile(path).jobs
    path.write_text(text.replace('"closed-loop", ', "") + "seeds = 2\n")
    with pytest.raises(UserError, match="line 8: seeds says nothing under server, offline"):
        _ = PlanFile(path).jobs


def test_a_dry_run_lists_what_is_missing_and_measures_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "image_pass_seconds", lambda *_: 0.5)
    path = written(folder, "[[run]]\n" + QUICK + 'format = ["FP32", "INT8"]\nT = 2\nbatch = [1, 8]')
    done = run(path, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "4 of 4 cells are missing, in 2 tasks: about 9 minutes." in done.stdout
    assert "Nothing was measured." in done.stdout
    (listed,) = json.loads(run(path, "--dry-run", "--json").stdout)
    assert [len(task) for task in listed["missing"]] == [2, 2]
    # 2 formats x 40 images x T = 2 at 0.5 s; of each cell and its twin that repeats one input so
    # many queries as the clock asks for, of one second or of one pass
    assert listed["seconds"] > 2 * 40 * 2 * 0.5
    assert not (folder / "results").exists()


def test_an_estimate_counts_each_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from sigmabench.harness.studies.run import plan as run_plan

    monkeypatch.setattr(estimate, "image_pass_seconds", lambda *_: 0.01)

    def seconds(processes: int) -> float:
        choices = {"formats": ("FP32",), "mc": (1,), "batch": (1,), "seconds": 5.0, "seeds": 1}
        made, _ = run_plan.plan(
            "lenet-digits", scoring=True, threads=1, limit=100, processes=processes, **choices
        )
        return measure.expected_seconds(made, run_plan.tasks(made, True), lambda *_: None)

    assert seconds(3) - seconds(1) == pytest.approx(2 * (seconds(1) - 100 * 0.01), rel=0.02)


def test_only_what_is_missing_is_measured(folder: Path) -> None:
    first = "[[run]]\n" + QUICK + 'format = ["FP32", "INT8"]\nT = 2\nbatch = 1\n'
    done = run(written(folder, first))
    assert done.exit_code == 0, done.output
    before = stored(folder)
    assert [(one.subject.format, one.subject.mc) for one in before] == [("FP32", 2), ("INT8", 2)]
    again = run(written(folder, first + "\n" + first.replace("T = 2", "T = [2, 3]")), "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)
    after = stored(folder)
    assert after[:2] == before
    assert [(one.subject.format, one.subject.mc) for one in after[2:]] == [("FP32", 3), ("INT8", 3)]
    command = ["run", "lenet-digits", "--formats", "FP32,INT8", "--mc", "3", "--batch", "1"]
    flags = ["--seconds", "0.01", "--seeds", "1", "--limit", "40", "--threads", "1", "--alone"]
    same = CliRunner().invoke(main, [*command, *flags])
    assert "2 of 2 records were stored before" in same.stdout


def test_a_job_that_cannot_be_measured_is_named_and_the_others_go_on(folder: Path) -> None:
    table = "[[run]]\n" + QUICK + 'format = "FP32"\nT = 1\nbatch = {}\n'
    done = run(written(folder, table.format(4000) + table.format(1)))
    assert done.exit_code == 2
    assert "plan.toml, line 9: batch is 4000, more than the 40 images" in done.stderr
    assert [one.subject.batch for one in stored(folder)] == [1]
    assert "T = 1 pass" in done.stdout


def test_what_a_plan_says_cannot_be_said_beside_it(folder: Path) -> None:
    path = written(folder, "[[run]]\n" + QUICK)
    done = run(path, "lenet-digits", "--mc", "3")
    assert done.exit_code == 2
    assert "leave out" in done.stderr
    assert "--mc" in done.stderr
    assert "WORKLOAD" in done.stderr
    alone = CliRunner().invoke(main, ["run", "--dry-run"])
    assert "give one with --plan" in alone.stderr


def test_the_documented_plan_can_be_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if cores_for(None) < 2:
        pytest.skip("the documented plan takes two cores")
    monkeypatch.setattr(measure, "expected_seconds", lambda *_: 60.0)
    (text,) = re.findall(r"^```toml\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    done = run(written(folder, text), "--dry-run")
    assert done.exit_code == 0, done.output
    # 3 formats x 2 T x 2 batches on one core and on two, and INT8 from two backends
    assert "26 of 26 cells are missing, in 10 tasks: about 4 minutes." in done.stdout


def test_an_unknown_key_is_named_by_the_file(folder: Path) -> None:
    path = written(folder, "[[run]]\n" + QUICK + "x = 1\n")
    with pytest.raises(UserError, match=rf"^{re.escape(str(path))}, line 7: There is no key"):
        PlanFile(path)
