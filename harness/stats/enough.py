"""How many passes are enough: what T passes lack of so many that they stand for infinitely many.

Two figures of each T, on the same images: the NLL of T passes less that of the reference, and the
share of images that T passes decide as the reference does. Both are expectations over draws of the
weights and over images of the same kind; the draws of T and of the reference are independent.

**Variance.** Images and draws are crossed: a draw moves all images alike, and each on its own. With
v_u the variance by the spread over U independent units of what the mean over the draws is, v_k that
by the spread from draw to draw, of T and of the reference, and v_uk the part of v_k that is each
unit's own, and so in v_u already (two-way clustering; Cameron, Gelbach and Miller, J. Bus. Econ.
Stat. 29, 2011),

    v = v_u + Σ_k (v_k − v_uk),    at least v_u / 4,

with degrees of freedom by Welch and Satterthwaite, at least the fewest of a part.

**NLL.** Losses are skewed, so the interval is that of a paired bootstrap-t over units
(`bootstrap.Means.studentized`), each side √(v / v_u) times as long, and as many times as Student's
quantile with the freedom of v is that of U − 1.

**Decisions.** With p the share that differ, the interval is that of Clopper and Pearson for n p of
n images, n being the effective number of them (Korn and Graubard, Survey Methodology 24, 1998),

    n = p′ (1 − p′) / v · (z / t)²,    p′ = p + 1 / U,

z the normal and t Student's quantile. Where no image differs the spread that was seen, 0, is not
the one there is: p′ and v count one more of U units, all of whose images differ. n is about U then,
and the bound that of 0 of U.

**The smallest T.** T counts as enough if its whole 95 % interval lies within the margin. Numbers of
passes are tried from the largest down, and the first that fails ends it, so that the chance that
any is called enough which is not stays below 5 % with no correction for how many are tried (the
order is fixed beforehand; Maurer, Hothorn and Lehmacher 1995). Likewise T is shown to be too few
from the smallest up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, stdtrit

from ..data.units import Units
from ..records.samples_record import DrawLuck
from .bootstrap import Means, resampled

F64 = NDArray[np.float64]

RESAMPLES = 2000
_TAILS = (0.025, 0.975)
_Z = 1.959963984540054
_LEAST = 0.25  # of the variance that units show
_STEPS, _DOUBLINGS = 16, 20  # in which numbers of images are tried


@dataclass(frozen=True)
class Variance:
    """Of a mean over images and draws.

    Attributes:
        units: v_u.
        shared: Σ (v_k − v_uk).
        freedom: degrees of freedom of their sum.
    """

    units: float
    shared: float
    freedom: float

    @classmethod
    def of(cls, units: float, count: int, luck: Sequence[DrawLuck]) -> Variance:
        """Of so many units and the draws of both sides."""
        shared = sum(one.shared for one in luck)
        freedoms = (count - 1, *(one.draws - 1 for one in luck))
        parts = (units, *(one.variance for one in luck))
        error = sum(v**2 / freedom for v, freedom in zip(parts, freedoms, strict=True))
        whole = max(units + shared, _LEAST * units)
        freedom = whole**2 / error if error > 0 else count - 1
        return cls(units, shared, max(freedom, min(freedoms)))

    @property
    def whole(self) -> float:
        """v."""
        return max(self.units + self.shared, _LEAST * self.units)

    @property
    def quantile(self) -> float:
        """Student's, of a two-sided 95 % interval."""
        return float(stdtrit(self.freedom, _TAILS[1]))


@dataclass(frozen=True)
class Gap:
    """A difference in NLL, nats, and its 95 % interval.

    Attributes:
        value: the estimate.
        low: where the interval begins.
        high: where it ends.
        variance: of the estimate.
    """

    value: float
    low: float
    high: float
    variance: Variance

    def deciding(self, images: int, margin: float) -> int | None:
        """About how many images would bring the interval within ± the margin, were the estimate
        what it is now; None where none would.

        Args:
            images: that there are.
            margin: nats.
        """
        half = max(self.value - self.low, self.high - self.value)
        room, v = margin - abs(self.value), self.variance
        left = (room / half) ** 2 * v.whole - max(v.shared, 0.0)
        return math.ceil(images * v.units / left) if room > 0 and left > 0 else None


@dataclass(frozen=True)
class Share:
    """A share of images that are decided alike, and its 95 % interval.

    Attributes:
        value: the estimate, 0 … 1.
        low: where the interval begins.
        high: where it ends.
        units: independent images that it is of.
        of_units: variance that the spread over these shows.
        luck: of both sides.
    """

    value: float
    low: float
    high: float
    units: int
    of_units: float
    luck: tuple[DrawLuck, ...]

    def deciding(self, images: int, asked: float) -> int | None:
        """About how many images would bring the interval to a share or above it, were the estimate
        what it is now; None where none would.

        Args:
            images: that there are.
            asked: the share.
        """
        for step in range(1, _STEPS * _DOUBLINGS + 1):
            times = 2 ** (step / _STEPS)
            units = round(self.units * times)
            if share_of(self.value, units, self.of_units / times, self.luck).low >= asked:
                return math.ceil(images * times)
        return None


def nll_gaps(
    values: F64,
    reference: F64,
    luck: Sequence[tuple[DrawLuck, ...]],
    units: Units,
    resamples: int = RESAMPLES,
) -> list[Gap]:
    """NLL of each T less that of the reference, nats.

    Args:
        values: [P, N] of each T and image, mean over the draws.
        reference: [N].
        luck: of each T, its own and the reference's.
        units: of the images, at least 2.
        resamples: of the bootstrap.
    """
    means, count = Means.of((values - reference).T, units), units.count
    drawn = [means.studentized(counts) for counts in resampled(count, resamples, 0)]
    ends = np.quantile(np.concatenate(drawn), _TAILS, axis=0)
    alone = float(stdtrit(count - 1, _TAILS[1]))
    found = []
    for place, pair in enumerate(luck):
        value = float(means.centre[place])
        of_units = float(means.variance[place]) * count / (count - 1)
        v = Variance.of(of_units, count, pair)
        if of_units > 0:
            times = math.sqrt(v.whole / of_units) * v.quantile / alone
            low, high = value + times * (ends[:, place] - value)
        else:
            low, high = value + v.quantile * math.sqrt(max(v.shared, 0.0)) * np.array([-1, 1])
        found.append(Gap(value, float(low), float(high), v))
    return found


def shares(agreeing: F64, luck: Sequence[tuple[DrawLuck, ...]], units: Units) -> list[Share]:
    """Share of the images that T passes decide as the reference does.

    Args:
        agreeing: [P, N] of each T and image, mean over pairs of draws.
        luck: as of `nll_gaps`, of the shares.
        units: of the images, at least 2.
    """
    found, count = [], units.count
    for own, pair in zip(agreeing, luck, strict=True):
        squares = np.square(units.sums(own - own.mean())).sum() * count / (count - 1)
        found.append(share_of(float(own.mean()), count, float(squares) / units.images**2, pair))
    return found


def share_of(value: float, units: int, of_units: float, luck: tuple[DrawLuck, ...]) -> Share:
    """The interval of a share; see `Share`."""
    differing, one_more = 1.0 - value, 1.0 / units
    v = Variance.of(of_units + one_more**2, units, luck)
    more = min(differing + one_more, 1.0 - one_more / 2)
    effective = more * (1.0 - more) / v.whole * (_Z / v.quantile) ** 2
    seen = effective * differing
    least = float(betaincinv(seen, effective - seen + 1, _TAILS[0])) if seen > 0 else 0.0
    most = float(betaincinv(seen + 1, effective - seen, _TAILS[1])) if value > 0 else 1.0
    return Share(value, 1.0 - most, 1.0 - least, units, of_units, luck)


def unbroken(holds: Sequence[bool]) -> int:
    """How many hold from the first on."""
    return next((place for place, one in enumerate(holds) if not one), len(holds))
