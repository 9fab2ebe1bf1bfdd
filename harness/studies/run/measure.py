"""A run: quantize every format, score it, time it, audit it.

Scores of all T come from one run by prefixes, and are kept until the last record is there. The
cells of one (batch, T) are timed in turns and given together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch

from ...backends.base import BACKENDS, Predictor
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.waiting import LONG_SECONDS, about
from ...core.words import plural, verb
from ...machine.cores import give_back
from ...machine.counters import dram
from ...machine.peak_memory import PeakMemory
from ...measure import audits
from ...measure.adapted import adaptive
from ...measure.bandwidth import copy_bandwidth
from ...measure.clock import MIN_SAMPLES, Samples, interleave, of_each_process
from ...measure.estimate import run_seconds
from ...measure.layers import fidelities
from ...measure.operations import finding, operations
from ...measure.query import Query, Rounds, image_passes, passes, ring
from ...measure.saturation import activations_in_range, saturation_findings
from ...measure.timing import timing
from ...measure.traffic import bandwidth
from ...measure.watch import CoreWatch
from ...predict.cache import Scratch
from ...predict.loop import batch_of, outcomes, summarise
from ...quantize.artefact import Artefact, artefact_hash, size
from ...quantize.size import Size
from ...race.references import References
from ...records.reference_times import Reference
from ...records.run_record import Adaptive, Fidelity, Paired, Quality, RunBody, Timing
from ...records.timed_conditions import Conditions
from ...records.verdict import PASS, Verdict, verdict
from ...stats.paired import paired
from ...workload.prepare import Prepared, prepare
from ..study import Measured, Surroundings, Task
from .joined import joined
from .plan import other_of
from .scoring import Scorer, Scores, keys_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ...core.formats import Format
    from ...core.waiting import Report
    from ...data.splits import Split
    from ...records.run_record import RunRecord
    from ...workload.cell import Cell
    from ...workload.plan import Plan

__all__ = ["Loaded", "RunMeasurer", "expected_seconds", "joined", "measurer", "tidy"]

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


def measurer(plan: Plan, tasks: Sequence[Task[Cell]], surroundings: Surroundings) -> RunMeasurer:
    """Quantize and score every format that the tasks need.

    Raises:
        UserError: a batch larger than the split.
    """
    give_back()
    torch.set_num_threads(plan.threads)
    surroundings.report("Loading data", 0, 1)
    made = RunMeasurer(prepare(plan), surroundings)
    made.load(
        [cell for task in tasks for cell in task.subjects],
        [cell for task in tasks for cell in task.beside],
        len(tasks),
    )
    return made


def expected_seconds(plan: Plan, tasks: Sequence[Task[Cell]], report: Report) -> float:
    """About how long the tasks take, by one pass of the first format.

    Args:
        plan: that they are of.
        tasks: at least one.
        report: progress.
    """
    torch.set_num_threads(plan.threads)
    cells = [cell for task in tasks for cell in task.subjects]
    names = {cell.format for task in tasks for cell in (*task.subjects, *task.beside)}
    report(f"Measuring a pass of {plan.workload.name}", 0, 1)
    prepared = prepare(plan)
    split: Split = prepared.splits.scored(plan.split)
    artefact = prepared.artefact(cells[0].format)
    backend = BACKENDS.get(cells[0].backend)
    predictor = backend.load(artefact, plan.threads, plan.team)
    asked = (plan, split.limit(plan.limit), artefact, predictor, cells)
    timing = run_seconds(*asked, formats=0)
    return run_seconds(*asked, formats=len(names)) + (plan.processes - 1) * timing


def tidy(plan: Plan, tasks: Sequence[Task[Cell]], surroundings: Surroundings) -> None:
    """Forget predictions that are in records by now."""
    cells = [cell for task in tasks for cell in (*task.subjects, *task.beside)]
    Scratch(surroundings.kept(plan.workload.name)).clear(keys_of(plan, cells))


class RunMeasurer:
    """Formats that are loaded and scored, to be timed in turns.

    Args:
        prepared: what they are made of.
        surroundings: see there.

    Raises:
        UserError: a batch larger than the split.
    """

    def __init__(self, prepared: Prepared, surroundings: Surroundings) -> None:
        self.prepared, self.plan = prepared, prepared.plan
        self.report, self.earlier = surroundings.report, surroundings.earlier
        kept = surroundings.kept(self.plan.workload.name)
        self.scratch = Scratch(kept, surroundings.reuse)
        split: Split = prepared.splits.scored(self.plan.split)
        split = split.limit(self.plan.limit)
        self.split = split.readable(lambda _: self.report("Reading images", 0, 1))
        if max(self.plan.batches) > len(self.split):
            raise UserError(
                f"--batch is {max(self.plan.batches)}, more than the "
                f"{plural(len(self.split), 'image')} that {verb(len(self.split))} scored; give a "
                "smaller batch or a larger --limit."
            )
        self.loaded: dict[str, Loaded] = {}
        self.scores: dict[str, Scores] = {}
        self.copy, self.done, self.total = 0.0, 0, 0

    def load(self, cells: Sequence[Cell], beside: Sequence[Cell], tasks: int) -> None:
        """Make ready what is timed in so many tasks.

        Args:
            cells: that are timed.
            beside: that they are compared with.
            tasks: how many there are.
        """
        others = [cell for cell in dict.fromkeys(beside) if cell not in set(cells)]
        self.loaded, self.scores = self._load(cells, others)
        self.report("Measuring copy bandwidth", 0, 1)
        self.copy, self.total = copy_bandwidth(self.plan.threads).gb_per_s, tasks

    def __call__(self, task: Task[Cell]) -> Iterator[Measured[Cell]]:
        """Time the cells of a task in turns."""
        yield from self._group(task.subjects)
        self.done += 1

    def close(self) -> None:
        """Compiled programs are to end before the interpreter."""
        self.loaded.clear()

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
            bytes_on_disk, fidelity = self._of_artefact(artefact, predictor, mine, fp32)
            loaded[name] = Loaded(
                artefact,
                predictor,
                bytes_on_disk,
                fidelity,
                scores[name],
                audits.draws_differ(predictor.sample, sampled, plan.seed),
                backend.claimed_isa(),
            )
        return loaded, scores

    def _of_artefact(
        self, artefact: Artefact, predictor: Predictor, cells: Sequence[Cell], fp32: Artefact
    ) -> tuple[Size, tuple[Fidelity, ...]]:
        """What does not differ between processes: in a later one, as the first has found it of the
        same artefact."""
        found = (record for cell in cells if (record := self.earlier(cell)) is not None)
        first: RunRecord | None = next(found, None)
        if first is not None and first.body.artefact == artefact_hash(artefact):
            return first.body.size, first.body.fidelity
        made = fidelities(artefact, self.prepared.model, predictor, self.plan.seed)
        return size(artefact, fp32), made

    def _group(self, group: Sequence[Cell]) -> Iterator[Measured[Cell]]:
        around, repeated = self._queries(group)
        for cell, query in around.items():
            self._shorten(query)
            if cell in repeated:
                repeated[cell].cut(len(query.passes))
        peaks = {cell: _peak_bytes(query) for cell, query in around.items()}
        tasks = [*around.values(), *repeated.values()]
        for query in tasks:
            query.warm()  # plans and buffers are made here, not while draws are counted
        before = {cell: query.predictor.draws for cell, query in around.items()}
        watch, references = CoreWatch(), References(self.plan.threads)

        def rest() -> None:
            self.report("Timing, by batch and T", self.done, self.total)
            references()
            watch.look()

        samples = interleave(
            tasks,
            self.plan.seconds,
            min_samples=of_each_process(MIN_SAMPLES, self.plan.processes),
            max_samples=MAX_SAMPLES,
            rest=rest,
        )
        conditions = watch.conditions
        keys = tuple(cell.key for cell in group)
        race = _Race(keys, watch.audits(), watch.findings(), references.taken(), conditions)
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
        yield from [self._measured(one, race) for one in timed]  # all are there before one is kept

    def _shorten(self, query: Query) -> None:
        """Let it have no more passes than fit into a query; in a later process, as in the first."""
        earlier: RunRecord | None = self.earlier(query.cell)
        if earlier is None:
            query.short()
        elif earlier.body.timing.passes:
            query.cut(earlier.body.timing.passes)

    def _queries(self, group: Sequence[Cell]) -> tuple[dict[Cell, Query], dict[Cell, Query]]:
        """Of each cell one over all its inputs, and one that repeats the first where T is fixed."""
        rule = self.plan.rule if self.plan.adaptive else None
        rings = {cell.adaptive: ring(self.split, cell) for cell in group}
        around, repeated = {}, {}
        for cell in group:
            predictor, inputs = self.loaded[cell.format].predictor, rings[cell.adaptive]
            around[cell] = Query(predictor, inputs, cell, rule)
            if not cell.adaptive:
                repeated[cell] = Query(predictor, inputs[:1], cell, rule)
        return around, repeated

    def _paired(self, cell: Cell) -> Paired | None:
        other, scores = other_of(cell), self.scores
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

    def _measured(self, one: _Timed, race: _Race) -> Measured[Cell]:
        loaded = self.loaded[one.query.cell.format]
        cell, predictor = one.query.cell, loaded.predictor
        one.query.again()
        isa, kernels = predictor.isa, dict(predictor.kernels)
        rounds = one.query.rounds[one.samples.warmup :]
        timed = self._timing(one, race, rounds)
        answers = timed.images_per_second / cell.batch
        scores, spent = self._quality(one, loaded.scores, rounds)
        body = RunBody(
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
                answers * cell.mc / len(one.query.passes),
                self.copy,
            ),
            size=loaded.size,
            peak_memory_bytes=one.peak_bytes,
            fidelity=loaded.fidelity,
            unavailable=_unavailable(),
            adaptive=spent,
            operations=operations(loaded.artefact.graph),
            paired=self._paired(cell),
            saturation=loaded.artefact.header.saturation,
            artefact=artefact_hash(loaded.artefact),
            references=race.references,
        )
        found = (*self._findings(loaded.artefact.format), *race.findings)
        scored = _scored_the_timed_path(one.query, loaded, self._opening)
        more = {**race.audits, "scored the timed path": scored}
        judged = _verdict(one, loaded, timed, isa, more, found)
        arrays = self._arrays(cell, loaded.scores)
        return Measured(cell, body, judged, arrays, race.conditions)

    def _opening(self, query: Query, loaded: Loaded, seed: int) -> Tensor:
        """p̄ of the split's first images after as many passes as the query had: as they were scored
        or, where T was cut, scored now."""
        cell = query.cell
        if query.whole:
            return loaded.scores.each[seed][cell.mc].probs
        images = self.split.limit(min(len(self.split), cell.seeds * cell.batch))
        found = outcomes(
            query.predictor,
            images,
            (len(query.passes),),
            seed,
            deterministic=not loaded.artefact.format.bayesian,
            batch=batch_of(loaded.artefact.graph),
            opening=len(images),
        )
        return found[len(query.passes)].opening

    def _arrays(self, cell: Cell, scores: Scores) -> Mapping[str, NDArray[Any]]:
        """One value an image: of the largest T and the first seed."""
        largest = max(self.plan.mc, default=0) if FORMATS.get(cell.format).bayesian else 1
        if cell.adaptive or cell.mc != largest:
            return {}
        return scores.each[cell.seed][cell.mc].arrays

    def _timing(self, one: _Timed, race: _Race, rounds: Sequence[Rounds]) -> Timing:
        cell = one.query.cell
        return timing(
            one.samples,
            batch=cell.batch,
            inputs=min(len(one.query.ring), len(self.split) // cell.batch),
            interleaved_with=race.keys,
            race=race.name,
            passes=0 if one.query.whole else len(one.query.passes),
            mc=cell.mc,
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
    """Keys of the cells that took turns, what befell the cores, what else took turns, what the
    machine did, and the name of the measurement."""

    keys: tuple[str, ...]
    audits: Mapping[str, str]
    findings: tuple[str, ...]
    references: tuple[Reference, ...]
    conditions: Conditions
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


def _scored_the_timed_path(
    query: Query, loaded: Loaded, opening: Callable[[Query, Loaded, int], Tensor]
) -> str:
    """The kept queries' mean probabilities against those that were scored, of the first images."""
    cell, artefact = query.cell, loaded.artefact
    divided = bool(artefact.graph.steps)
    tolerance = DIVIDED_TOLERANCE if divided else TOLERANCES[artefact.format.arithmetic]
    for index, kept in query.kept.items():
        seed = cell.seed + index
        if kept.probs is None or kept.spent is None or loaded.scores.adaptive is None:
            timed = summarise(kept.logits, not artefact.format.bayesian).probs
            total = len(loaded.scores.each[seed][cell.mc].arrays["prediction"])
            scored = opening(query, loaded, seed)[query.images(index, total)]
            result = audits.outputs_match(timed, scored, tolerance == 0, tolerance)
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
    found = dram()
    if found.startswith("unavailable"):
        return {"DRAM traffic": found.removeprefix("unavailable: ")}
    return {"DRAM traffic": "this machine shows the counter, but this version does not record it"}
