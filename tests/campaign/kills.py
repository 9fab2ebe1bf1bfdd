"""SIGKILL: before and after every rename, and at random moments.

A job is started again after each kill, and killed again, until it comes to its end: every file it
leaves then must hold what an uninterrupted one does, and nothing else may be there.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from .figures import SEED, Figures
from .jobs import JOBS, Job, contents, differences, uninterrupted

HOOK = Path(__file__).with_name("hook")
#: Kills of each job; those at renames first.
KILLS = 50
#: A training run has hundreds of renames, the same one of a checkpoint each time.
MOST_RENAMES = 24
KILLED = ("run", "shift", "selective", "train")


def run(figures: Figures, given: argparse.Namespace) -> None:
    """See the module."""
    for name in given.only or KILLED:
        with tempfile.TemporaryDirectory() as home:
            _kill(JOBS[name], Path(home), figures, given.count or KILLS)


def _kill(job: Job, home: Path, figures: Figures, wanted: int) -> None:
    """Until there are as many kills of the job as wanted."""
    renames, moments = f"{job.name}, at renames", f"{job.name}, at random moments"
    started = time.monotonic()
    whole = uninterrupted(job, home / "whole")
    seconds = time.monotonic() - started
    if not figures.since(renames):
        _chain(job, home / "renames", whole, _renames(job.name), figures, renames)
    failed, before = False, figures.since(moments)
    rng = np.random.default_rng([SEED, KILLED.index(job.name), before])
    while not failed and (done := figures.since(renames) + figures.since(moments)) < wanted:
        ways = ({"after": float(rng.uniform(0, seconds))} for _ in range(wanted - done))
        with tempfile.TemporaryDirectory(dir=home) as folder:
            failed = _chain(job, Path(folder) / "out", whole, ways, figures, moments)


def _renames(name: str) -> Iterator[dict[str, Any]]:
    """Where to kill the process, then the one that goes on: before its first rename, then after
    it, and so forth; in training after several."""
    rng = np.random.default_rng(SEED)
    for number, side in enumerate(cycle(("before", "after"))):
        if name == "train" and number == MOST_RENAMES:
            return
        at = int(rng.integers(1, 20)) if name == "train" else 1
        yield {"rename": f"{side}:{at}"}


def _chain(
    job: Job,
    folder: Path,
    whole: dict[str, Any],
    ways: Iterator[dict[str, Any]],
    figures: Figures,
    row: str,
) -> bool:
    """Kill a job again and again, at last let it finish, and note whether something failed."""
    kills, failures = 0, []
    for way in ways:
        process = _killed(job, folder, **way)
        if process.returncode == 0:
            break
        if process.returncode != -signal.SIGKILL:
            failures.append(f"{way}: status {process.returncode}")
            break
        kills += 1
        if unreadable := job.read(folder):
            failures.append(f"{way}: {unreadable}")
        if job.finished(folder):
            break
    else:
        process = job.start(folder)
        process.communicate()
        if process.returncode:
            failures.append(f"the last run has status {process.returncode}")
    failures += differences(contents(folder), whole)
    figures.add(row, failures, count=kills)
    print(row, kills, *failures, sep="\n  ", flush=True)
    return bool(failures)


def _killed(job: Job, folder: Path, rename: str = "", after: float = 0.0) -> subprocess.Popen[str]:
    if rename:
        search = os.pathsep.join([str(HOOK), os.environ.get("PYTHONPATH", "")])
        process = job.start(folder, PYTHONPATH=search, CAMPAIGN_KILL=rename)
        process.communicate()
        return process
    process = job.start(folder)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    return process
