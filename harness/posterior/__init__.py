"""The mean-field posterior as data: construction, files, ELBO and training.

What is named here is imported when it is first asked for: a recipe needs no PyTorch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .file import load, save
    from .posterior import (
        SAMPLED_LAYERS,
        Posterior,
        bayesian_parameters,
        check_has_numbers,
        from_std,
        initial,
        inverse_softplus,
        moped,
    )

__all__ = [
    "SAMPLED_LAYERS",
    "Posterior",
    "bayesian_parameters",
    "check_has_numbers",
    "from_std",
    "initial",
    "inverse_softplus",
    "load",
    "moped",
    "save",
]
_OF_FILES = ("load", "save")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "file" if name in _OF_FILES else "posterior"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
