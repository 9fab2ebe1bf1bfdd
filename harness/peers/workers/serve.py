"""The far end of a peer: lines of JSON in, what was measured out. Runs in the peer's environment.

    {"build": {...}}                             -> {"built": [...]}, names of forms
    {"load": true}                               -> {"loaded": {"versions", "form", "forms",
                                                                "together", "streams", "details"}}
    {"run": n}                                   -> {"ns": [...]}, a pass each, or all n together
    {"score": batch, "passes": n, "file": path}  -> {"scored": path}, float32 [n, N, C] in .npy
    {"draw": n}                                  -> {"std": {...}}, rms over a tensor, by parameter
    {"save": true}                               -> {"bytes": n}, of the network as a file
    anything wrong                               -> {"error": "one sentence"}, and the process ends

What is built may be built beside others; `load` tries the forms on the clock, and wants the machine
alone.

This file and the workers beside it import nothing of SigmaBench; they need PyTorch and the peer.
Standard output carries answers alone: whatever libraries print there goes to standard error.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from network import Batches, make, settle, tensors
from spread import Spread
from torch import Tensor, nn

WARMUP = 3
TRIALS = 10  # of each form, in turns; fewer where they take longer than TRIAL_SECONDS
TRIAL_SECONDS = 4.0
TRIAL_PASSES = 4  # a stream, of what computes several passes together
CALIBRATION_IMAGES = 8  # of a synthetic network; real ones bring theirs
LONGEST_REASON = 200  # characters; libraries add pages


@dataclass(frozen=True)
class Job:
    """What to build.

    Attributes:
        source: of the network: `module:attribute` or `file.py:attribute`.
        format: which of the peer's formats.
        shape: (C, H, W) of one image.
        batch: images per query.
        inputs: different input batches.
        threads: cores it may use.
        seed: of weights, images and draws.
        arguments: of the call that makes the network.
        keywords: of that call.
        data: folder of a trained network and images, see `network.py`; empty for random ones.
        kept: folder of what a peer needs to make once for all processes; empty for that of `data`.
        form: the one to run, which an earlier process found to be the fastest; empty to try all.
    """

    source: str
    format: str
    shape: list[int]
    batch: int
    inputs: int
    threads: int
    seed: int
    arguments: list[Any] = field(default_factory=list)
    keywords: dict[str, Any] = field(default_factory=dict)
    data: str = ""
    kept: str = ""
    form: str = ""

    def wants(self, form: str) -> bool:
        """Whether a form is to be built."""
        return self.form in ("", form)

    def made(self, name: str) -> Path | None:
        """Where a file lies that all processes can use; None of a random network, whose
        quantization takes no time."""
        folder = self.kept or self.data
        return Path(folder) / name if folder else None

    def calibration(self, images: Sequence[Tensor], batch: int = 0) -> Sequence[Tensor]:
        """Batches to calibrate on: training images where there are any.

        Args:
            images: batches of the network's input.
            batch: images at a time; 0 for as many as in a query.
        """
        size = batch or self.batch
        if self.data:
            return Batches(self.data, "calibration", size)
        return images[0][:CALIBRATION_IMAGES].split(size)


@dataclass(frozen=True)
class Form:
    """One way to run what was built.

    Attributes:
        name: in the record.
        call: of float32 images to float32 logits; a Bayesian network's draws its weights.
        save: writes the network as a user of the library would.
        layout: of the images.
        draw: the weights of one pass, by parameter name; None for a deterministic network.
        together: of several batches to the logits of each, where passes do not wait for each other;
            they are timed as a whole. None where each pass is timed.
        streams: passes that it computes side by side.
        details: what computes it, by name, for the record.
    """

    name: str
    call: Callable[[Tensor], Tensor]
    save: Callable[[io.BytesIO], None]
    layout: torch.memory_format = torch.contiguous_format
    draw: Callable[[], dict[str, Tensor]] | None = None
    together: Callable[[Sequence[Tensor]], list[Tensor]] | None = None
    streams: int = 1
    details: Mapping[str, str] = field(default_factory=dict)


#: Builds a network for a job: (job, trained or settled module, image batches) -> ways to run it.
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
            if "build" in request:
                runner = _Runner(build, Job(**request["build"]))
                answer: dict[str, Any] = {"built": runner.forms}
            else:
                assert runner is not None, "nothing is built"
                if "load" in request:
                    answer = {"loaded": {**runner.load(), "versions": versions()}}
                else:
                    answer = runner.answer(request)
        except Exception as reason:  # whatever a peer raises has to become an answer
            answers.write(json.dumps({"error": _sentence(reason)}) + "\n")
            raise SystemExit(1) from reason
        answers.write(json.dumps(answer) + "\n")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Where to write a file or a folder that others find at `path` once it is whole."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        yield (part := Path(folder) / path.name)
        part.replace(path)


def _sentence(reason: Exception) -> str:
    """Without the full stop."""
    first = (str(reason).strip().splitlines() or [""])[0]
    if isinstance(reason, RefusedError):
        return first
    short = first if len(first) <= LONGEST_REASON else first.partition(". ")[0][:LONGEST_REASON]
    return f"{type(reason).__name__}: {short}".rstrip(".: ")


class _Runner:
    """A built network that goes round its inputs."""

    def __init__(self, build: Build, job: Job) -> None:
        torch.set_num_threads(job.threads)
        torch.manual_seed(job.seed)
        module = make(job.source, job.arguments, job.keywords)
        self._batches = _trained(job, module) if job.data else _synthetic(job, module)
        inputs = [self._batches[index] for index in range(job.inputs)]
        self._index, self._settled = 0, bool(job.form)
        with torch.no_grad():
            self._built = [form for form in build(job, module, inputs) if job.wants(form.name)]
            if not self._built:
                raise RefusedError(f"it cannot be run in the form {job.form!r} any more")
            self._laid_out = [
                [image.contiguous(memory_format=form.layout) for image in inputs]
                for form in self._built
            ]
            for form, images in zip(self._built, self._laid_out, strict=True):
                _check(form.call(images[0]), job.batch)  # some compile when they are first called
        self._form, self._images = self._built[0], self._laid_out[0]

    @property
    def forms(self) -> list[str]:
        """Names of what was built."""
        return [form.name for form in self._built]

    def load(self) -> dict[str, Any]:
        """Keep the fastest form; what there is to be said of it."""
        with torch.no_grad():
            medians = _medians(self._built, self._laid_out, self._settled)
        best = min(range(len(self._built)), key=lambda at: medians.get(self.forms[at], 0.0))
        form = self._form = self._built[best]
        self._images = self._laid_out[best]
        self._built, self._laid_out = [form], [self._images]
        return {
            "form": form.name,
            "forms": medians,
            "together": form.together is not None,
            "streams": form.streams,
            "details": dict(form.details),
        }

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """To anything but `build` and `load`."""
        with torch.no_grad():
            if "run" in request:
                return {"ns": self._query(int(request["run"]))}
            if "score" in request:
                logits = self._logits(int(request["score"]), int(request["passes"]))
                np.save(request["file"], logits, allow_pickle=False)
                return {"scored": request["file"]}
            if "draw" in request:
                return {"std": self._std(int(request["draw"]))}
        buffer = io.BytesIO()
        self._form.save(buffer)
        return {"bytes": buffer.getbuffer().nbytes}

    def _query(self, passes: int) -> list[int]:
        first, self._index = self._index, self._index + passes
        places = range(first, self._index)
        return _timed(self._form, [self._images[place % len(self._images)] for place in places])

    def _logits(self, batch: int, passes: int) -> np.ndarray:
        images = self._batches[batch].contiguous(memory_format=self._form.layout)
        found = []
        for _ in range(passes):
            logits = self._form.call(images)
            _check(logits, len(images))
            found.append(logits.numpy().copy())
        return np.stack(found)

    def _std(self, draws: int) -> dict[str, float]:
        """Rms over a tensor of the standard deviation (n − 1) of each weight over some draws."""
        assert self._form.draw is not None, "a deterministic network draws nothing"
        spreads: dict[str, Spread] = {}
        for _ in range(draws):
            for name, drawn in self._form.draw().items():
                spreads.setdefault(name, Spread()).add(drawn)
        return {name: spread.rms() for name, spread in spreads.items()}


def _trained(job: Job, module: nn.Module) -> Sequence[Tensor]:
    """The deterministic twin's weights into `module`; the images to score."""
    module.load_state_dict(tensors(job.data, "twin"))
    module.eval()
    return Batches(job.data, "images", job.batch)


def _synthetic(job: Job, module: nn.Module) -> Sequence[Tensor]:
    generator = torch.Generator().manual_seed(job.seed)
    settle(module, torch.randn(8, *job.shape, generator=generator))
    return [torch.randn(job.batch, *job.shape, generator=generator) for _ in range(job.inputs)]


def _timed(form: Form, batches: Sequence[Tensor]) -> list[int]:
    """Nanoseconds of a pass on each batch, or of all of them together."""
    if form.together is None:
        return [_timed_call(form.call, images) for images in batches]
    start = time.perf_counter_ns()
    logits = form.together(batches)
    taken = time.perf_counter_ns() - start
    for images, own in zip(batches, logits, strict=True):
        _check(own, len(images))
    return [taken]


def _timed_call(call: Callable[[Tensor], Tensor], images: Tensor) -> int:
    start = time.perf_counter_ns()
    logits = call(images)
    taken = time.perf_counter_ns() - start
    _check(logits, len(images))
    return taken


def _medians(
    forms: list[Form], laid_out: list[list[Tensor]], settled: bool = False
) -> dict[str, float]:
    """Median nanoseconds per pass of each form: warmed up, then in turns; one trial where there is
    nothing to choose from, and none where an earlier process has chosen."""
    pairs = list(zip(forms, laid_out, strict=True))
    for form, images in pairs:
        end = time.monotonic() + TRIAL_SECONDS
        for index in range(WARMUP):
            _trial(form, images, index)
            if time.monotonic() > end:
                break
    if settled:
        return {}
    taken: dict[str, list[float]] = {form.name: [] for form in forms}
    end = time.monotonic() + TRIAL_SECONDS * len(forms)
    for index in range(TRIALS if len(forms) > 1 else 1):
        for form, images in pairs:
            taken[form.name].append(_trial(form, images, index))
        if time.monotonic() > end:
            break
    return {name: float(statistics.median(times)) for name, times in taken.items()}


def _trial(form: Form, images: list[Tensor], index: int) -> float:
    """Nanoseconds per pass."""
    passes = 1 if form.together is None else TRIAL_PASSES * form.streams
    places = range(index, index + passes)
    return sum(_timed(form, [images[place % len(images)] for place in places])) / passes


def _check(logits: Tensor, images: int) -> None:
    if logits.dtype != torch.float32 or logits.dim() != 2 or len(logits) != images:
        raise RefusedError(f"its logits are {logits.dtype} of shape {list(logits.shape)}")
    if not torch.isfinite(logits).all():
        raise RefusedError("its logits are not finite")
