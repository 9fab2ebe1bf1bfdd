"""Where a pass's time goes: the compiled program's own clocks, step by step, over many queries.

A pass is shared by a team of threads, and several teams may work side by side. All times of steps
are thread-time: what the threads of all teams spent, over the number of passes. A pass's wall time
multiplied by the number of threads is what there was to spend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...measure.clock import interleave
from ...measure.operations import multiply_adds
from ...quantize.artefact import Artefact
from ...quantize.graph import Conv, Graph, Node, Pool
from ...quantize.options import Options
from ...quantize.ptq import Origin, quantize
from ...race.networks import POSTERIOR, Network
from ...records.profile_record import KINDS_OF_TIME, Profile, ProfileSubject, Step
from ...workload.plan import FLOAT_BACKEND, INT8_BACKEND
from ...workload.prepare import prepare
from ..study import Measured, Surroundings, Task
from .plan import INPUTS, ProfilePlan

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


def measurer(
    plan: ProfilePlan, tasks: Sequence[Task[ProfileSubject]], surroundings: Surroundings
) -> ProfileMeasurer:
    """What runs and reads the program's clocks."""
    return ProfileMeasurer(plan, surroundings)


class ProfileMeasurer:
    """Builds a target, and profiles it.

    Args:
        plan: what to profile.
        surroundings: see there.
    """

    def __init__(self, plan: ProfilePlan, surroundings: Surroundings) -> None:
        self.plan, self.report = plan, surroundings.report

    def __call__(self, task: Task[ProfileSubject]) -> Iterator[Measured[ProfileSubject]]:
        """Run queries and take the median of every step's times.

        Raises:
            UserError: the data are missing, or no compiled program computes this format here.
        """
        (subject,) = task.subjects
        self.report(f"Building {subject.target}", 0, 1)
        target = load_target(self.plan)
        yield Measured(subject, profile(target, subject, lambda: self.report("Measuring", 0, 1)))

    def close(self) -> None:
        """Nothing is kept."""


def load_target(plan: ProfilePlan) -> Target:
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
    program = load_program(target.artefact, asked.threads)
    batches = [part.contiguous().numpy() for part in torch.split(target.images, asked.batch)]
    reports: list[dict[str, Any]] = []

    def task(index: int) -> int:
        x = batches[index % len(batches)]
        reports.append(program.profile(x, asked.seed + index, 0, asked.mc))
        return int(reports[-1]["wall_ns"])

    taken = interleave([task], asked.seconds, min_samples=MIN_QUERIES, rest=rest)[0]
    return Profile(
        origin=target.origin,
        team=program.team(batches[0], asked.mc),
        queries=len(taken.latency_ns),
        wall_us=taken.median_ns / (1e3 * asked.mc),
        steps=_steps(target.artefact.graph, program.describe(), reports[taken.warmup :], asked),
    )


def operations(graph: Graph, conv: Conv) -> int:
    """Multiplications and additions of a layer on one image, bias and residual sum left out."""
    return 2 * multiply_adds(graph, conv)


def _operation(node: Node | None) -> str:
    if node is None:
        return "input"
    return node.kind if isinstance(node, Pool) else node.op


def _steps(
    graph: Graph, layers: list[dict[str, str]], reports: list[dict[str, Any]], asked: ProfileSubject
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
