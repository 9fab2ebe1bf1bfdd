"""One OpenMP runtime in a process: the compiled part, oneDNN and PyTorch share PyTorch's.

A second one would have a pool of threads of its own, which spins beside the first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import sklearn
import torch

from sigmabench.harness import native

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

RUN = """
import sys
from sigmabench.harness.cli.main import main
try:
    main(["run", "lenet-digits", "--formats", "FP32,INT8", "--mc", "2", "--batch", "1", "--limit",
          "40", "--seeds", "1", "--seconds", "0.01", "--threads", "{threads}"])
except SystemExit as ended:
    assert not ended.code, ended.code
assert "sigmabench.harness.native._native" in sys.modules
"""
SECOND = """
import sys
import sklearn.datasets
from sigmabench.harness import native
native.load()
"""
LOADED = """
import re
maps = open("/proc/self/maps").read()
found = set(re.findall(r"(/\\S*/lib(?:gomp|iomp5|omp)\\b\\S*)", maps))
print(*sorted(found), sep="\\n", file=sys.stderr)
"""


def runtimes(code: str, folder: Path) -> list[Path]:
    """Files of the OpenMP runtimes in a fresh process that has run this code."""
    code += LOADED
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return [Path(line) for line in ran.stderr.splitlines() if line.startswith("/")]


@pytest.mark.thorough
def test_a_run_loads_one_openmp_runtime(tmp_path: Path) -> None:
    threads = min(2, len(os.sched_getaffinity(0)))
    (only,) = runtimes(RUN.format(threads=threads), tmp_path)
    of_torch = {path.resolve() for path in Path(torch.__file__).parent.glob("lib/lib*omp*")}
    assert only.resolve() in of_torch or only.is_relative_to("/usr") or only.is_relative_to("/lib")


@pytest.mark.thorough
def test_a_second_runtime_would_be_seen(tmp_path: Path) -> None:
    """scikit-learn's wheel has one of its own, and a run does not import scikit-learn."""
    private = list(Path(sklearn.__file__).parents[1].glob("scikit_learn.libs/libgomp*"))
    if not private:
        pytest.skip("this scikit-learn has no OpenMP runtime of its own")
    found = runtimes(SECOND, tmp_path)
    assert len(found) == 2
    assert set(private) < set(found)


def test_the_compiled_part_names_no_openmp_runtime() -> None:
    """It takes oneDNN's: a compiler's own, Clang's say, would be a second one."""
    content = Path(str(native.load().__file__)).read_bytes()
    for name in (b"libgomp.so", b"libomp.so", b"libiomp5.so"):
        assert name not in content


def test_every_path_that_this_cpu_has_is_taken() -> None:
    """Compilers differ in how they ask the CPU; one whose answer is always no computes the same."""
    from sigmabench.harness.machine.describe import instruction_sets

    has = set(instruction_sets())
    sampler = {"portable"}
    if {"avx2", "aes"} <= has:
        sampler.add("avx2")
    if {"avx512f", "avx512bw", "avx512vl", "aes"} <= has:
        sampler.add("avx512")
    if {"avx512f", "avx512bw", "avx512vl", "avx512_vbmi", "aes", "vaes"} <= has:
        sampler.add("avx512_vbmi")
    assert set(native.load().sampler_paths()) == sampler
