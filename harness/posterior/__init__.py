"""The mean-field posterior as data: construction, files, ELBO and training."""

from __future__ import annotations

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
