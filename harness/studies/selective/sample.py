"""What every format got on the images of one split, ready to be ranked and resampled."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...data.units import Units, too_few
from ...records.shift_record import ShiftRecord
from ...stats.bootstrap import Array, resampled
from ...stats.ranking import Ranked
from ...stats.shifted import Results

SCORES = ("confidence", "entropy", "mutual_information")
"""What images are ranked by: 1 − max p̄, predictive entropy, mutual information."""

RESAMPLES = 2000
SEED = 0
_COUNTS = 1 << 21  # counts at a time: 16 MB


@dataclass(frozen=True, eq=False)
class Outputs:
    """What one format got with one seed of the MC draw.

    Attributes:
        seed: of the draw.
        labels: [N] classes.
        predictions: [N] classes.
        uncertainties: name of `SCORES` to [N], larger is less sure; without mutual information
            where it is not defined.
    """

    seed: int
    labels: NDArray[np.integer]
    predictions: NDArray[np.integer]
    uncertainties: dict[str, NDArray[np.floating]]

    @classmethod
    def of(cls, record: ShiftRecord) -> Outputs:
        """Those that a record holds.

        Raises:
            UserError: it was made before records had predictions and labels.
        """
        if "prediction" not in record.arrays:
            raise UserError(
                f"A record of {record.subject.format} on the {record.subject.split} split has no "
                "predictions image by image; score it again with --policy always."
            )
        found = {name: record.array(name) for name in SCORES if name in record.arrays}
        found["confidence"] = -found["confidence"]  # 1 less it would round
        return cls(record.subject.seed, record.array("label"), record.array("prediction"), found)

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """[N] whether the prediction is not the label."""
        return np.asarray(self.predictions != self.labels)

    def ranked(self, by: str) -> Ranked:
        """In the order of an uncertainty."""
        return Ranked.by(self.uncertainties[by], self.wrong)


@dataclass(frozen=True, eq=False)
class SplitSample:
    """The images of one split, in every format.

    Attributes:
        split: its name.
        outputs: variant (`Results.formats`) to one for each seed, in that order; of a variant
            without seeds there is one.
        references: variant to the float one it is compared with; none for floats.
        units: what is independent among the images, and is resampled.
        skipped: files of images that could not be read and were left out.
        rivals: variant of a method to the one pass of the mean network that it is compared with,
            each with a temperature.
        methods: variants that have a temperature.
    """

    split: str
    outputs: dict[str, tuple[Outputs, ...]]
    references: dict[str, str]
    units: Units
    skipped: tuple[str, ...] = ()
    rivals: Mapping[str, str] = field(default_factory=dict)
    methods: Collection[str] = ()

    @classmethod
    def of(cls, results: Results, by: str) -> SplitSample:
        """From the records of one split, of the formats that have the uncertainty `by`.

        Raises:
            UserError: none has it.
        """
        found = {
            variant: records
            for variant in results.formats
            if (records := results.at(variant)) and all(by in r.arrays for r in records)
        }
        if not found:
            raise UserError(
                f"No format has {by.replace('_', ' ')}, which takes a Bayesian format and two "
                "passes; give --by confidence or --by entropy."
            )
        first = next(iter(found.values()))[0]
        names = {variant: results.reference(variant) for variant in found}
        rivals = {variant: results.rival(variant) for variant in found}
        return cls(
            first.subject.split,
            {variant: tuple(map(Outputs.of, records)) for variant, records in found.items()},
            {variant: name for variant, name in names.items() if name in found},
            first.units,
            first.body.skipped,
            {variant: name for variant, name in rivals.items() if name in found},
            tuple(results.methods),
        )

    @property
    def images(self) -> int:
        """How many."""
        return self.units.images

    @property
    def too_few(self) -> str:
        """Why its units judge nothing; empty where they are enough."""
        return too_few(self.units.count)

    @property
    def labels(self) -> NDArray[np.integer]:
        """[N] classes."""
        return next(iter(self.outputs.values()))[0].labels

    def draws(self, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator[Array]:
        """Counts [b, N] of images in resamples of their units, some resamples at a time: tiles of
        one image are alike, and come and go together. One unit has no resamples."""
        if self.units.count < 2:
            yield np.empty((0, self.images))
            return
        rows = max(1, _COUNTS // self.images)
        for drawn in resampled(self.units.count, resamples, seed):
            for start in range(0, len(drawn), rows):
                yield drawn[start : start + rows, self.units.which]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval, percentiles of the bootstrap.

    Attributes:
        value: on the images as they are; the mean over seeds of the MC draw.
        low: 2.5th percentile; None without resamples, from one independent image.
        high: 97.5th percentile; None likewise.
    """

    value: float
    low: float | None
    high: float | None

    @classmethod
    def of(cls, value: float, draws: Sequence[float] | Array) -> Interval:
        """From draws of the estimate; those that are not defined have no part."""
        known = np.asarray(draws)[np.isfinite(draws)]
        if not len(known):
            return cls(value, None, None)
        low, high = np.quantile(known, [0.025, 0.975])
        return cls(value, float(low), float(high))
