"""What a format scores less than another one on the same images, and what is known of that.

Both sides are averaged over their seeds image by image. The error is that of the images and, where
there are several seeds, of the luck of the MC draw. With N images in G units (`units.Units`), d̄ the
mean of the differences d_i, and S_g the sum of those of unit g, that of the images is

    s² = G / (G − 1) · Σ_g (S_g − n_g d̄)²,    standard error = √(s² + (100 m)²) / (N + 2 m)

with m = 0 for NLL, the usual error by clusters. Where no prediction differs the spread that was
seen, 0, is not the one there is; so accuracy has half a pseudo-unit more that is right in one
format alone, half a one in the other, and as much on which both agree (Agresti and Min, Statistics
in Medicine 24, 2005). Their pseudo-unit is one image, which is all that a unit of one image can
differ by. A unit of several seldom differs in all of them, and what a further one would add to s²
is the square of what it differs by; so the pseudo-unit is m images that do, for

    (100 m)² = mean of S_g² over the units with S_g ≠ 0, at least 100²

or as many as a unit has, N / G, if there is none. With one image per unit |S_g| is at most 100 and
m is 1. One unit tells no error. Where a few units hold most of the images and most that differ are
lost, or gained, the error by clusters is too small, for either metric: it goes by G units then.

A draw of the weights also moves all images alike, which no spread over images shows. With D_k the
mean difference in the k-th of K seeds of both sides, and d_ik that of an image,

    luck² = max(0, var_k(D_k) − Σ_g var_k(S_gk) / N²) / K

is what the draw does to all units alike: what it does to each of them alone is in s² already. The
squares of half the intervals add up (Howe, JASA 69, 1974), each half of Student's t with G − 1 and
with K − 1 degrees of freedom: of few seeds that holds 95 %, which Welch's approximation does not.
Seeds are matched by their place; where the sides have different numbers of them, each side has a
luck of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data.units import Units
from ..metrics.metric import compared_metrics, of_images
from ..predict.predicted import Predicted
from ..records.run_record import Paired
from .significance import Estimate, half_of_both, luck_of, luck_of_draws

F64 = NDArray[np.float64]


#: Of one seed's predictions, by metric: its value of each image, [N] float64.
PerImage = Mapping[str, F64]


def per_image(predicted: Predicted, labels: Tensor) -> dict[str, F64]:
    """What formats are compared by, of predictions and the labels of their images, int64 [N]."""
    return {m.name: of_images(m, predicted, labels).numpy() for m in compared_metrics()}


def paired(
    reference: str,
    mine: Sequence[PerImage],
    others: Sequence[PerImage],
    sources: Tensor | None = None,
) -> Paired:
    """Compare two formats.

    Args:
        reference: name of the other format.
        mine: one per seed, over the same images in the same order.
        others: of the reference, likewise; there may be fewer seeds or more.
        sources: as `Split.sources`.
    """
    units = Units.of(len(next(iter(mine[0].values()))), sources)
    seeds = len(mine), len(others)
    values: dict[str, float] = {}
    intervals: dict[str, tuple[float, float] | None] = {}
    luck: dict[str, float] = {}
    for metric in compared_metrics():
        name, most = metric.field, metric.most or math.inf
        sides = [np.stack([seed[metric.name] for seed in side]) for side in (mine, others)]
        differences = sides[0].mean(axis=0) - sides[1].mean(axis=0)
        values[name], intervals[name] = float(differences.mean()), None
        if max(seeds) > 1:
            luck[name] = luck_of_draws(sides[0], sides[1], units)
        if units.count > 1:
            images = Estimate(0.0, _of_images(differences, units, most), units.count - 1)
            half = half_of_both(images, luck_of(luck.get(name, 0.0), seeds))
            low, high = values[name] - half, values[name] + half
            intervals[name] = (max(low, -most), min(high, most))
    return Paired(reference, seeds, values, intervals, units.count, luck)


def _of_images(differences: F64, units: Units, most: float) -> float:
    """Standard error of their mean that the spread over units shows."""
    value, count = float(differences.mean()), units.count
    spread = float(np.square(units.sums(differences - value)).sum()) * count / (count - 1)
    end = most if math.isfinite(most) else 0.0
    added = _pseudo_unit(differences, units, end) if end else 0.0
    return math.sqrt(spread + (end * added) ** 2) / (len(differences) + 2 * added)


def _pseudo_unit(differences: F64, units: Units, most: float) -> float:
    """m, images that a unit differs in, of differences of `most` in an image at most."""
    sums = units.sums(differences)
    seen = sums[np.abs(sums) > 1e-9]
    if not len(seen):
        return len(differences) / units.count
    return max(1.0, math.sqrt(float(np.square(seen).mean())) / most)
