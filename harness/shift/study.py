"""The shift study: every format on every set of images, in worker processes, one record a cell.

A worker makes the images of one condition once and scores all formats on them. Records are stored
as they come, so that a study that is stopped goes on where it was; which worker does what, and how
many there are, changes no record.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from ..backends.base import BACKENDS, Predictor
from ..errors import UserError
from ..formats import FORMATS
from ..machine import fingerprint
from ..predict import evaluate
from ..prepare import load_networks, prepare
from ..record import Fingerprint
from ..store import Policy, Store
from ..uncertainty.metrics import METRICS, score
from .ood import OOD, ood_split
from .plan import Condition, ShiftPlan
from .record import GROUPS, ShiftRecord, per_image, scored_halves
from .source import shifted

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

    from ..cell import Cell
    from ..data import Split
    from ..quantize.artefact import Artefact

BATCH_VALUES = 1 << 22  # of images at a time: what is drawn in numpy is drawn once for all of them

#: Told what is being done and how much of it is done, as (phase, done, total).
Report = Callable[[str, int, int], None]


def run(
    plan: ShiftPlan,
    store: Store[ShiftRecord],
    command: str,
    policy: Policy = Policy.ONLY_MISSING,
    workers: int = 1,
    report: Report | None = None,
) -> list[ShiftRecord]:
    """Score the plan's cells and store their records.

    Args:
        plan: what to score.
        store: where records go; it must be writable unless the policy is `never`.
        command: written into the records.
        policy: what to do about cells that have a record.
        workers: processes side by side, one thread each; 1 works in this one.
        report: progress, in cells.

    Returns:
        The records of all the plan's cells that there are, in the plan's order.

    Raises:
        UserError: the results directory cannot be written, or holds a record that cannot be read;
            images cannot be made; a worker was killed.
    """
    if workers < 1:
        raise UserError(f"--workers is {workers}; give at least 1.")
    here, report = fingerprint(), report or (lambda *_: None)
    cells = plan.cells(load_networks(plan.base))
    if policy is not Policy.NEVER:
        store.ensure_writable()
        store.records(plan.base.workload.name)  # a damaged one is noticed now, not hours later
    wanted = {c: store.missing(group, here, policy) for c, group in cells.items()}
    wanted = {condition: group for condition, group in wanted.items() if group}
    if wanted:
        report("Quantizing", 0, 1)
        _score_all(_job(plan, wanted, store, command, here), wanted, workers, report)
    return [r for group in cells.values() for c in group if (r := store.find(c, here)) is not None]


@dataclass(eq=False)
class _Job:
    """What a worker needs; predictors are its own."""

    plan: ShiftPlan
    split: Split
    artefacts: Mapping[tuple[str, str], Artefact]
    store: Store[ShiftRecord]
    command: str
    here: Fingerprint
    predictors: dict[tuple[str, str], Predictor] = field(default_factory=dict)

    def predictor(self, cell: Cell) -> Predictor:
        """Loaded when it is first needed."""
        which = (cell.format, cell.range)
        if which not in self.predictors:
            backend = BACKENDS.get(cell.backend)
            self.predictors[which] = backend.load(self.artefacts[which], threads=1)
        return self.predictors[which]

    def images(self, condition: Condition) -> Split:
        """The condition's images."""
        base = self.plan.base
        if condition.corruption.startswith(OOD):
            (one,) = (o for o in self.plan.ood if f"{OOD}{o.name}" == condition.corruption)
            return ood_split(one, self.split, base.data, base.limit)
        return shifted(
            self.split,
            condition.corruption,
            condition.severity,
            seed=self.plan.corruption_seed,
            root=base.data,
            official=base.workload.official_corruptions,
        )[0]

    def score(self, cell: Cell, images: Split) -> ShiftRecord:
        """One format on one set of images."""
        bayesian = FORMATS.get(cell.format).bayesian
        prefixes = self.plan.mc if bayesian else (1,)
        found = evaluate(
            self.predictor(cell),
            images,
            prefixes,
            cell.seed,
            deterministic=not bayesian,
            groups=GROUPS,
            batch=max(1, BATCH_VALUES // images.images[0].numel()),
        )
        last = found[prefixes[-1]]
        labels = None if cell.corruption.startswith(OOD) else images.labels
        scores: dict[str, tuple[float | None, ...]] = {}
        halves: dict[str, tuple[float, ...]] = {}
        if labels is not None:
            by_prefix = [score(found[T], labels) for T in prefixes]
            scores = {name: tuple(one[name] for one in by_prefix) for name in METRICS}
            halves = scored_halves(last, labels)
        return ShiftRecord(
            cell=cell,
            fingerprint=self.here,
            command=self.command,
            created=datetime.now(timezone.utc).isoformat(),
            images=len(images),
            mc=prefixes,
            scores=scores,
            per_image=per_image(last, labels),
            halves=halves,
        )


def _job(
    plan: ShiftPlan,
    wanted: Mapping[Condition, Sequence[Cell]],
    store: Store[ShiftRecord],
    command: str,
    here: Fingerprint,
) -> _Job:
    prepared = prepare(plan.base)
    needed = {(cell.format, cell.range) for group in wanted.values() for cell in group}
    split: Split = prepared.splits.scored(plan.base.split)
    return _Job(
        plan,
        split.limit(plan.base.limit),
        {(name, range): prepared.artefact(name, plan.options.get(range)) for name, range in needed},
        store,
        command,
        here,
    )


def _score_all(
    job: _Job, wanted: Mapping[Condition, Sequence[Cell]], workers: int, report: Report
) -> None:
    total = sum(len(group) for group in wanted.values())
    done = 0
    report("Scoring", done, total)
    way = _here(job, wanted) if workers == 1 else _side_by_side(job, wanted, workers)
    for count in way:
        done += count
        report("Scoring", done, total)


def _here(job: _Job, wanted: Mapping[Condition, Sequence[Cell]]) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for condition, cells in wanted.items():
            yield from _score_condition(job, condition, cells)
    finally:
        torch.set_num_threads(before)


def _score_condition(job: _Job, condition: Condition, cells: Iterable[Cell]) -> Iterator[int]:
    images = job.images(condition)
    for cell in cells:
        job.store.save(job.score(cell, images))
        yield 1


_JOB: _Job
_STOP: Event


def _side_by_side(
    job: _Job, wanted: Mapping[Condition, Sequence[Cell]], workers: int
) -> Iterator[int]:
    """One condition a task; after Ctrl-C a worker still stores the cell it is at."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(min(workers, len(wanted)), context, _begin, (job, stop))
    try:
        with _born_deaf():
            futures: list[Future[int]] = [pool.submit(_task, c, g) for c, g in wanted.items()]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise UserError(
            "A worker of the study was killed, perhaps for want of memory; what was finished is "
            "stored, so run the same command again with fewer --workers."
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _born_deaf() -> Iterator[None]:
    """Processes started here inherit a mask: Ctrl-C reaches the parent alone, once this ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(job: _Job, stop: Event) -> None:
    global _JOB, _STOP
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _JOB, _STOP = job, stop
    atexit.register(job.predictors.clear)  # compiled programs are to end before the interpreter


def _end_with_parent() -> None:
    """A worker of a study that was killed would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _task(condition: Condition, cells: Sequence[Cell]) -> int:
    done = 0
    for count in _score_condition(_JOB, condition, cells):
        done += count
        if _STOP.is_set():
            break
    return done
