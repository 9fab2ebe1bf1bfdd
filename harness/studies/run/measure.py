"""From a plan to records: quantize every format, score it, time it, audit it, store it.

Scores of all T come from one run by prefixes, and are kept until the last record is there. The
cells of one (batch, T) are timed in turns and stored together. So a run that is stopped leaves
whole records, and the next one measures the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from uuid import uuid4

import torch

from ...backends.base import BACKENDS, Predictor
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.waiting import LONG_SECONDS, Report, about
from ...core.words import plural, verb
from ...machine.cores import cores_for, give_back
from ...machine.counters import dram, energy
from ...machine.describe import fingerprint
from ...machine.fingerprint import Fingerprint
from ...machine.peak_memory import PeakMemory
from ...measure import audits
from ...measure.adapted import adaptive
from ...measure.bandwidth import copy_bandwidth
from ...measure.clock import MIN_SAMPLES, Samples, interleave
from ...measure.estimate import run_seconds
from ...measure.layers import fidelities
from ...measure.operations import finding, operations
from ...measure.query import Query, Rounds, image_passes, passes, ring
from ...measure.saturation import activations_in_range, saturation_findings
from ...measure.timing import timing
from ...measure.traffic import bandwidth
from ...measure.watch import CoreWatch
from ...predict.loop import summarise
from ...quantize.artefact import Artefact, size
from ...records.run_record import Adaptive, Fidelity, Paired, Quality, Record, Size, Timing
from ...records.store import Policy, Store
from ...records.verdict import PASS, Verdict, verdict
from ...stats.paired import paired
from ...workload.prepare import Prepared, load_networks, prepare
from .cache import Scratch
from .scoring import Scorer, Scores, compared_with, keys_of, other_of

if TYPE_CHECKING:
    from ...core.formats import Format
    from ...data.splits import Split
    from ...workload.cell import Cell
    from ...workload.plan import Plan

MAX_SAMPLES = 2000  # enough for p99 twice over; more would only swell the records
#: How far mean probabilities of two batch sizes may be apart: float sums round in another order.
TOLERANCES = {"int8": 0.0, "fp32": 1e-4, "bf16": 2e-2}
#: Where float sums lie between integers, their last bit can be a whole step of the next ones.
DIVIDED_TOLERANCE = 2e-2

ADAPTIVE_INPUTS = "not applicable: inputs differ in how many passes they need"


@dataclass(frozen=True, eq=False)
class Loaded:
    """One format, ready to run and scored.

    Attributes:
        artefact: the model.
        predictor: loaded from it.
        size: on disk.
        fidelity: of its sampled weights.
        scores: at every T that is timed.
        draws_differ: that audit's result.
        claimed_isa: of its backend.
    """

    artefact: Artefact
    predictor: Predictor
    size: Size
    fidelity: tuple[Fidelity, ...]
    scores: Scores
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
        give_back()
        torch.set_num_threads(plan.threads)
        report("Loading data", 0, 1)
        reuse = policy is not Policy.ALWAYS
        grid = _Grid(prepare(plan, networks), store, command, here, report, reuse)
        grid.measure(wanted, cells)
    elif policy is not Policy.NEVER:  # a run may have been killed after its last record
        Scratch(store.folder(plan.workload.name, here)).clear(keys_of(plan, cells))
    return [record for cell in cells if (record := store.find(cell, here)) is not None]


class _Grid:
    def __init__(
        self,
        prepared: Prepared,
        store: Store[Record],
        command: str,
        here: Fingerprint,
        report: Report,
        reuse: bool,
    ) -> None:
        self.prepared, self.plan, self.store = prepared, prepared.plan, store
        self.command, self.here, self.report = command, here, report
        self.scratch = Scratch(store.folder(self.plan.workload.name, here), reuse)
        split: Split = prepared.splits.scored(self.plan.split)
        split = split.limit(self.plan.limit)
        self.split = split.readable(lambda _: report("Reading images", 0, 1))
        if max(self.plan.batches) > len(self.split):
            raise UserError(
                f"--batch is {max(self.plan.batches)}, more than the "
                f"{plural(len(self.split), 'image')} that {verb(len(self.split))} scored; give a "
                "smaller batch or a larger --limit."
            )

    def measure(self, cells: Sequence[Cell], every: Sequence[Cell]) -> None:
        loaded, scores = self._load(cells, compared_with(cells, every))
        self.report("Measuring copy bandwidth", 0, 1)
        copy = copy_bandwidth(self.plan.threads).gb_per_s
        groups: dict[tuple[int, int], list[Cell]] = {}
        for cell in cells:
            groups.setdefault((cell.batch, cell.mc), []).append(cell)
        for index, group in enumerate(groups.values()):
            for record in self._group(group, loaded, scores, copy, (index, len(groups))):
                self.store.save(record)
        self.scratch.clear(keys_of(self.plan, every))

    def _load(
        self, cells: Sequence[Cell], beside: Sequence[Cell]
    ) -> tuple[dict[str, Loaded], dict[str, Scores]]:
        """The formats of cells to time; scores of these and of what they are compared with."""
        plan, fp32 = self.plan, self.prepared.artefact("FP32")
        scorer = Scorer(plan, self.split, self.scratch, self.report)
        loaded: dict[str, Loaded] = {}
        scores: dict[str, Scores] = {}
        timed = {cell.format for cell in cells}
        names = list(dict.fromkeys(cell.format for cell in (*cells, *beside)))
        total = len(names) * plan.seeds * len(self.split)
        for index, name in enumerate(names):
            mine = [cell for cell in (*cells, *beside) if cell.format == name]
            calibrated = FORMATS.get(name).quantized
            self.report(f"{'Calibrating and quantizing' if calibrated else 'Loading'} {name}", 0, 1)
            artefact = self.prepared.artefact(name)
            backend = BACKENDS.get(plan.backend_of(artefact.format))
            predictor = backend.load(artefact, plan.threads, plan.team)
            if not index:
                long = run_seconds(plan, self.split, artefact, predictor, cells, len(names))
                if long > LONG_SECONDS:
                    told = f"{plural(len(cells), 'cell')} to score and time: {about(long)}"
                    self.report(told, 0, 0)
            done = (index * total // len(names), total)
            scores[name] = scorer.score(artefact, predictor, mine, done)
            if name not in timed:
                continue
            sampled = [conv.name for conv in artefact.graph.convs if artefact.sampled(conv)]
            loaded[name] = Loaded(
                artefact,
                predictor,
                size(artefact, fp32),
                fidelities(artefact, self.prepared.model, predictor, plan.seed),
                scores[name],
                audits.draws_differ(predictor.sample, sampled, plan.seed),
                backend.claimed_isa(),
            )
        return loaded, scores

    def _group(
        self,
        group: Sequence[Cell],
        loaded: Mapping[str, Loaded],
        scores: Mapping[str, Scores],
        copy: float,
        done: tuple[int, int],
    ) -> list[Record]:
        around, repeated = self._queries(group, loaded)
        peaks = {cell: _peak_bytes(query) for cell, query in around.items()}
        tasks = [*around.values(), *repeated.values()]
        for query in tasks:
            query.warm()  # plans and buffers are made here, not while draws are counted
        before = {cell: query.predictor.draws for cell, query in around.items()}
        watch = CoreWatch()
        samples = interleave(
            tasks,
            self.plan.seconds,
            min_samples=MIN_SAMPLES,
            max_samples=MAX_SAMPLES,
            rest=lambda: self.report("Timing, by batch and T", *done),
        )
        race = _Race(tuple(cell.key for cell in group), watch.audits(), watch.findings())
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
        return [
            self._record(
                one,
                loaded[one.query.cell.format],
                self._paired(one.query.cell, scores),
                race,
                copy,
            )
            for one in timed
        ]

    def _queries(
        self, group: Sequence[Cell], loaded: Mapping[str, Loaded]
    ) -> tuple[dict[Cell, Query], dict[Cell, Query]]:
        """Of each cell one over all its inputs, and one that repeats the first where T is fixed."""
        rule = self.plan.rule if self.plan.adaptive else None
        rings = {cell.adaptive: ring(self.split, cell) for cell in group}
        around, repeated = {}, {}
        for cell in group:
            predictor, inputs = loaded[cell.format].predictor, rings[cell.adaptive]
            around[cell] = Query(predictor, inputs, cell, rule)
            if not cell.adaptive:
                repeated[cell] = Query(predictor, inputs[:1], cell, rule)
        return around, repeated

    def _paired(self, cell: Cell, scores: Mapping[str, Scores]) -> Paired | None:
        other = other_of(cell)
        if other is None or other[0] not in scores:
            return None
        reference, passes = other
        mine = [by_mc[cell.mc].each for by_mc in scores[cell.format].each.values()]
        others = [by_mc[passes].each for by_mc in scores[reference].each.values()]
        return paired(reference, mine, others, self.split.sources)

    def _findings(self, format: Format) -> tuple[str, ...]:
        """On the images and the weights."""
        lost = self.prepared.splits.calibration.skipped if format.quantized else ()
        return (
            *audits.skipped_findings(self.split.skipped),
            *audits.skipped_findings(lost, "calibration images"),
            *self.split.findings,
            *self.prepared.findings,
            *self.scratch.findings,
        )

    def _record(
        self,
        one: _Timed,
        loaded: Loaded,
        beside: Paired | None,
        race: _Race,
        copy: float,
    ) -> Record:
        cell, predictor = one.query.cell, loaded.predictor
        one.query.again()
        isa, kernels = predictor.isa, dict(predictor.kernels)
        rounds = one.query.rounds[one.samples.warmup :]
        timed = self._timing(one, race, rounds)
        scores, spent = self._quality(one, loaded.scores, rounds)
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
            verdict=_verdict(
                one,
                loaded,
                timed,
                isa,
                race.audits,
                (*self._findings(loaded.artefact.format), *race.findings),
            ),
            unavailable=_unavailable(),
            adaptive=spent,
            operations=operations(loaded.artefact.graph),
            paired=beside,
            saturation=loaded.artefact.header.saturation,
        )

    def _timing(self, one: _Timed, race: _Race, rounds: Sequence[Rounds]) -> Timing:
        cell = one.query.cell
        return timing(
            one.samples,
            batch=cell.batch,
            inputs=min(len(one.query.ring), len(self.split) // cell.batch),
            interleaved_with=race.keys,
            race=race.name,
            work=[image_passes(each) for each in rounds] if cell.adaptive else None,
        )

    def _quality(
        self, one: _Timed, scores: Scores, rounds: Sequence[Rounds]
    ) -> tuple[Quality, Adaptive | None]:
        """Scores of the cell's passes, and what adaptive T spent where T is adaptive."""
        cell = one.query.cell
        if not cell.adaptive or scores.adaptive is None:
            return scores.quality[cell.mc], None
        quality, found = scores.adaptive
        spent = adaptive(found, self.split.labels, self.plan.rule, rounds, one.samples)
        return quality, spent


@dataclass(frozen=True)
class _Race:
    """Keys of the cells that took turns, what befell the cores, and the name of the measurement."""

    keys: tuple[str, ...]
    audits: Mapping[str, str]
    findings: tuple[str, ...]
    name: str = field(default_factory=lambda: uuid4().hex[:16])


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
    one: _Timed,
    loaded: Loaded,
    timed: Timing,
    isa: str,
    cores: Mapping[str, str],
    findings: Sequence[str],
) -> Verdict:
    weights, header = loaded.artefact.sampled_weights, loaded.artefact.header
    checks = {
        "moments": audits.moments(loaded.fidelity),
        "activations in range": activations_in_range(header.saturation),
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
        **cores,
    }
    notes = (
        *findings,
        *finding(loaded.artefact.graph, loaded.artefact.format),
        *saturation_findings(header.saturation, header.calibration, header.observer),
        *audits.posterior_findings(loaded.fidelity),
    )
    return verdict(checks, notes)


def _scored_the_timed_path(query: Query, loaded: Loaded) -> str:
    """The kept queries' mean probabilities against those that were scored."""
    cell, artefact = query.cell, loaded.artefact
    divided = bool(artefact.graph.steps)
    tolerance = DIVIDED_TOLERANCE if divided else TOLERANCES[artefact.format.arithmetic]
    for index, kept in query.kept.items():
        seed = cell.seed + index
        if kept.probs is None or kept.spent is None or loaded.scores.adaptive is None:
            timed = summarise(kept.logits, not artefact.format.bayesian).probs
            scored = loaded.scores.each[seed][cell.mc]
            images = query.images(index, len(scored.each.nll))
            result = audits.outputs_match(timed, scored.probs[images], tolerance == 0, tolerance)
        else:
            stopped = loaded.scores.adaptive[1][seed]
            images = query.images(index, len(stopped.spent))
            result = audits.adaptive_outputs_match(
                (kept.probs, kept.spent),
                (stopped.adaptive.opening[images], stopped.spent[images]),
                tolerance == 0,
                tolerance,
            )
        if result != PASS:
            return result
    return PASS


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
