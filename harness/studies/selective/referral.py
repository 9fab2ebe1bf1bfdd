"""What every format can keep of a split, at what error, and which classes it refers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...stats.bootstrap import Array, Luck, luck_draws
from ...stats.bound import Cut, largest_cut
from ...stats.pairs import luck_of
from ...stats.ranking import balanced_error, once
from ...stats.shifted import Results
from .sample import RESAMPLES, SCORES, SEED, Interval, Outputs, SplitSample


@dataclass(frozen=True)
class Choices:
    """What a study is asked.

    Attributes:
        by: what images are referred by, a name of `SCORES`.
        coverage: share of the images that is kept, in 0 … 1; the rest is referred.
        bound: balanced error that what is kept should not exceed, in 0 … 1.
    """

    by: str = "confidence"
    coverage: float = 0.8
    bound: float = 0.05


@dataclass(frozen=True)
class ClassFigures:
    """One class in one format; means over seeds of the MC draw.

    Attributes:
        label: of the class.
        images: of the class.
        recall: of all of them, %.
        referred: share of them that is referred at the coverage, %.
        recall_kept: of those that are kept, %; None where none is.
    """

    label: int
    images: int
    recall: float
    referred: float
    recall_kept: float | None


@dataclass(frozen=True)
class Bounded:
    """How much is kept within the bound.

    Attributes:
        oracle: the largest coverage whose balanced error is at most the bound, told with the labels
            of these images, %; mean over seeds.
        threshold: the largest uncertainty kept, chosen on the validation split; one per seed, None
            where no threshold held the bound there.
        coverage: what that threshold keeps of these images, %; a seed without one keeps nothing.
        kept: the same of each seed.
        balanced_error: of what it keeps, %, the mean over seeds that keep something; None where
            none does.
        classes: of which it keeps something; the fewest over those seeds, 0 without any.
    """

    oracle: float
    threshold: tuple[float | None, ...]
    coverage: Interval
    kept: tuple[float, ...]
    balanced_error: Interval | None
    classes: int

    @property
    def held(self) -> int:
        """Seeds in which a threshold held the bound on the validation split."""
        return sum(one is not None for one in self.threshold)


@dataclass(frozen=True)
class AreaChange:
    """An area less another on the same images.

    Attributes:
        other: variant of the other.
        change: 0 … 1.
        p: two-sided p-value of no difference, from the same draws as the interval.
    """

    other: str
    change: Interval
    p: float


@dataclass(frozen=True)
class Referral:
    """One format on one split. Errors are in %, areas in 0 … 1.

    Attributes:
        split: its name.
        variant: of the format (`Results.formats`).
        images: how many.
        seeds: of the MC draw.
        error: of all images.
        error_kept: of those kept at the coverage.
        ratio: `error_kept` over `error`; None where there is no error.
        balanced: balanced error of all images.
        aurc: name of `SCORES` to the area under the risk–coverage curve.
        aurc_change: by the score images are referred by: less that of the float format, over the
            seeds that both have; None for floats and where there is no such seed.
        against_mean: the same less that of one pass of the mean network, each with a temperature,
            over all seeds of both; None where it is not compared with it.
        luck: whether the luck of the MC draw is in the interval of `aurc_change`.
        apart: of that luck, whether what all images share was told apart from each image's own part
            (`Luck`); else it is an upper bound.
        bounded: within the bound; None where the validation split was not scored.
        classes: figures by class.
    """

    split: str
    variant: str
    images: int
    seeds: int
    error: Interval
    error_kept: Interval
    ratio: Interval | None
    balanced: Interval
    aurc: dict[str, Interval]
    aurc_change: Interval | None
    luck: bool
    apart: bool
    bounded: Bounded | None
    classes: tuple[ClassFigures, ...]
    against_mean: AreaChange | None = None

    @property
    def halved(self) -> bool | None:
        """Whether what is kept has at most half the error of all; None where there is no error."""
        return None if self.ratio is None else self.ratio.value <= 0.5


def selections(
    results: Results,
    sample: SplitSample,
    validation: SplitSample | None,
    choices: Choices,
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
    advance: Callable[[int], None] | None = None,
) -> list[Referral]:
    """Every format on one split, in the order of the formats.

    Args:
        results: of the split.
        sample: of the same.
        validation: of the split that thresholds are chosen on.
        choices: what is asked.
        resamples: of the sources of the images.
        seed: of the resampling.
        advance: told now and then how many more resamples there are.
    """
    scored = {
        variant: _Scored(outputs, _cuts(validation, variant, choices), choices)
        for variant, outputs in sample.outputs.items()
    }
    drawn: dict[str, list[dict[str, Array]]] = {variant: [] for variant in scored}
    for counts in sample.draws(resamples, seed):
        for variant, one in scored.items():
            drawn[variant].append(one.figures(counts))
        if advance:
            advance(len(counts))
    draws = {variant: joined(parts) for variant, parts in drawn.items()}
    here = {variant: one.figures(once(sample.images)) for variant, one in scored.items()}
    found = []
    for variant, one in scored.items():
        change, sides = None, list[Luck]()
        reference = sample.references.get(variant)
        if reference is not None and (seeds := one.seeds & scored[reference].seeds):
            sides = _luck(results, {variant: seeds, reference: seeds}, choices)
            value, moved = (
                one.area(areas[variant], seeds) - scored[reference].area(areas[reference], seeds)
                for areas in (here, draws)
            )
            moved = moved + luck_draws(sides, len(moved), [seed, 1])
            change = Interval.of(float(value[0]), moved)
        made = one.selection(sample, variant, here[variant], draws[variant], change, sides)
        if rival := sample.rivals.get(variant):
            each = {name: scored[name].seeds for name in (variant, rival)}
            lucks = _luck(results, each, choices)
            value, moved = (
                one.area(areas[variant], one.seeds) - scored[rival].area(areas[rival], each[rival])
                for areas in (here, draws)
            )
            moved = moved + luck_draws(lucks, len(moved), [seed, 2])
            made = replace(made, against_mean=_compared(rival, float(value[0]), moved))
        found.append(made)
    return found


def _compared(other: str, value: float, draws: Array) -> AreaChange:
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum())) + 1
    return AreaChange(other, Interval.of(value, draws), min(1.0, 2 * tail / (len(draws) + 1)))


def _luck(results: Results, seeds: Mapping[str, set[int]], choices: Choices) -> list[Luck]:
    """Of the MC draw in the difference of two areas, each of its variant's seeds; known of those by
    confidence alone, which records hold for halves of the passes."""
    if choices.by != "confidence":
        return []
    one, other = (
        [[r for r in results.at(variant) if r.subject.seed in own]]
        for variant, own in seeds.items()
    )
    return luck_of(one, other, "aurc")


def joined(parts: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """Draws of chunks of resamples, put together."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _cuts(validation: SplitSample | None, variant: str, choices: Choices) -> dict[int, Cut]:
    """Of each seed, chosen on the validation split; none where it was not scored."""
    outputs = validation.outputs.get(variant, ()) if validation is not None else ()
    return {one.seed: _cut(one, choices) for one in outputs}


def _cut(outputs: Outputs, choices: Choices) -> Cut:
    uncertainty = outputs.uncertainties[choices.by]
    return largest_cut(uncertainty, outputs.wrong, outputs.labels, choices.bound)


class _Scored:
    """One format on one split, its seeds ranked by every score."""

    def __init__(
        self, outputs: Sequence[Outputs], cuts: Mapping[int, Cut], choices: Choices
    ) -> None:
        self.outputs, self.choices = outputs, choices
        known = all(one.seed in cuts for one in outputs)
        self.cuts = [cuts[one.seed] for one in outputs] if known else []
        self.scores = [name for name in SCORES if name in outputs[0].uncertainties]
        self.ranked = {name: [one.ranked(name) for one in outputs] for name in self.scores}

    @property
    def seeds(self) -> set[int]:
        """Of the MC draw."""
        return {one.seed for one in self.outputs}

    def area(self, figures: dict[str, Array], seeds: set[int]) -> Array:
        """[B] mean over some seeds of the area by the score images are referred by."""
        columns = [i for i, one in enumerate(self.outputs) if one.seed in seeds]
        mean: Array = figures["areas"][:, columns].mean(axis=1)
        return mean

    def figures(self, counts: Array) -> dict[str, Array]:
        """Name to [B] means over seeds, from counts [B, N]; errors in %, areas in 0 … 1; `areas`
        are [B, seeds], by the score images are referred by."""
        first, outputs, share = self.ranked[self.choices.by], self.outputs, self.choices.coverage
        error = 100 * _mean([r.error(counts) for r in first])
        kept = 100 * _mean([r.error(r.kept(counts, share)) for r in first])
        nan = np.full(len(counts), np.nan)
        found = {
            "error": error,
            "error_kept": kept,
            "ratio": np.divide(kept, error, out=nan, where=error > 0),
            "balanced": 100 * _mean([balanced_error(o.wrong, o.labels, counts) for o in outputs]),
        }
        for name in self.scores:
            areas = np.stack([ranked.aurc(counts) for ranked in self.ranked[name]], axis=1)
            found[f"aurc {name}"] = areas.mean(axis=1)
            if name == self.choices.by:
                found["areas"] = areas
        if self.cuts:
            kepts = [counts * within for within in self._within()]
            total = counts.sum(axis=1)
            found["coverage"] = 100 * _mean([k.sum(axis=1) / total for k in kepts])
            found["balanced_kept"] = 100 * _mean(
                [balanced_error(o.wrong, o.labels, k) for o, k in zip(outputs, kepts, strict=True)]
            )
        return found

    def selection(
        self,
        sample: SplitSample,
        variant: str,
        here: dict[str, Array],
        draws: dict[str, Array],
        change: Interval | None,
        luck: Sequence[Luck],
    ) -> Referral:
        """All of it, from figures of the images as they are and of resamples."""
        found = {
            name: Interval.of(float(values[0]), draws[name])
            for name, values in here.items()
            if values.ndim == 1
        }
        return Referral(
            split=sample.split,
            variant=variant,
            images=sample.images,
            seeds=len(self.outputs),
            error=found["error"],
            error_kept=found["error_kept"],
            ratio=found["ratio"] if found["error"].value > 0 else None,
            balanced=found["balanced"],
            aurc={name: found[f"aurc {name}"] for name in self.scores},
            aurc_change=change,
            luck=bool(luck),
            apart=all(one.apart for one in luck),
            bounded=self._bounded(found) if self.cuts else None,
            classes=self._classes(),
        )

    def _bounded(self, found: dict[str, Interval]) -> Bounded:
        oracles = [_cut(one, self.choices).coverage for one in self.outputs]
        error = found["balanced_kept"]
        inside = self._within()
        kept = [
            one.labels[within]
            for one, within in zip(self.outputs, inside, strict=True)
            if within.any()
        ]
        return Bounded(
            oracle=100 * float(np.mean(oracles)),
            threshold=tuple(c.threshold if np.isfinite(c.threshold) else None for c in self.cuts),
            coverage=found["coverage"],
            kept=tuple(100 * float(within.mean()) for within in inside),
            balanced_error=error if np.isfinite(error.value) else None,
            classes=min((len(np.unique(labels)) for labels in kept), default=0),
        )

    def _within(self) -> list[NDArray[np.bool_]]:
        """[N] of each seed: what its threshold keeps."""
        return [
            one.uncertainties[self.choices.by] <= cut.threshold
            for one, cut in zip(self.outputs, self.cuts, strict=True)
        ]

    def _classes(self) -> tuple[ClassFigures, ...]:
        labels = self.outputs[0].labels
        right = np.mean([~one.wrong for one in self.outputs], axis=0)
        each = [
            ranked.kept(once(len(labels)), self.choices.coverage)[0]
            for ranked in self.ranked[self.choices.by]
        ]
        kept = np.mean(each, axis=0)
        right_kept = np.mean(
            [k * ~one.wrong for k, one in zip(each, self.outputs, strict=True)], axis=0
        )
        found = []
        for label in np.unique(labels):
            own = labels == label
            stays = float(kept[own].sum())
            found.append(
                ClassFigures(
                    label=int(label),
                    images=int(own.sum()),
                    recall=100 * float(right[own].mean()),
                    referred=100 * (1 - stays / int(own.sum())),
                    recall_kept=100 * float(right_kept[own].sum()) / stays if stays else None,
                )
            )
        return tuple(found)


def _mean(values: Sequence[Array]) -> Array:
    """[B] over seeds, of those where a figure is defined; NaN where it is for none."""
    stacked = np.stack(values)
    known = np.isfinite(stacked)
    count = known.sum(axis=0)
    total = np.where(known, stacked, 0.0).sum(axis=0)
    mean: Array = np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
    return mean
