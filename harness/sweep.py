"""From a plan to records: quantize every format, score it, time it, audit it, store it.

Scores of all T come from one run by prefixes, and are kept until the last record is there. The
cells of one (batch, T) are timed in turns and stored together. So a run that is stopped leaves
whole records, and the next one measures the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import torch

from .adaptive import Evaluated, evaluate_adaptive
from .backends.base import BACKENDS, Predictor
from .checks import cores_for
from .errors import UserError
from .machine import fingerprint
from .measure import audits
from .measure.adaptive import adaptive
from .measure.bandwidth import copy_bandwidth
from .measure.clock import Samples, interleave
from .measure.counters import dram, energy
from .measure.memory import PeakMemory
from .measure.operations import finding, operations
from .measure.paired import PerImage, paired, reference_of
from .measure.posterior import fidelities
from .measure.quality import joined, quality
from .measure.timing import timing
from .measure.traffic import bandwidth
from .predict import batch_of, evaluate, summarise
from .prepare import Prepared, load_networks, prepare
from .quantize.artefact import Artefact, size
from .query import Query, image_passes, passes, ring
from .record import Fidelity, Fingerprint, Paired, Quality, Record, Size, Timing, Verdict
from .scratch import Made, Scratch
from .store import Policy, Store

if TYPE_CHECKING:
    from torch import Tensor

    from .cell import Cell
    from .data import Split
    from .formats import Format
    from .plan import Plan
    from .uncertainty.predictive import Summary

MIN_SAMPLES = 20  # fewer have no median by the rule for percentiles
MAX_SAMPLES = 2000  # enough for p99 twice over; more would only swell the records
#: How far mean probabilities of two batch sizes may be apart: float sums round in another order.
TOLERANCES = {"int8": 0.0, "fp32": 1e-4, "bf16": 2e-2}
#: Where float sums lie between integers, their last bit can be a whole step of the next ones.
DIVIDED_TOLERANCE = 2e-2

ADAPTIVE_INPUTS = "not applicable: inputs differ in how many passes they need"

#: Told what is being done and how much of it is done, as (phase, done, total).
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Scored:
    """What is left of one seed's predictions at one T once they are scored; all of them would take
    gigabytes where there are many images and classes.

    Attributes:
        probs: p̄ of the images that timed queries may be compared on, the split's first, [n, C].
        each: of all images.
    """

    probs: Tensor
    each: PerImage


@dataclass(frozen=True, eq=False)
class Loaded:
    """One format, ready to run and scored.

    Attributes:
        artefact: the model.
        predictor: loaded from it.
        size: on disk.
        fidelity: of its sampled weights.
        quality: by T.
        scored: by seed and T.
        adaptive: quality and what was scored at adaptive T, by seed; None if that is not asked for.
        draws_differ: that audit's result.
        claimed_isa: of its backend.
    """

    artefact: Artefact
    predictor: Predictor
    size: Size
    fidelity: tuple[Fidelity, ...]
    quality: dict[int, Quality]
    scored: dict[int, dict[int, Scored]]
    adaptive: tuple[Quality, dict[int, Evaluated]] | None
    draws_differ: str
    claimed_isa: str


def run(
    plan: Plan,
    store: Store[Record],
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
    cores_for(plan.threads)
    networks = load_networks(plan)
    cells = plan.cells(networks)
    if policy is not Policy.NEVER:
        store.ensure_writable()
        store.records(plan.workload.name)  # a damaged or newer one is noticed now, not hours later
    wanted = store.missing(cells, here, policy)
    if wanted:
        torch.set_num_threads(plan.threads)
        report("Quantizing", 0, 1)
        sweep = _Sweep(prepare(plan, networks), store, command, here, report)
        if policy is Policy.ALWAYS:
            sweep.scratch.clear()
        sweep.measure(wanted)
    return [record for cell in cells if (record := store.find(cell, here)) is not None]


class _Sweep:
    def __init__(
        self,
        prepared: Prepared,
        store: Store[Record],
        command: str,
        here: Fingerprint,
        report: Report,
    ) -> None:
        self.prepared, self.plan, self.store = prepared, prepared.plan, store
        self.command, self.here, self.report = command, here, report
        self.scratch = Scratch(store.folder(self.plan.workload.name, here))
        split: Split = prepared.splits.scored(self.plan.split)
        split = split.limit(self.plan.limit)
        self.split = split.readable(lambda _: report("Reading images", 0, 1))
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
        self.scratch.clear()

    def _load(self, cells: Sequence[Cell]) -> dict[str, Loaded]:
        plan, fp32 = self.plan, self.prepared.artefact("FP32")
        loaded: dict[str, Loaded] = {}
        names = list(dict.fromkeys(cell.format for cell in cells))
        total = len(names) * plan.seeds * len(self.split)
        for index, name in enumerate(names):
            mine = [cell for cell in cells if cell.format == name]
            artefact = self.prepared.artefact(name)
            backend = BACKENDS.get(plan.backend_of(artefact.format))
            predictor = backend.load(artefact, plan.threads, plan.team)
            done = (index * total // len(names), total)
            qualities, scored, adaptive = self._score(artefact, predictor, mine, done)
            sampled = [conv.name for conv in artefact.graph.convs if artefact.sampled(conv)]
            loaded[name] = Loaded(
                artefact,
                predictor,
                size(artefact, fp32),
                fidelities(artefact, self.prepared.model, predictor, plan.seed),
                qualities,
                scored,
                adaptive,
                audits.draws_differ(predictor.sample, sampled, plan.seed),
                backend.claimed_isa(),
            )
        return loaded

    def _score(
        self,
        artefact: Artefact,
        predictor: Predictor,
        mine: Sequence[Cell],
        progress: tuple[int, int],
    ) -> tuple[
        dict[int, Quality],
        dict[int, dict[int, Scored]],
        tuple[Quality, dict[int, Evaluated]] | None,
    ]:
        """Quality by T; what is left of the predictions by seed and T; and both at adaptive T."""
        done, total = progress
        title = f"Scoring {artefact.header.format}"

        def advance(images: int) -> None:
            nonlocal done
            done += images
            self.report(title, done, total)

        seeds = range(self.plan.seed, self.plan.seed + mine[0].seeds)
        compared = len(seeds) * max(self.plan.batches)
        found: dict[int, dict[int, Scored]] = {}
        scores: dict[int, list[Quality]] = {}
        at_adaptive: dict[int, Evaluated] = {}
        for index, seed in enumerate(seeds, 1):
            predicted, adaptive = self._predicted(artefact, predictor, mine, seed, advance)
            found[seed] = {
                T: Scored(one.probs[:compared].clone(), PerImage.of(one, self.split.labels))
                for T, one in predicted.items()
            }
            for T, one in predicted.items():
                scores.setdefault(T, []).append(quality([one], self.split, [seed]))
            if adaptive is not None:
                at_adaptive[seed] = adaptive
            done = progress[0] + index * len(self.split)  # also where nothing was computed
            self.report(title, done, total)
        qualities = {T: joined(each) for T, each in scores.items()}
        if not at_adaptive:
            return qualities, found, None
        stopped = quality([e.adaptive for e in at_adaptive.values()], self.split, seeds)
        return qualities, found, (stopped, at_adaptive)

    def _predicted(
        self,
        artefact: Artefact,
        predictor: Predictor,
        mine: Sequence[Cell],
        seed: int,
        advance: Callable[[int], None],
    ) -> tuple[dict[int, Summary], Evaluated | None]:
        """One seed at each T, and at adaptive T where a cell asks for it."""
        counts = sorted({cell.mc for cell in mine})
        rule = self.plan.rule if any(cell.adaptive for cell in mine) else None
        batch = batch_of(artefact.graph)

        def make() -> Made:
            if rule is None:
                deterministic = not artefact.format.bayesian
                found = evaluate(
                    predictor, self.split, counts, seed, deterministic, advance, batch=batch
                )
                return {str(T): summary for T, summary in found.items()}, {}
            one = evaluate_adaptive(predictor, self.split, counts, rule, seed, advance, batch)
            named = {str(T): summary for T, summary in one.full.items()}
            return {**named, "adaptive": one.adaptive}, {"spent": one.spent}

        timing_alone = ("scenario", "batch", "mc", "stopping", "seeds")
        facts = {k: v for k, v in asdict(mine[0]).items() if k not in timing_alone}
        rules = None if rule is None else asdict(rule)
        key = {**facts, "seed": seed, "rule": rules}
        needed = [*map(str, counts), *(["adaptive"] if rule else [])]
        summaries, others = self.scratch.get(key, needed, make)
        full = {T: summaries[str(T)] for T in counts}
        if rule is None:
            return full, None
        return full, Evaluated(full, summaries["adaptive"], others["spent"])

    def _group(
        self,
        group: Sequence[Cell],
        loaded: dict[str, Loaded],
        copy: float,
        done: tuple[int, int],
    ) -> list[Record]:
        rule = self.plan.rule if self.plan.adaptive else None
        rings = {cell.adaptive: ring(self.split, cell) for cell in group}
        around, repeated = {}, {}
        for cell in group:
            predictor, inputs = loaded[cell.format].predictor, rings[cell.adaptive]
            around[cell] = Query(predictor, inputs, cell, rule)
            if not cell.adaptive:
                repeated[cell] = Query(predictor, inputs[:1], cell, rule)
        peaks = {cell: _peak_bytes(query) for cell, query in around.items()}
        tasks = [*around.values(), *repeated.values()]
        for query in tasks:
            query.warm()  # plans and buffers are made here, not while draws are counted
        before = {cell: query.predictor.draws for cell, query in around.items()}
        samples = interleave(
            tasks,
            self.plan.seconds,
            min_samples=MIN_SAMPLES,
            max_samples=MAX_SAMPLES,
            rest=lambda: self.report("Timing", *done),
        )
        of = dict(zip(tasks, samples, strict=True))
        timed = [
            _Timed(
                query,
                of[query],
                of[repeated[cell]] if cell in repeated else None,
                query.predictor.draws - before[cell],
                _passes(tasks, query.predictor),
                peaks[cell],
            )
            for cell, query in around.items()
        ]
        keys = tuple(cell.key for cell in group)
        return [
            self._record(one, loaded[one.query.cell.format], self._paired(one, loaded), keys, copy)
            for one in timed
        ]

    def _paired(self, one: _Timed, loaded: Mapping[str, Loaded]) -> Paired | None:
        cell, reference = one.query.cell, reference_of(one.query.cell.format)
        other = loaded.get(reference or "")
        if reference is None or other is None or cell.adaptive:
            return None
        passes = cell.mc if other.artefact.format.bayesian else 1
        mine = [by_mc[cell.mc].each for by_mc in loaded[cell.format].scored.values()]
        others = [by_mc[passes].each for by_mc in other.scored.values() if passes in by_mc]
        return paired(reference, mine, others, self.split.sources) if others else None

    def _findings(self, format: Format) -> tuple[str, ...]:
        """On the images and the weights."""
        lost = self.prepared.splits.calibration.skipped if format.quantized else ()
        return (
            *audits.skipped_findings(self.split.skipped),
            *audits.skipped_findings(lost, "calibration images"),
            *self.split.findings,
            *self.prepared.findings,
        )

    def _record(
        self,
        one: _Timed,
        loaded: Loaded,
        beside: Paired | None,
        keys: tuple[str, ...],
        copy: float,
    ) -> Record:
        cell, predictor = one.query.cell, loaded.predictor
        one.query.again()
        isa, kernels = predictor.isa, dict(predictor.kernels)
        inputs = min(len(one.query.ring), len(self.split) // cell.batch)
        rounds = one.query.rounds[one.samples.warmup :]
        timed = timing(
            one.samples,
            batch=cell.batch,
            inputs=inputs,
            interleaved_with=keys,
            work=[image_passes(each) for each in rounds] if cell.adaptive else None,
        )
        if cell.adaptive and loaded.adaptive is not None:
            scores, found = loaded.adaptive
            spent = adaptive(found, self.split.labels, self.plan.rule, rounds, one.samples)
        else:
            scores, spent = loaded.quality[cell.mc], None
        return Record(
            cell=cell,
            fingerprint=self.here,
            command=self.command,
            created=datetime.now(timezone.utc).isoformat(),
            dispatched_isa=isa,
            kernels=kernels,
            quality=scores,
            timing=timed,
            bandwidth=bandwidth(
                loaded.artefact,
                predictor,
                cell.batch,
                None if cell.adaptive or not loaded.fidelity else cell.mc,
                rounds,
                timed.images_per_second,
                copy,
            ),
            size=loaded.size,
            peak_memory_bytes=one.peak_bytes,
            fidelity=loaded.fidelity,
            verdict=_verdict(one, loaded, timed, isa, self._findings(loaded.artefact.format)),
            unavailable=_unavailable(),
            adaptive=spent,
            operations=operations(loaded.artefact.graph),
            paired=beside,
        )


@dataclass(frozen=True, eq=False)
class _Timed:
    """What timing one cell left behind.

    Draws and passes are those of all queries with its predictor: a group may time a format twice,
    with all T passes and with adaptive T.
    """

    query: Query
    samples: Samples
    repeated: Samples | None
    draws: int
    passes: int
    peak_bytes: int


def _verdict(
    one: _Timed, loaded: Loaded, timed: Timing, isa: str, findings: Sequence[str]
) -> Verdict:
    weights = loaded.artefact.sampled_weights
    checks = {
        "moments": audits.moments(loaded.fidelity),
        "draws differ": loaded.draws_differ,
        "every timed pass drew": audits.every_pass_drew(0, one.draws, one.passes, weights),
        "timed passes differ": audits.passes_differ(
            [kept.logits for kept in one.query.kept.values()], weights
        ),
        "scored the timed path": _scored_the_timed_path(one.query, loaded),
        "inputs not cached": ADAPTIVE_INPUTS
        if one.repeated is None
        else audits.inputs_not_cached(one.samples, one.repeated),
        "instruction set": audits.isa_dispatched(loaded.claimed_isa, isa),
        "noise": audits.noise_bounded(timed.noise),
    }
    notes = (
        *findings,
        *finding(loaded.artefact.graph, loaded.artefact.format),
        *audits.posterior_findings(loaded.fidelity),
    )
    return audits.verdict(checks, notes)


def _scored_the_timed_path(query: Query, loaded: Loaded) -> str:
    """The kept queries' mean probabilities against those that were scored."""
    cell, artefact = query.cell, loaded.artefact
    divided = bool(artefact.graph.steps)
    tolerance = DIVIDED_TOLERANCE if divided else TOLERANCES[artefact.format.arithmetic]
    for index, kept in query.kept.items():
        seed = cell.seed + index
        if kept.probs is None or kept.spent is None or loaded.adaptive is None:
            timed = summarise(kept.logits, not artefact.format.bayesian).probs
            scored = loaded.scored[seed][cell.mc]
            images = query.images(index, len(scored.each.nll))
            result = audits.outputs_match(timed, scored.probs[images], tolerance == 0, tolerance)
        else:
            stopped = loaded.adaptive[1][seed]
            images = query.images(index, len(stopped.spent))
            result = audits.adaptive_outputs_match(
                (kept.probs, kept.spent),
                (stopped.adaptive.probs[images], stopped.spent[images]),
                tolerance == 0,
                tolerance,
            )
        if result != audits.PASS:
            return result
    return audits.PASS


def _passes(queries: Sequence[Query], predictor: Predictor) -> int:
    """Passes that all queries with this predictor computed."""
    mine = [query for query in queries if query.predictor is predictor]
    return sum(passes(rounds) for query in mine for rounds in query.rounds)


def _peak_bytes(query: Query) -> int:
    with PeakMemory() as memory:
        query(0)
    return memory.peak_bytes


def _unavailable() -> dict[str, str]:
    """What no record of this version holds: not readable here, or readable and not recorded."""
    found = {"DRAM traffic": dram(), "energy": energy()}
    return {
        name: text.removeprefix("unavailable: ")
        if text.startswith("unavailable")
        else "this machine shows the counter, but this version does not record it"
        for name, text in found.items()
    }
