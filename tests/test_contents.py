"""Digests of files: of their content, taken once, and never believed of a file that changed."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from sigmabench.harness.core import contents
from sigmabench.harness.core.archive import Archive, Folder, open_archive
from sigmabench.harness.core.contents import digests

NAMES = ["a.png", "sub/b.png", "c.png"]
OLD = 1_000_000_000 * 10**9


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(contents, "_SETTLED_NS", 0)  # these files were written just now
    home = tmp_path / "images"
    (home / "sub").mkdir(parents=True)
    for name in NAMES:
        (home / name).write_bytes(name.encode() * 50)
        os.utime(home / name, ns=(OLD, OLD))
    return home


def packed(home: Path) -> Path:
    path = home.with_suffix(".tar")
    with tarfile.open(path, "w:") as archive:
        archive.add(home, ".")
    return path


def expected(home: Path) -> list[str]:
    return [hashlib.sha256((home / name).read_bytes()).hexdigest() for name in NAMES]


class Counted:
    """An archive that tells what was read of it."""

    def __init__(self, archive: Archive) -> None:
        self.archive, self.path = archive, archive.path
        self.taken: list[str] = []

    def stamp(self, name: str) -> list[int]:
        return self.archive.stamp(name)

    def open(self, name: str) -> BinaryIO:
        self.taken.append(name)
        return self.archive.open(name)


@pytest.mark.parametrize("kind", [Folder, lambda home: open_archive(packed(home))])
def test_digests_are_of_contents_and_taken_once(
    folder: Path, kind: Callable[[Path], Archive]
) -> None:
    first = Counted(kind(folder))
    assert digests(first, NAMES, threads=2) == expected(folder)
    assert sorted(first.taken) == sorted(NAMES)
    again = Counted(kind(folder)) if kind is Folder else Counted(first.archive)
    assert digests(again, NAMES[1:]) == expected(folder)[1:]
    assert again.taken == []


def test_a_changed_file_of_equal_length_and_time_is_read_again(folder: Path) -> None:
    digests(Folder(folder), NAMES)
    (folder / NAMES[1]).write_bytes(b"x" * len((folder / NAMES[1]).read_bytes()))
    os.utime(folder / NAMES[1], ns=(OLD, OLD))
    found = Counted(Folder(folder))
    assert digests(found, NAMES) == expected(folder)
    assert found.taken == [NAMES[1]]


def test_another_tar_of_the_same_name_is_read_again(folder: Path) -> None:
    digests(open_archive(packed(folder)), NAMES)
    (folder / NAMES[0]).write_bytes(b"x" * len((folder / NAMES[0]).read_bytes()))
    assert digests(open_archive(packed(folder)), NAMES) == expected(folder)


def test_a_file_that_has_just_changed_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "_SETTLED_NS", 3600 * 10**9)
    digests(Folder(folder), NAMES)
    found = Counted(Folder(folder))
    digests(found, NAMES)
    assert found.taken == NAMES


def cache(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache" / "sigmabench" / "digests").iterdir()
    return found


def swapped(text: str) -> str:
    return text.replace(text[-70:-40], text[-40:-10])


@pytest.mark.parametrize(
    "damage",
    [lambda _: "", lambda _: "\x00", lambda text: text[:-1], lambda text: text + " ", swapped,
     lambda text: text.partition("\n")[2], lambda _: "{}", lambda _: "0\n[1]"],
)  # fmt: skip
def test_a_damaged_cache_is_as_good_as_none(folder: Path, tmp_path: Path, damage) -> None:
    digests(Folder(folder), NAMES)
    text = cache(tmp_path).read_text()
    assert damage(text) != text
    cache(tmp_path).write_text(damage(text))
    found = Counted(Folder(folder))
    assert digests(found, NAMES) == expected(folder)
    assert found.taken == NAMES
    assert cache(tmp_path).read_text() == text, "and is mended"


def test_a_cache_of_other_json_is_as_good_as_none(folder: Path, tmp_path: Path) -> None:
    digests(Folder(folder), NAMES)
    for text in ("[1]", '{"a.png": 1}', '{"a.png": [1]}', "null"):
        cache(tmp_path).write_text(f"{contents.content_hash(text)}\n{text}")
        assert digests(Folder(folder), NAMES) == expected(folder)


def test_where_nothing_can_be_kept_digests_are_taken_all_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert digests(Folder(folder), NAMES) == expected(folder)


def test_what_cannot_be_read_has_none(folder: Path) -> None:
    (folder / "link.png").symlink_to("nowhere")
    assert digests(Folder(folder), ["link.png", *NAMES]) == ["", *expected(folder)]


def test_the_cache_is_where_the_system_keeps_them_a_file_for_each_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests(Folder(folder), NAMES)
    digests(Folder(folder / "sub"), ["b.png"])
    places = [hashlib.sha256(os.fsencode(one)).hexdigest()[:32] for one in (folder, folder / "sub")]
    kept = {path.name for path in (contents.cache_home() / "digests").iterdir()}
    assert kept == {f"{place}.json" for place in places}
    assert contents.cache_home() == tmp_path / "cache" / "sigmabench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/somewhere")
    assert contents.cache_home() == Path("/somewhere/.cache/sigmabench")
