"""The compiled runtime: int8 inference with weights sampled where the kernels read them.

`load` returns the extension module, or says why it cannot be had here.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
import sys
from functools import lru_cache
from types import ModuleType

from ..machine.installed import file_stamp, told_once, torch_installed
from .locate import RUNTIME, installed_file

_LIBRARY = "libdnnl.so.3"


class NativeUnavailableError(Exception):
    """The extension cannot be loaded here; the message is one sentence with the way out."""


@lru_cache(maxsize=1)
def _attempt() -> ModuleType | str:
    # torch first: its libgomp then serves oneDNN too, and there is one OpenMP pool, not two.
    import torch  # noqa: F401

    return _loaded()


def _loaded() -> ModuleType | str:
    here = platform.system(), platform.machine()
    if here != ("Linux", "x86_64"):
        return (
            f"the compiled runtime is for Linux on x86-64, and this is {' on '.join(here)}: FP32 "
            "and BF16 run in PyTorch here, int8 formats in NumPy (--backend reference), exactly "
            "and slowly."
        )
    library = installed_file(RUNTIME, _LIBRARY)
    if library is None:
        return (
            f"oneDNN's library is not installed; `pip install {RUNTIME}` brings it, or use "
            "--backend reference."
        )
    try:
        ctypes.CDLL(str(library))
    except OSError as reason:
        return (
            f"oneDNN's library {library} cannot be loaded ({reason}); reinstall {RUNTIME}, or, if "
            "libgomp is what is missing, install the system's (Debian: apt install libgomp1)."
        )
    try:
        from . import _native  # type: ignore[attr-defined]
    except ImportError as reason:
        return (
            f"the compiled extension cannot be imported ({reason}); reinstall SigmaBench with a "
            "C++17 compiler at hand, or use --backend reference."
        )
    return _native


def load() -> ModuleType:
    """The extension module.

    Raises:
        NativeUnavailableError: it, or oneDNN, is not available here.
    """
    outcome = _attempt()
    if isinstance(outcome, str):
        raise NativeUnavailableError(outcome)
    return outcome


def load_alone() -> ModuleType:
    """The extension module in a process that has no other use for PyTorch, which takes long to
    import; with it, where only its OpenMP library will do.

    Raises:
        NativeUnavailableError: it, or oneDNN, is not available here.
    """
    outcome = _loaded()
    return load() if isinstance(outcome, str) else outcome


def unavailable() -> str | None:
    """Why the extension cannot be loaded here, one sentence with the way out; None if it can.

    Where torch is not in the process yet, that the extension loaded once, as it is installed now,
    is enough.
    """
    if _paths() and "torch" not in sys.modules:
        return None
    outcome = _attempt()
    return outcome if isinstance(outcome, str) else None


@lru_cache(maxsize=1)
def _paths() -> tuple[str, ...]:
    """How the extension can draw normal numbers on this CPU, the fastest first; empty where it
    cannot be loaded."""
    return tuple((told_once("native", _installed(), _ask) or "").split())


def _ask() -> str | None:
    outcome = _attempt()
    return None if isinstance(outcome, str) else " ".join(outcome.normal_paths())


def _installed() -> list[object]:
    """What the extension is loaded from and with, and what the CPU has."""
    from ..machine.describe import instruction_sets

    spec = importlib.util.find_spec(f"{__name__}._native")
    extension = spec.origin if spec is not None and spec.origin else ""
    library = installed_file(RUNTIME, _LIBRARY) or ""
    return [file_stamp(extension), file_stamp(library), torch_installed(), instruction_sets()]


def noise_source() -> str:
    """`normal` where the compiled sampler has AES and vector instructions, else `normal-torch`:
    then PyTorch's generator is the faster one."""
    paths = () if unavailable() else _paths()
    return "normal" if paths and paths[0] != "portable" else "normal-torch"
