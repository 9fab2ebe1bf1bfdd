"""Tars whose numbers are damaged: each is refused in a sentence, and none is read for ever."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from sigmabench.harness.core.archive import Tar
from sigmabench.harness.core.errors import UserError


def with_pax(path: Path, **records: str) -> Path:
    """A tar of one file whose extended header says this."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a.png")
        member.size, member.pax_headers = 5, {k.replace("_", "."): v for k, v in records.items()}
        archive.addfile(member, io.BytesIO(b"bytes"))
    return path


NUMBERS = {
    "a size of no number": {"size": "x"},
    "a size of a path": {"size": "../x"},
    "a size of a list": {"size": "1,2,3"},
    "a negative size": {"size": "-1024"},
    "a size of 2^62": {"size": str(1 << 62)},
    "a size of 2^70": {"size": str(1 << 70)},
    "a sparse map of no numbers": {"GNU_sparse_size": "5", "GNU_sparse_map": "x,y"},
    "a sparse size of no number": {"GNU_sparse_size": "x", "GNU_sparse_map": "0,1"},
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_damaged_numbers_are_refused(kind: str, tmp_path: Path) -> None:
    path = with_pax(tmp_path / "a.tar", **NUMBERS[kind])
    with pytest.raises(UserError, match=r"^.*a\.tar (cannot be read as a tar|is damaged|holds)"):
        Tar.at(path)


def test_a_sound_extended_header_is_read(tmp_path: Path) -> None:
    found = Tar.at(with_pax(tmp_path / "a.tar", comment="x"))
    assert found.open("a.png").read() == b"bytes"
