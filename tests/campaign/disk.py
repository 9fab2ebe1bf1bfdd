"""A disk that fills up while a command writes: a tmpfs on which so many bytes are left.

The command says so in one sentence, its status is not 0 and nothing half-written stays; once there
is room again, the same command comes to the end that an undisturbed one comes to.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .figures import SEED, Figures
from .jobs import JOBS, Job, contents, differences, uninterrupted

#: Of each job.
POSITIONS = 5
FILLED = ("run", "selective", "train", "quantize")
_SIZE = 32 << 20
_PAGE = 4096


def run(figures: Figures, given: argparse.Namespace) -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as home:
        for name in given.only or FILLED:
            row = f"{name}, disk full"
            whole = uninterrupted(JOBS[name], Path(home) / name / "whole")
            pages = sum(-(-size // _PAGE) for size in _sizes(Path(home) / name / "whole"))
            while (done := figures.since(row)) < (given.count or POSITIONS):
                rng = np.random.default_rng([SEED, FILLED.index(name), done])
                room = int(rng.integers(0, pages)) * _PAGE
                with _disk(Path(home) / "disk") as disk:
                    failures = _filled(JOBS[name], disk, room, whole)
                failures = [f"{room} bytes left: {failure}" for failure in failures]
                figures.add(row, failures, count=1)
                print(row, done + 1, room, *failures, sep="\n  ", flush=True)


def _sizes(folder: Path) -> Iterator[int]:
    return (path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def _disk(place: Path) -> Iterator[Path]:
    """A disk of its own."""
    place.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"No tmpfs can be mounted ({done.stderr.strip()}); be root.")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def _filled(job: Job, disk: Path, room: int, whole: dict[str, Any]) -> list[str]:
    """What went wrong."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        left = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, left.f_bavail * left.f_bsize - room)
    process = job.start(disk / "out", XDG_CACHE_HOME=str(disk.with_name("cache")))
    _, errors = process.communicate()
    failures = []
    if process.returncode != 2:
        failures.append(f"status {process.returncode}")
    if not re.fullmatch(r"sigmabench: .+ cannot be written .*\.\n|.*No space left.*\.\n", errors):
        failures.append(f"it says {errors!r}")
    failures += [unreadable] if (unreadable := job.read(disk / "out")) else []
    failures += [f"{path.name} is left over" for path in disk.rglob("*.tmp")]
    filler.unlink()
    process = job.start(disk / "out")
    _, errors = process.communicate()
    if process.returncode:
        failures.append(f"the next run fails: {errors}")
    return failures + differences(contents(disk / "out"), whole)
