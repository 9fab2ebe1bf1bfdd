"""What memory a program takes: counted by itself, and seen from outside in a fresh process.

That process is this study's own (`memory_process`), for it must hold no more than inference needs.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.formats import FORMATS, Format
from ...core.waiting import warn_if_long
from ...quantize.artefact import Artefact, save
from ...quantize.options import Options
from ...quantize.ptq import Origin, quantize
from ...quantize.sigma import packed_bytes
from ...race.networks import NETWORKS
from ...race.own_process import answer_of
from ...records.runtime_record import PURPOSES, MemorySubject, MemoryUse
from ...workload.plan import FLOAT_BACKEND, INT8_BACKEND
from ..study import Measured, Surroundings, Task
from .plan import Plan

QUERIES = 2


def measurer(
    plan: Plan, tasks: Sequence[Task[MemorySubject]], surroundings: Surroundings
) -> MemoryMeasurer:
    """The program's artefact, in a file.

    Raises:
        UserError: the format's backend is not available here.
    """
    return MemoryMeasurer([one for task in tasks for one in task.subjects], surroundings)


class MemoryMeasurer:
    """Looks at one batch size after the other.

    Args:
        subjects: that are left, of one network and format.
        surroundings: see there.

    Raises:
        UserError: the format's backend is not available here.
    """

    def __init__(self, subjects: Sequence[MemorySubject], surroundings: Surroundings) -> None:
        self.report, self.done, self.total = surroundings.report, 0, len(subjects)
        first = subjects[0]
        if reason := BACKENDS.get(_backend_of(FORMATS.get(first.format))).unavailable():
            raise UserError(f"{first.format} cannot be measured: {reason}")
        self.report(f"Building {first.network}", 0, self.total)
        self.network = NETWORKS.get(first.network)
        made = self.network.synthetic(first.seed)
        source = Origin(first.network, "synthetic", "")
        self.artefact = quantize(made.model, first.format, made.calibration, Options(), source)
        batches = ", ".join(str(one.batch) for one in subjects)
        warn_if_long(self.report, f"Running at batch {batches}", self._seconds(subjects))
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "artefact.safetensors"
        save(self.artefact, self.path)

    def __call__(self, task: Task[MemorySubject]) -> Iterator[Measured[MemorySubject]]:
        """Run one program in a process of its own."""
        (subject,) = task.subjects
        self.report(f"Running at batch {subject.batch}", self.done, self.total)
        yield Measured(subject, _use(subject, self.artefact, self._run(subject)))
        self.done += 1

    def close(self) -> None:
        """Remove the artefact's file."""
        self.folder.cleanup()

    def _seconds(self, subjects: Sequence[MemorySubject]) -> float:
        """What all queries take, by two passes of each batch in this process, on one thread."""
        predictor = BACKENDS.get(_backend_of(self.artefact.format)).load(self.artefact, 1)
        seconds = 0.0
        for one in subjects:
            x = torch.zeros(one.batch, *self.network.input_shape)
            predictor.logits(x, one.seed, range(1))  # buffers are made here
            start = time.perf_counter()
            predictor.logits(x, one.seed, range(1))
            spent = time.perf_counter() - start
            seconds += QUERIES * one.mc * spent / min(one.threads, one.mc)
        return seconds

    def _run(self, asked: MemorySubject) -> dict[str, Any]:
        """What the process says.

        Raises:
            UserError: it fails, does not end, or has no compiled program of the format.
        """
        job = {
            "artefact": str(self.path),
            "format": asked.format,
            "input_shape": self.network.input_shape,
            "batch": asked.batch,
            "mc": asked.mc,
            "queries": QUERIES,
            "threads": asked.threads,
            "seed": asked.seed,
        }
        told: dict[str, Any] = answer_of(
            f"{__package__}.memory_process",
            job,
            f"The process that runs {asked.network} at batch {asked.batch}",
            (
                "give a smaller --mc or --batch",
                "give a smaller --batch if it ran out of memory",
            ),
        )
        if "error" in told:
            raise UserError(f"{told['error']} Choose an int8 format, see `sigmabench list`.")
        return told


def _backend_of(format: Format) -> str:
    return INT8_BACKEND if format.quantized else FLOAT_BACKEND


def _use(asked: MemorySubject, artefact: Artefact, told: dict[str, Any]) -> MemoryUse:
    format, program = artefact.format, told["program"]
    concurrent = min(asked.mc, asked.threads // told["team"])
    sampled = [conv.weights for conv in artefact.graph.convs if artefact.sampled(conv)]
    return MemoryUse(
        input_shape=NETWORKS.get(asked.network).input_shape,
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
    )
