"""What asv is told of the machine, and what it says while it builds."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sigmabench.harness.history import asv_plugin as plugin
from sigmabench.harness.machine.describe import this_machine

machine = pytest.importorskip("asv.machine")
environment = pytest.importorskip("asv.environment")
util = pytest.importorskip("asv.util")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """asv as it was before and with a home of its own; all is put back."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv(plugin.VARIABLE, raising=False)
    monkeypatch.setattr(machine.Machine, "hardcoded_machine_name", None)
    for name in ("create", "_build_project", "_install_project"):
        monkeypatch.setattr(environment.Environment, name, getattr(environment.Environment, name))
    monkeypatch.setattr(sys, "argv", ["asv", "run"])
    return monkeypatch


def test_a_machine_has_its_identity_for_a_name() -> None:
    name = plugin.machine_name()
    assert name == f"machine-{this_machine().hash}"
    assert not re.fullmatch("[0-9a-f]{8}", name)  # which names a folder of records


def test_asv_asks_nothing(installed: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ask(*_: Any, **__: Any) -> str:
        raise AssertionError("asv asks")

    installed.setattr("builtins.input", ask)
    plugin.install()
    found = machine.Machine.load(interactive=True)
    assert found.machine == plugin.machine_name()
    assert {name for name, _ in machine.Machine.fields} == set(plugin.machine_facts())
    found.save(str(tmp_path / "results"))
    assert (tmp_path / "results" / plugin.machine_name() / "machine.json").is_file()
    plugin.install()  # a second time, as every command does


def test_asv_says_how_long_it_takes(
    installed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin.install()
    told = capsys.readouterr().err
    assert plugin.machine_name() in told
    assert "about 1.5 minutes per commit" in told
    assert "SIGMABENCH_PROFILE=full" in told
    installed.setattr(sys, "argv", ["asv", "show"])
    plugin.install()
    assert capsys.readouterr().err == ""


def test_an_unknown_profile_is_one_sentence(installed: pytest.MonkeyPatch) -> None:
    installed.setenv(plugin.VARIABLE, "quik")
    with pytest.raises(util.UserError, match="did you mean quick"):
        plugin.install()


def test_building_is_told_of_and_happens_once(
    installed: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = []

    class Some(environment.Environment):
        def __init__(self) -> None:
            self._is_setup = False

        def check_presence(self) -> bool:
            return bool(done)

        def save_info_file(self, path: str) -> None:
            pass

        _env_dir = _path = "/nowhere"

        def _setup(self) -> None:
            done.append("made")

    installed.setattr(environment.os, "makedirs", lambda path: None)
    plugin.install()
    plugin.install()
    capsys.readouterr()
    Some().create()
    assert done == ["made"]
    assert capsys.readouterr().err.count("Making the environment") == 1
    Some().create()
    assert capsys.readouterr().err == ""


def test_progress_goes_on_while_something_lasts(capsys: pytest.CaptureFixture[str]) -> None:
    with plugin.progress("Building", seconds=0.02):
        time.sleep(0.1)
    told = capsys.readouterr().err
    assert "Building ..." in told
    assert "still: 0 s so far" in told
