"""Commands that read records, and `list`, where every text in them would steer the terminal."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hostile import CLOSED, HOSTILE, planted, steering

from sigmabench.harness.cli import commands
from sigmabench.harness.cli.main import main
from sigmabench.harness.records.kind import Kind
from sigmabench.harness.records.peers_record import COMPARISONS
from sigmabench.harness.records.record_file import read_record, write_record
from sigmabench.harness.records.shift_record import SHIFT_RECORDS
from sigmabench.harness.workload.workload import WORKLOADS

FEW = ["lenet-digits", "--formats", "FP32,INT8", "--mc", "2", "--limit", "20"]
COMMANDS: dict[str, tuple[list[str], Kind[Any]]] = {
    "shift": (["--types", "fog", "--severities", "1", "--workers", "1"], SHIFT_RECORDS),
    "selective": (["--seeds", "1", "--workers", "1"], SHIFT_RECORDS),
    "peers": (["--peers", "none", "--batch", "4", "--seconds", "0.01"], COMPARISONS),
}
#: What was asked for, without which nothing is found, and numbers as text.
KEPT = CLOSED | {"subject", "unavailable"}


def called(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [str(one) for one in arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    assert not steering(done.output)
    return done


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("shift", marks=pytest.mark.thorough),
        pytest.param("selective", marks=pytest.mark.thorough),
        "peers",
    ],
)
def test_stored_studies_and_comparisons(name: str, tmp_path: Path) -> None:
    more, kind = COMMANDS[name]
    command = [name, *FEW, *more, "--results", tmp_path / "stored"]
    called(*command)
    records = [path for path in tmp_path.rglob("*.json") if path.parent.name != "report"]
    assert records
    for path in records:
        write_record(path.parent, kind, planted(read_record(path, kind), KEPT))
    never = [*command, "--policy", "never"]
    called(*never)
    told = called(*never, "--json").stdout
    assert json.loads(told)
    assert name != "peers" or "\\u001b" in told
    called(*never, "--out", tmp_path / "made")
    texts = [path for path in (tmp_path / "made").iterdir() if path.suffix in (".md", ".csv")]
    assert len(texts) >= 2
    assert not any(steering(path.read_text()) for path in texts)


def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    found = WORKLOADS.get("lenet-digits")
    recipes = {HOSTILE: next(iter(found.recipes.values()))}
    names = tuple(f"{k}{HOSTILE}" for k in range(found.classes))
    odd = replace(found, title=HOSTILE, recipes=recipes, class_names=names)
    monkeypatch.setitem(WORKLOADS._loaded, "lenet-digits", odd)


@pytest.mark.thorough
@pytest.mark.filterwarnings("error:Glyph")  # a warning shows the character itself
def test_workloads_whose_titles_recipes_and_classes_are_hostile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile(monkeypatch)
    assert "\\u001b" in called("list").stdout
    assert json.loads(called("list", "--json").stdout)["workloads"]
    more, _ = COMMANDS["selective"]
    command = ["selective", *FEW, *more, "--results", tmp_path / "stored"]
    assert "\\u001b" in called(*command, "--out", tmp_path / "made").stdout
    texts = [path for path in (tmp_path / "made").iterdir() if path.suffix in (".md", ".csv")]
    assert any("\\u001b" in path.read_text() for path in texts)
    assert not any(steering(path.read_text()) for path in texts)
    made = ["--results", tmp_path / "stored", "--out", tmp_path / "weights"]
    called("weights", "lenet-digits", "--passes", "2", *made)
    called("inspect", WORKLOADS.get("lenet-digits").posterior)


def test_warnings_of_libraries_are_not_shown_and_others_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = {"PIL.Image": "Image.py", "torch.nn.functional": "functional.py", "mine": "mine.py"}

    def warning(*_: object) -> dict[str, Any]:
        for module, file in places.items():
            text = f"{module}\x1b[2J is old.\nA second line."
            warnings.warn_explicit(text, UserWarning, f"/there/{file}", 7, module)
        return {}

    monkeypatch.setattr(commands, "listing", warning)
    told = "sigmabench: UserWarning of mine.py, line 7: mine\\u001b[2J is old.\n"
    assert called("list", "--json").stderr == told
    monkeypatch.setattr(sys, "warnoptions", ["always"])
    with pytest.warns(UserWarning, match="is old") as every:
        assert called("list", "--json").stderr == ""
    assert len(every) == len(places)
