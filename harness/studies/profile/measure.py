"""Where a pass's time goes: the compiled program's own clocks, step by step, over many queries.

A pass is shared by a team of threads, and several teams may work side by side. All times of steps
are thread-time: what the threads of all teams spent, over the number of passes. A pass's wall time
multiplied by the number of threads is what there was to spend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ...backends.base import BACKENDS
from ...core.checks import check_counts, check_seconds, check_seed
from ...core.errors import UserError, unknown
from ...core.formats import FORMATS
from ...machine.describe import fingerprint
from ...measure.clock import interleave
from ...measure.operations import multiply_adds
from ...quantize.artefact import Artefact
from ...quantize.graph import Conv, Graph, Node, Pool
from ...quantize.options import Options
from ...quantize.ptq import Origin, quantize
from ...race.networks import NETWORKS, POSTERIOR
from ...workload.plan import FLOAT_BACKEND, INT8_BACKEND, Plan
from ...workload.prepare import prepare
from ...workload.workload import WORKLOADS, resolve_workload

INPUTS = 4  # different batches the queries go round
MIN_QUERIES = 5
KINDS = ("sampling", "compute", "rest", "waiting")


@dataclass(frozen=True)
class ProfiledQuery:
    """What is profiled: T passes over one batch, again and again.

    Attributes:
        format: name in `FORMATS`.
        batch: images a query.
        mc: passes a query, T; a deterministic twin's are all alike.
        threads: cores a query may use.
        seconds: measured seconds at least, after warm-up.
        seed: of a synthetic network's weights and images; query i draws with seed + i.
    """

    format: str = "INT8"
    batch: int = 1
    mc: int = 50
    threads: int = 1
    seconds: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        FORMATS.get(self.format)
        for flag in ("batch", "mc", "threads"):
            check_counts(f"--{flag}", (getattr(self, flag),))
        check_seconds(self.seconds)
        check_seed(self.seed)


@dataclass(frozen=True, eq=False)
class Target:
    """A model to profile and what it is fed.

    Attributes:
        name: of the workload or network.
        posterior: where μ and σ come from.
        artefact: the model in the query's format.
        images: float32 [`INPUTS` · batch, C, H, W], normalised.
    """

    name: str
    posterior: str
    artefact: Artefact
    images: Tensor


@dataclass(frozen=True)
class Step:
    """One operation of the graph; the last one converts the input. Times are thread-microseconds
    a pass of the whole batch, medians over the queries.

    Attributes:
        name: of its output activation; the input's name for the conversion of the input.
        operation: `conv`, `max`, `avg`, `join` or `input`.
        shape: of a layer's weight (O, I per group, KH, KW); empty for other operations.
        kernel: implementation and instruction set of a layer, as the library names them; empty for
            other operations.
        path: how the weights get where the kernel reads them: `direct`, or through a scratch by
            `gather` or `reorder`; empty for other operations.
        operations: multiplications and additions of a pass; 0 for what is no layer.
        sampling_us: drawing weights and biases, and bringing weights into the kernel's layout.
        compute_us: inside the layer's kernel.
        rest_us: everything else: pooling, functions, converting and rearranging activations.
        waiting_us: for other threads of the team.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    kernel: str
    path: str
    operations: int
    sampling_us: float
    compute_us: float
    rest_us: float
    waiting_us: float

    @property
    def total_us(self) -> float:
        """All its thread-microseconds a pass."""
        return self.sampling_us + self.compute_us + self.rest_us + self.waiting_us

    @property
    def tops(self) -> float | None:
        """10¹² operations a second of one thread inside the kernel; None for what is no layer."""
        if not self.operations or not self.compute_us:
            return None
        return self.operations / (self.compute_us * 1e6)


@dataclass(frozen=True)
class Profile:
    """Where the time of a pass goes.

    Attributes:
        target: name of the workload or network.
        posterior: where μ and σ come from.
        format: name in `FORMATS`.
        batch: images a query.
        mc: passes a query.
        threads: cores a query may use.
        team: threads that share a pass; threads / team passes run side by side.
        queries: how many were measured.
        wall_us: a query's time over its passes (microseconds), median over the queries.
        steps: in the order of execution, the conversion of the input first.
        cpu: model name of the processor.
        commit: of the code, see `Fingerprint`.
    """

    target: str
    posterior: str
    format: str
    batch: int
    mc: int
    threads: int
    team: int
    queries: int
    wall_us: float
    steps: tuple[Step, ...]
    cpu: str
    commit: str | None

    @property
    def total_us(self) -> float:
        """Thread-microseconds of all steps, a pass."""
        return sum(step.total_us for step in self.steps)

    @property
    def spent(self) -> float:
        """Share of wall time · threads that the steps account for; the rest is waking up, going to
        sleep, and threads that had no pass to do."""
        return self.total_us / (self.wall_us * self.threads)

    def part(self, spent_us: float) -> float | None:
        """Of `total_us`, in 0 … 1; None where no step took any time."""
        return spent_us / self.total_us if self.total_us else None

    def share(self, kind: str) -> float | None:
        """Share of `total_us` of one of `KINDS`, as `part`."""
        return self.part(sum(getattr(step, f"{kind}_us") for step in self.steps))


def load_target(
    name: str, query: ProfiledQuery, data: Path | None = None, posterior: Path | None = None
) -> Target:
    """A workload with its posterior and images of its validation split, or a network of
    `sigmabench bench` with a synthetic posterior and random images.

    Args:
        name: of either, or a workload's `package.module:attribute`.
        query: its format, batch and seed.
        data: data root, see `splits.data_root`.
        posterior: file of a workload's posterior; the one that ships by default.

    Raises:
        UserError: there is no such name, the data or posterior is missing, or a posterior is given
            for a network.
    """
    count = INPUTS * query.batch
    if name in NETWORKS:
        if posterior is not None:
            raise UserError(f"--posterior is for workloads; that of {name} is synthetic.")
        network = NETWORKS.get(name)
        made = network.synthetic(query.seed)
        source = Origin(name, "synthetic", "")
        artefact = quantize(made.model, query.format, made.calibration, Options(), source)
        return Target(name, POSTERIOR, artefact, network.images(count, query.seed + 1))
    if ":" not in name and name not in WORKLOADS:
        raise unknown("workload or network", name, [*WORKLOADS, *NETWORKS])
    workload = resolve_workload(name)
    prepared = prepare(Plan(workload, formats=(query.format,), data=data, posterior=posterior))
    split = prepared.splits.validation.limit(count).readable()
    images = split.batch(torch.arange(count) % len(split))
    told = "the posterior that ships" if posterior is None else posterior.name
    return Target(workload.name, told, prepared.artefact(query.format), images)


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
    target: Target, query: ProfiledQuery, rest: Callable[[], None] | None = None
) -> Profile:
    """Run queries and take the median of every step's times.

    Args:
        target: what runs, in the query's format.
        query: how.
        rest: called now and then, outside all timing (a progress bar).

    Raises:
        UserError: no compiled program computes this format here.
    """
    program = load_program(target.artefact, query.threads)
    batches = [part.contiguous().numpy() for part in torch.split(target.images, query.batch)]
    reports: list[dict[str, Any]] = []

    def task(index: int) -> int:
        x = batches[index % len(batches)]
        reports.append(program.profile(x, query.seed + index, 0, query.mc))
        return int(reports[-1]["wall_ns"])

    taken = interleave([task], query.seconds, min_samples=MIN_QUERIES, rest=rest)[0]
    machine = fingerprint()
    return Profile(
        target=target.name,
        posterior=target.posterior,
        format=query.format,
        batch=query.batch,
        mc=query.mc,
        threads=query.threads,
        team=program.team(batches[0], query.mc),
        queries=len(taken.latency_ns),
        wall_us=taken.median_ns / (1e3 * query.mc),
        steps=_steps(target.artefact.graph, program.describe(), reports[taken.warmup :], query),
        cpu=machine.cpu,
        commit=machine.commit,
    )


def operations(graph: Graph, conv: Conv) -> int:
    """Multiplications and additions of a layer on one image, bias and residual sum left out."""
    return 2 * multiply_adds(graph, conv)


def _operation(node: Node | None) -> str:
    if node is None:
        return "input"
    return node.kind if isinstance(node, Pool) else node.op


def _steps(
    graph: Graph, layers: list[dict[str, str]], reports: list[dict[str, Any]], query: ProfiledQuery
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
            query.batch * operations(graph, node) if isinstance(node, Conv) else 0,
            *(median(t[f"{kind}_ns"] for t in times) / (1e3 * query.mc) for kind in KINDS),
        )
        steps.append(step)
    return tuple(steps)
