"""Files: whole or not at all, nothing left behind, nothing waited for."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from sigmabench.harness.cli.main import main
from sigmabench.harness.core import temporary
from sigmabench.harness.core import whole as files
from sigmabench.harness.core.archive import Folder
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.temporary import remove_leftovers, temporary_beside
from sigmabench.harness.core.whole import (
    inside,
    json_text,
    open_regular,
    read_json,
    write_atomically,
)
from sigmabench.harness.posterior.checkpoint import save_checkpoint
from sigmabench.harness.records.record_file import read_record
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.store import Store

KILLED = """
import os, signal, sys
from pathlib import Path
from sigmabench.harness.core.whole import put_atomically
def write(temporary):
    temporary.write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
put_atomically(Path(sys.argv[1]), write)
"""


def killed(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -9


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    killed(path)
    killed(path)  # it removes what the first one left
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".run.checkpoint.")
    assert left.stat().st_size == 1000
    write_atomically(path, b"whole")
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_what_others_are_writing_stays(tmp_path: Path) -> None:
    mine = temporary_beside(tmp_path / "a")
    place, process, start = temporary._NAME.fullmatch(mine.name).groups()  # type: ignore[union-attr]
    foreign = f".a.{'0' * 8}-{process}-{start}.{'0' * 8}.tmp"
    again = f".a.{place}-{process}-{int(start) + 1}.{'0' * 8}.tmp"  # the number was given twice
    names = {foreign, again, ".a.abcdefgh", "a.tmp", ".a.tmp"}
    for name in names:
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == (names - {again}) | {mine.name}
    old = time.time() - 2 * 24 * 3600
    os.utime(tmp_path / foreign, (old, old))
    remove_leftovers(tmp_path)
    assert not (tmp_path / foreign).exists()


def test_what_was_left_under_names_of_before_goes_by_its_age(tmp_path: Path) -> None:
    old = time.time() - 2 * 24 * 3600
    left = [".x.json.ab_12xyz", ".x.checkpoint.ab_12xyz", ".p.safetensors.ab_12xyz"]
    kept = [".x.json.ab_12xy", "x.json.ab_12xyz", ".config.settings", ".x.json.UPPERCAS"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (old, old))
    (tmp_path / ".new.json.ab_12xyz").write_text("")
    remove_leftovers(tmp_path)
    assert {one.name for one in tmp_path.iterdir()} == {*kept, ".new.json.ab_12xyz"}


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127):
        write_atomically(tmp_path / name, b"whole")
        assert (tmp_path / name).read_bytes() == b"whole"


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664)])
def test_the_umask_is_honoured(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


def test_records_and_checkpoints_are_on_the_disk_before_they_have_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    real, replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda *a: (done.append("name"), replace(*a)))
    save_checkpoint(tmp_path / "checkpoint", {}, {})
    assert done == ["file", "name", "folder"]
    done.clear()
    files.put_atomically(tmp_path / "prediction", lambda path: path.write_bytes(b""))
    assert done == ["name"]


def strange(path: Path, kind: str) -> None:
    """Something that is no file, and cannot be read to its end."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_not_waited_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "r" / "lenet-digits" / "0123abcd"
    home.mkdir(parents=True)
    strange(home / "x.json", kind)
    with pytest.raises(UserError, match=r"^The record .*x\.json cannot be read: .*\.$"):
        read_record(home / "x.json", RUN_RECORDS)
    done = CliRunner().invoke(main, ["report", "--results", str(tmp_path / "r")])
    assert done.exit_code == 2
    assert "x.json cannot be read" in done.output
    for door in (lambda: open_regular(home / "x.json"), lambda: Folder(home).open("x.json")):
        with pytest.raises(OSError, match=r"not a regular file|No such device"):
            door()


def test_what_is_no_file_is_closed_again_and_what_is_one_is_read(tmp_path: Path) -> None:
    strange(tmp_path / "x", "pipe")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"^\[Errno 22\] it is not a regular file: '.*x'$"):
        open_regular(tmp_path / "x")
    assert set(os.listdir("/proc/self/fd")) == before
    (tmp_path / "y").write_bytes(b"whole")
    with open_regular(tmp_path / "y") as stream:
        assert stream.read() == b"whole"
        assert not os.get_inheritable(stream.fileno())


def test_json_has_a_field_a_line_and_numbers_on_one() -> None:
    value = {"é": [1, 2.5, None], "b": {"c": [{"d": 1}, [2]], "e": {}}, "f": []}
    text = """{
 "\\u00e9": [1,2.5,null],
 "b": {
  "c": [
   {
    "d": 1
   },
   [2]
  ],
  "e": {}
 },
 "f": []
}
"""
    assert json_text(value) == text
    assert read_json(text) == value
    assert json_text({"a": "é"}) == '{\n "a": "é"\n}\n'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "b": 2, "b": 3}', "it has 'b' twice"),
        ("[NaN]", "it has the number NaN"),
        ("[-Infinity]", "it has the number -Infinity"),
        ("[1e999]", "it has the number 1e999"),
        (f"[{10**101}]", f"it has the number {10**39}"),
        ("[" * 100_000, "it is nested too deep"),
    ],
)
def test_json_of_which_readers_may_think_otherwise_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}$"):
        read_json(text)


def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "r" / "lenet-digits"
    closed.mkdir(parents=True)
    listed = Path.iterdir

    def iterdir(path: Path) -> object:
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    store = Store(tmp_path / "r", RUN_RECORDS)
    for look in (store.homes, store.records, lambda: store.records("lenet-digits")):
        with pytest.raises(UserError, match=r"^The folder .*lenet-digits cannot be listed \(Perm"):
            look()
    done = CliRunner().invoke(main, ["report", "--results", str(tmp_path / "r")])
    assert (done.exit_code, "cannot be listed" in done.output) == (2, True)


def test_what_is_not_there_has_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert inside(tmp_path / "none") == inside(tmp_path / "file") == []
