"""Scores of a run's formats, of all T from one run by prefixes, and what each is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ...core.waiting import Report
from ...measure.quality import joined, quality
from ...metrics.metric import whole_needed
from ...predict.adaptive import Evaluated, evaluate_adaptive
from ...predict.loop import batch_of, outcomes
from ...records.run_record import ARRAYS
from ...stats.paired import PerImage, per_image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from ...backends.base import Predictor
    from ...data.splits import Split
    from ...predict.cache import Made, Scratch
    from ...predict.predicted import Outcomes
    from ...quantize.artefact import Artefact
    from ...records.run_record import Quality
    from ...workload.cell import Cell
    from ...workload.plan import Plan


@dataclass(frozen=True, eq=False)
class Scored:
    """What is left of one seed's predictions at one T once they are scored.

    Attributes:
        probs: p̄ of the images that timed queries may be compared on, the split's first, [n, C].
        each: of all images.
        arrays: those of a record (`run_record.ARRAYS`).
    """

    probs: Tensor
    each: PerImage
    arrays: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Scores:
    """One format's.

    Attributes:
        quality: by T.
        each: by seed and T.
        adaptive: quality and what was scored at adaptive T, by seed; None if that is not asked for.
    """

    quality: dict[int, Quality]
    each: dict[int, dict[int, Scored]]
    adaptive: tuple[Quality, dict[int, Evaluated]] | None


def _key(plan: Plan, cell: Cell, seed: int, adaptive: bool) -> dict[str, Any]:
    """All that predictions depend on: those of one seed, of all cells of a format."""
    timing_alone = (
        "scenario", "batch", "mc", "stopping", "seeds", "seconds", "processes",
    )  # fmt: skip
    return {
        **{name: value for name, value in asdict(cell).items() if name not in timing_alone},
        "seed": seed,
        "rule": asdict(plan.rule) if adaptive else None,
        "whole": whole_needed(),
        "opening": cell.seeds * max(plan.batches),
    }


def keys_of(plan: Plan, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    """Under which a run of the plan, or of a part of its cells, keeps predictions."""
    for cell in {cell.format: cell for cell in cells}.values():
        for seed in range(plan.seed, plan.seed + cell.seeds):
            for adaptive in {False, plan.adaptive}:
                yield _key(plan, cell, seed, adaptive)


class Scorer:
    """Scores formats on a split.

    Args:
        plan: seeds, batches and when adaptive T stops.
        split: images and labels.
        scratch: where predictions are kept.
        report: progress, as (phase, done, total).
    """

    def __init__(
        self,
        plan: Plan,
        split: Split,
        scratch: Scratch,
        report: Report,
    ) -> None:
        self.plan, self.split, self.scratch, self.report = plan, split, scratch, report

    def score(
        self,
        artefact: Artefact,
        predictor: Predictor,
        mine: Sequence[Cell],
        progress: tuple[int, int],
    ) -> Scores:
        """One format at every T of its cells.

        Args:
            artefact: the format.
            predictor: loaded from it.
            mine: its cells, at least one.
            progress: images done before, and of all formats.

        Raises:
            UserError: predictions cannot be kept.
        """
        done, total = progress
        title = f"Scoring {artefact.header.format}"

        def advance(images: int) -> None:
            nonlocal done
            done += images
            self.report(title, done, total)

        seeds = range(self.plan.seed, self.plan.seed + mine[0].seeds)
        found: dict[int, dict[int, Scored]] = {}
        scores: dict[int, list[Quality]] = {}
        at_adaptive: dict[int, Evaluated] = {}
        for index, seed in enumerate(seeds, 1):
            predicted, adaptive = self._predicted(artefact, predictor, mine, seed, advance)
            found[seed] = {
                T: Scored(one.opening, per_image(one, self.split.labels), _arrays(one, self.split))
                for T, one in predicted.items()
            }
            for T, one in predicted.items():
                scores.setdefault(T, []).append(quality([one], self.split, [seed]))
            if adaptive is not None:
                at_adaptive[seed] = adaptive
            done = progress[0] + index * len(self.split)  # also where nothing was computed
            self.report(title, done, total)
        qualities = {T: joined(each) for T, each in scores.items()}
        if not at_adaptive:
            return Scores(qualities, found, None)
        stopped = quality([e.adaptive for e in at_adaptive.values()], self.split, seeds)
        return Scores(qualities, found, (stopped, at_adaptive))

    def _predicted(
        self,
        artefact: Artefact,
        predictor: Predictor,
        mine: Sequence[Cell],
        seed: int,
        advance: Callable[[int], None],
    ) -> tuple[dict[int, Outcomes], Evaluated | None]:
        """One seed at each T, and at adaptive T where a cell asks for it."""
        counts = sorted({cell.mc for cell in mine})
        rule = self.plan.rule if any(cell.adaptive for cell in mine) else None
        key = _key(self.plan, mine[0], seed, rule is not None)
        how: Any = {
            "whole": key["whole"],
            "opening": key["opening"],
            "batch": batch_of(artefact.graph),
            "advance": advance,
        }

        def make() -> Made:
            if rule is None:
                deterministic = not artefact.format.bayesian
                found = outcomes(predictor, self.split, counts, seed, deterministic, **how)
                return {str(T): one for T, one in found.items()}, {}
            stopped = evaluate_adaptive(predictor, self.split, counts, rule, seed, **how)
            named = {str(T): one for T, one in stopped.full.items()}
            return {**named, "adaptive": stopped.adaptive}, {"spent": stopped.spent}

        needed = [*map(str, counts), *(["adaptive"] if rule else [])]
        found, others = self.scratch.get(key, needed, make)
        full = {T: found[str(T)] for T in counts}
        if rule is None:
            return full, None
        return full, Evaluated(full, found["adaptive"], others["spent"])


def _arrays(one: Outcomes, split: Split) -> dict[str, NDArray[Any]]:
    """One value an image."""
    values = {
        "label": split.labels,
        "prediction": one.prediction,
        "confidence": one.confidence,
        "entropy": one.entropy,
        "mutual_information": one.mutual_information,
        "nll": one.nll(split.labels),
        "brier": one.brier(split.labels),
    }
    return {k: v.numpy().astype(ARRAYS[k]) for k, v in values.items() if v is not None}
