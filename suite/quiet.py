"""Whether somebody disturbs us: a product of matrices by the clock of a chain of hashes.

Whoever runs on the same core, in this machine or in a neighbour's on the same host, makes a product
of matrices 20 to 50 % longer, and a chain in which every step waits for the one before hardly at
all. The quotient of both times is the gauge; the lowest that was seen is kept beside asv's
environment, which is of one machine.
"""

from __future__ import annotations

import json
import os
import time
from functools import lru_cache
from pathlib import Path

from . import reference

#: Above the lowest gauge known, one is disturbed.
DISTURBED = 1.1
_PATIENCE, _PAUSE = 8.0, 0.05  # seconds that a process waits in all, and between two looks
_LOOKS = 60
_FILE = "sigmabench-quiet.json"
_waited = 0.0
_lowest = float("inf")


def gauge() -> float:
    """Now, in about 2 ms."""
    product = _product()
    begun = time.perf_counter()
    product()
    between = time.perf_counter()
    reference.hashing(1)
    return (between - begun) / (time.perf_counter() - between)


@lru_cache(maxsize=1)
def _product() -> reference.Work:
    return reference.product()


def wait() -> None:
    """Until nobody disturbs, as long as this process has patience."""
    global _lowest, _waited
    known = remembered()
    while True:
        now = gauge()
        _lowest = min(_lowest, now)
        if now <= DISTURBED * min(known, _lowest) or _waited >= _PATIENCE:
            return
        time.sleep(_PAUSE)
        _waited += _PAUSE


def learn() -> None:
    """Keep what the gauge is when nobody disturbs, if that is lower than what is known."""
    seen = sorted(gauge() for _ in range(_LOOKS))
    remember(min(remembered(), seen[len(seen) // 10]))


def remembered() -> float:
    """The lowest gauge that was kept; infinite if none was."""
    path = _place()
    try:
        return float(json.loads(path.read_text())) if path else float("inf")
    except (OSError, ValueError, TypeError):
        return float("inf")


def remember(level: float) -> None:
    """Keep the lowest gauge, where there is a place for it."""
    path = _place()
    if path and level < float("inf"):
        path.write_text(json.dumps(level))


def _place() -> Path | None:
    home = os.environ.get("ASV_ENV_DIR", "")
    return Path(home) / _FILE if home and Path(home).is_dir() else None
