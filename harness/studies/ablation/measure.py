"""The ablation: every choice of quantization changed alone, all scored on the same images.

Each configuration differs from the default of its σ width in one choice. All see the same images
and the same noise, FP32 too, so a difference to FP32 is paired image by image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.waiting import Report, warn_if_long
from ...core.words import plural
from ...corruptions.copies import shifted
from ...data.units import Units
from ...measure.estimate import image_pass_seconds
from ...metrics.metric import score
from ...predict.loop import images_at_a_time, predict
from ...predict.predicted import Summary
from ...quantize.artefact import size
from ...quantize.options import Options
from ...records.ablation_record import (
    CLEAN,
    METRICS,
    AblationBody,
    AblationSubject,
    Choice,
    each_image,
)
from ...workload.plan import DRAWN_BACKEND, FLOAT_BACKEND
from ...workload.prepare import Prepared, load_networks, prepare
from ..study import Measured, Surroundings, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...backends.base import Predictor
    from ...data.splits import Split
    from ...quantize.artefact import Artefact
    from .plan import AblationPlan

MEASURED_IMAGES = 64  # at most, to say before how long it takes


class Made(Protocol):
    """A network under some choices of quantization."""

    def artefact(self, format: str) -> Artefact:
        """The model in one format."""
        ...


#: (options, observer, whether ranges are observed over sampled passes) to what formats are made of.
Prepare = Callable[[Options, str, bool], Made]


@dataclass(frozen=True, eq=False)
class ScoredImages:
    """What every configuration is scored on.

    Attributes:
        clean: clean images.
        corrupted: corruption type to the same images under it, in the order of one another.
        origins: corruption type to `official` or `generated`.
    """

    clean: Split
    corrupted: Mapping[str, Split]
    origins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len({len(split) for split in self.corrupted.values()}) > 1:
            raise UserError("The corruptions hold different images; give the same under each.")

    @property
    def sets(self) -> dict[str, Split]:
        """All of them by name."""
        return {CLEAN: self.clean, **self.corrupted}

    @property
    def count(self) -> int:
        """Images of all sets together."""
        return sum(map(len, self.sets.values()))


def ablation_images(
    split: Split,
    types: Sequence[str],
    severity: int,
    *,
    clean: int | None,
    corrupted: int,
    seed: int = 0,
    root: Path | None = None,
    official: str | None = None,
) -> ScoredImages:
    """The first images of a split, clean and corrupted.

    Args:
        split: `validation`, for choosing; `test` once all is chosen.
        types: of corruption.
        severity: 1 … 5.
        clean: how many clean images.
        corrupted: how many images of each type.
        seed: of generated corruptions.
        root: data root, see `splits.data_root`.
        official: directory of published corruptions under the data root.

    Raises:
        UserError: a number, a type or the severity is none.
    """
    part, copies, origins = split.limit(corrupted), {}, {}
    for name in types:
        copies[name], origins[name] = shifted(
            part, name, severity, seed=seed, root=root, official=official
        )
    return ScoredImages(split.limit(clean), copies, origins)


def measurer(
    plan: AblationPlan, tasks: Sequence[Task[AblationSubject]], surroundings: Surroundings
) -> AblationMeasurer:
    """Load the networks and the images, and say how long it takes."""
    report, networks = surroundings.report, load_networks(plan.base)
    base = prepare(plan.base, networks)
    images = ablation_images(
        base.splits.scored(plan.base.split),
        plan.types,
        plan.severity,
        clean=plan.base.limit,
        corrupted=plan.corrupted,
        seed=plan.corruption_seed,
        root=plan.base.data,
        official=plan.base.workload.official_corruptions,
    )

    def prepared(options: Options, observer: str, sampled: bool) -> Prepared:
        chosen = replace(plan.base, options=options, observer=observer, sampled=sampled)
        if (observer, sampled) == (plan.base.observer, plan.base.sampled):
            return replace(base, plan=chosen)  # the ranges are those of the base
        return prepare(chosen, networks)

    subjects = [subject for task in tasks for subject in task.subjects]
    made = AblationMeasurer(prepared, images, report, len(subjects) * images.count)
    made.announce(subjects)
    return made


class AblationMeasurer:
    """Scores configurations on the same images.

    Args:
        prepare: makes the network ready under (options, observer, sampled); asked once for equal
            arguments in a row.
        images: what is scored.
        report: progress, in images.
        total: images of all configurations.
    """

    counts = True

    def __init__(self, prepare: Prepare, images: ScoredImages, report: Report, total: int) -> None:
        self.made = lru_cache(maxsize=1)(prepare)
        self.images, self.report = images, report
        self.done, self.total = 0, total

    def __call__(self, task: Task[AblationSubject]) -> Iterator[Measured[AblationSubject]]:
        """Score the configurations of a task."""
        for subject in task.subjects:
            yield self._scored(subject)

    def close(self) -> None:
        """Nothing is held."""

    def announce(self, subjects: Sequence[AblationSubject]) -> None:
        """Say how long scoring takes, if that is long."""
        what = f"Scoring {plural(len(subjects), 'configuration')}"
        warn_if_long(self.report, what, self.seconds(subjects))

    def seconds(self, subjects: Sequence[AblationSubject]) -> float:
        """What scoring takes, as if all that is quantized were as fast as the first that is."""
        of_pass: dict[bool, float] = {}
        for subject in reversed(subjects[:2]):
            model, _, predictor = self._load(subject)
            size = min(images_at_a_time(model.graph), MEASURED_IMAGES)
            each = image_pass_seconds(self.images.clean, predictor, subject.seed, size)
            of_pass[model.format.quantized] = each
        default = of_pass[max(of_pass)]
        return sum(
            one.mc * one.seeds * self.images.count
            * of_pass.get(FORMATS.get(one.choice.format).quantized, default)
            for one in subjects
        )  # fmt: skip

    def _load(self, subject: AblationSubject) -> tuple[Artefact, str, Predictor]:
        choice = subject.choice
        model = self._model(choice)
        backend = backend_of(model)
        return model, backend, BACKENDS.get(backend).load(model, subject.threads)

    def _model(self, choice: Choice) -> Artefact:
        made = self.made(choice.options, choice.observer, choice.sampled)
        return made.artefact(choice.format)

    def _scored(self, subject: AblationSubject) -> Measured[AblationSubject]:
        """One configuration on all images."""
        choice = subject.choice
        self._advance(choice, 0)
        model, backend, predictor = self._load(subject)
        scores: dict[str, dict[str, tuple[float | None, ...]]] = {}
        arrays: dict[str, NDArray[Any]] = {}
        for name, split in self.images.sets.items():
            summaries = [
                _summary(predictor, model, split, subject.mc, seed)
                for seed in range(subject.seed, subject.seed + subject.seeds)
            ]
            each = [score(summary, split.labels, METRICS) for summary in summaries]
            scores[name] = {metric: tuple(one[metric] for one in each) for metric in METRICS}
            arrays |= each_image(name, summaries, split.labels, split.sources)
            self._advance(choice, len(split))
        stored = size(model)
        body = AblationBody(
            backend=backend,
            file_bytes=stored.file_bytes,
            weight_bytes=stored.weight_bytes,
            ratio_weights=stored.ratio_weights,
            scores=scores,
            **self._counted(),
        )
        return Measured(subject, body, arrays=arrays)

    def _counted(self) -> dict[str, Any]:
        clean, corrupted = self.images.clean, list(self.images.corrupted.values())[-1:]
        return {
            "images": len(clean),
            "corrupted_images": sum(map(len, corrupted)),
            "units": _units(clean),
            "corrupted_units": sum(map(_units, corrupted)),
            "origins": dict(self.images.origins),
        }

    def _advance(self, choice: Choice, count: int) -> None:
        self.done += count
        self.report(f"{choice.format} {choice.change}".strip(), self.done, self.total)


def _units(split: Split) -> int:
    return Units.of(len(split), split.sources).count


def backend_of(model: Artefact) -> str:
    """What computes a configuration: all have the noise stream's draws, FP32 too, and the compiled
    sampler makes them wherever it can."""
    if not model.format.quantized and not model.format.bayesian:
        return FLOAT_BACKEND
    if not model.format.quantized or not model.header.compiled_sampler:
        return DRAWN_BACKEND
    return "native" if BACKENDS.get("native").unavailable() is None else "reference"


def _summary(predictor: Predictor, model: Artefact, split: Split, mc: int, seed: int) -> Summary:
    step = images_at_a_time(model.graph)
    deterministic = not model.format.bayesian
    parts = []
    for start in range(0, len(split), step):
        x = split.batch(slice(start, start + step))
        parts.append(predict(predictor, x, mc, seed, deterministic))
    return Summary.cat(parts)
