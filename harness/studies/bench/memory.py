"""What memory a program takes: counted by itself, and seen from outside in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from ...backends.base import BACKENDS
from ...core.checks import check_counts, check_seed
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.sheet import Column, RichSheet, Sheet
from ...core.waiting import Report, warn_if_long
from ...core.words import plural, times
from ...machine.cores import give_back
from ...machine.describe import fingerprint
from ...quantize.artefact import Artefact, save
from ...quantize.options import Options
from ...quantize.ptq import Origin, quantize
from ...quantize.sigma import packed_bytes
from ...race.networks import POSTERIOR, Network
from ...records.runtime_record import MemoryUse
from ...workload.plan import FLOAT_BACKEND, INT8_BACKEND

TARGET = 1.3  # times the bound that a program should not exceed
QUERIES = 2
RUN_SECONDS = 600.0
PURPOSES = {
    "mean": "μ",
    "std": "σ",
    "constants": "constants a channel",
    "layouts": "packed fixed weights, where draws go",
    "activations": "activations",
    "weights": "sampled weights",
    "scratch": "scratch of kernels and draws",
}
_MIB = 2**20


@dataclass(frozen=True)
class MemoryPlan:
    """What to look at.

    Attributes:
        network: what is computed.
        format: name in `FORMATS`.
        batches: images a query; a process each.
        mc: passes a query, T.
        threads: cores the program may use.
        seed: of weights, images and noise.
    """

    network: Network
    format: str = "INT8"
    batches: tuple[int, ...] = (1, 32)
    mc: int = 50
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        FORMATS.get(self.format)
        for flag, values in (
            ("--batch", self.batches),
            ("--mc", (self.mc,)),
            ("--threads", (self.threads,)),
        ):
            check_counts(flag, values)
        check_seed(self.seed)


def measure(plan: MemoryPlan, command: str, report: Report | None = None) -> Iterator[MemoryUse]:
    """Look at every batch size, each in a process of its own.

    Args:
        plan: what to look at.
        command: the command line, for the record.
        report: progress, in batch sizes.

    Raises:
        UserError: the format's backend or its compiled program is not to be had here, or the
            process fails.
    """
    quantized = FORMATS.get(plan.format).quantized
    if reason := BACKENDS.get(INT8_BACKEND if quantized else FLOAT_BACKEND).unavailable():
        raise UserError(f"{plan.format} cannot be measured: {reason}")
    told = report or (lambda *_: None)
    told(f"Building {plan.network.name}", 0, len(plan.batches))
    made = plan.network.synthetic(plan.seed)
    source = Origin(plan.network.name, "synthetic", "")
    artefact = quantize(made.model, plan.format, made.calibration, Options(), source)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "artefact.safetensors"
        save(artefact, path)
        batches = ", ".join(map(str, plan.batches))
        warn_if_long(told, f"Running at batch {batches}", _seconds(plan, artefact))
        for done, batch in enumerate(plan.batches):
            told(f"Running at batch {batch}", done, len(plan.batches))
            yield _use(plan, artefact, batch, _run(plan, path, batch), command)


def _seconds(plan: MemoryPlan, artefact: Artefact) -> float:
    """What all queries take, by two passes of each batch in this process, on one thread."""
    backend = BACKENDS.get(INT8_BACKEND if artefact.format.quantized else FLOAT_BACKEND)
    predictor = backend.load(artefact, 1)
    seconds = 0.0
    for batch in plan.batches:
        x = torch.zeros(batch, *plan.network.input_shape)
        predictor.logits(x, plan.seed, range(1))  # buffers are made here
        start = time.perf_counter()
        predictor.logits(x, plan.seed, range(1))
        seconds += QUERIES * plan.mc * (time.perf_counter() - start)
    return seconds / min(plan.threads, plan.mc)


def _run(plan: MemoryPlan, artefact: Path, batch: int) -> dict[str, Any]:
    """What the process tells."""
    job = {
        "artefact": str(artefact),
        "format": plan.format,
        "input_shape": plan.network.input_shape,
        "batch": batch,
        "mc": plan.mc,
        "queries": QUERIES,
        "threads": plan.threads,
        "seed": plan.seed,
    }
    give_back()  # a process is born with the cores of the thread that starts it
    called = f"The process that runs {plan.network.name} at batch {batch}"
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sigmabench.harness.studies.bench.memory_process"],
            input=json.dumps(job),
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as reason:
        raise UserError(
            f"{called} has no end after {RUN_SECONDS:.0f} s; give a smaller --mc or --batch."
        ) from reason
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise UserError(
            f"{called} ended with status {done.returncode} ({last[0]}); give a smaller --batch if "
            "it ran out of memory."
        )
    told: dict[str, Any] = json.loads(done.stdout)
    if "error" in told:
        raise UserError(f"{told['error']} Choose an int8 format, see `sigmabench list`.")
    return told


def _use(
    plan: MemoryPlan, artefact: Artefact, batch: int, told: dict[str, Any], command: str
) -> MemoryUse:
    format, program = artefact.format, told["program"]
    concurrent = min(plan.mc, plan.threads // told["team"])
    sampled = [conv.weights for conv in artefact.graph.convs if artefact.sampled(conv)]
    return MemoryUse(
        network=plan.network.name,
        posterior=POSTERIOR,
        input_shape=plan.network.input_shape,
        format=plan.format,
        batch=batch,
        mc=plan.mc,
        threads=plan.threads,
        seed=plan.seed,
        team=told["team"],
        mean_bytes=artefact.weights * format.mean_bits // 8,
        std_bytes=sum(packed_bytes(count, format.sigma_bits) for count in sampled),
        weights_bytes=program["largest"] * concurrent,
        live_bytes=program["live"] * concurrent,
        program={purpose: program[purpose] for purpose in PURPOSES},
        base_bytes=told["base_bytes"],
        now_bytes=told["now_bytes"],
        peak_bytes=told["peak_bytes"],
        peak_method=told["peak_method"],
        fingerprint=fingerprint(),
        command=command,
        created=datetime.now(timezone.utc).isoformat(),
    )


def table(use: MemoryUse) -> Sheet:
    """The bound, what the program holds, and how the process has grown, in MiB (2²⁰ bytes)."""
    shape = "×".join(map(str, use.input_shape))
    title = (
        f"{use.network} {shape}, {use.format}, batch {use.batch}, T = {use.mc}, "
        f"{plural(use.threads, 'thread')}"
    )
    concurrent = plural(min(use.mc, use.threads // use.team), "pass", "passes")
    parts = {
        "μ, packed": use.mean_bytes,
        "σ, packed": use.std_bytes,
        f"largest layer's sampled weights × {concurrent}": use.weights_bytes,
        f"activations alive at once × {concurrent}": use.live_bytes,
    }
    rows = (
        *((name, _mib(count), "") for name, count in parts.items()),
        ("bound", _mib(use.bound_bytes), "1"),
        *((PURPOSES[purpose], _mib(count), "") for purpose, count in use.program.items()),
        _ratio(use, "the program", use.allocated_bytes),
        _ratio(use, "growth of the process", use.growth_bytes),
        _ratio(use, "its peak, the artefact being loaded", use.peak_bytes - use.base_bytes),
    )
    columns = (Column("memory", numeric=False), Column("MiB"), Column("÷ bound"))
    return Sheet(title, columns, rows, {})


def notes(use: MemoryUse) -> list[str]:
    """What a reader of the table should know, a sentence each."""
    return [
        f"μ and σ are {use.posterior}.",
        f"Aim, for networks of millions of weights: at most {TARGET} × the bound. Growth is that "
        "of the resident set after imports and a tiny network, oneDNN's kernels included.",
    ]


def renderables(use: MemoryUse) -> list[RichSheet | str]:
    """Table and notes, for a person."""
    return [RichSheet(table(use)), *notes(use)]


def to_dict(use: MemoryUse) -> dict[str, Any]:
    """The record, with what the table shows."""
    figures = {
        "bound_bytes": use.bound_bytes,
        "allocated_bytes": use.allocated_bytes,
        "growth_bytes": use.growth_bytes,
        "allocated_over_bound": use.allocated_bytes / use.bound_bytes,
        "growth_over_bound": use.growth_bytes / use.bound_bytes,
    }
    return {**asdict(use), "figures": figures}


def _ratio(use: MemoryUse, name: str, count: int) -> tuple[str, str, str]:
    return name, _mib(count), times(count / use.bound_bytes).removesuffix("×")


def _mib(count: int) -> str:
    return f"{count / _MIB:.2f}"
