"""The command line as records keep it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sigmabench.harness.cli.terminal import command_line


@pytest.mark.parametrize("name", [b"caf\xe9", b"it's\\ \xff", "café".encode(), b"two words"])
def test_a_name_of_any_bytes_can_be_stored_and_typed_again(
    name: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["sigmabench", "run", os.fsdecode(name)])
    told = command_line()
    told.encode()  # it is text
    typed = told.replace("sigmabench run", "printf %s", 1)
    done = subprocess.run(["bash", "-c", typed], capture_output=True, check=True)
    assert done.stdout == name
