"""The package with its native code under AddressSanitizer and UndefinedBehaviorSanitizer."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .figures import ROOT

FLAGS = (
    "-g -fno-omit-frame-pointer -fsanitize=address,undefined,float-cast-overflow "
    "-fno-sanitize-recover=all"
)
#: The second, because the first looks for it when the process begins, and Python is no C++.
_RUNTIMES = ("libasan.so", "libstdc++.so.6")


def built(place: Path) -> Path:
    """A folder for PYTHONPATH: the package as it is now, native code compiled anew if it changed.

    Raises:
        SystemExit: there is no compiler, or it does not compile.
    """
    package = place / "sigmabench"
    for folder in ("harness", "workloads"):
        shutil.rmtree(package / folder, ignore_errors=True)
        shutil.copytree(ROOT / folder, package / folder, ignore=shutil.ignore_patterns("*.so"))
    build = place / "build"
    configure = [
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(build),
        f"-DPython_EXECUTABLE={sys.executable}",
    ]
    configure += ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_COMPILER=g++"]
    configure += [f"-DCMAKE_CXX_FLAGS={FLAGS}"]
    for command in (configure, ["cmake", "--build", str(build)]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"It does not compile under sanitizers: {done.stderr[-2000:]}")
    (library,) = build.glob("_native*.so")
    shutil.copy2(library, package / "harness" / "native")
    return place


def environment(place: Path) -> dict[str, str]:
    """Of a Python that uses it: Python itself is not instrumented, so the runtime comes first."""
    asked = [["g++", f"-print-file-name={name}"] for name in _RUNTIMES]
    told = [subprocess.run(one, capture_output=True, text=True, check=True) for one in asked]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(place), os.environ.get("PYTHONPATH", "")]),
        "LD_PRELOAD": ":".join(one.stdout.strip() for one in told),
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0:exitcode=99:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:exitcode=99",
    }
