"""Where images lie, and where downloads go."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.contents import cache_home
from ..core.errors import UserError

DATA_VARIABLE = "SIGMABENCH_DATA"


def data_root(root: Path | str | None) -> Path | None:
    """`root`, else the directory that SIGMABENCH_DATA names, else None.

    Raises:
        UserError: the directory that was named does not exist.
    """
    value = root or os.environ.get(DATA_VARIABLE)
    named = Path(value) if value else None
    if named is not None and not named.is_dir():
        by = "--data" if root else DATA_VARIABLE
        raise UserError(f"There is no data directory {named}; correct {by}, or leave it out.")
    return named


def cache_root() -> Path:
    """Where downloads go: `sigmabench/data` under XDG_CACHE_HOME or ~/.cache."""
    return cache_home() / "data"
