"""Every method on every condition, as it is and with the temperature of its validation images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...core.errors import UserError, first_line
from ...core.waiting import Report, warn_if_long
from ...core.words import plural
from ...corruptions.copies import shifted
from ...data.known_sets import OOD
from ...data.outside import ood_split
from ...measure.estimate import seconds_of
from ...methods.method import METHODS, LoadedMethod
from ...methods.tempering import (
    FittingImages,
    Temperatures,
    applied,
)
from ...methods.trunk import OnTrunk
from ...metrics.metric import score
from ...predict import crossed
from ...predict.logit_law import LogitLaw, LogitsOfPasses, law_of_batch, law_of_split
from ...predict.loop import summarise
from ...predict.predicted import Summary
from ...predict.temperature import fit_vector_scaling
from ...race.together import contender, references
from ...race.turns import INPUTS
from ...records.fitted import stored
from ...records.methods_record import (
    FIT,
    TEMPERED,
    MethodBody,
    MethodRecord,
    MethodSubject,
)
from ...workload.cell import MEAN
from ...workload.prepare import Prepared, prepare
from ..study import TIMED, Measured, Surroundings, Task
from .method_times import Earlier, of_all, timed

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ...data.splits import Split
    from ...workload.conditions import Condition
    from .plan import MethodsPlan

MEASURED_IMAGES = 64  # at most, to say before how long it takes


def measurer(
    plan: MethodsPlan, tasks: Sequence[Task[MethodSubject]], surroundings: Surroundings
) -> MethodsMeasurer:
    """Load the networks and the images, and say how long it takes."""
    surroundings.report("Loading data", 0, 1)
    prepared = replace(prepare(plan.base), report=surroundings.report)
    made = MethodsMeasurer(plan, prepared, surroundings.report, surroundings.earlier)
    made.announce(tasks)
    return made


@dataclass(frozen=True, eq=False)
class Fit:
    """What was learnt of a method in one format from the validation images.

    Attributes:
        on: the validation images.
        temperatures: of each draw and T.
        laws: of each draw.
    """

    on: FittingImages
    temperatures: Sequence[Sequence[Temperatures]]
    laws: Sequence[LogitLaw]


class MethodsMeasurer:
    """Scores methods.

    Args:
        plan: what is asked.
        prepared: networks and data.
        report: progress, in images.
        earlier: see `Surroundings`.
    """

    counts = True

    def __init__(
        self,
        plan: MethodsPlan,
        prepared: Prepared,
        report: Report,
        earlier: Earlier = lambda _: None,
    ) -> None:
        self.plan, self.prepared, self.report, self.earlier = plan, prepared, report, earlier
        self.on = FittingImages.of(prepared.splits, plan.fitted, plan.base.limit)
        self.done, self.total = 0, 0
        self._made: dict[Condition, Split] = {}

    def __call__(self, task: Task[MethodSubject]) -> Iterator[Measured[MethodSubject]]:
        """Fit the temperatures, then score each condition; or time all methods in turns."""
        if task.place == TIMED:
            yield from self._timed(task.subjects)
            return
        first = task.subjects[0]
        loaded = self._load(first)
        draws = max(subject.seeds for subject in task.about)
        fit = self._fit(loaded, first, draws)
        for subject in task.subjects:
            yield self._scored(subject, task.about[subject], loaded, fit)

    def close(self) -> None:
        """Nothing is held."""

    def announce(self, tasks: Sequence[Task[MethodSubject]]) -> None:
        """Say how long it takes, if that is long."""
        seconds, tasks = 0.0, [task for task in tasks if task.place != TIMED]
        for task in tasks:
            draws = max(subject.seeds for subject in task.about)
            images = draws * len(self.on.images)
            images += sum(one.seeds * self._count(one) for one in task.subjects)
            self.total += images
            seconds += images * self._seconds(task.subjects[0])
        count = sum(len(task.subjects) for task in tasks)
        warn_if_long(self.report, f"Scoring {plural(count, 'subject')}", seconds)

    def _timed(self, subjects: Sequence[MethodSubject]) -> Iterator[Measured[MethodSubject]]:
        """All methods at one batch size, on images of the test split."""
        batch, split = subjects[0].batch, self.prepared.splits.test.readable()
        index = torch.arange(INPUTS * batch) % len(split)
        images = [split.batch(part) for part in torch.split(index, batch)]
        self.report(f"Loading methods to time at batch {batch}", 0, 1)
        loaded = {subject: self._load(subject) for subject in subjects}
        yield from timed(
            loaded,
            images,
            self.earlier,
            lambda: self.report(f"Timing at batch {batch}", 0, 1),
            lambda expected: warn_if_long(self.report, f"Timing at batch {batch}", expected(1.0)),
        )

    def _seconds(self, subject: MethodSubject) -> float:
        """For an image; of passes that share a trunk all are measured, of others one."""
        loaded = self._load(subject)
        images = self.on.images.limit(min(loaded.batch, MEASURED_IMAGES))
        some = subject.mc[-1] if isinstance(loaded.passes, OnTrunk) else 1
        fixed = _fixed(subject)
        each = seconds_of(
            lambda x: law_of_batch(loaded.passes, x, subject.seed, some, fixed), images
        )
        return subject.mc[-1] / some * each

    def _count(self, subject: MethodSubject) -> int:
        there = len(self.prepared.splits.scored(subject.split))
        return min(subject.limit or there, there)

    def _load(self, subject: MethodSubject) -> LoadedMethod:
        method = METHODS.get(subject.method)
        return method.made(self.prepared, subject.format).load(self.plan.base.threads)

    def _fit(self, loaded: LoadedMethod, subject: MethodSubject, draws: int) -> Fit:
        seeds = range(subject.seed, subject.seed + draws)
        laws = [self._law(loaded, subject, self.on.images, seed) for seed in seeds]
        temperatures = [[self.on.fit(law, T) for T in subject.mc] for law in laws]
        return Fit(self.on, temperatures, laws)

    def _law(
        self, loaded: LoadedMethod, subject: MethodSubject, images: Split, seed: int
    ) -> LogitLaw:
        """What is predicted of a split; of the largest T, where there are passes."""
        return law_of_split(
            loaded.passes,
            images,
            seed,
            subject.mc[-1],
            _fixed(subject),
            loaded.batch,
            lambda count: self._advance(subject, count),
        )

    def _images(self, subject: MethodSubject, condition: Condition) -> Split:
        """A condition's images, made once for all methods."""
        if condition not in self._made:
            self._made[condition] = self._make(subject, condition)
        return self._made[condition]

    def _make(self, subject: MethodSubject, condition: Condition) -> Split:
        plan = self.plan.shift
        part = self.prepared.splits.scored(subject.split)
        part = part.limit(subject.limit or None).readable()
        if condition.corruption.startswith(OOD):
            (one,) = (one for one in plan.ood if f"{OOD}{one.name}" == condition.corruption)
            return ood_split(one, part, plan.base.data, subject.limit or None)
        found, _ = shifted(
            part,
            condition.corruption,
            condition.severity,
            seed=plan.corruption_seed,
            root=plan.base.data,
            official=plan.base.workload.official_corruptions,
        )
        return found

    def _scored(
        self, subject: MethodSubject, condition: Condition, loaded: LoadedMethod, fit: Fit
    ) -> Measured[MethodSubject]:
        images = self._images(subject, condition)
        labels = None if condition.corruption.startswith(OOD) else images.labels
        draws = [
            self._law(loaded, subject, images, subject.seed + draw) for draw in range(subject.seeds)
        ]
        plain, warm = self._summaries(subject, draws, fit)
        vector, without = self._vector(subject, draws[0], labels, fit)
        body = MethodBody(
            backend=loaded.backend,
            artefacts=loaded.artefacts,
            file_bytes=loaded.file_bytes,
            images=len(images),
            validation_images=len(fit.on.images),
            temperatures=tuple(stored(each) for each in fit.temperatures[: subject.seeds]),
            crossed=tuple(
                filter(None, (stored(each, 1) for each in fit.temperatures[: subject.seeds]))
            ),
            scores=_scores(plain, labels),
            tempered=_scores(warm, labels),
            vector=vector,
            without_vector=without,
            skipped=images.skipped,
            chosen=loaded.chosen,
        )
        arrays = _arrays([each[-1] for each in plain], [each[-1] for each in warm], labels)
        if images.sources is not None:
            arrays["source"] = images.sources.numpy().astype(np.int32)
        if (
            labels is not None
            and not condition.severity
            and not condition.corruption.startswith(OOD)
        ):
            arrays |= self._derivatives(draws, labels, fit)
        return Measured(subject, body, arrays=arrays)

    def _summaries(
        self, subject: MethodSubject, draws: Sequence[LogitLaw], fit: Fit
    ) -> tuple[list[list[Summary]], list[list[Summary]]]:
        """By draw and T: as it is, and with the temperature."""
        plain = [[law.summary(T) for T in subject.mc] for law in draws]
        images = plain[0][0].images
        warm = [
            [law.summary(T, applied(one, images)) for T, one in zip(subject.mc, each, strict=True)]
            for law, each in zip(draws, fit.temperatures, strict=False)
        ]
        return plain, warm

    def _vector(
        self, subject: MethodSubject, law: LogitLaw, labels: Tensor | None, fit: Fit
    ) -> tuple[dict[str, float | None], str]:
        """Scores of one pass of the mean network with vector scaling."""
        fitted = fit.laws[0]
        if labels is None:
            return {}, ""
        if subject.method != MEAN or not (
            isinstance(law, LogitsOfPasses) and isinstance(fitted, LogitsOfPasses)
        ):
            return {}, "it is fitted to one pass of the mean network alone"
        if fit.on.half is not None:
            return {}, "no images are held out for it"
        try:
            found = fit_vector_scaling(fitted.logits[0], fit.on.images.labels)
        except UserError as reason:
            return {}, first_line(reason)
        return score(summarise(found.applied(law.logits), True), labels), ""

    def _derivatives(
        self, draws: Sequence[LogitLaw], labels: Tensor, fit: Fit
    ) -> dict[str, NDArray[Any]]:
        """Of the largest T: how NLL of both kinds of images changes with the temperature."""
        last = [each[-1] for each in fit.temperatures[: len(draws)]]
        found: dict[str, NDArray[Any]] = {}
        if fit.on.half is not None:
            half = fit.on.half
            found["half"] = half.numpy()
            pairs = zip(draws, last, strict=True)
            each = [crossed.derivatives(law, labels, half, two) for law, two in pairs]
            sides = [[own for own, _ in each], [helped for _, helped in each]]
        else:
            sides = [
                [law.derivatives(those, *one) for law, one in zip(laws, last, strict=True)]
                for laws, those in (
                    (draws, labels),
                    (fit.laws[: len(draws)], fit.on.images.labels),
                )
            ]
        for start, side in zip((TEMPERED, FIT), sides, strict=True):
            for name in ("nll", "slope", "curvature"):
                found[f"{start}{name}"] = _stacked([getattr(one, name) for one in side])
        if fit.on.images.sources is not None:
            found[f"{FIT}source"] = fit.on.images.sources.numpy().astype(np.int32)
        return found

    def _advance(self, subject: MethodSubject, count: int) -> None:
        self.done += count
        self.report(f"{subject.method} {subject.format}", self.done, self.total)


def _fixed(subject: MethodSubject) -> bool:
    """Whether nothing is drawn, and there is one network."""
    return subject.mc == (1,) and not METHODS.get(subject.method).draws


def joined(parts: Sequence[MethodRecord]) -> Measured[MethodSubject]:
    """The times of all processes.

    Args:
        parts: one of each process.
    """
    bodies = [one.body for one in parts]
    times = tuple(map(contender, zip(*(one.timed for one in bodies), strict=True)))
    body = replace(
        bodies[0],
        timed=times,
        references=references([one.references for one in bodies]),
        race="-".join(one.race for one in bodies),
    )
    return Measured(parts[0].subject, body, of_all(parts, times))


def _scores(
    by_draw: Sequence[Sequence[Summary]], labels: Tensor | None
) -> dict[str, tuple[tuple[float | None, ...], ...]]:
    """Metric to one value for each draw and T."""
    if labels is None:
        return {}
    found = [[score(one, labels) for one in each] for each in by_draw]
    return {name: tuple(tuple(one[name] for one in each) for each in found) for name in found[0][0]}


def _arrays(
    plain: Sequence[Summary], warm: Sequence[Summary], labels: Tensor | None
) -> dict[str, NDArray[Any]]:
    """One value an image and draw, as they are and with the temperature."""
    found: dict[str, NDArray[Any]] = {}
    for start, summaries in (("", plain), (TEMPERED, warm)):
        found[f"{start}entropy"] = _stacked([one.entropy for one in summaries])
        found[f"{start}confidence"] = _stacked([one.confidence for one in summaries])
        if labels is not None:
            found[f"{start}nll"] = _stacked([one.nll(labels) for one in summaries])
    if labels is not None:
        found[f"{TEMPERED}brier"] = _stacked([one.brier(labels) for one in warm])
        right = [one.correct(labels).numpy().astype(np.uint8) for one in warm]
        found["correct"] = np.stack(right)
    mutual = [one.mutual_information for one in plain]
    if all(one is not None for one in mutual):
        found["mutual_information"] = _stacked(mutual)
    return found


def _stacked(values: Sequence[Any]) -> NDArray[Any]:
    return np.stack([np.asarray(one, np.float32) for one in values])
