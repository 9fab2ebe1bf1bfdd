"""What is printed: nothing steers the terminal, every encoding will do, and errors are told."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hostile import CLOSED, HOSTILE, planted, steering
from hypothesis import given
from hypothesis import strategies as st
from records_made import changed
from report import factory
from rich.console import Console
from shift.shift_factory import study
from unpublished import UNPUBLISHED

from sigmabench.harness.cli import terminal
from sigmabench.harness.cli.main import main
from sigmabench.harness.cli.study_commands import documents
from sigmabench.harness.core import words as text
from sigmabench.harness.core.errors import OutputError
from sigmabench.harness.core.escape import STAND_INS, plain, visible
from sigmabench.harness.posterior import load, save
from sigmabench.harness.quantize import artefact_file
from sigmabench.harness.records.envelope import Record
from sigmabench.harness.records.run_record import RUN_RECORDS, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.report import rendering, table
from sigmabench.harness.report.page import page
from sigmabench.harness.studies.compare import document as comparison
from sigmabench.harness.studies.compare.measure import compare
from sigmabench.harness.studies.known import STUDIES
from sigmabench.harness.workload.workload import WORKLOADS

RESULTS = Path(__file__).parents[1] / "results"
#: Of cells that stand in one table, which have tests of their own.
GRIDS = ("run", "shift", "selective")


@given(st.text())
def test_nothing_steers_and_json_is_the_same(words):
    shown = visible(words)
    assert not steering(shown)
    assert visible(shown) == shown
    whole = words.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    dumped = json.dumps({whole: whole}, ensure_ascii=False)
    assert json.loads(visible(dumped)) == {whole: whole}


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["ascii", "latin-1", "utf-8"]),
)
def test_every_encoding_will_do(words, encoding):
    shown = plain(words, encoding)
    shown.encode(encoding)
    assert encoding != "utf-8" or shown == words


@pytest.mark.parametrize(
    ("words", "shown"),
    [("✓ σ", "ok sigma"), ("é", "e"), ("3×", "3x"), ("中", "\\u4e2d"), ("😀", "\\ud83d\\ude00")],
)
def test_a_plain_character_stands_in(words, shown):
    assert plain(words, "ascii") == shown


def test_stand_ins_are_plain():
    assert all(words.isascii() for words in STAND_INS.values())


def printed(*renderables, width=80, tty=False, monkeypatch):
    """What `show` sends."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("COLUMNS", str(width))
    terminal.show(*renderables)
    return out.getvalue()


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    return [planted(one) for one in factory.grid(("FP32", "INT8"), mcs=(10,), batches=(1,))]


@pytest.mark.parametrize("form", ["narrow", "wide", "fidelity", "size"])
def test_tables_of_hostile_records(records, form, monkeypatch):
    shown = printed(getattr(table, form)(records), monkeypatch=monkeypatch)
    assert "\\u001b" in shown
    assert not steering(shown)


def test_files_of_hostile_records(records):
    for whole in (table.markdown(records), table.csv(records), page(records)):
        assert "\\u001b" in whole
        assert not steering(whole)


def test_json_of_hostile_records(records, monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    for piece in table.json_lines(records):
        terminal.echo(piece)
    assert not steering(out.getvalue())
    assert json.loads(out.getvalue())[0]["command"].endswith(HOSTILE)


def told(name: str, record: Record, monkeypatch) -> list[str]:
    """All that a study shows and writes of a record."""
    texts = []
    for made in documents(STUDIES.get(name), [record], None, {}):
        texts += [printed(rendering.terminal(made), monkeypatch=monkeypatch)]
        texts += [rendering.markdown(made), *text.csv_files(made.data).values()]
    return texts


#: By kind, names that its numbers are looked up by, and choices.
NAMES = {"ablation": {"types", "change", "options", "observer"}, "weights": {"label"}}


@pytest.mark.parametrize("name", [name for name in STUDIES.names() if name not in GRIDS])
def test_other_kinds_of_hostile_records(name, monkeypatch):
    kind = STUDIES.get(name).plan.KIND
    made = UNPUBLISHED.get(kind.name)
    first = made() if made else Store(RESULTS, kind).records()[0]
    texts = told(name, planted(first, CLOSED | NAMES.get(name, set())), monkeypatch)
    assert all("\\u001b" in shown for shown in texts[:2])  # on the terminal and as Markdown
    assert not any(map(steering, texts))


def test_a_hostile_comparison(records, monkeypatch):
    shown = printed(comparison.comparison(compare(records, records)), monkeypatch=monkeypatch)
    assert not steering(shown)


def test_a_hostile_study(monkeypatch):
    made = study(("FP32", "INT8"), ("fog",), (1,), images=30, ood=())
    hostile = [
        changed(one, subject=replace(one.subject, workload="w" + HOSTILE), command=HOSTILE)
        for one in made
    ]
    texts = [one for record in hostile for one in told("shift", record, monkeypatch)]
    assert not any(map(steering, texts))
    assert any("\\u001b" in one for one in texts)


def called(*arguments: object):
    return CliRunner().invoke(main, [str(one) for one in arguments])


def test_commands_on_a_hostile_store(records, tmp_path):
    stored = Store(tmp_path, RUN_RECORDS)
    for one in records:
        stored.save(changed(one, subject=replace(one.subject, workload="synthetic")))
    asked = [
        ["report", "--results", tmp_path],
        *(["report", "--results", tmp_path, "--format", form] for form in ("markdown", "csv")),
        ["report", "--results", tmp_path, "--json"],
        ["compare", tmp_path, tmp_path],
        ["report", "w" + HOSTILE, "--results", tmp_path],
        ["report", "--results", tmp_path / HOSTILE.replace("/", "")],
    ]
    for arguments in asked:
        done = called(*arguments)
        assert not isinstance(done.exception, Exception), done.exception
        assert not steering(done.output), arguments
        assert arguments[0] == "compare" or re.search(r"\\(u00|x)1b", done.output)


def test_inspect_of_a_hostile_posterior(tmp_path):
    posterior, metadata = load(WORKLOADS.get("lenet-digits").posterior)
    path = tmp_path / "posterior.safetensors"
    save(posterior, path, planted(metadata))
    for arguments in (["inspect", path], ["inspect", path, "--json"]):
        done = called(*arguments)
        assert done.exit_code == 0, done.exception
        assert not steering(done.output)
        assert "\\u001b" in done.output


def test_inspect_of_a_hostile_artefact(tmp_path):
    assert called("quantize", "--formats", "INT8", "--out", tmp_path).exit_code == 0
    (path,) = tmp_path.glob("*.safetensors")
    artefact = artefact_file.load(path)
    header = replace(artefact.header, workload=HOSTILE, posterior=HOSTILE, workload_version=HOSTILE)
    artefact_file.save(replace(artefact, header=header), path)
    done = called("inspect", path)
    assert done.exit_code == 0, done.output
    assert not steering(done.output)
    assert "\\u001b" in done.output


def test_progress_shows_what_it_is_given(monkeypatch):
    out = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda **_: Console(file=out, force_terminal=True))
    with terminal.progress(True) as report:
        report("Scoring \u202e\x1b][/b]", 1, 2)
    assert "\u202e" not in out.getvalue()
    assert "\x1b]" not in out.getvalue()
    assert "[/b]" in out.getvalue()


def test_text_in_csv_is_no_formula():
    rows = [{"a": "=1+1", "b": "-", "c": -1.5, "d": "-1.5", "e": "@x", "f": "+cmd|' /C'!A0"}]
    (row,) = csv.DictReader(io.StringIO(text.csv_lines(rows)))
    assert list(row.values()) == ["'=1+1", "-", "-1.5", "-1.5", "'@x", "'+cmd|' /C'!A0"]


def test_records_without_a_cell_in_common_are_not_compared(tmp_path):
    for side, mc in (("a", 1), ("b", 10)):
        Store(tmp_path / side, RUN_RECORDS).save(factory.record(mc=mc))
    done = called("compare", tmp_path / "a", tmp_path / "b")
    assert done.exit_code == 2
    assert "have no cell in common" in done.output


class Full(io.StringIO):
    def write(self, _):
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(OutputError, match="No space left on device"):
        terminal.echo("x")


def child(command: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """A shell command in which `$S` is the program."""
    run = f"{sys.executable} -c 'from sigmabench.harness.cli.main import main; main()'"
    return subprocess.run(
        ["bash", "-c", f'S() {{ {run} "$@"; }}; {command}'],
        capture_output=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_output_that_fills_up_is_no_success(unbuffered, tmp_path):
    Store(tmp_path, RUN_RECORDS).save(factory.record(mc=10))
    done = child(
        f"ulimit -f 1; S report --results {tmp_path} --format csv > {tmp_path}/out.csv",
        PYTHONUNBUFFERED=unbuffered,
    )
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"cannot be written" in done.stderr


def test_nobody_reads_on(tmp_path):
    Store(tmp_path, RUN_RECORDS).save(factory.record(mc=10))
    done = child(f"S report --results {tmp_path} | true; exit ${{PIPESTATUS[0]}}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_ascii_terminal(tmp_path):
    Store(tmp_path, RUN_RECORDS).save(factory.record(mc=10))
    done = child(f"S report --results {tmp_path}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"\nok 1 of 1 cell valid" in done.stdout


def commands() -> list[list[str]]:
    """Every command and group, as one calls it."""
    groups: dict[tuple[str, ...], Any] = {(): main, ("bench",): main.commands["bench"]}
    below = [[*at, name] for at, group in groups.items() for name in group.list_commands(None)]
    return [[], *below]


@pytest.mark.parametrize("command", commands(), ids=lambda one: " ".join(one) or "sigmabench")
def test_help_in_ascii_and_on_a_full_disk(command, monkeypatch, capsys):
    done = CliRunner(charset="ascii").invoke(main, [*command, "--help"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ")
    assert done.stdout_bytes.isascii()
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            main([*command, "--help"])
    assert ended.value.code == 2
    assert re.fullmatch(r"sigmabench: The output cannot be .*\n", capsys.readouterr().err)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", ["--help", "--version", "run --help", "list", "list --json"])
def test_a_full_disk_is_told_by_a_process(command, unbuffered):
    done = child(f"S {command} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 2
    assert re.fullmatch(rb"sigmabench: The output cannot be .*\n", done.stderr)


def test_help_that_nobody_reads_on():
    done = child("S run --help | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_help_has_the_words_and_stand_ins_have_those_of_the_terminal():
    words = [CliRunner(charset=name).invoke(main, ["run", "--help"]) for name in ("utf-8", "ascii")]
    whole, bare = (done.stdout for done in words)
    assert "Granularity of σ: channel or tensor." in whole
    assert bare == plain(whole, "ascii")
