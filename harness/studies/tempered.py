"""Methods with their temperatures, as a worker of a study of cells predicts with them.

A temperature is fitted once, for each method, format, T and seed, before any cell is scored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..measure.estimate import seconds_of
from ..methods.method import METHODS, MadeMethod
from ..methods.tempering import (
    FittingImages,
    Temperatures,
    tempered_outcomes,
)
from ..predict.logit_law import law_of_batch, law_of_split

if TYPE_CHECKING:
    from ..backends.base import Passes
    from ..core.waiting import Report
    from ..data.splits import Split
    from ..predict.logit_law import Summarizer
    from ..predict.predicted import Outcomes
    from ..workload.cell import Cell
    from ..workload.conditions import ShiftPlan
    from ..workload.prepare import Prepared

#: Method, format and range of the weights.
Which = tuple[str, str, str]
#: Of each T, ascending.
Fits = Mapping[int, Temperatures]


def which(cell: Cell) -> Which:
    """What a cell's predictions are made with."""
    return cell.method, cell.format, cell.range


@dataclass(eq=False)
class TemperedScorer:
    """What predicts cells that have a temperature.

    Attributes:
        made: methods, not yet loaded.
        counts: numbers of passes T of each, ascending.
        on: images that temperatures are fitted on; None in a worker, where all are fitted.
        validation_images: how many they are.
        fits: what was fitted, by method and seed.
        loaded: methods of this process.
    """

    made: Mapping[Which, MadeMethod]
    counts: Mapping[Which, Sequence[int]]
    on: FittingImages | None = None
    validation_images: int = 0
    fits: dict[tuple[Which, int], Fits] = field(default_factory=dict)
    loaded: dict[Which, Passes | Summarizer] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: ShiftPlan, prepared: Prepared, cells: Iterable[Cell]) -> TemperedScorer:
        """For some cells, others than those with a temperature left out."""
        wanted = {which(cell): cell for cell in cells if cell.temperature}
        if not wanted:
            return cls({}, {})
        on = FittingImages.of(prepared.splits, limit=plan.base.limit)
        return cls(
            {key: _made(plan, prepared, cell) for key, cell in wanted.items()},
            {key: METHODS.get(key[0]).passes(plan.base, plan.mc) for key in wanted},
            on,
            len(on.images),
        )

    def fit(self, cells: Iterable[Cell], report: Report) -> TemperedScorer:
        """With the temperatures of some cells, ready to be given to workers."""
        missing = {(which(cell), cell.seed): cell for cell in cells if cell.temperature}
        total, done = len(missing) * self.validation_images, 0
        for key, cell in missing.items():

            def advance(images: int) -> None:
                nonlocal done
                done += images
                report("Fitting temperatures", done, total)

            assert self.on is not None
            made = self.made[which(cell)]
            law = law_of_split(
                self._passes(cell),
                self.on.images,
                cell.seed,
                cell.mc,
                _fixed(cell),
                made.batch,
                advance,
            )
            self.fits[key] = {T: self.on.fit(law, T) for T in self.counts[which(cell)]}
        return replace(self, on=None)

    def fitted(self, cell: Cell) -> Fits:
        """Temperatures of a cell, by T."""
        return self.fits[which(cell), cell.seed]

    def outcomes(
        self, cell: Cell, images: Split, labelled: bool, whole: bool
    ) -> dict[int, Outcomes]:
        """What a cell's method says of each image at each T, with halves of drawn passes."""
        return tempered_outcomes(
            self._passes(cell),
            images,
            self.fitted(cell),
            cell.seed,
            _fixed(cell),
            self.made[which(cell)].batch,
            labelled=labelled,
            whole=whole,
            groups=labelled and cell.draws,
        )

    def seconds(self, cell: Cell, images: Split) -> float:
        """Of one pass on one of the images, that are given at once."""
        passes, fixed = self._passes(cell), _fixed(cell)
        return seconds_of(lambda x: law_of_batch(passes, x, cell.seed, 1, fixed), images)

    def close(self) -> None:
        """Compiled programs are to end before the interpreter."""
        self.loaded.clear()

    def _passes(self, cell: Cell) -> Passes | Summarizer:
        key = which(cell)
        if key not in self.loaded:
            self.loaded[key] = self.made[key].passes(threads=1)
        return self.loaded[key]


def _made(plan: ShiftPlan, prepared: Prepared, cell: Cell) -> MadeMethod:
    options = plan.options.get(cell.range)
    made = METHODS.get(cell.method).made(prepared, cell.format, options)
    return replace(made, backend=cell.backend)


def _fixed(cell: Cell) -> bool:
    """Whether nothing is drawn, and there is one network."""
    return cell.mc == 1 and not cell.draws
