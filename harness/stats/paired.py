"""What a format scores less than another one on the same images, and what the images can tell.

Both sides are averaged over their seeds image by image, and the error is that of the images: with
N of them in G units (`units.Units`), d̄ the mean of the differences d_i, and S_g the sum of those of
unit g,

    s² = G / (G − 1) · Σ_g (S_g − n_g d̄)²,    standard error = √(s² + (100 m)²) / (N + 2 m)

with m = 0 for NLL, the usual error by clusters. Where no prediction differs the spread that was
seen, 0, is not the one there is; so accuracy has half a pseudo-unit more that is right in one
format alone, half a one in the other, and as much on which both agree (Agresti and Min, Statistics
in Medicine 24, 2005). Their pseudo-unit is one image, which is all that a unit of one image can
differ by. A unit of several seldom differs in all of them, and what a further one would add to s²
is the square of what it differs by; so the pseudo-unit is m images that do, for

    (100 m)² = mean of S_g² over the units with S_g ≠ 0, at least 100²

or as many as a unit has, N / G, if there is none. With one image a unit |S_g| is at most 100, and m
is 1. One unit tells no error. Where a few units hold most of the images and most that differ are
lost, or gained, the error by clusters is too small, for either metric: it goes by G units then.
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
from .significance import Estimate

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
        mine: one a seed, over the same images in the same order.
        others: of the reference, likewise; there may be fewer seeds or more.
        sources: as `Split.sources`.
    """
    units = Units.of(len(next(iter(mine[0].values()))), sources)
    found = {
        metric.field: _estimate(
            _mean(mine, metric.name) - _mean(others, metric.name), units, metric.most or math.inf
        )
        for metric in compared_metrics()
    }
    return Paired(
        reference,
        (len(mine), len(others)),
        {name: value for name, (value, _) in found.items()},
        {name: interval for name, (_, interval) in found.items()},
        units.count,
    )


def _estimate(
    differences: F64, units: Units, most: float
) -> tuple[float, tuple[float, float] | None]:
    """Their mean and its 95 % interval, None from one unit; `most` is the largest difference that
    one image can make, infinity where there is none."""
    value, count = float(differences.mean()), units.count
    if count < 2:
        return value, None
    spread = float(np.square(units.sums(differences - value)).sum()) * count / (count - 1)
    end = most if math.isfinite(most) else 0.0
    added = _pseudo_unit(differences, units, end) if end else 0.0
    error = math.sqrt(spread + (end * added) ** 2) / (len(differences) + 2 * added)
    low, high = Estimate(value, error, count - 1).interval()
    return value, (max(low, -most), min(high, most))


def _pseudo_unit(differences: F64, units: Units, most: float) -> float:
    """m, images that a unit differs in, of differences of `most` in an image at most."""
    sums = units.sums(differences)
    seen = sums[np.abs(sums) > 1e-9]
    if not len(seen):
        return len(differences) / units.count
    return max(1.0, math.sqrt(float(np.square(seen).mean())) / most)


def _mean(seeds: Sequence[PerImage], name: str) -> F64:
    """Mean over the seeds, [N]."""
    return np.asarray(np.mean([seed[name] for seed in seeds], 0))
