"""The runtime's memory and threads under the compiler's sanitizers (`pytest -m slow`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "harness" / "native"
FILES = [
    "conv_portable",
    "elementwise",
    "executor",
    "network",
    "noise",
    "packer",
    "plan",
    "program",
    "sampler",
    "sampler_avx2",
    "sampler_avx512",
    "workers",
]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_runtime_is_clean(sanitizer: str, tmp_path: Path) -> None:
    program = tmp_path / "sanitize"
    command = ["g++", "-std=c++17", "-O1", "-g", "-fopenmp", "-ffp-contract=off"]
    command += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", f"-I{SOURCES}"]
    command += [str(SOURCES / f"{name}.cpp") for name in FILES]
    subprocess.run([*command, str(HERE / "sanitize.cpp"), "-o", str(program)], check=True)
    run = subprocess.run([str(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
