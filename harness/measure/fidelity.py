"""Posterior fidelity: how much of N(μ, σ²) a layer's sampled weights keep, and whether the sampler
draws from the law it should (docs/noise-stream.md)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..records.run_record import Fidelity
from .law import Law

#: Least number of draws per layer that the moment test takes.
MIN_DRAWS = 100_000
#: What a z-score is reported as where the law has no spread and the draws deviate all the same.
IMPOSSIBLE_Z = 1e9

# Where movement is rare the sums are counts of rare events; the z-test wants some hundreds.
_MIN_EVENTS = 400
_MAX_PASSES = 4096

Draw = Callable[[int], NDArray]


@dataclass(frozen=True)
class Gaussian:
    """Independent normal weights, in real units.

    Attributes:
        mean: [O, ...].
        std: of the same shape.
    """

    mean: NDArray[np.floating]
    std: NDArray[np.floating]


def layer_fidelity(
    name: str,
    law: Law,
    draw: Draw,
    original: Gaussian,
    quantized: Gaussian,
    *,
    scale: ArrayLike = 1.0,
    saturation: float | None = None,
) -> Fidelity:
    """Compare one layer's draws with their law, and the law with the posterior it came from.

    Args:
        name: of the layer.
        law: of the draws, in units of the sampler's output.
        draw: MC index to sampled weights [O, ...] (`predictor.sample` at a fixed layer and seed).
        original: folded FP32 μ and σ.
        quantized: dequantized μ̂ and σ̂.
        scale: real value of one unit of the law: [O], or a number.
        saturation: passed on.

    A layer whose σ is zero everywhere has nothing to lose, and no unit to measure a distance in.
    """
    mean_z, var_z, draws = moment_scores(law, draw)
    sigma = _rms(original.std)
    unit = _per_weight(scale, original.std.shape)
    covered, reference = unit, original.std.reshape(-1)
    if law.index is not None:
        covered, reference = unit[law.index], reference[law.index]
    base = _rms(reference)
    kept = math.sqrt(float(np.mean(law.variance * covered**2)))
    distance = math.hypot(
        _rms(quantized.mean - original.mean.astype(np.float64)),
        _rms(quantized.std - original.std.astype(np.float64)),
    )
    return Fidelity(
        layer=name,
        weights=original.std.size,
        std_ratio=kept / base if base else None,
        clamped_share=float(law.clamped.mean()),
        immovable_share=float(law.immovable.mean()),
        zero_sigma_share=float(np.mean(quantized.std == 0)),
        w2=distance / sigma if sigma else None,
        moment_mean_z=mean_z,
        moment_var_z=var_z,
        moment_draws=draws,
        saturation=saturation,
    )


def moment_scores(law: Law, draw: Draw) -> tuple[float, float, int]:
    """z-scores of the draws' mean and second central moment under `law`, and how many draws.

    Summed over weights and passes: z = Σ(w - E w) / √ΣVar w, and the same with (w - E w)² - Var w,
    whose variance is the fourth central moment less Var². Passes 0, 1, ... are drawn, whatever T
    the cell has, until there are 10^5 draws, and more where the weights hardly ever move.
    """
    spread = float(law.variance.sum())
    passes = max(math.ceil(MIN_DRAWS / law.mean.size), min(_passes_for_events(law), _MAX_PASSES))
    first = second = 0.0
    for mc in range(passes):
        weights = np.asarray(draw(mc)).reshape(-1)
        if law.index is not None:
            weights = weights[law.index]
        deviation = weights.astype(np.float64) - law.mean
        first += float(deviation.sum())
        second += float((deviation**2 - law.variance).sum())
    spread_of_squares = float(np.maximum(law.fourth - law.variance**2, 0).sum())
    return (
        _score(first, passes * spread),
        _score(second, passes * spread_of_squares),
        passes * law.mean.size,
    )


def _passes_for_events(law: Law) -> int:
    """Passes after which the sums are close to normal: (ΣVar)² / Σ(fourth moment) is a third of the
    number of weights where they are normal, and the number of moves where moves are rare."""
    spread = float(law.variance.sum())
    return math.ceil(_MIN_EVENTS * float(law.fourth.sum()) / spread**2) if spread else 1


def _score(deviation: float, variance: float) -> float:
    if variance > 0:
        return deviation / math.sqrt(variance)
    return 0.0 if abs(deviation) < 1e-9 else math.copysign(IMPOSSIBLE_Z, deviation)


def _rms(values: NDArray) -> float:
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64))))


def _per_weight(scale: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    array = np.asarray(scale, np.float64)
    if array.ndim:
        array = array.reshape(-1, *(1,) * (len(shape) - 1))
    return np.broadcast_to(array, shape).reshape(-1)
