"""The Python and the commands that the documentation prints do what it says."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from printed import ROOT, commands_of, python_of
from report import factory

from sigmabench.harness.cli.main import main
from sigmabench.harness.posterior import moped
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.store import Store

SHORT = ["--formats", "INT8", "--mc", "2", "--batch", "1", "--seconds", "0.05", "--threads", "1"]


def test_the_workload_of_ones_own_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heading = "## Add a workload"
    (tmp_path / "my_digits.py").write_text(python_of("CONTRIBUTING.md", heading), encoding="utf-8")
    train, run = commands_of("CONTRIBUTING.md", heading)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        for command in (train, [*run, *SHORT]):
            done = CliRunner().invoke(main, command)
            assert done.exit_code == 0, done.output
    finally:
        sys.modules.pop("my_digits", None)
    assert "my-digits: test split, 400 images" in done.output
    assert len(list(tmp_path.glob("results/my-digits/**/*.json"))) == 1
    assert len(list(tmp_path.glob("results/methods/my-digits/**/*.json"))) == 2  # what passes buy
    assert (tmp_path / "my-digits.safetensors").is_file()


def run(page: str, heading: str) -> dict[str, Any]:
    """What a page's Python leaves behind."""
    left: dict[str, Any] = {}
    exec(compile(python_of(page, heading), page, "exec"), left)
    return left


def test_the_corruptions_are_as_they_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    left = run("docs/corruptions.md", "# Corruptions")
    assert left["corrupted"].shape == left["test"].images.shape
    assert torch.equal(left["split"].images, left["corrupted"])
    assert left["source"] == "generated"


def test_values_are_read_as_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    store: Store[Any] = Store(tmp_path / "results", RUN_RECORDS)
    for record in factory.grid(("FP32", "INT8"), (1, 10), (1,)):
        store.save(record)
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export", "--format", "csv", "--out", "values.csv"])
    assert done.exit_code == 0, done.output
    left = run("docs/export.md", "## Reading them")
    assert set(left["scores"].subject_format) == {"FP32", "INT8"}
    assert set(left["scores"]["T"]) == {1, 10}


def test_a_posterior_goes_to_bayesian_torch_and_back_as_it_is_printed() -> None:
    left = run("docs/models.md", "## bayesian-torch")
    assert left["posterior"].content_hash() == moped(left["network"], 0.1).content_hash()
    assert set(left["state"]) >= {"0.mu_kernel", "0.rho_kernel", "2.mu_weight", "2.rho_bias"}


def test_the_first_python_of_a_new_user_runs_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("docs/getting-started.md", "## A posterior of your own")
    assert (tmp_path / "model.safetensors").is_file()
    assert "accuracy" in capsys.readouterr().out


def test_every_page_with_python_is_run() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    found = {page.name: page.read_text().count("```python") for page in pages}
    once = {
        "README.md",
        "CONTRIBUTING.md",
        "corruptions.md",
        "export.md",
        "models.md",
        "getting-started.md",
    }  # README: test_torch_state
    assert found == {page.name: int(page.name in once) for page in pages}
