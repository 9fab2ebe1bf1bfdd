"""What the build needs: nothing where oneDNN does not exist, a compiler where it does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")


def configured(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """CMake's configuration with a compiler that does not exist."""
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), f"-DPython_EXECUTABLE={python}"]
    environment = {**os.environ, "CXX": "/nonexistent/c++"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_it_installs_without_a_compiler_where_there_is_no_onednn(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *locate.py*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    done = configured(tmp_path / "build", str(python))
    assert done.returncode == 0, done.stderr
    assert "without its native backend" in " ".join(done.stderr.split())


def test_a_missing_compiler_is_named_where_onednn_is(tmp_path: Path) -> None:
    located = subprocess.run([sys.executable, str(ROOT / "harness/native/locate.py")])
    if located.returncode != 0:
        pytest.skip("oneDNN's headers are not installed beside this Python")
    done = configured(tmp_path / "build", sys.executable)
    assert done.returncode != 0
    assert "needs a C++17 compiler and none was found" in " ".join(done.stderr.split())
