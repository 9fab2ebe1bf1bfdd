"""From a plan to records: quantize every format, score it, time it, audit it, store it.

Scores of all T come from one run by prefixes. The cells of one (batch, T) are timed in turns and
stored together, so a run that is stopped leaves whole records, and the next one measures the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
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
from .predict import evaluate, summarise
from .prepare import Prepared, prepare
from .quantize.artefact import Artefact, size
from .record import Bandwidth, Fidelity, Fingerprint, Quality, Record, Size, Timing, Verdict
from .store import Policy, Store

if TYPE_CHECKING:
    from torch import Tensor

    from .cell import Cell
    from .data import Split
    from .plan import Plan
    from .uncertainty.predictive import Summary

RING = 8  # different input batches a timed cell goes round
MIN_SAMPLES = 20  # fewer have no median by the rule for percentiles
MAX_SAMPLES = 2000  # enough for p99 twice over; more would only swell the records
FP32_WEIGHT_BYTES = 16  # an FP32 sampler reads μ and σ and writes and reads w, 4 bytes each
#: How far mean probabilities of two batch sizes may be apart: float sums round in another order.
TOLERANCES = {"int8": 0.0, "fp32": 1e-4, "bf16": 2e-2}

#: Told what is being done and how much of it is done, as (phase, done, total).
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Loaded:
    """One format, ready to run and scored.

    Attributes:
        artefact: the model.
        predictor: loaded from it.
        size: on disk.
        fidelity: of its sampled weights.
        quality: by T.
        scored: what was scored, by seed and T.
        draws_differ: that audit's result.
        claimed_isa: of its backend.
    """

    artefact: Artefact
    predictor: Predictor
    size: Size
    fidelity: tuple[Fidelity, ...]
    quality: dict[int, Quality]
    scored: dict[int, dict[int, Summary]]
    draws_differ: str
    claimed_isa: str


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

    Raises:
        UserError: the results directory cannot be written, or holds a record that cannot be read;
            more threads than cores; a batch larger than the split.
    """
    here = fingerprint()
    report = report or (lambda *_: None)
    if plan.threads > here.cores:
        raise UserError(
            f"--threads is {plan.threads}, but this process may use {here.cores} cores."
        )
    posterior, _ = plan.workload.load_posterior(plan.posterior)
    cells = plan.cells(posterior.content_hash())
    if policy is not Policy.NEVER:
        store.ensure_writable()
        store.records(plan.workload.name)  # a damaged or newer one is noticed now, not hours later
    wanted = store.missing(cells, here, policy)
    if wanted:
        torch.set_num_threads(plan.threads)
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
        if max(self.plan.batches) > len(self.split):
            raise UserError(
                f"--batch is {max(self.plan.batches)}, but only {len(self.split)} images are "
                "scored; give a smaller batch or a larger --limit."
            )

    def measure(self, cells: Sequence[Cell]) -> None:
        loaded = self._load(cells)
        self.report("Measuring copy bandwidth", 0, 1)
        copy = copy_bandwidth(self.plan.threads).gb_per_s
        groups: dict[tuple[int, int], list[Cell]] = {}
        for cell in cells:
            groups.setdefault((cell.batch, cell.mc), []).append(cell)
        for index, group in enumerate(groups.values()):
            for record in self._group(group, loaded, copy, (index, len(groups))):
                self.store.save(record)

    def _load(self, cells: Sequence[Cell]) -> dict[str, Loaded]:
        plan, fp32 = self.plan, self.prepared.artefact("FP32")
        loaded: dict[str, Loaded] = {}
        names = list(dict.fromkeys(cell.format for cell in cells))
        total = len(names) * plan.seeds * len(self.split)
        for index, name in enumerate(names):
            mine = [cell for cell in cells if cell.format == name]
            artefact = self.prepared.artefact(name)
            backend = BACKENDS.get(plan.backend_of(artefact.format))
            predictor = backend.load(artefact, plan.threads)
            scored = self._score(artefact, predictor, mine, index * total // len(names), total)
            sampled = [conv.name for conv in artefact.graph.convs if artefact.sampled(conv)]
            loaded[name] = Loaded(
                artefact,
                predictor,
                size(artefact, fp32),
                fidelities(artefact, self.prepared.model, predictor, plan.seed),
                self._quality(scored),
                scored,
                audits.draws_differ(predictor.sample, sampled, plan.seed),
                backend.claimed_isa(),
            )
        return loaded

    def _score(
        self, artefact: Artefact, predictor: Predictor, mine: Sequence[Cell], done: int, total: int
    ) -> dict[int, dict[int, Summary]]:
        """By seed and T."""

        def advance(images: int) -> None:
            nonlocal done
            done += images
            self.report(f"Scoring {artefact.header.format}", done, total)

        counts = sorted({cell.mc for cell in mine})
        deterministic = not artefact.format.bayesian
        return {
            seed: evaluate(predictor, self.split, counts, seed, deterministic, advance)
            for seed in range(self.plan.seed, self.plan.seed + mine[0].seeds)
        }

    def _quality(self, scored: dict[int, dict[int, Summary]]) -> dict[int, Quality]:
        seeds, counts = list(scored), list(next(iter(scored.values())))
        return {
            T: quality([scored[seed][T] for seed in seeds], self.split.labels, seeds)
            for T in counts
        }

    def _group(
        self,
        group: Sequence[Cell],
        loaded: dict[str, Loaded],
        copy: float,
        done: tuple[int, int],
    ) -> list[Record]:
        ring = _ring(self.split, group[0].batch)
        around = [_Query(loaded[cell.format].predictor, ring, cell) for cell in group]
        repeated = [_Query(loaded[cell.format].predictor, ring[:1], cell) for cell in group]
        peaks = [_peak_bytes(query) for query in around]
        for query in (*around, *repeated):
            query(0)  # plans and buffers are made here, not while draws are counted
            query.calls = 0
        before = [query.predictor.draws for query in around]
        samples = interleave(
            [*around, *repeated],
            self.plan.seconds,
            min_samples=MIN_SAMPLES,
            max_samples=MAX_SAMPLES,
            rest=lambda: self.report("Timing", *done),
        )
        after = [query.predictor.draws for query in around]
        keys = tuple(cell.key for cell in group)
        return [
            self._record(
                _Timed(
                    *queries,
                    samples[index],
                    samples[len(group) + index],
                    before[index],
                    after[index],
                    peaks[index],
                ),
                loaded[queries[0].cell.format],
                keys,
                copy,
            )
            for index, queries in enumerate(zip(around, repeated, strict=True))
        ]

    def _record(self, one: _Timed, loaded: Loaded, keys: tuple[str, ...], copy: float) -> Record:
        cell, predictor = one.query.cell, loaded.predictor
        # What ran last is what was timed: all queries of a group have one shape.
        isa, kernels = predictor.isa, dict(predictor.kernels)
        inputs = min(len(one.query.ring), len(self.split) // cell.batch)
        timed = timing(one.samples, batch=cell.batch, inputs=inputs, interleaved_with=keys)
        return Record(
            cell=cell,
            fingerprint=self.here,
            command=self.command,
            created=datetime.now(timezone.utc).isoformat(),
            dispatched_isa=isa,
            kernels=kernels,
            quality=loaded.quality[cell.mc],
            timing=timed,
            bandwidth=_bandwidth(cell, loaded.artefact, predictor, timed, copy),
            size=loaded.size,
            peak_memory_bytes=one.peak_bytes,
            fidelity=loaded.fidelity,
            verdict=_verdict(one, loaded, timed, isa),
            unavailable=_unavailable(),
        )


class _Query:
    """A timed task: goes round its inputs, with a seed of its own for every query.

    Query i < seeds has a seed and images that were scored too; its logits are kept.
    """

    def __init__(self, predictor: Predictor, ring: Sequence[Tensor], cell: Cell) -> None:
        self.predictor, self.ring, self.cell = predictor, ring, cell
        self.passes = range(cell.mc)
        self.calls = 0
        self.kept: dict[int, Tensor] = {}

    def __call__(self, index: int) -> None:
        x = self.ring[index % len(self.ring)]
        logits = self.predictor.logits(x, self.cell.seed + index, self.passes)
        self.calls += 1
        if index < self.cell.seeds:
            self.kept[index] = logits


@dataclass(frozen=True, eq=False)
class _Timed:
    """What timing one cell left behind."""

    query: _Query
    same: _Query
    samples: Samples
    repeated: Samples
    draws_before: int
    draws_after: int
    peak_bytes: int


def _verdict(one: _Timed, loaded: Loaded, timed: Timing, isa: str) -> Verdict:
    cell, weights = one.query.cell, loaded.artefact.sampled_weights
    passes = (one.query.calls + one.same.calls) * cell.mc
    checks = {
        "moments": audits.moments(loaded.fidelity),
        "draws differ": loaded.draws_differ,
        "every timed pass drew": audits.every_pass_drew(
            one.draws_before, one.draws_after, passes, weights
        ),
        "timed passes differ": audits.passes_differ(list(one.query.kept.values()), weights),
        "scored the timed path": _scored_the_timed_path(one.query, loaded),
        "inputs not cached": audits.inputs_not_cached(one.samples, one.repeated),
        "instruction set": audits.isa_dispatched(loaded.claimed_isa, isa),
        "noise": audits.noise_bounded(timed.noise),
    }
    return audits.verdict(checks, audits.posterior_findings(loaded.fidelity))


def _scored_the_timed_path(query: _Query, loaded: Loaded) -> str:
    """The kept queries' mean probabilities against those that were scored."""
    cell, artefact = query.cell, loaded.artefact
    tolerance = TOLERANCES[artefact.format.arithmetic]
    for index, logits in query.kept.items():
        timed = summarise(logits, not artefact.format.bayesian).probs
        probs = loaded.scored[cell.seed + index][cell.mc].probs
        images = torch.arange(index * cell.batch, (index + 1) * cell.batch) % len(probs)
        result = audits.outputs_match(timed, probs[images], tolerance == 0, tolerance)
        if result != audits.PASS:
            return result
    return audits.PASS


def _ring(split: Split, batch: int) -> list[Tensor]:
    """Batches one after the other, the split repeated where it is too small, touched ahead."""
    index = torch.arange(RING * batch) % len(split)
    return [split.batch(part) for part in index.split(batch)]


def _peak_bytes(query: _Query) -> int:
    with PeakMemory() as memory:
        query(0)
    return memory.peak_bytes


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
    """What no record of this version holds: not readable here, or readable and not recorded."""
    found = {"DRAM traffic": dram(), "energy": energy()}
    return {
        name: text.removeprefix("unavailable: ")
        if text.startswith("unavailable")
        else "this machine shows the counter, but this version does not record it"
        for name, text in found.items()
    }
