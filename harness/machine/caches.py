"""Caches of one core by their sizes, and which of them holds so many bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

MEMORY = "memory"  # beyond all caches
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def cache_sizes(told: Mapping[str, str]) -> dict[int, int]:
    """Bytes of each level that holds data, from the first on; empty where one cannot be read.

    Args:
        told: as `Machine.caches`: by level and kind, such as `L1d`.
    """
    levels = {re.fullmatch(r"L(\d)d?", name): size for name, size in told.items()}
    sizes = {int(level[1]): _bytes(size) for level, size in levels.items() if level}
    known = {level: size for level, size in sorted(sizes.items()) if size is not None}
    return known if len(known) == len(sizes) else {}


def level_holding(size: float, caches: Mapping[int, int]) -> str:
    """The first level that holds so many bytes: `L1`, `L2`, …, or `memory`.

    Args:
        size: bytes.
        caches: of `cache_sizes`.
    """
    fitting = (level for level, room in sorted(caches.items()) if room and size <= room)
    return next((f"L{level}" for level in fitting), MEMORY)


def _bytes(size: str) -> int | None:
    told = re.fullmatch(r"(\d+)([KMG])", size)
    return int(told[1]) * _UNITS[told[2]] if told else None
