"""Every command that the documents print: its options exist, and in the slow set it runs.

A comment on its line says why one does not run there: `# long: ...`, or `# yours`, where a file or
a module is the reader's.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from sigmabench.harness.cli.main import main

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]
LINE = re.compile(r"^(?:    )?(sigmabench(?: .*)?)$", re.MULTILINE)
CALL = "from sigmabench.harness.cli.main import main; main(prog_name='sigmabench')"


def commands(page: Path) -> list[str]:
    """Of the indented and fenced lines that begin with `sigmabench`, with their comments."""
    text = page.read_text()
    fenced = "\n".join(re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.M | re.S))
    indented = "\n".join(re.findall(r"^    .*$", text, re.MULTILINE))
    return [one.strip() for part in (fenced, indented) for one in LINE.findall(part)]


FOUND = [(page.name, line) for page in PAGES for line in commands(page)]
RUNS = sorted({page for page, line in FOUND if not re.search(r"# (long|yours)", line)})


def test_there_are_some() -> None:
    assert len(FOUND) > 20


@pytest.mark.parametrize(("page", "line"), FOUND)
def test_a_command_that_is_printed_can_be_given(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    context = click.Context(main, info_name="sigmabench")
    while isinstance(command, click.Group) and words and "-" not in words[0][:1]:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        context = click.Context(command, info_name=name, parent=context)
    given = command.make_parser(context).parse_args(args=list(words))
    assert not given[1] or "[" in line or "WORKLOAD" in line, f"{page}: {given[1]} is not taken"


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNS)
def test_the_commands_of_a_page_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "results", tmp_path / "results")
    for line in (line for name, line in FOUND if name == page):
        if re.search(r"# (long|yours)", line):
            continue
        words = shlex.split(line, comments=True)[1:]
        done = subprocess.run(
            [sys.executable, "-c", CALL, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}: {done.stderr[-500:]}"
