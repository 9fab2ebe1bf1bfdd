"""Temporary files beside those that they become, and those that killed processes left behind.

    .<name>.<place>-<process>-<start>.<random>.tmp

`place` stands for the machine since it was started, with its space of process numbers, and `start`
for when the process began: what is left of a process that is gone is removed when the next one
writes into the same folder. Of other places nothing is known but its age.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from functools import lru_cache
from pathlib import Path

#: A file of another machine, perhaps on a shared disk, is given so long.
_FOREIGN_SECONDS = 24 * 3600.0
#: As they were called before: nothing tells of whom they are, so their age decides.
_BEFORE = re.compile(r"\..+\.(?:json|safetensors|checkpoint)\.[a-z0-9_]{8}", re.DOTALL)
_NAME = re.compile(r"\..+\.([0-9a-f]{8})-(\d+)-(\d*)\.[0-9a-f]{8}\.tmp", re.DOTALL)

_tidied: set[tuple[int, str]] = set()


def temporary_beside(path: Path) -> Path:
    """A new, empty file in the same folder, with the permissions that the umask leaves. The first
    time, leftovers in the folder are removed.

    Raises:
        OSError: it cannot be made.
    """
    folder = str(path.parent)
    if (os.getpid(), folder) not in _tidied:
        _tidied.add((os.getpid(), folder))
        remove_leftovers(path.parent)
    owner = f"{_place()}-{os.getpid()}-{_start(os.getpid())}"
    # Names have 255 bytes at most, and the file's may have as many.
    short = os.fsdecode(os.fsencode(path.name)[:150])
    made = path.with_name(f".{short}.{owner}.{secrets.token_hex(4)}.tmp")
    os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
    return made


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes are gone, as far as it may."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            match = _NAME.fullmatch(entry.name)
            before = _BEFORE.fullmatch(entry.name)
            if _left_behind(entry, *match.groups()) if match else before and _is_old(entry):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _left_behind(entry: os.DirEntry[str], place: str, process: str, start: str) -> bool:
    if place == _place():
        return _start(int(process)) != start
    return _is_old(entry)


def _is_old(entry: os.DirEntry[str]) -> bool:
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FOREIGN_SECONDS
    except OSError:
        return False


@lru_cache(maxsize=1)
def _place() -> str:
    """8 hex digits: process numbers mean the same where these are equal."""
    told = os.uname().nodename
    with contextlib.suppress(OSError):
        told += Path("/proc/sys/kernel/random/boot_id").read_text()
        told += os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(os.fsencode(told)).hexdigest()[:8]


def _start(process: int) -> str:
    """When a process began, in ticks since the machine did; empty where that is not told, or where
    there is no such process."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""
