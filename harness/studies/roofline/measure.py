"""Measures the machine's ceilings, then a program's passes and other ways to draw their weights, in
turns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ... import native
from ...backends.divided import torch_threads
from ...core.errors import UserError
from ...core.waiting import warn_if_long
from ...machine import counters
from ...machine.caches import cache_sizes
from ...machine.describe import this_machine
from ...measure.bandwidth import level_rates
from ...measure.clock import expected_seconds, interleave
from ...measure.operations import multiply_adds
from ...measure.watch import CoreWatch
from ...peers.contender import PAUSE_SECONDS
from ...quantize.artefact import Artefact
from ...race.profiled import MIN_QUERIES, Queries, Target, load_target
from ...race.target import TargetPlan
from ...records.profile_record import ProfileSubject
from ...records.roofline_record import LoopRate, Roofline, StepCount
from ..study import Measured, Surroundings, Task
from . import ceilings
from .drawing import Eager, eager_drawings

OF_CEILING = 1 / 8  # of the seconds of the passes
COUNTED_QUERIES = 3
TURN_SECONDS = 1e-3  # between two calls of a task, if another was called in between


def measurer(
    plan: TargetPlan, tasks: Sequence[Task[ProfileSubject]], surroundings: Surroundings
) -> RooflineMeasurer:
    """What measures ceilings and passes."""
    return RooflineMeasurer(plan, surroundings)


class Rested:
    """A task that waits, before its first call after another's turn, until PyTorch's threads have
    stopped spinning.

    Args:
        task: that keeps its own time.
    """

    def __init__(self, task: Queries) -> None:
        self._task, self._last = task, 0.0

    def __call__(self, index: int) -> int:
        """Call the task; gives its nanoseconds."""
        if time.perf_counter() - self._last > TURN_SECONDS:
            time.sleep(PAUSE_SECONDS)
        taken = self._task(index)
        self._last = time.perf_counter()
        return taken


class RooflineMeasurer:
    """Builds a target, and holds it against what the machine does at best.

    Args:
        plan: what to measure.
        surroundings: see there.
    """

    def __init__(self, plan: TargetPlan, surroundings: Surroundings) -> None:
        self.plan, self.report = plan, surroundings.report

    def __call__(self, task: Task[ProfileSubject]) -> Iterator[Measured[ProfileSubject]]:
        """Measure everything.

        Raises:
            UserError: the data are missing, no compiled program computes this format here, or a
                loop's process fails.
        """
        (subject,) = task.subjects
        if reason := native.unavailable():
            raise UserError(f"A roofline needs the compiled runtime: {reason}")
        self.report(f"Building {subject.target}", 0, 1)
        target = load_target(self.plan)
        watch = CoreWatch()
        queries = Queries(target, subject)
        others = eager_drawings(target.artefact)
        counts = ceilings.thread_counts(subject.threads)
        self._warn(subject, len(counts), [queries, *others])
        passes = self._passes(target, subject, queries, others)
        format, seconds = target.artefact.format, subject.seconds * OF_CEILING
        self.report("Measuring memory", 0, 1)
        levels = [one for count in counts for one in level_rates(count, seconds)]
        self.report("Measuring the sampler and products", 0, 1)
        samplers = ceilings.sampler_rates(format, counts, seconds) if format.bayesian else ()
        body = replace(
            passes,
            loops=self._loops(counts, seconds),
            levels=tuple(levels),
            samplers=tuple(samplers),
            products=tuple(ceilings.product_rates(subject.threads, seconds)),
            findings=watch.told(),
        )
        yield Measured(subject, body, conditions=watch.conditions)

    def close(self) -> None:
        """Nothing is kept."""

    def _warn(self, subject: ProfileSubject, counts: int, tasks: Sequence[Queries | Eager]) -> None:
        """How long it will take, by a call of each task."""
        levels = len(cache_sizes(this_machine().caches)) + 1
        seconds = ceilings.expected_seconds(
            len(ceilings.loop_names()), levels, counts, subject.seconds * OF_CEILING
        )
        with torch_threads(subject.threads):
            for task in tasks:
                task(0)
                start = time.perf_counter()
                task(1)
                taken = time.perf_counter() - start
                task.reports.clear()
                seconds += expected_seconds(taken, subject.seconds, MIN_QUERIES)
        warn_if_long(self.report, f"Measuring {subject.target} and this machine", seconds)

    def _loops(self, counts: tuple[int, ...], seconds: float) -> tuple[LoopRate, ...]:
        names = ceilings.loop_names()
        found: list[LoopRate] = []
        for place, name in enumerate(names):
            self.report("Measuring instruction sets", place, len(names))
            found += ceilings.loop_rates(name, counts, seconds)
        return tuple(found)

    def _passes(
        self,
        target: Target,
        subject: ProfileSubject,
        queries: Queries,
        others: Sequence[Eager],
    ) -> Roofline:
        """All but the ceilings."""
        with torch_threads(subject.threads):
            taken = interleave(
                (Rested(queries), *others),
                subject.seconds,
                min_samples=MIN_QUERIES,
                rest=lambda: self.report("Measuring passes", 0, 1),
            )
        profile = queries.profile(taken[0])
        drawings = tuple(one.drawing(each) for one, each in zip(others, taken[1:], strict=True))
        counts = counters.per_call(lambda: [queries(k) for k in range(COUNTED_QUERIES)])
        passes = COUNTED_QUERIES * subject.mc
        return Roofline(
            profile=profile,
            counts=step_counts(target.artefact, queries, subject.batch),
            loops=(),
            levels=(),
            samplers=(),
            products=(),
            drawings=drawings,
            counters={
                name: one if isinstance(one, str) else one / passes for name, one in counts.items()
            },
        )


def step_counts(artefact: Artefact, queries: Queries, batch: int) -> tuple[StepCount, ...]:
    """What each step moves and computes, the conversion of the input first, as in a profile.

    Args:
        artefact: the model.
        queries: of its program; the latest tells.
        batch: images of a query.
    """
    graph = artefact.graph
    convs = {conv.name: conv for conv in graph.convs}
    told = queries.program.counts()
    found = []
    for step in (told[-1], *told[:-1]):
        conv = convs.get(step["name"])
        drawn = conv is not None and artefact.sampled(conv)
        found.append(
            StepCount(
                name=step["name"],
                weights=conv.weights if conv is not None and drawn else 0,
                mean_bytes=step["mean"],
                std_bytes=step["std"],
                sampled_bytes=step["sampled"],
                activation_bytes=step["activations"],
                multiply_adds=0 if conv is None else batch * multiply_adds(graph, conv),
                executed=step["multiply_adds"],
            )
        )
    return tuple(found)
