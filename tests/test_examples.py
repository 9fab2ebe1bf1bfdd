"""The Python and the commands that the documentation prints do what it says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from printed import commands_of, python_of

from sigmabench.harness.cli import main

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
    assert len(list(tmp_path.glob("results/**/*.json"))) == 1
    assert (tmp_path / "my-digits.safetensors").is_file()
