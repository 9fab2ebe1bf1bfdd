"""One comparison: `asv continuous` of two commits, and what it flagged."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .clone import BASE, CONFIGURATION, git
from .edits import Edit

#: asv's own, and what a user types: `asv continuous BASE HEAD`.
FACTOR = 1.1
#: Marks of asv's table: worse, failed, better.
WORSE, FAILED, BETTER = "+", "!", "-"
_ROW = re.compile(r"^\|\s*([-+!])\s*\|.*\|\s*([^|]+?)\s*\|$", re.MULTILINE)
_END = ("BENCHMARKS NOT SIGNIFICANTLY CHANGED", "SOME BENCHMARKS HAVE CHANGED SIGNIFICANTLY")


@dataclass(frozen=True)
class Flagged:
    """What asv says of two commits.

    Attributes:
        worse: names of benchmarks that became worse, or failed.
        better: names of those that became better.
        ratios: of every ratio to a reference loop, after over before.
    """

    worse: tuple[str, ...]
    better: tuple[str, ...]
    ratios: dict[str, float]


def compare(clone: Path, edit: Edit, sampler_alone: bool = False) -> tuple[Flagged, float]:
    """Compare a branch with its base.

    Args:
        clone: see `clone.make`.
        edit: of the branch.
        sampler_alone: the sampler's ratios, and nothing else: for the smallest slow-down.

    Returns:
        What was flagged, and the seconds that it took.

    Raises:
        RuntimeError: asv came to no verdict; with the end of what it said.
    """
    results = clone / "results" / "regressions"
    for path in results.glob("*/*.json"):
        if path.name != "machine.json":
            path.unlink()
    chosen = ["--bench", "ratios.Sampler"] if sampler_alone else []
    only = {"SIGMABENCH_RACE": "sampler"} if sampler_alone else {}
    started = time.monotonic()
    ran = subprocess.run(
        [
            *(sys.executable, "-m", "asv", "continuous", "--config", CONFIGURATION),
            *("--factor", str(FACTOR), *chosen, BASE, edit.name),
        ],
        cwd=clone,
        capture_output=True,
        text=True,
        env={**os.environ, "SIGMABENCH_PROFILE": "quick", **only},
    )
    if not any(words in ran.stdout for words in _END):
        said = f"{ran.stdout}\n{ran.stderr}"[-2000:]
        raise RuntimeError(f"asv continuous ended with status {ran.returncode}:\n{said}")
    worse, better = flagged(ran.stdout)
    before, after = (values(results, git(clone, "rev-parse", one)) for one in (BASE, edit.name))
    ratios = {
        name: round(after[name] / before[name], 4)
        for name in sorted(before.keys() & after.keys())
        if "_ratio" in name and before[name]
    }
    return Flagged(worse, better, ratios), time.monotonic() - started


def flagged(printed: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Benchmarks that are worse, and that are better, in what `asv continuous` printed."""
    rows = _ROW.findall(printed)
    worse = tuple(name for mark, name in rows if mark in (WORSE, FAILED))
    return worse, tuple(name for mark, name in rows if mark == BETTER)


def values(results: Path, commit: str) -> dict[str, float]:
    """By benchmark and parameters, what asv stored of a commit."""
    found = {}
    for path in results.glob(f"*/{commit[:8]}-*.json"):
        stored: dict[str, Any] = json.loads(path.read_text())
        for name, row in stored["results"].items():
            cells = dict(zip(stored["result_columns"], row, strict=False))
            for chosen, value in zip(
                itertools.product(*(cells.get("params") or [])), cells["result"] or [], strict=False
            ):
                if isinstance(value, int | float) and value == value:
                    found[f"{name}({', '.join(chosen)})" if chosen else name] = float(value)
    return found
