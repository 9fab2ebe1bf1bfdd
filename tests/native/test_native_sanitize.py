"""The runtime's memory and threads under the compiler's sanitizers (`pytest -m slow`)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sigmabench.harness.native.locate import HEADERS, RUNTIME, installed_file

HERE = Path(__file__).parent
SOURCES = HERE.parents[1] / "harness" / "native"
FILES = [
    "buffers",
    "conv_amx",
    "conv_portable",
    "elementwise",
    "float_source",
    "group_norm",
    "join",
    "network",
    "noise",
    "normal",
    "normal_avx2",
    "normal_avx512",
    "packer",
    "peaks",
    "peaks_amx",
    "peaks_avx2",
    "peaks_avx512",
    "plan",
    "program",
    "real",
    "sampler",
    "sampler_avx2",
    "sampler_avx512",
    "sampler_avx512bw",
    "team",
    "workers",
]
MEMORY = "address,undefined,float-cast-overflow"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]


def check(sanitizer: str, files: list[str], options: list[str], folder: Path) -> None:
    program = folder / "sanitize"
    command = ["g++", "-std=c++17", "-O1", "-g", "-fopenmp", "-ffp-contract=off"]
    command += [f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", f"-I{SOURCES}"]
    command += [str(SOURCES / f"{name}.cpp") for name in files]
    command += [str(HERE / "sanitize.cpp"), "-o", str(program), *options]
    subprocess.run(command, check=True)
    run = subprocess.run([str(program)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]


@pytest.mark.parametrize("sanitizer", [MEMORY, "thread"])
def test_runtime_is_clean(sanitizer: str, tmp_path: Path) -> None:
    check(sanitizer, FILES, [], tmp_path)


def test_runtime_is_clean_with_onednn(tmp_path: Path) -> None:
    """oneDNN itself is not instrumented, what it reads and writes of ours lies between red zones;
    the race of two threads is not seen through it, which test_native_isa.py covers."""
    header, library = installed_file(HEADERS, "dnnl.hpp"), installed_file(RUNTIME, "libdnnl.so.3")
    if header is None or library is None:
        pytest.skip("oneDNN's headers are not installed beside this Python")
    options = ["-DSIGMABENCH_ONEDNN", f"-isystem{header.parent}", str(library)]
    options += [f"-Wl,-rpath,{library.parent}"]
    check(MEMORY, [*FILES, "conv_onednn"], options, tmp_path)
