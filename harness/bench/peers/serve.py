"""The far end of a peer: lines of JSON in, timings out. Runs in the peer's environment.

    {"load": {...}} -> {"loaded": {"versions": {...}, "form": "...", "forms": {...}}}
    {"run": n}      -> {"ns": [...]}
    anything wrong  -> {"error": "one sentence"}, and the process ends

This file and the workers beside it import nothing of SigmaBench; they need PyTorch and the peer.
Standard output carries answers alone: whatever libraries print there goes to standard error.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WARMUP = 3
TRIALS = 10  # of each form, in turns; fewer where they take longer than TRIAL_SECONDS
TRIAL_SECONDS = 4.0


@dataclass(frozen=True)
class Job:
    """What to build.

    Attributes:
        source: of the network: `module:attribute` or `file.py:attribute`.
        format: which of the peer's formats.
        shape: (C, H, W) of one image.
        batch: images a query.
        inputs: different input batches.
        threads: cores it may use.
        seed: of weights and images.
    """

    source: str
    format: str
    shape: list[int]
    batch: int
    inputs: int
    threads: int
    seed: int


@dataclass(frozen=True)
class Form:
    """One way to run what was built: a call of float32 images to float32 logits, and its images."""

    name: str
    call: Callable[[Tensor], Tensor]
    images: list[Tensor]


#: Builds a network for a job: (job, settled module, NCHW image batches) -> ways to run it.
Build = Callable[[Job, nn.Module, "list[Tensor]"], "list[Form]"]


class RefusedError(Exception):
    """A job that the peer cannot do, with the reason as one sentence."""


def serve(build: Build, versions: Callable[[], dict[str, str]]) -> None:
    """Answer requests until the input ends.

    Args:
        build: the peer's part.
        versions: of the packages that compute.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    runner: _Runner | None = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "load" in request:
                runner = _Runner(build, Job(**request["load"]))
                answer: dict[str, Any] = {"loaded": {**runner.told, "versions": versions()}}
            else:
                assert runner is not None, "nothing is loaded"
                answer = {"ns": runner.run(int(request["run"]))}
        except Exception as reason:  # whatever a peer raises has to become an answer
            first = (str(reason).strip().splitlines() or [""])[0]
            kind = "" if isinstance(reason, RefusedError) else f"{type(reason).__name__}: "
            answers.write(json.dumps({"error": f"{kind}{first}"}) + "\n")
            raise SystemExit(1) from reason
        answers.write(json.dumps(answer) + "\n")


class _Runner:
    """A built network that goes round its inputs."""

    def __init__(self, build: Build, job: Job) -> None:
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)
        module = make(job.source)
        generator = torch.Generator().manual_seed(job.seed)
        settle(module, torch.randn(8, *job.shape, generator=generator))
        images = [
            torch.randn(job.batch, *job.shape, generator=generator) for _ in range(job.inputs)
        ]
        self.index = 0
        with torch.no_grad():
            forms = build(job, module, images)
            medians = _medians(forms)
        best = min(forms, key=lambda form: medians[form.name])
        self.form = best
        self.told = {"form": best.name, "forms": medians}

    def run(self, count: int) -> list[int]:
        """Nanoseconds of each of `count` queries."""
        with torch.no_grad():
            return [self._query() for _ in range(count)]

    def _query(self) -> int:
        images = self.form.images[self.index % len(self.form.images)]
        self.index += 1
        taken, logits = _timed(self.form.call, images)
        _check(logits, len(images))
        return taken


def _timed(call: Callable[[Tensor], Tensor], images: Tensor) -> tuple[int, Tensor]:
    start = time.perf_counter_ns()
    logits = call(images)
    return time.perf_counter_ns() - start, logits


def _medians(forms: list[Form]) -> dict[str, float]:
    """Median nanoseconds of each form: warmed up, then in turns."""
    for form in forms:
        for index in range(WARMUP):
            _check(form.call(form.images[index % len(form.images)]), len(form.images[0]))
    taken: dict[str, list[int]] = {form.name: [] for form in forms}
    end = time.monotonic() + TRIAL_SECONDS * len(forms)
    for index in range(TRIALS):
        for form in forms:
            taken[form.name].append(_timed(form.call, form.images[index % len(form.images)])[0])
        if time.monotonic() > end:
            break
    return {name: float(statistics.median(times)) for name, times in taken.items()}


def _check(logits: Tensor, images: int) -> None:
    if logits.dtype != torch.float32 or logits.dim() != 2 or len(logits) != images:
        raise RefusedError(f"its logits are {logits.dtype} of shape {list(logits.shape)}")
    if not torch.isfinite(logits).all():
        raise RefusedError("its logits are not finite")


def make(source: str) -> nn.Module:
    """A module with fresh weights from `module:attribute` or `file.py:attribute`."""
    place, _, attribute = source.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("network", place)
        assert spec is not None
        assert spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(found)
    else:
        found = importlib.import_module(place)
    module: nn.Module = getattr(found, attribute)()
    return module


def settle(module: nn.Module, images: Tensor) -> None:
    """Batch-norm statistics of these images, so that activations have a trained network's scale."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None
    with torch.no_grad():
        module.train()(images)
    module.eval()
