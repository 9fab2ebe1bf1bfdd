"""One format at every T: a long run that is cut into stretches of T passes, beside another run in
stretches of so many passes that they stand for infinitely many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.waiting import warn_if_long
from ...core.words import plural
from ...data.units import Units
from ...machine.cores import give_back
from ...machine.memory_limit import require
from ...measure.estimate import image_pass_seconds
from ...predict.cache import Made, Scratch
from ...predict.loop import batch_of
from ...predict.stretches import BYTES, Stretches, stretches, stretches_of
from ...quantize.artefact import artefact_hash
from ...records.samples_record import REFERENCE, SamplesBody, SamplesSubject
from ...workload.declared import splits_of
from ...workload.prepare import Prepared, prepare
from ..study import Measured, Surroundings, Task
from .agreeing import LUCK_PASSES, at_count, mean_nll, of_reference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...backends.base import Predictor
    from ...data.splits import Split
    from ...quantize.artefact import Artefact
    from .plan import SamplesPlan

MEASURED_IMAGES = 64  # at most, to say before how long it takes


@dataclass(frozen=True)
class LongRun:
    """Passes that are drawn one after the other and cut into stretches.

    Attributes:
        mc: lengths of the stretches.
        passes: of the run.
        seed: of its noise.
    """

    mc: tuple[int, ...]
    passes: int
    seed: int


def runs_of(subject: SamplesSubject) -> tuple[LongRun, LongRun]:
    """The one that is cut into stretches of each T, and the one of the reference."""
    mc, draws, seed, many = subject.mc, subject.draws, subject.seed, subject.reference
    return (
        LongRun(_lengths(mc), draws * mc[-1], seed),
        LongRun(_lengths((many,)), draws * many, seed + 1),
    )


def _lengths(mc: Sequence[int]) -> tuple[int, ...]:
    """Of the stretches that are needed: T, and what tells the luck of the largest."""
    return tuple(sorted({*mc, min(LUCK_PASSES, max(mc))}))


def measurer(
    plan: SamplesPlan, tasks: Sequence[Task[SamplesSubject]], surroundings: Surroundings
) -> SamplesMeasurer:
    """Load the network and the validation images, and say how long it takes.

    Raises:
        UserError: the workload holds out no validation images, or they come from one source.
    """
    surroundings.report("Loading data", 0, 1)
    workload = plan.base.workload
    splits = splits_of(workload, plan.base.data)
    if not splits.held_out:
        raise UserError(
            f"{workload.name} holds out no validation images, for its network was trained on all "
            "but the test images, and how many passes are enough is not chosen on those; give a "
            "workload that holds some out."
        )
    made = SamplesMeasurer(plan, prepare(plan.base, splits=splits), surroundings)
    made.announce([subject for task in tasks for subject in task.subjects])
    return made


def tidy(
    plan: SamplesPlan, tasks: Sequence[Task[SamplesSubject]], surroundings: Surroundings
) -> None:
    """Forget what is in records by now."""
    subjects = [subject for task in tasks for subject in task.subjects]
    keys = (_key(subject, run) for subject in subjects for run in runs_of(subject))
    Scratch(surroundings.kept(plan.base.workload.name)).clear(keys)


class SamplesMeasurer:
    """Scores formats at every T.

    Args:
        plan: what is asked.
        prepared: network and data.
        surroundings: see there.
    """

    counts = True

    def __init__(self, plan: SamplesPlan, prepared: Prepared, surroundings: Surroundings) -> None:
        give_back()
        self.plan, self.prepared, self.report = plan, prepared, surroundings.report
        kept = surroundings.kept(plan.base.workload.name)
        self.scratch = Scratch(kept, surroundings.reuse)
        self.images: Split = prepared.splits.validation.limit(plan.base.limit).readable()
        self.units = Units.of(len(self.images), self.images.sources)
        if self.units.count < 2:
            raise UserError(
                "All validation images come from one source, and an interval needs two; give a "
                "larger --limit."
            )
        self.done, self.total = 0, 0
        self._formats: dict[str, tuple[Artefact, Predictor]] = {}

    def __call__(self, task: Task[SamplesSubject]) -> Iterator[Measured[SamplesSubject]]:
        """One format."""
        (subject,) = task.subjects
        artefact, predictor = self._loaded(subject)
        batch = batch_of(artefact.graph)
        run, reference = (self._cut(subject, predictor, one, batch) for one in runs_of(subject))
        last, units = reference[subject.reference], self.units
        counts = [at_count(T, run, last, units) for T in subject.mc]
        body = SamplesBody(
            artefact=artefact_hash(artefact),
            images=len(self.images),
            counts=tuple(one for one, _ in counts),
            reference=of_reference(subject.reference, reference, units),
            skipped=self.images.skipped,
        )
        arrays = {
            "nll": np.stack([mean_nll(run[T]) for T in subject.mc]),
            f"{REFERENCE}nll": mean_nll(last),
            "agreeing": np.stack([each for _, each in counts]),
        }
        found: dict[str, NDArray[Any]] = {k: v.astype(np.float32) for k, v in arrays.items()}
        if self.images.sources is not None:
            found["source"] = self.images.sources.numpy().astype(np.int32)
        yield Measured(subject, body, arrays=found)

    def close(self) -> None:
        """Compiled programs are to end before the interpreter."""
        self._formats.clear()

    def announce(self, subjects: Sequence[SamplesSubject]) -> None:
        """Say how long it takes, if that is long."""
        seconds, images = 0.0, len(self.images)
        for subject in subjects:
            passes = sum(run.passes for run in runs_of(subject))
            _, predictor = self._loaded(subject)
            some = min(images, MEASURED_IMAGES)
            each = image_pass_seconds(self.images, predictor, subject.seed, some)
            self.total += passes * images
            seconds += passes * images * each
        what = f"Drawing {plural(self.total // images, 'pass', 'passes')} on each of {images:,}"
        warn_if_long(self.report, f"{what} images", seconds)

    def _loaded(self, subject: SamplesSubject) -> tuple[Artefact, Predictor]:
        if subject.format not in self._formats:
            self.report(f"Loading {subject.format}", 0, 1)
            artefact = self.prepared.artefact(subject.format)
            loaded = BACKENDS.get(subject.backend).load(artefact, self.plan.base.threads)
            self._formats[subject.format] = artefact, loaded
        return self._formats[subject.format]

    def _cut(
        self, subject: SamplesSubject, predictor: Predictor, run: LongRun, batch: int
    ) -> dict[int, Stretches]:
        """A run in stretches, drawn now or by a study that was stopped."""
        before, images = self.done, len(self.images)
        rows = sum(stretches_of(run.passes, run.mc).values())
        require("What every draw says of each image", 3 * BYTES * rows * images)

        def advance(count: int) -> None:
            self.done += count
            self.report(subject.format, self.done, self.total)

        def make() -> Made:
            how: Any = {"batch": batch, "advance": advance}
            found = stretches(predictor, self.images, run.mc, run.passes, run.seed, **how)
            named = {
                f"{name} {T}": getattr(one, name)
                for T, one in found.items()
                for name in ("nll", "decision")
            }
            return {}, named

        _, kept = self.scratch.get(_key(subject, run), (), make)
        self.done = before + run.passes * images  # also where nothing was computed
        self.report(subject.format, self.done, self.total)
        return {T: Stretches(kept[f"nll {T}"], kept[f"decision {T}"]) for T in run.mc}


def _key(subject: SamplesSubject, run: LongRun) -> dict[str, Any]:
    """All that a run depends on."""
    asked = ("mc", "reference", "draws", "seed")
    about = {name: value for name, value in asdict(subject).items() if name not in asked}
    return {**about, **asdict(run), "mc": list(run.mc), "kind": "samples"}
