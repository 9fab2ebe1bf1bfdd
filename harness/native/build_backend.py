"""The build backend (PEP 517): scikit-build-core's, after a look at what the build needs.

pip shows what a build prints only when it fails, and then all of it. So what this machine lacks is
one sentence before the build begins.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from typing import Any

_PYTHON = (3, 10)  # as pyproject.toml says, which pip reads too late where it is given a file
#: As CMake looks for them where CXX does not name one.
_COMPILERS = ("c++", "g++", "clang++", "icpx")


def missing() -> str | None:
    """What this machine lacks for a build, one sentence with the way out; None where it lacks
    nothing. Elsewhere than on Linux on x86-64 there is no native part (`CMakeLists.txt`)."""
    if sys.version_info < _PYTHON:
        return (
            f"SigmaBench needs Python 3.10 or newer, and this is {platform.python_version()}: make "
            "the environment with a newer one."
        )
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return None
    named = shlex.split(os.environ.get("CXX", ""))[:1]
    if not any(shutil.which(name) for name in named or _COMPILERS):
        looked = f"CXX names {named[0]}, which is not there" if named else "none was found"
        return (
            f"SigmaBench's native part needs a C++17 compiler, and {looked}: install the wheel, "
            "which needs none, or a compiler (Debian: apt install g++)."
        )
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        return (
            f"SigmaBench's native part needs Python's headers, and there is no Python.h in "
            f"{headers}: install the wheel, which needs none, or the headers (Debian: apt install "
            "python3-dev)."
        )
    return None


def _checked(name: str) -> Any:
    """A hook of scikit-build-core's that looks first."""

    def hook(*args: Any, **kwargs: Any) -> Any:
        sentence = missing()
        if sentence is not None:
            raise SystemExit(sentence)
        return getattr(import_module("scikit_build_core.build"), name)(*args, **kwargs)

    return hook


get_requires_for_build_wheel = _checked("get_requires_for_build_wheel")
get_requires_for_build_editable = _checked("get_requires_for_build_editable")
build_wheel = _checked("build_wheel")
build_editable = _checked("build_editable")


def __getattr__(name: str) -> Any:
    """Every other hook, as scikit-build-core has it."""
    return getattr(import_module("scikit_build_core.build"), name)
