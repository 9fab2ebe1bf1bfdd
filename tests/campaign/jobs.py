"""Commands as users give them, on the smallest workload, and what is left of them on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sigmabench.harness.posterior.checkpoint import load_checkpoint
from sigmabench.harness.posterior.file import load
from sigmabench.harness.records.array_file import arrays_in
from sigmabench.harness.records.kind import Kind
from sigmabench.harness.records.run_record import RUN_RECORDS
from sigmabench.harness.records.shift_record import SHIFT_RECORDS
from sigmabench.harness.records.store import Store

PROGRAM = "from sigmabench.harness.cli.main import main; main()"
RESULTS = "results"
#: What a repetition changes: times, and what is judged by them.
TIMES = ("created", "timing", "references", "peak_memory_bytes", "sha256")
RATES = ("achieved_gb_per_s", "copy_gb_per_s", "share_of_copy")


@dataclass(frozen=True)
class Job:
    """A command.

    Attributes:
        name: of it.
        options: after the name.
        kind: of its records; None where it writes others.
        resume: the option that it takes where there is a checkpoint.
    """

    name: str
    options: str
    kind: Kind[Any] | None = None
    resume: str = ""

    def start(self, folder: Path, **environment: str) -> subprocess.Popen[str]:
        """A process of its own group, in the folder that its files go to."""
        folder.mkdir(parents=True, exist_ok=True)
        words = [self.name, "lenet-digits", *self.options.split()]
        caches = {"XDG_CACHE_HOME": str(folder.with_name(f"{folder.name}-cache"))}
        if self.resume and any(folder.rglob("*.checkpoint")):
            words.append(self.resume)
        return subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, *words],
            cwd=folder,
            env={**os.environ, **caches, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finished(self, folder: Path) -> bool:
        """Whether all is there, so that the command would be refused."""
        there = (folder / "posterior.safetensors").exists()
        return there and not any(folder.rglob("*.checkpoint"))

    def read(self, folder: Path) -> str:
        """Read everything in the folder as the next run would.

        Returns:
            What cannot be read; empty where all can.
        """
        for path in sorted(folder.rglob("*")):
            reader = self._reader(path)
            if reader is not None:
                try:
                    reader(path)
                except Exception as reason:
                    return f"{path.relative_to(folder)}: {reason}"
        return ""

    def _record(self, path: Path) -> object:
        """With its arrays."""
        assert self.kind is not None
        found = Store(path.parent, self.kind).load(path)
        return dict(found.arrays)

    def _reader(self, path: Path) -> Callable[[Path], object] | None:
        if path.name.startswith(".") or ".predictions" in path.parts or not path.is_file():
            return None
        if self.kind is not None:
            return arrays_in if path.suffix == ".safetensors" else self._record
        if path.suffix == ".checkpoint":
            return lambda path: load_checkpoint(path, {})
        return load if self.name == "train" else None


JOBS = {
    job.name: job
    for job in (
        Job(
            "run",
            "--mc 1,2 --batch 1 --seeds 1 --limit 32 --formats FP32,INT8,INT8_SIGMA1 "
            f"--seconds 0.02 --threads 1 --results {RESULTS} --json",
            RUN_RECORDS,
        ),
        Job(
            "shift",
            "--profile quick --types brightness,contrast --severities 1,3 --mc 4 --limit 32 "
            f"--formats FP32,INT8_SIGMA1 --workers 1 --results {RESULTS} --json",
            SHIFT_RECORDS,
        ),
        Job(
            "selective",
            "--mc 4 --limit 48 --seeds 2 --formats FP32,INT8 --workers 1 "
            f"--results {RESULTS} --json",
            SHIFT_RECORDS,
        ),
        Job("train", "--limit 64 --out posterior.safetensors --json", resume="--resume"),
        Job("quantize", "--formats FP32,INT8,INT8_SIGMA1 --out . --json"),
    )
}


def contents(folder: Path) -> dict[str, Any]:
    """Every file below a folder, with what of it is no time."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): _content(path) for path in files}


def _content(path: Path) -> Any:
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.name == "posterior.safetensors":
        _, metadata = load(path)
        return {name: metadata[name] for name in ("content_hash", "validation", "names")}
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(tree: dict[str, Any]) -> dict[str, Any]:
    """A record's fields, those of its parts among them."""
    parts = {name: tree.pop(name) for name in ("body", "provenance") if name in tree}
    for part in parts.values():
        tree |= part
    kept = {name: value for name, value in tree.items() if name not in TIMES}
    if "bandwidth" in kept:
        kept["bandwidth"] = {k: v for k, v in kept["bandwidth"].items() if k not in RATES}
    if kept.get("verdict"):
        kept["verdict"] = kept["verdict"]["quality"]
    return kept


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """What an interrupted job left that an uninterrupted one does not, or otherwise."""
    names = sorted({*found, *wanted})
    told = [f"{name} is left over" for name in names if name not in wanted]
    told += [f"{name} is missing" for name in names if name not in found]
    for name in names:
        if name in found and name in wanted and found[name] != wanted[name]:
            told.append(f"{name} has other values{_fields(found[name], wanted[name])}")
    return told


def _fields(found: Any, wanted: Any) -> str:
    if not isinstance(found, dict):
        return ""
    return " in " + ", ".join(k for k in {**found, **wanted} if found.get(k) != wanted.get(k))


def uninterrupted(job: Job, folder: Path) -> dict[str, Any]:
    """What the job leaves if nothing befalls it.

    Raises:
        RuntimeError: it fails.
    """
    process = job.start(folder)
    _, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{job.name} fails without any fault: {errors}")
    return contents(folder)
