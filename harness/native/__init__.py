"""The compiled runtime: int8 inference with weights sampled where the kernels read them.

`load` returns the extension module, or says why it cannot be had here.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from types import ModuleType

from .locate import RUNTIME, installed_file


class NativeUnavailableError(Exception):
    """The extension cannot be loaded here; the message is one sentence with the way out."""


@lru_cache(maxsize=1)
def _attempt() -> ModuleType | str:
    # torch first: its libgomp then serves oneDNN too, and there is one OpenMP pool, not two.
    import torch  # noqa: F401

    library = installed_file(RUNTIME, "libdnnl.so.3")
    if library is None:
        return (
            f"oneDNN's library is not installed ({RUNTIME}, Linux on x86-64 only); "
            "there, `pip install sigmabench` brings it, elsewhere use --backend reference."
        )
    try:
        ctypes.CDLL(str(library))
    except OSError as reason:
        return f"oneDNN's library {library} cannot be loaded ({reason}); reinstall {RUNTIME}."
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
        NativeUnavailableError: it, or oneDNN, is not to be had here.
    """
    outcome = _attempt()
    if isinstance(outcome, str):
        raise NativeUnavailableError(outcome)
    return outcome


def unavailable() -> str | None:
    """Why the extension cannot be loaded here, one sentence with the way out; None if it can."""
    outcome = _attempt()
    return outcome if isinstance(outcome, str) else None
