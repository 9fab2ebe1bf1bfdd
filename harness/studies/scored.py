"""Scores every format on every set of images, one record per cell, for all studies of such cells.

The images of one condition are made once, and all formats are scored on them. Which worker does
what, and how many there are, changes no record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..backends.base import BACKENDS, Predictor
from ..core.formats import FORMATS
from ..core.waiting import warn_if_long
from ..core.words import plural
from ..corruptions.copies import Corrupted, shifted
from ..data.images import ImageFiles
from ..data.known_sets import OOD
from ..data.outside import OodSet, ood_split
from ..machine.cores import give_back
from ..measure.estimate import image_pass_seconds
from ..metrics.metric import score, whole_needed
from ..predict.loop import batch_of, images_at_a_time, outcomes
from ..records.fitted import stored
from ..records.shift_record import CONTRAST, ShiftBody
from ..stats.blocks import contrasts, per_image
from ..workload.conditions import Condition, ShiftPlan
from ..workload.plan import DRAWN_BACKEND
from ..workload.prepare import prepare
from .study import Measured, Surroundings, Task
from .tempered import TemperedScorer, which

if TYPE_CHECKING:
    from ..data.splits import Split, Splits
    from ..predict.predicted import Outcomes
    from ..quantize.artefact import Artefact
    from ..quantize.graph import Graph
    from ..workload.cell import Cell

MEASURED_IMAGES = 64  # at most, to say before how long a study takes


@dataclass(eq=False)
class CellScorer:
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
    tempered: TemperedScorer = field(default_factory=lambda: TemperedScorer({}, {}))
    one_decoder: bool = False
    predictors: dict[tuple[str, str], Predictor] = field(default_factory=dict)

    def __call__(self, task: Task[Cell]) -> Iterator[Measured[Cell]]:
        """Score all formats on the images of one condition."""
        images = self.images(task.about)
        with _one_thread():
            for cell in task.subjects:
                yield self.score(cell, images)

    def close(self) -> None:
        """Compiled programs are to end before the interpreter."""
        self.predictors.clear()
        self.tempered.close()

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

    def score(self, cell: Cell, images: Split) -> Measured[Cell]:
        """One format, or one method with its temperatures, on one set of images."""
        labels = None if cell.corruption.startswith(OOD) else images.labels
        whole = labels is not None and whole_needed()
        if cell.temperature:
            found = self.tempered.outcomes(cell, images, labels is not None, whole)
        else:
            found = self._outcomes(cell, images, labels is not None, whole)
        prefixes = tuple(found)
        last = found[prefixes[-1]]
        scores: dict[str, tuple[float | None, ...]] = {}
        if labels is not None:
            by_prefix = [score(found[T], labels) for T in prefixes]
            scores = {name: tuple(one[name] for one in by_prefix) for name in by_prefix[0]}
        halved = {} if labels is None else contrasts(last, labels, images.sources)
        body = ShiftBody(images=len(images), skipped=images.skipped, mc=prefixes, scores=scores)
        if cell.temperature:
            fitted = list(self.tempered.fitted(cell).values())
            body = replace(
                body,
                temperatures=stored(fitted),
                crossed=stored(fitted, 1),
                validation_images=self.tempered.validation_images,
            )
        return Measured(
            cell,
            body,
            arrays={
                **per_image(last, labels, images.sources),
                **{f"{CONTRAST}{name}": values for name, values in halved.items()},
            },
        )

    def _outcomes(
        self, cell: Cell, images: Split, labelled: bool, whole: bool
    ) -> dict[int, Outcomes]:
        """One format as it is, at every prefix of T."""
        bayesian = FORMATS.get(cell.format).bayesian
        return outcomes(
            self.predictor(cell),
            images,
            self.mc if bayesian else (1,),
            cell.seed,
            deterministic=not bayesian,
            labelled=labelled,
            whole=whole,
            groups=labelled,
            batch=_images_at_a_time(cell, self.artefacts[cell.format, cell.range].graph),
        )


def _one_decoder(images: Any) -> Any:
    """The same images, of a split, decoded by one thread."""
    if isinstance(images, Corrupted):
        return replace(images, images=_one_decoder(images.images))
    return replace(images, threads=1) if isinstance(images, ImageFiles) else images


def measurer(
    plan: ShiftPlan, tasks: Sequence[Task[Cell]], surroundings: Surroundings
) -> CellScorer:
    """Quantize every format that the tasks need, and say how long they take."""
    report = surroundings.report
    report("Quantizing", 0, 1)
    prepared = replace(prepare(plan.base), report=report)
    cells = [cell for task in tasks for cell in task.subjects]
    needed = {(cell.format, cell.range) for cell in cells if not cell.temperature}
    names = dict.fromkeys(task.about.split for task in tasks)
    made = CellScorer(
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
        tempered=TemperedScorer.of(plan, prepared, cells),
    )
    total = len(cells)
    with _one_thread():
        scoring, fitting = _seconds(made, tasks)
        seconds = fitting + scoring / surroundings.workers
        warn_if_long(report, f"Scoring {plural(total, 'cell')}", seconds)
        made.tempered = made.tempered.fit(cells, report)
    report("Scoring", 0, total)
    if surroundings.workers == 1:
        return made
    made.close()  # a worker loads its own
    return replace(made, one_decoder=True)


def _readable(splits: Splits, name: str, limit: int | None) -> Split:
    """A part to score on, without images that cannot be read."""
    return splits.scored(name).limit(limit).readable()


def _seconds(job: CellScorer, tasks: Sequence[Task[Cell]]) -> tuple[float, float]:
    """What one worker will take to score, and what fitting temperatures takes before, by a pass of
    one cell of each backend and method and some images of the last condition."""
    of_pass: dict[tuple[str, str], float] = {}
    fitting: dict[tuple[object, int], float] = {}
    start = time.perf_counter()
    images = job.images(tasks[-1].about)
    seconds = len(tasks) * (time.perf_counter() - start)
    first = slice(0, min(len(images), MEASURED_IMAGES))
    start = time.perf_counter()
    images.batch(first)
    of_image = (time.perf_counter() - start) / first.stop
    for task in tasks:
        count = len(job.parts[task.about.split])
        for cell in task.subjects:
            kind = (cell.backend, cell.method if cell.temperature else "")
            if kind not in of_pass:
                of_pass[kind] = _pass_seconds(job, cell, images)
            each = of_image + cell.mc * of_pass[kind]
            seconds += count * each
            if cell.temperature:
                fitting[which(cell), cell.seed] = job.tempered.validation_images * each
    return seconds, sum(fitting.values())


def _pass_seconds(job: CellScorer, cell: Cell, images: Split) -> float:
    if cell.temperature:
        return job.tempered.seconds(cell, images.limit(MEASURED_IMAGES))
    size = _images_at_a_time(cell, job.artefacts[cell.format, cell.range].graph)
    return image_pass_seconds(images, job.predictor(cell), cell.seed, min(size, MEASURED_IMAGES))


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
