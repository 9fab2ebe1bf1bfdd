"""Where a pass's time goes: the compiled program's own clocks, step by step, over many queries.

A pass is shared by a team of threads, and several teams may work side by side. All times of steps
are thread-time: what the threads of all teams spent, over the number of passes. A pass's wall time
multiplied by the number of threads is what there was to spend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ..backends.base import BACKENDS
from ..core.errors import UserError
from ..measure.clock import Samples, interleave
from ..measure.operations import multiply_adds
from ..quantize.artefact import Artefact
from ..quantize.graph import Conv, Graph, Node, Pool
from ..quantize.options import Options
from ..quantize.ptq import Origin, quantize
from ..records.profile_record import KINDS_OF_TIME, Profile, ProfileSubject, Step
from ..workload.plan import FLOAT_BACKEND, INT8_BACKEND
from ..workload.prepare import prepare
from .networks import POSTERIOR, Network
from .target import INPUTS, TargetPlan

MIN_QUERIES = 5


@dataclass(frozen=True, eq=False)
class Target:
    """A model to profile and what it is fed.

    Attributes:
        origin: where μ and σ come from.
        artefact: the model in the plan's format.
        images: float32 [`INPUTS` · batch, C, H, W], normalised.
    """

    origin: str
    artefact: Artefact
    images: Tensor


def load_target(plan: TargetPlan) -> Target:
    """A workload with its posterior and images of its validation split, or a network of
    `sigmabench bench` with a synthetic posterior and random images.

    Raises:
        UserError: the data or posterior is missing.
    """
    target, count = plan.target, INPUTS * plan.batch
    if isinstance(target, Network):
        made = target.synthetic(plan.seed)
        source = Origin(target.name, "synthetic", "")
        artefact = quantize(made.model, plan.format, made.calibration, Options(), source)
        return Target(POSTERIOR, artefact, target.images(count, plan.seed + 1))
    prepared = prepare(plan.prepared_as(target))
    split = prepared.splits.validation.limit(count).readable()
    images = split.batch(torch.arange(count) % len(split))
    told = "the posterior that ships" if plan.posterior is None else plan.posterior.name
    return Target(told, prepared.artefact(plan.format), images)


def load_program(artefact: Artefact, threads: int) -> Any:
    """The compiled program that computes an artefact here.

    Raises:
        UserError: there is none: nothing is compiled, another engine computes this format, or the
            network is divided.
    """
    format = artefact.format
    backend = BACKENDS.get(INT8_BACKEND if format.quantized else FLOAT_BACKEND)
    if reason := backend.unavailable():
        raise UserError(f"{format.name} has no compiled program here: {reason}")
    if artefact.graph.steps:
        raise UserError(
            f"{artefact.header.workload} is divided into {len(artefact.graph.segments)} programs "
            "with float operations between them, which cannot be profiled as one; `sigmabench run` "
            "times it as a whole."
        )
    program = getattr(backend.load(artefact, threads), "program", None)
    if program is None:
        raise UserError(
            f"PyTorch computes {format.name} here, which keeps no account of its time and memory; "
            "choose an int8 format, see `sigmabench list`."
        )
    return program


def profile(
    target: Target, asked: ProfileSubject, rest: Callable[[], None] | None = None
) -> Profile:
    """Run queries and take the median of every step's times.

    Args:
        target: what runs.
        asked: how.
        rest: called now and then, outside all timing (a progress bar).

    Raises:
        UserError: no compiled program computes this format here.
    """
    queries = Queries(target, asked)
    (samples,) = interleave([queries], asked.seconds, min_samples=MIN_QUERIES, rest=rest)
    return queries.profile(samples)


class Queries:
    """Queries of a program that keeps account of them, as a task of `clock.interleave`.

    Args:
        target: what runs.
        asked: how.

    Attributes:
        program: that computes it.
        reports: what it told of each.

    Raises:
        UserError: no compiled program computes this format here.
    """

    def __init__(self, target: Target, asked: ProfileSubject) -> None:
        self.program = load_program(target.artefact, asked.threads)
        self._target, self._asked = target, asked
        parts = torch.split(target.images, asked.batch)
        self._batches = [part.contiguous().numpy() for part in parts]
        self.reports: list[dict[str, Any]] = []

    def __call__(self, index: int) -> int:
        """Run one; gives its nanoseconds."""
        x = self._batches[index % len(self._batches)]
        asked = self._asked
        self.reports.append(self.program.profile(x, asked.seed + index, 0, asked.mc))
        return int(self.reports[-1]["wall_ns"])

    def profile(self, taken: Samples) -> Profile:
        """What the timed ones were spent on."""
        asked, reports = self._asked, self.reports[taken.warmup :]
        return Profile(
            origin=self._target.origin,
            team=self.program.team(self._batches[0], asked.mc),
            queries=len(taken.latency_ns),
            wall_us=taken.median_ns / (1e3 * asked.mc),
            steps=_steps(self._target.artefact.graph, self.program.describe(), reports, asked),
        )


def operations(graph: Graph, conv: Conv) -> int:
    """Multiplications and additions of a layer on one image, bias and residual sum left out."""
    return 2 * multiply_adds(graph, conv)


def _operation(node: Node | None) -> str:
    if node is None:
        return "input"
    return node.kind if isinstance(node, Pool) else node.op


def _steps(
    graph: Graph,
    layers: Sequence[dict[str, str]],
    reports: Sequence[dict[str, Any]],
    asked: ProfileSubject,
) -> tuple[Step, ...]:
    told = {layer["name"]: layer for layer in layers}
    nodes = {node.name: node for node in graph.nodes}
    by_step = list(zip(*(report["steps"] for report in reports), strict=True))
    steps = []
    for times in (by_step[-1], *by_step[:-1]):
        name = times[0]["name"]
        node = nodes.get(name)
        step = Step(
            name,
            _operation(node),
            node.shape if isinstance(node, Conv) else (),
            told.get(name, {}).get("implementation", ""),
            told.get(name, {}).get("path", ""),
            asked.batch * operations(graph, node) if isinstance(node, Conv) else 0,
            *(median(t[f"{kind}_ns"] for t in times) / (1e3 * asked.mc) for kind in KINDS_OF_TIME),
        )
        steps.append(step)
    return tuple(steps)
