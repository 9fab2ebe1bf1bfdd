"""From a plan to records: quantize every format, score it, time it, audit it, store it.

Scores of all T come from one run by prefixes. The cells of one (batch, T) are timed in turns and
stored together, so a run that is stopped leaves whole records, and the next one measures the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from typing import TYPE_CHECKING

import torch

from .backends.base import BACKENDS, Predictor
from .errors import UserError
from .machine import fingerprint
from .measure import audits
from .measure.bandwidth import copy_bandwidth
from .measure.clock import Samples, interleave
from .measure.counters import dram, energy
from .measure.memory import PeakMemory
from .measure.posterior import fidelities
from .measure.quality import quality
from .measure.timing import timing
from .predict import evaluate
from .prepare import Prepared, prepare
from .quantize.artefact import Artefact, size
from .record import Bandwidth, Fidelity, Fingerprint, Quality, Record, Timing
from .store import Policy, Store

if TYPE_CHECKING:
    from torch import Tensor

    from .cell import Cell
    from .data import Split
    from .plan import Plan

RING = 8  # different input batches a timed cell goes round
MAX_SAMPLES = 2000  # enough for p99 twice over; more would only swell the records
MIN_SAMPLES = 20  # fewer have no median by the rule for percentiles
#: How far mean probabilities of two batch sizes may be apart: float sums round in another order.
TOLERANCES = {"int8": 0.0, "fp32": 1e-4, "bf16": 2e-2}
FP32_WEIGHT_BYTES = 16  # an FP32 sampler reads μ and σ and writes and reads w, 4 bytes each

#: Told what is being done and how much of it is done, as (phase, done, total).
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Loaded:
    """One format, ready to run."""

    artefact: Artefact
    predictor: Predictor
    fidelity: tuple[Fidelity, ...]
    quality: dict[int, Quality]
    draws_differ: str


def run(
    plan: Plan,
    store: Store,
    command: str,
    policy: Policy = Policy.ONLY_MISSING,
    report: Report | None = None,
) -> list[Record]:
    """Measure the plan's cells and store their records.

    Args:
        plan: what to measure.
        store: where records go; it must be writable unless the policy is `never`.
        command: written into the records.
        policy: what to do about cells that have a record.
        report: progress.

    Returns:
        The records of all the plan's cells that there are, in the plan's order.
    """
    here = fingerprint()
    report = report or (lambda *_: None)
    _check_threads(plan.threads)
    torch.set_num_threads(plan.threads)
    posterior, _ = plan.workload.load_posterior(plan.posterior)
    cells = plan.cells(posterior.content_hash())
    if policy is not Policy.NEVER:
        store.ensure_writable()
    wanted = store.missing(cells, here, policy)
    if wanted:
        report("Quantizing", 0, 1)
        _Sweep(prepare(plan, posterior), store, command, here, report).measure(wanted)
    return [record for cell in cells if (record := store.find(cell, here)) is not None]


class _Sweep:
    def __init__(
        self, prepared: Prepared, store: Store, command: str, here: Fingerprint, report: Report
    ) -> None:
        self.prepared, self.plan, self.store = prepared, prepared.plan, store
        self.command, self.here, self.report = command, here, report
        split: Split = getattr(prepared.splits, self.plan.split)
        self.split = split.limit(self.plan.limit)
        self.fp32 = prepared.artefact("FP32")

    def measure(self, cells: Sequence[Cell]) -> None:
        loaded = self._load(cells)
        self.report("Measuring copy bandwidth", 0, 1)
        copy = copy_bandwidth(self.plan.threads).gb_per_s
        groups = [
            list(group) for _, group in groupby(cells, key=lambda cell: (cell.batch, cell.mc))
        ]
        for index, group in enumerate(groups):
            self.report("Timing", index, len(groups))
            for record in self._group(group, loaded, copy):
                self.store.save(record)
        self.report("Timing", len(groups), len(groups))

    def _load(self, cells: Sequence[Cell]) -> dict[str, Loaded]:
        plan, model = self.plan, self.prepared.model
        loaded: dict[str, Loaded] = {}
        names = list(dict.fromkeys(cell.format for cell in cells))
        total = len(names) * plan.seeds * len(self.split)
        for index, name in enumerate(names):
            artefact = self.prepared.artefact(name)
            predictor = BACKENDS.get(plan.backend_of(artefact.format)).load(artefact, plan.threads)
            sampled = [conv.name for conv in artefact.graph.convs if artefact.sampled(conv)]
            done = index * plan.seeds * len(self.split)
            loaded[name] = Loaded(
                artefact,
                predictor,
                fidelities(artefact, model, predictor, plan.seed),
                self._score(artefact, predictor, cells, done, total),
                audits.draws_differ(predictor.sample, sampled, plan.seed),
            )
        return loaded

    def _score(
        self,
        artefact: Artefact,
        predictor: Predictor,
        cells: Sequence[Cell],
        done: int,
        total: int,
    ) -> dict[int, Quality]:
        mine = [cell for cell in cells if cell.format == artefact.header.format]
        counts = sorted({cell.mc for cell in mine})
        seeds = range(self.plan.seed, self.plan.seed + mine[0].seeds)
        summaries = []
        for seed in seeds:

            def advance(images: int) -> None:
                nonlocal done
                done += images
                self.report(f"Scoring {artefact.header.format}", done, total)

            deterministic = not artefact.format.bayesian
            summaries.append(evaluate(predictor, self.split, counts, seed, deterministic, advance))
        labels = self.split.labels
        return {T: quality([one[T] for one in summaries], labels, list(seeds)) for T in counts}

    def _group(self, group: Sequence[Cell], loaded: dict[str, Loaded], copy: float) -> list[Record]:
        ring = _ring(self.split, group[0].batch)
        around = [_Query(loaded[cell.format].predictor, ring, cell) for cell in group]
        repeated = [_Query(loaded[cell.format].predictor, ring[:1], cell) for cell in group]
        before = [query.predictor.draws for query in around]
        with PeakMemory() as memory:
            samples = interleave(
                [*around, *repeated],
                self.plan.seconds,
                min_samples=MIN_SAMPLES,
                max_samples=MAX_SAMPLES,
            )
        drawn = [
            audits.every_pass_drew(
                start,
                query.predictor.draws,
                (query.calls + same.calls) * query.cell.mc,
                loaded[query.cell.format].artefact.sampled_weights,
            )
            for query, same, start in zip(around, repeated, before, strict=True)
        ]
        timed = [
            _Timed(query, own, same, tuple(cell.key for cell in group), draws, memory.peak_bytes)
            for query, own, same, draws in zip(
                around, samples[: len(group)], samples[len(group) :], drawn, strict=True
            )
        ]
        return [self._record(one, loaded[one.query.cell.format], copy) for one in timed]

    def _record(self, one: _Timed, loaded: Loaded, copy: float) -> Record:
        cell, artefact, predictor = one.query.cell, loaded.artefact, loaded.predictor
        timed = timing(
            one.samples,
            batch=cell.batch,
            inputs=len(one.query.ring),
            interleaved_with=one.interleaved_with,
        )
        checks = {
            "moments": audits.moments(loaded.fidelity),
            "draws differ": loaded.draws_differ,
            "every timed pass drew": one.every_pass_drew,
            "scored the timed path": one.query.rescored(artefact.format.arithmetic),
            "inputs not cached": audits.inputs_not_cached(one.samples, one.repeated),
            "instruction set": audits.isa_dispatched(
                BACKENDS.get(cell.backend).claimed_isa(), predictor.isa
            ),
            "noise": audits.noise_bounded(timed.noise),
        }
        return Record(
            cell=cell,
            fingerprint=self.here,
            command=self.command,
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            dispatched_isa=predictor.isa,
            kernels=dict(predictor.kernels),
            quality=loaded.quality[cell.mc],
            timing=timed,
            bandwidth=_bandwidth(cell, artefact, predictor, timed, copy),
            size=size(artefact, self.fp32),
            peak_memory_bytes=one.peak_bytes,
            fidelity=loaded.fidelity,
            verdict=audits.verdict(checks, audits.posterior_findings(loaded.fidelity)),
            unavailable=_unavailable(),
        )


class _Query:
    """A timed task: goes round its inputs, with a seed of its own for every query."""

    def __init__(self, predictor: Predictor, ring: Sequence[Tensor], cell: Cell) -> None:
        self.predictor, self.ring, self.cell = predictor, ring, cell
        self.passes = range(cell.mc)
        self.calls = self.index = 0
        self.logits = torch.empty(0)

    def __call__(self, index: int) -> None:
        x = self.ring[index % len(self.ring)]
        self.logits = self.predictor.logits(x, self.cell.seed + index, self.passes)
        self.calls, self.index = self.calls + 1, index

    def rescored(self, arithmetic: str) -> str:
        """The last timed outputs against the same images in a larger batch, as scoring does it."""
        x = torch.cat([self.ring[self.index % len(self.ring)], self.ring[0]])
        again = self.predictor.logits(x, self.cell.seed + self.index, self.passes)
        again = again[:, : self.logits.shape[1]]
        timed, scored = (logits.softmax(-1).mean(0) for logits in (self.logits, again))
        tolerance = TOLERANCES[arithmetic]
        return audits.outputs_match(timed, scored, tolerance == 0, tolerance)


@dataclass(frozen=True, eq=False)
class _Timed:
    """What timing one cell left behind."""

    query: _Query
    samples: Samples
    repeated: Samples
    interleaved_with: tuple[str, ...]
    every_pass_drew: str
    peak_bytes: int


def _ring(split: Split, batch: int) -> list[Tensor]:
    """Different batches, the split repeated where it is too small, touched ahead."""
    count = RING * batch
    index = torch.arange(count) % len(split)
    return [split.batch(index[start : start + batch]) for start in range(0, count, batch)]


def _bandwidth(
    cell: Cell, artefact: Artefact, predictor: Predictor, timed: Timing, copy: float
) -> Bandwidth:
    moved = predictor.traffic(cell.batch)
    seconds = cell.batch / timed.images_per_second
    achieved = moved.total * cell.mc / seconds / 1e9
    weights = moved.mean + moved.std + moved.sampled
    stochastic = artefact.format.bayesian
    return Bandwidth(
        mean_bytes=moved.mean,
        std_bytes=moved.std,
        sampled_bytes=moved.sampled,
        activation_bytes=moved.activations,
        pass_bytes=moved.total,
        achieved_gb_per_s=achieved,
        copy_gb_per_s=copy,
        share_of_copy=achieved / copy,
        weight_traffic_ratio=FP32_WEIGHT_BYTES * artefact.weights / weights if stochastic else None,
        paper_ratio=4.0 * cell.mc if stochastic and artefact.format.quantized else None,
    )


def _unavailable() -> dict[str, str]:
    found = {"DRAM traffic": dram(), "energy": energy()}
    return {
        name: text.removeprefix("unavailable: ")
        for name, text in found.items()
        if text.startswith("unavailable")
    }


def _check_threads(threads: int) -> None:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores is not None and threads > cores:
        raise UserError(f"--threads is {threads}, but this process may use {cores} cores.")
