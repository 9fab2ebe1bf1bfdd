"""Eight runs at once into one results folder: each cell is there once, and all can be read."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from .figures import Figures
from .jobs import JOBS, contents, differences, uninterrupted

WRITERS, ROUNDS = 8, 20
ROW = f"run, {WRITERS} at once"


def run(figures: Figures, given: argparse.Namespace) -> None:
    """See the module; a round at a time."""
    job = JOBS["run"]
    with tempfile.TemporaryDirectory() as home:
        whole = uninterrupted(job, Path(home) / "whole")
        while (done := figures.since(ROW)) < (given.count or ROUNDS):
            with tempfile.TemporaryDirectory(dir=home) as place:
                folder = Path(place) / "out"
                writers = [job.start(folder) for _ in range(WRITERS)]
                ended = [(writer.communicate()[1], writer.returncode) for writer in writers]
                failures = [f"status {status}: {errors}" for errors, status in ended if status]
                failures += [unreadable] if (unreadable := job.read(folder)) else []
                failures += differences(contents(folder), whole)
            figures.add(ROW, failures, count=1)
            print(ROW, done + 1, *failures, sep="\n  ", flush=True)
