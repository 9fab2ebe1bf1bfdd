"""Results that others send in: records in one file, and what of them can be computed again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .submitted import Submitted


def community(results: Path) -> list[Submitted]:
    """Every bundle of a results directory's folder `community`, checked; see `submitted`.

    Args:
        results: the directory.
    """
    from .submitted import community as checked

    return checked(results)
