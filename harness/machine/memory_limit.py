"""The memory that this process may take, and the one sentence that refuses what would take more.

A limit that `--memory` sets holds in this process and, through its environment, in those it starts.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import psutil

from ..core.errors import UserError
from .control_groups import groups

GIB = 2**30
#: Of what is free; the rest is for what nobody counted.
SHARE = 0.8
#: Less than this is taken without a look at what is free.
SMALL = 1 << 28
#: Bytes, as `--memory` says.
VARIABLE = "SIGMABENCH_MEMORY"

_PROC = Path("/proc/self")


def set_limit(gib: float) -> None:
    """Allow so many GiB, whatever is free.

    Raises:
        UserError: it is no such number.
    """
    if not 0 < gib < math.inf:
        raise UserError(f"--memory is {gib:g}; give GiB above 0.")
    os.environ[VARIABLE] = str(int(gib * GIB))


def limit(proc: Path = _PROC) -> int:
    """Bytes that may be taken: what was set, else 80 % of free memory or of what the control groups
    leave, whichever is less.

    Args:
        proc: of the process; its `cgroup` and `mountinfo` are read.
    """
    given = os.environ.get(VARIABLE, "")
    if given.isascii() and given.isdecimal():
        return int(given)
    free = min((psutil.virtual_memory().available, *_left(proc)))
    return int(SHARE * free)


def require(what: str, needed: int) -> None:
    """Refuse what would take more than `limit`, before anything of it is allocated.

    Args:
        what: subject of the message, such as a file.
        needed: bytes.

    Raises:
        UserError: it is more.
    """
    if needed <= SMALL and VARIABLE not in os.environ:
        return
    allowed = limit()
    if needed > allowed:
        raise UserError(
            f"{what} needs about {_gib(needed)} of memory, and {_gib(allowed)} may be taken; make "
            f"it smaller, or allow more with --memory GiB (or {VARIABLE} in bytes)."
        )


def _gib(size: int) -> str:
    return f"{size / GIB:.3g} GiB" if size < 1000 * GIB else f"{size / GIB:,.0f} GiB"


def _left(proc: Path) -> Iterator[int]:
    """Bytes that each control group with a limit has left."""
    for group in groups("memory", proc):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _text(group / name).strip()
            if text.isdecimal():  # else `max`, or not told
                yield max(0, int(text) - _taken(group))


def _taken(group: Path) -> int:
    """Bytes of a group that the system cannot take back; files read are not among them."""
    match = re.search(r"^(?:anon|total_rss) (\d+)$", _text(group / "memory.stat"), re.M)
    return int(match[1]) if match else 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
