"""From which level of cache the bytes of a pass come, by their number and the caches' sizes."""

from __future__ import annotations

import re

from ..records.run_record import Bandwidth, RunRecord

MEMORY = "memory"
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def level_of(record: RunRecord) -> str | None:
    """The smallest cache of one core that holds what a pass touches: `L1`, `L2`, …, or `memory`.

    None where the machine does not report the sizes of its caches.
    """
    machine = record.fingerprint.machine
    sizes = {} if machine is None else _sizes(machine.caches)
    if not sizes or None in sizes.values():
        return None
    touched = _touched(record.body.bandwidth)
    fitting = (level for level, size in sorted(sizes.items()) if size and touched <= size)
    return next((f"L{level}" for level in fitting), MEMORY)


def _touched(moved: Bandwidth) -> float:
    """Bytes of μ, σ, sampled weights and activations; the last two move twice, written and read."""
    return moved.mean_bytes + moved.std_bytes + (moved.sampled_bytes + moved.activation_bytes) / 2


def _sizes(caches: dict[str, str]) -> dict[int, int | None]:
    """Bytes of each level that holds data; None of what cannot be read."""
    levels = {re.fullmatch(r"L(\d)d?", name): size for name, size in caches.items()}
    return {int(level[1]): _bytes(size) for level, size in levels.items() if level}


def _bytes(size: str) -> int | None:
    told = re.fullmatch(r"(\d+)([KMG])", size)
    return int(told[1]) * _UNITS[told[2]] if told else None
