"""What the build needs, and what it says where that is missing: a compiler where oneDNN is, nothing
where it is not."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sigmabench.harness import native

ROOT = Path(__file__).parents[2]


def _backend() -> Any:
    """The build backend, which a checkout has and no wheel."""
    path = ROOT / "harness/native/build_backend.py"
    spec = importlib.util.spec_from_file_location("build_backend", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build_backend = _backend()

needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")


def configured(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """CMake's configuration with a compiler that does not exist."""
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), f"-DPython_EXECUTABLE={python}"]
    environment = {**os.environ, "CXX": "/nonexistent/c++"}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@needs_cmake
def test_it_installs_without_a_compiler_where_there_is_no_onednn(tmp_path: Path) -> None:
    python = tmp_path / "python3"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *locate.py*) exit 1;; esac\nexec "{sys.executable}" "$@"\n'
    )
    python.chmod(0o755)
    done = configured(tmp_path / "build", str(python))
    assert done.returncode == 0, done.stderr
    assert "without its native backend" in " ".join(done.stderr.split())


@needs_cmake
def test_a_missing_compiler_is_named_where_onednn_is(tmp_path: Path) -> None:
    located = subprocess.run([sys.executable, str(ROOT / "harness/native/locate.py")])
    if located.returncode != 0:
        pytest.skip("oneDNN's headers are not installed beside this Python")
    done = configured(tmp_path / "build", sys.executable)
    assert done.returncode != 0
    assert "needs a C++17 compiler and none was found" in " ".join(done.stderr.split())


on_linux = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="no native part here"
)


@on_linux
@pytest.mark.parametrize(
    "hook", ["get_requires_for_build_wheel", "get_requires_for_build_editable", "build_wheel"]
)
def test_without_a_compiler_a_build_says_one_sentence_and_ends(hook: str, tmp_path: Path) -> None:
    """As pip calls it (PEP 517), where PATH has no compiler."""
    code = f"import build_backend; build_backend.{hook}('.')"
    environment = {name: value for name, value in os.environ.items() if name != "CXX"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PATH": str(tmp_path), "PYTHONPATH": str(ROOT / "harness/native")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert "needs a C++17 compiler, and none was found: install the wheel" in sentence


@on_linux
def test_what_a_build_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    (tmp_path / "Python.h").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert build_backend.missing() is None
    monkeypatch.setenv("CXX", "/nowhere/g++ -m64")
    assert "CXX names /nowhere/g++, which is not there" in str(build_backend.missing())
    monkeypatch.setenv("CXX", f"{compiler} -m64")
    (tmp_path / "Python.h").unlink()
    assert f"there is no Python.h in {tmp_path}" in str(build_backend.missing())
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert build_backend.missing() is None
    monkeypatch.setattr("sys.version_info", (3, 9, 18))
    assert "needs Python 3.10 or newer" in str(build_backend.missing())


def test_the_python_that_is_asked_for_is_that_of_the_project() -> None:
    asked = ".".join(map(str, build_backend._PYTHON))
    assert f'requires-python = ">={asked}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("here", [("Darwin", "arm64"), ("Linux", "aarch64")], ids=" ".join)
def test_elsewhere_what_works_is_one_sentence(
    here: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.system", lambda: here[0])
    monkeypatch.setattr("platform.machine", lambda: here[1])
    reason = native._attempt.__wrapped__()
    assert f"this is {here[0]} on {here[1]}: FP32 and BF16 run in PyTorch here" in reason
    assert "--backend reference" in reason


ELSEWHERE = """
import platform, sys
platform.machine = lambda: "aarch64"
from sigmabench.harness.cli.main import main
main(sys.argv[1:])
"""
SMALL = [
    "run",
    "lenet-digits",
    "--mc",
    "1",
    "--batch",
    "1",
    "--limit",
    "10",
    "--seeds",
    "1",
    "--seconds",
    "0.01",
    "--threads",
    "1",
]


@pytest.mark.thorough
def test_elsewhere_a_run_scores_int8_by_the_reference(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}

    def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ELSEWHERE, *SMALL, *arguments]
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True
        )

    done = ran("--formats", "FP32,INT8", "--full")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "numpy" in told
    assert "this is Linux on aarch64: FP32 and BF16 run in PyTorch here" in told
    refused = ran("--formats", "INT8", "--backend", "native")
    assert refused.returncode == 2
    assert "this is Linux on aarch64" in refused.stderr
