"""The shift study: every format on every set of images, in worker processes, one record a cell.

A worker makes the images of one condition once and scores all formats on them. Records are stored
as they come, so that a study that is stopped goes on where it was; which worker does what, and how
many there are, changes no record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ...backends.base import BACKENDS, Predictor
from ...core.contents import superseded
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.waiting import Report, warn_if_long
from ...core.words import plural
from ...corruptions.copies import Corrupted, shifted
from ...data.images import ImageFiles
from ...data.outside import OOD, OodSet, ood_split
from ...machine.cores import give_back
from ...machine.describe import fingerprint
from ...machine.fingerprint import Fingerprint
from ...measure.estimate import image_pass_seconds
from ...metrics.metric import score, whole_needed
from ...predict.loop import batch_of, images_at_a_time, outcomes
from ...records.shift_record import ShiftRecord, per_image
from ...records.store import Policy, Store
from ...stats.blocks import contrasts
from ...workload.conditions import Condition, ShiftPlan
from ...workload.plan import DRAWN_BACKEND
from ...workload.prepare import load_networks, prepare
from .workers import side_by_side

if TYPE_CHECKING:
    from ...data.splits import Split, Splits
    from ...quantize.artefact import Artefact
    from ...quantize.graph import Graph
    from ...workload.cell import Cell
    from ...workload.prepare import Networks

MEASURED_IMAGES = 64  # at most, to say before how long a study takes


def run(
    plan: ShiftPlan,
    store: Store[ShiftRecord],
    command: str,
    policy: Policy = Policy.ONLY_MISSING,
    workers: int = 1,
    report: Report | None = None,
    tell: Callable[[str], None] | None = None,
) -> list[ShiftRecord]:
    """Score the plan's cells and store their records.

    Args:
        plan: what to score.
        store: where records go; it must be writable unless the policy is `never`.
        command: written into the records.
        policy: what to do about cells that have a record.
        workers: processes side by side, one thread each; 1 works in this one.
        report: progress, in cells.
        tell: what a user should know before anything is scored.

    Returns:
        The records of all the plan's cells that there are, in the plan's order; with the policy
        `never` those of any code and of the one machine that has most, the youngest of each cell.

    Raises:
        UserError: the results directory cannot be written, or holds a record that cannot be read;
            images cannot be made; a worker was killed.
    """
    if workers < 1:
        raise UserError(f"--workers is {workers}; give at least 1.")
    here, report = fingerprint(), report or (lambda *_: None)
    networks = load_networks(plan.base)
    cells = plan.cells(networks)
    # All are read: a damaged one is noticed now, not hours later.
    stored = store.records(plan.base.workload.name)
    if policy is Policy.NEVER:
        return _of_one_machine(stored, [cell for group in cells.values() for cell in group])
    there = {record.cell for record in stored}
    store.ensure_writable()
    wanted = {c: store.missing(group, here, policy) for c, group in cells.items()}
    wanted = {condition: group for condition, group in wanted.items() if group}
    others = sum(cell in there and not store.has(cell, here) for g in wanted.values() for cell in g)
    if others and tell:
        tell(
            f"{others} cells have records of another machine, code or environment, which are not "
            "used; --policy never shows them."
        )
    if wanted:
        report("Quantizing", 0, 1)
        _score_all(_job(plan, networks, wanted, store, command, here), wanted, workers, report)
    return [r for group in cells.values() for c in group if (r := store.find(c, here)) is not None]


def _of_one_machine(records: Iterable[ShiftRecord], cells: Sequence[Cell]) -> list[ShiftRecord]:
    """Of records from old to young, those of the cells from the machine that has most of them; of
    several such machines, from the one that scored last. Of superseded records the digest of images
    is of another kind: they answer to the cells that are like theirs in all else."""
    machines: dict[tuple[object, ...], dict[Cell, ShiftRecord]] = {}
    wanted, alike = set(cells), {replace(cell, data=""): cell for cell in cells}
    for record in records:
        cell: Cell | None = record.cell
        if superseded(record.cell.data, record.fingerprint.machine):
            cell = alike.get(replace(record.cell, data=""))
        if cell is not None and cell in wanted:
            machines.setdefault(record.fingerprint.place, {})[cell] = record
    most = max(
        machines.values(),
        key=lambda one: (len(one), max(record.created for record in one.values())),
        default={},
    )
    return [most[cell] for cell in cells if cell in most]


@dataclass(eq=False)
class _Job:
    """What a worker needs; predictors are its own. Not the plan: its workload may have functions
    that no other process can be given."""

    mc: tuple[int, ...]
    limit: int | None
    ood: Sequence[OodSet]
    corruption_seed: int
    official: str | None
    data: Path | None
    parts: Mapping[str, Split]
    artefacts: Mapping[tuple[str, str], Artefact]
    store: Store[ShiftRecord]
    command: str
    here: Fingerprint
    one_decoder: bool = False
    predictors: dict[tuple[str, str], Predictor] = field(default_factory=dict)

    def __call__(self, task: tuple[Condition, Sequence[Cell]]) -> Iterator[int]:
        """Score all formats on the images of one condition, and store their records."""
        condition, cells = task
        images = self.images(condition)
        for cell in cells:
            self.store.save(self.score(cell, images))
            yield 1

    def close(self) -> None:
        """Compiled programs are to end before the interpreter."""
        self.predictors.clear()

    def predictor(self, cell: Cell) -> Predictor:
        """Loaded when it is first needed."""
        which = (cell.format, cell.range)
        if which not in self.predictors:
            backend = BACKENDS.get(cell.backend)
            self.predictors[which] = backend.load(self.artefacts[which], threads=1)
        return self.predictors[which]

    def images(self, condition: Condition) -> Split:
        """The condition's images."""
        part = self.parts[condition.split]
        if condition.corruption.startswith(OOD):
            (one,) = (o for o in self.ood if f"{OOD}{o.name}" == condition.corruption)
            return ood_split(one, part, self.data, self.limit)
        found, _ = shifted(
            part,
            condition.corruption,
            condition.severity,
            seed=self.corruption_seed,
            root=self.data,
            official=self.official,
        )
        return replace(found, images=_one_decoder(found.images)) if self.one_decoder else found

    def score(self, cell: Cell, images: Split) -> ShiftRecord:
        """One format on one set of images."""
        bayesian = FORMATS.get(cell.format).bayesian
        prefixes = self.mc if bayesian else (1,)
        graph = self.artefacts[cell.format, cell.range].graph
        labels = None if cell.corruption.startswith(OOD) else images.labels
        found = outcomes(
            self.predictor(cell),
            images,
            prefixes,
            cell.seed,
            deterministic=not bayesian,
            labelled=labels is not None,
            whole=labels is not None and whole_needed(),
            groups=labels is not None,
            batch=_images_at_a_time(cell, graph),
        )
        last = found[prefixes[-1]]
        scores: dict[str, tuple[float | None, ...]] = {}
        if labels is not None:
            by_prefix = [score(found[T], labels) for T in prefixes]
            scores = {name: tuple(one[name] for one in by_prefix) for name in by_prefix[0]}
        return ShiftRecord(
            cell=cell,
            fingerprint=self.here,
            command=self.command,
            created=datetime.now(timezone.utc).isoformat(),
            images=len(images),
            skipped=images.skipped,
            mc=prefixes,
            scores=scores,
            per_image=per_image(last, labels, images.sources),
            contrasts={} if labels is None else contrasts(last, labels, images.sources),
        )


def _one_decoder(images: Any) -> Any:
    """The same images, of a split, decoded by one thread."""
    if isinstance(images, Corrupted):
        return replace(images, images=_one_decoder(images.images))
    return replace(images, threads=1) if isinstance(images, ImageFiles) else images


def _job(
    plan: ShiftPlan,
    networks: Networks,
    wanted: Mapping[Condition, Sequence[Cell]],
    store: Store[ShiftRecord],
    command: str,
    here: Fingerprint,
) -> _Job:
    prepared = prepare(plan.base, networks)
    needed = {(cell.format, cell.range) for group in wanted.values() for cell in group}
    names = dict.fromkeys(condition.split for condition in wanted)
    return _Job(
        mc=plan.mc,
        limit=plan.base.limit,
        ood=plan.ood,
        corruption_seed=plan.corruption_seed,
        official=plan.base.workload.official_corruptions,
        data=plan.base.data,
        parts={name: _readable(prepared.splits, name, plan.base.limit) for name in names},
        artefacts={
            (name, range): prepared.artefact(name, plan.options.get(range))
            for name, range in needed
        },
        store=store,
        command=command,
        here=here,
    )


def _readable(splits: Splits, name: str, limit: int | None) -> Split:
    """A part to score on, without images that cannot be read."""
    return splits.scored(name).limit(limit).readable()


def _score_all(
    job: _Job, wanted: Mapping[Condition, Sequence[Cell]], workers: int, report: Report
) -> None:
    total = sum(len(group) for group in wanted.values())
    done = 0
    with _one_thread():
        warn_if_long(report, f"Scoring {plural(total, 'cell')}", _seconds(job, wanted) / workers)
    report("Scoring", done, total)
    way = _here(job, wanted) if workers == 1 else _side_by_side(job, wanted, workers)
    for count in way:
        done += count
        report("Scoring", done, total)


def _seconds(job: _Job, wanted: Mapping[Condition, Sequence[Cell]]) -> float:
    """What one worker will take, by a pass of one cell of each backend and some images of the last
    condition."""
    of_pass: dict[str, float] = {}
    start = time.perf_counter()
    images = job.images(list(wanted)[-1])
    seconds = len(wanted) * (time.perf_counter() - start)
    first = slice(0, min(len(images), MEASURED_IMAGES))
    start = time.perf_counter()
    images.batch(first)
    of_image = (time.perf_counter() - start) / first.stop
    for condition, cells in wanted.items():
        count = len(job.parts[condition.split])
        for cell in cells:
            if cell.backend not in of_pass:
                size = _images_at_a_time(cell, job.artefacts[cell.format, cell.range].graph)
                of_pass[cell.backend] = image_pass_seconds(
                    images, job.predictor(cell), cell.seed, min(size, MEASURED_IMAGES)
                )
            passes = job.mc[-1] if FORMATS.get(cell.format).bayesian else 1
            seconds += count * (of_image + passes * of_pass[cell.backend])
    return seconds


def _images_at_a_time(cell: Cell, graph: Graph) -> int:
    return images_at_a_time(graph) if cell.backend == DRAWN_BACKEND else batch_of(graph)


@contextmanager
def _one_thread() -> Iterator[None]:
    give_back()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _here(job: _Job, wanted: Mapping[Condition, Sequence[Cell]]) -> Iterator[int]:
    with _one_thread():
        for task in wanted.items():
            yield from job(task)


def _side_by_side(
    job: _Job, wanted: Mapping[Condition, Sequence[Cell]], workers: int
) -> Iterator[int]:
    job.close()  # a worker loads its own
    return side_by_side(replace(job, one_decoder=True), [*wanted.items()], workers)
