"""What a run's screen says of passes: the methods study in brief, of the same images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sigmabench.harness.cli.main import main
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.records.methods_record import METHOD_RECORDS
from sigmabench.harness.records.store import Store
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.studies.methods import measure

TITLE = "What passes buy in INT8"
SAID = "Passes: "
RUN = [
    "run", "lenet-digits", "--formats", "FP32,INT8", "--mc", "1,3", "--batch", "1", "--limit", "80",
    "--seeds", "2", "--seconds", "0.01", "--threads", "1",
]  # fmt: skip


def run(folder: Path, *more: str) -> Result:
    return CliRunner().invoke(main, [*RUN, "--results", str(folder), *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    shown = run(folder)
    assert shown.exit_code == 0, shown.output
    (folder / "shown.txt").write_text(shown.stdout)
    return folder


def test_the_screen_says_what_the_methods_study_says(folder: Path) -> None:
    shown = (folder / "shown.txt").read_text()
    assert len(shown.rstrip("\n").splitlines()) <= 45
    assert all(len(line) <= 80 for line in shown.splitlines())
    store: Store[Any] = Store(folder, METHOD_RECORDS)
    found = {one.subject.method: one for one in store.records("lenet-digits")}
    assert found.keys() == {"mean-field", "mean"}
    assert found["mean-field"].subject.mc == (1, 2, 3)
    assert found["mean-field"].subject.seeds == 2
    (said,) = STUDIES.get("methods").part("analyse").analyse(list(found.values()))
    sentence, *_ = STUDIES.get("methods").part("document").conclusions(said)
    assert f"{SAID}{sentence}" in " ".join(shown.split())


def test_the_whole_output_has_a_row_for_each_method(folder: Path) -> None:
    shown = run(folder, "--full").stdout
    after = shown[shown.index(TITLE) :]
    store: Store[Any] = Store(folder, METHOD_RECORDS)
    for record in store.records("lenet-digits"):
        method, T = record.subject.method, record.subject.mc[-1]
        (row,) = [line.split() for line in after.splitlines() if line.split()[:1] == [method]]
        scores = [record.score("nll", T, warm) for warm in (False, True)]
        assert row[1] == str(T)
        assert row[3:5] == [f"{score:.4f}" for score in scores]


def test_what_is_stored_is_shown_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "measurer", None)
    for policy in ("only-missing", "never"):
        shown = run(folder, "--policy", policy)
        assert shown.exit_code == 0, shown.output
        assert SAID in shown.stdout


def test_a_script_reads_what_it_read_before(folder: Path) -> None:
    told = json.loads(run(folder, "--json").stdout)
    assert isinstance(told, list)
    assert SAID not in json.dumps(told)


@pytest.mark.parametrize(
    "other", [["--split", "validation"], ["--observer", "mse"], ["--formats", "FP32"]]
)
def test_another_network_s_or_other_images_answer_is_not_shown(other: list[str]) -> None:
    asked = STUDIES.get("run").plan.plan("lenet-digits", scoring=True, **_choices(other))[0]
    assert STUDIES.get("run").plan.companion(asked) is None


def _choices(words: list[str]) -> dict[str, Any]:
    value = words[1].split(",") if words[0] == "--formats" else words[1]
    return {"formats": ["FP32", "INT8"], words[0].removeprefix("--"): value}


def test_a_reason_stands_where_it_cannot_be_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise UserError("The validation images of x are training images.")

    monkeypatch.setattr(measure, "measurer", refused)
    shown = run(tmp_path, "--limit", "40")
    assert shown.exit_code == 0, shown.output
    assert SAID not in shown.stdout
    assert "Whether T passes pay is not shown: The validation images" in shown.stderr
