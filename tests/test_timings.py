"""`results/timings.py`: its commands exist, add up to two hours, and go on where they stopped."""

from __future__ import annotations

import shlex
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import click
import pytest

from sigmabench.harness.cli.main import main

ROOT = Path(__file__).parents[1]


@pytest.fixture
def timings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT))
    found = import_module("results.timings")
    monkeypatch.setattr(sys, "argv", ["timings.py"])
    return found


def test_all_of_it_takes_two_hours_at_most(timings, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["timings.py", "--list"])
    assert timings.main() == 0
    *listed, total = capsys.readouterr().out.splitlines()
    minutes = [float(line.rpartition("# ")[2].removesuffix(" min")) for line in listed]
    assert min(minutes) > 0
    assert float(total.split()[1]) == sum(minutes) <= 120


def test_every_command_can_be_given(timings, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["timings.py", "--list", "--environments", "else where"])
    timings.main()
    *listed, _ = capsys.readouterr().out.splitlines()
    assert len(listed) == len(set(listed)) > 15
    for line in listed:
        program, *words = shlex.split(line, comments=True)
        assert program == "sigmabench"
        command: click.Command = main
        while isinstance(command, click.Group):
            _, found, words = command.resolve_command(click.Context(command), words)
            assert found is not None
            command = found
        options, rest, _ = command.make_parser(click.Context(command)).parse_args(list(words))
        assert len(rest) == 0 or options
        timed = command.name not in ("memory", "profile")
        assert ("--processes 3" in line) == timed


def test_each_command_says_how_much_is_left(timings, monkeypatch, capsys):
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(timings, "_run", lambda *words: ran.append(words) or 0)
    assert timings.main() == 0
    told = capsys.readouterr().out
    steps = (*timings.STEPS, *timings.ONCE)
    assert f"about {timings.left(steps):g} minutes" in told.splitlines()[0]
    for number in range(len(steps)):
        assert f"{number + 1} of {len(steps)}, about {steps[number].minutes:g} min, " in told
        assert f"at most about {timings.left(steps[number:]):g} min left in all: " in told
    assert len(ran) > len(steps)  # what shows them is rebuilt


def test_a_command_that_fails_is_named_and_the_rest_is_measured(timings, monkeypatch, capsys):
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr(timings, "_run", lambda *w: ran.append(w) or int("lenet5-mnist" in w))
    failed = timings.main()
    told = capsys.readouterr().err.splitlines()
    assert failed == len(told) >= 2
    assert all("lenet5-mnist" in line for line in told)
    assert len(ran) > len(timings.STEPS)


def test_it_stops_where_it_is_told(timings, monkeypatch, capsys):
    ran: list[tuple[str, ...]] = []

    def run(*words: str) -> int:
        ran.append(words)
        if len(ran) == 3:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(timings, "_run", run)
    assert timings.main() == 130
    assert len(ran) == 3
    assert "goes on" in capsys.readouterr().err
