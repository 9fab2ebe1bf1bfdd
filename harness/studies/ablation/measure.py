"""The ablation: every choice of quantization changed alone, all scored on the same images.

Each configuration differs from the default of its σ width in one choice. All see the same images
and the same noise, FP32 too, so a difference to FP32 is paired image by image; its 95 % interval
comes from a bootstrap over independent units (`units.Units`), in which an image counts with all its
corruptions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ...backends.base import BACKENDS
from ...core.errors import UserError
from ...core.formats import FORMATS
from ...core.waiting import Report, warn_if_long
from ...corruptions.copies import CLEAN, shifted
from ...data.units import Units
from ...measure.estimate import image_pass_seconds
from ...metrics.metric import score
from ...predict.loop import images_at_a_time, predict
from ...predict.predicted import Summary
from ...quantize import artefact as files
from ...quantize.options import Options
from ...stats.bootstrap import Means, pseudo_units, resampled
from ...workload.plan import DRAWN_BACKEND, FLOAT_BACKEND
from .analyse import METRICS, PAIRED, SHIFTED, Ablation, AblationRow, Difference
from .plan import BASE, Choice, default_choices

if TYPE_CHECKING:
    from ...backends.base import Predictor
    from ...data.splits import Split
    from ...quantize.artefact import Artefact

TYPES = ("brightness", "contrast", "gaussian_blur", "gaussian_noise")
SEVERITY = 5
CLEAN_IMAGES, CORRUPTED_IMAGES = 1000, 500
RESAMPLES = 10_000
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
        severity: of the corruptions.
        seed: of generated corruptions.
        origins: corruption type to `official` or `generated`.
    """

    clean: Split
    corrupted: Mapping[str, Split]
    severity: int = SEVERITY
    seed: int = 0
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def units(self) -> dict[str, Units]:
        """`clean`, and `shifted` where there is a corruption, to what is independent of it."""
        sets = {CLEAN: self.clean}
        for split in self.corrupted.values():
            sets[SHIFTED] = split
        return {name: Units.of(len(split), split.sources) for name, split in sets.items()}

    def __post_init__(self) -> None:
        if len({len(split) for split in self.corrupted.values()}) > 1:
            raise UserError("The corruptions hold different images; give the same under each.")


def ablation_images(
    split: Split,
    types: Sequence[str] = TYPES,
    severity: int = SEVERITY,
    *,
    clean: int = CLEAN_IMAGES,
    corrupted: int = CORRUPTED_IMAGES,
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
    return ScoredImages(split.limit(clean), copies, severity, seed, origins)


def ablation(
    prepare: Prepare,
    images: ScoredImages,
    *,
    mc: int = 20,
    seeds: Sequence[int] = (0,),
    choices: Sequence[Choice] | None = None,
    threads: int = 1,
    resamples: int = RESAMPLES,
    report: Report | None = None,
) -> Ablation:
    """Score FP32 and every configuration on the same images.

    Args:
        prepare: makes the network ready under (options, observer, sampled); asked once for equal
            arguments in a row.
        images: what is scored.
        mc: Monte Carlo passes T.
        seeds: of the MC draws, the same for all.
        choices: configurations beside FP32; `default_choices` if None.
        threads: cores a pass may use.
        resamples: of the bootstrap.
        report: progress, in images.

    Raises:
        UserError: there are no passes or seeds, or a configuration cannot be made.
    """
    if mc < 1 or not seeds:
        raise UserError(f"T is {mc} for {len(seeds)} seeds; give at least one of each.")
    chosen = (BASE, *(default_choices() if choices is None else choices))
    scorer = _Scorer(images, mc, tuple(seeds), threads, _Progress(report, len(chosen), images))
    made = lru_cache(maxsize=1)(prepare)
    if report:
        warn_if_long(report, f"Scoring {len(chosen)} configurations", scorer.seconds(chosen, made))
    found, fp32 = [], None
    for choice in chosen:
        scorer.progress.start(f"{choice.format} {choice.change}".strip())
        model = made(choice.options, choice.observer, choice.sampled).artefact(choice.format)
        fp32 = fp32 or model
        found.append(scorer.scored(choice, model, fp32))
    units = images.units
    return Ablation(
        split=images.clean.name,
        images=len(images.clean),
        corrupted_images=len(next(iter(images.corrupted.values()), ())),
        units=units[CLEAN].count,
        corrupted_units=units[SHIFTED].count if SHIFTED in units else 0,
        origins=dict(images.origins),
        severity=images.severity,
        corruption_seed=images.seed,
        mc=mc,
        seeds=tuple(seeds),
        resamples=resamples,
        rows=_compared(found, units, resamples),
    )


class _Progress:
    """Counts images over all configurations and seeds."""

    def __init__(self, report: Report | None, configurations: int, images: ScoredImages) -> None:
        self.images = sum(map(len, (images.clean, *images.corrupted.values())))
        self._report, self._done, self._total = report, 0, configurations * self.images
        self._phase = ""

    def start(self, phase: str) -> None:
        self._phase = phase
        self.advance(0)

    def advance(self, count: int) -> None:
        self._done += count
        if self._report:
            self._report(self._phase, self._done, self._total)


@dataclass(frozen=True, eq=False)
class _Scored:
    """A row before it is compared, and its values of each image: `clean` or `shifted` to [2, N], in
    the order of `PAIRED`."""

    row: AblationRow
    values: dict[str, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class _Scorer:
    images: ScoredImages
    mc: int
    seeds: tuple[int, ...]
    threads: int
    progress: _Progress

    def scored(self, choice: Choice, model: Artefact, fp32: Artefact) -> _Scored:
        """One configuration on all images."""
        backend = backend_of(model)
        predictor = BACKENDS.get(backend).load(model, self.threads)
        sets = {CLEAN: self.images.clean, **self.images.corrupted}
        scores, values = {}, {}
        for name, split in sets.items():
            summaries = [self._summary(predictor, model, split, seed) for seed in self.seeds]
            each = [score(summary, split.labels, METRICS) for summary in summaries]
            scores[name] = {metric: tuple(one[metric] for one in each) for metric in METRICS}
            values[name] = np.mean([_paired(summary, split) for summary in summaries], axis=0)
            self.progress.advance(len(split))
        size = files.size(model, fp32)
        row = AblationRow(
            choice, backend, size.file_bytes, size.weight_bytes, size.ratio_weights,
            size.ratio_file or 1.0, scores,
        )  # fmt: skip
        clean, types = values.pop(CLEAN), list(values.values())
        means = {CLEAN: clean} | ({SHIFTED: np.mean(types, axis=0)} if types else {})
        return _Scored(row, means)

    def seconds(self, chosen: Sequence[Choice], made: Prepare) -> float:
        """What scoring takes, as if all that is quantized were as fast as the first that is."""
        of_pass: dict[bool, float] = {}
        for choice in reversed(chosen[:2]):
            model = made(choice.options, choice.observer, choice.sampled).artefact(choice.format)
            predictor = BACKENDS.get(backend_of(model)).load(model, self.threads)
            size = min(images_at_a_time(model.graph), MEASURED_IMAGES)
            each = image_pass_seconds(self.images.clean, predictor, self.seeds[0], size)
            of_pass[model.format.quantized] = each
        passes = self.mc * len(self.seeds) * self.progress.images
        default = of_pass[max(of_pass)]
        return sum(
            passes * of_pass.get(FORMATS.get(one.format).quantized, default) for one in chosen
        )

    def _summary(self, predictor: Predictor, model: Artefact, split: Split, seed: int) -> Summary:
        step = images_at_a_time(model.graph)
        deterministic = not model.format.bayesian
        parts = []
        for start in range(0, len(split), step):
            x = split.batch(slice(start, start + step))
            parts.append(predict(predictor, x, self.mc, seed, deterministic))
        return Summary.cat(parts)


def backend_of(model: Artefact) -> str:
    """What computes a configuration: all have the noise stream's draws, FP32 too, and the compiled
    sampler makes them wherever it can."""
    if not model.format.quantized and not model.format.bayesian:
        return FLOAT_BACKEND
    if not model.format.quantized or not model.header.compiled_sampler:
        return DRAWN_BACKEND
    return "native" if BACKENDS.get("native").unavailable() is None else "reference"


def _paired(summary: Summary, split: Split) -> NDArray[np.float64]:
    """[2, N]: whether each image is right, in %, and its NLL."""
    labels = split.labels
    nll = -summary.log_probs.gather(1, labels[:, None]).flatten()
    return np.stack([100.0 * summary.correct(labels).double().numpy(), nll.numpy()])


def _compared(
    found: Sequence[_Scored], units: Mapping[str, Units], resamples: int
) -> tuple[AblationRow, ...]:
    """The rows with their differences to the first; the same resamples serve all of them."""
    base, others = found[0], found[1:]
    differences: list[dict[str, dict[str, Difference]]] = [{} for _ in others]
    for name, reference in base.values.items() if others else ():
        columns = np.stack([other.values[name] - reference for other in others])
        for index, metric in enumerate(PAIRED):
            numbers = _intervals(columns[:, index].T, units[name], resamples, metric == "accuracy")
            for one, number in zip(differences, numbers, strict=True):
                one.setdefault(name, {})[metric] = number
    rows = [
        replace(other.row, differences=one) for other, one in zip(others, differences, strict=True)
    ]
    return (base.row, *rows)


def _intervals(
    values: NDArray[np.float64], units: Units, resamples: int, correctness: bool
) -> list[Difference]:
    """Mean of each column of [N, K] and the ends of its 95 % interval, as in `equivalence`.

    Args:
        values: a row an image.
        units: what is independent among the images.
        resamples: of the units.
        correctness: values are of correctness, in %; else losses.
    """
    means = Means.of(values, units)
    if units.count < 2:
        return [Difference(float(value), None, None) for value in means.centre]
    chunks = resampled(units.count, resamples, 0)
    if correctness:
        draws = np.concatenate([means.draws(counts) for counts in chunks])
        draws = np.clip(draws + pseudo_units(means, len(draws), 0), -100.0, 100.0)
    else:
        draws = np.concatenate([means.studentized(counts) for counts in chunks])
    ends = np.quantile(draws, [0.025, 0.975], axis=0)
    return [Difference(*map(float, one)) for one in zip(means.centre, *ends, strict=True)]
