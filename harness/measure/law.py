"""The exact law of sampled weights: moments by enumeration, not by sampling.

Written from `docs/noise-stream.md`, apart from the samplers, because it is what they are audited
against.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

#: Sampled weight from (μ, σ, ε), arrays that broadcast, in a backend's own arithmetic.
Arithmetic = Callable[[NDArray, NDArray, NDArray], NDArray]

_CHUNK = 8192
_SUBSET = 1 << 17
_HALF = 1 << 14  # rounds a product of two Q15 numbers to nearest


@dataclass(frozen=True)
class IntegerLayer:
    """What the integer weights of a layer are drawn from; names as in docs/noise-stream.md.

    Attributes:
        mean: μ_q, int8 [O, ...].
        std: σ_q, uint8 of the same shape.
        multiplier: A, int16 [O].
        offset: B, int16 [O].
        shift: uint8 [O].
        bits: n.
        codebook: g of every σ_q, int16 [O, 2^n], in place of A and B; None where the grid is
            affine.
        dithered: whether d is rounded up with the probability of its fraction.
    """

    mean: NDArray[np.int8]
    std: NDArray[np.uint8]
    multiplier: NDArray[np.int16]
    offset: NDArray[np.int16]
    shift: NDArray[np.uint8]
    bits: int
    codebook: NDArray[np.int16] | None = None
    dithered: bool = False

    def steps(self) -> I64:
        """g·2^shift, int64 [weights]: by how many 2^-15 of a grid step one step of ε_q moves w."""
        index = self.std.reshape(len(self.std), -1).astype(np.int64)
        shift = self.shift.astype(np.int64)[:, None]
        if self.codebook is not None:
            channel = np.arange(len(index))[:, None]
            return (self.codebook.astype(np.int64)[channel, index] << shift).reshape(-1)
        a, b = (v.astype(np.int64)[:, None] for v in (self.multiplier, self.offset))
        g = np.minimum(((a * (index << (15 - self.bits)) + _HALF) >> 15) + b, 32767)
        return (g << shift).reshape(-1)


@dataclass(frozen=True)
class Law:
    """Moments of each weight's distribution, in units of the sampler's output.

    Attributes:
        mean: E w, float64 [n].
        variance: E (w - E w)^2, float64 [n].
        fourth: E (w - E w)^4, float64 [n].
        clamped: probability that the draw saturates, float64 [n].
        immovable: whether every draw is μ, bool [n].
        index: which of the layer's weights, in row-major order, the rows are; None for all.
    """

    mean: F64
    variance: F64
    fourth: F64
    clamped: F64
    immovable: NDArray[np.bool_]
    index: I64 | None = None


def integer_law(layer: IntegerLayer, probabilities: ArrayLike) -> Law:
    """Exact law of w_q = clamp(μ_q + sign(ε_q)·d(|ε_q|), -127, 127).

    Dithered, d has mean g·|ε_q|·2^(shift - 15) given ε_q, and its rounding adds f·(1 - f), f its
    fraction, to the variance.

    Args:
        layer: the integers.
        probabilities: P(|ε_q| = k), k = 0..127; both signs are equally likely.
    """
    p = np.asarray(probabilities, np.float64)
    mean = layer.mean.reshape(-1).astype(np.int64)
    widths, width = np.unique(layer.steps(), return_inverse=True)
    moments = [_free_moments(part, p, layer.dithered) for part in _chunks(widths)]
    second, fourth, reach = np.concatenate(moments)[width].T
    law = Law(
        mean.astype(np.float64), second.copy(), fourth.copy(), np.zeros(mean.size), reach == 0
    )
    rows = np.flatnonzero(np.abs(mean) + reach > 127)
    _saturate(law, mean, widths[width], rows, p, layer.dithered)
    return law


def _chunks(values: I64) -> list[I64]:
    return np.array_split(values, -(-len(values) // _CHUNK))


def _moves(steps: I64, p: F64, dithered: bool) -> tuple[F64, F64]:
    """Outcomes of d and their probabilities, float64 [len(steps), K]; K = 128, or 256 dithered."""
    exact = steps[:, None] * np.arange(128)
    if not dithered:
        return ((exact + _HALF) >> 15).astype(np.float64), np.broadcast_to(p, exact.shape)
    fraction = (exact & 32767) / 32768
    below = exact >> 15
    d = np.concatenate([below, below + 1], axis=1).astype(np.float64)
    return d, np.concatenate([p * (1 - fraction), p * fraction], axis=1)


def _free_moments(steps: I64, p: F64, dithered: bool) -> F64:
    """E d², E d⁴ and the largest d, float64 [n, 3]."""
    d, q = _moves(steps, p, dithered)
    reach = np.where(q > 0, d, 0).max(axis=1)
    return np.stack([(d**2 * q).sum(axis=1), (d**4 * q).sum(axis=1), reach], axis=1)


def _saturate(law: Law, mean: I64, steps: I64, rows: I64, p: F64, dithered: bool) -> None:
    """Overwrite the rows that can reach the clamp; equal pairs (|μ|, step) share the work."""
    if rows.size == 0:
        return
    pairs, pair = np.unique((steps[rows] << 7) | np.abs(mean[rows]), return_inverse=True)
    moments = np.concatenate(
        [_clamped_moments(part & 127, part >> 7, p, dithered) for part in _chunks(pairs)]
    )
    first, law.variance[rows], law.fourth[rows], law.clamped[rows] = moments[pair].T
    law.mean[rows] = np.sign(mean[rows]) * first


def _clamped_moments(mean: I64, steps: I64, p: F64, dithered: bool) -> F64:
    """Mean, variance, fourth central moment and probability of saturating, float64 [n, 4]."""
    d, q = _moves(steps, p, dithered)
    free = np.concatenate([mean[:, None] + d, mean[:, None] - d], axis=1)
    both = np.concatenate([q, q], axis=1) / 2
    w = np.clip(free, -127, 127)
    first = (w * both).sum(axis=1)
    squared = (w - first[:, None]) ** 2
    moments = [squared * both, squared**2 * both, (w != free) * both]
    return np.stack([first, *(moment.sum(axis=1) for moment in moments)], axis=1)


def normal_law(mean: NDArray[np.float32], std: NDArray[np.float32]) -> Law:
    """Law of w = μ + σ·ε in float32, ε a standard normal; its rounding is neglected."""
    mu, sigma = (values.reshape(-1).astype(np.float64) for values in (mean, std))
    farthest = (mu + 6 * sigma).astype(np.float32)
    immovable = farthest == mu.astype(np.float32)
    return Law(mu, sigma**2, 3 * sigma**4, np.zeros(mu.size), immovable)


def enumerated_law(
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    arithmetic: Arithmetic,
    epsilon: F64,
    probability: F64,
) -> Law:
    """Law of a sampled weight in arithmetic that rounds, by enumerating ε on a grid.

    Of a layer of more than 2^17 weights, that many at equal distances are taken.

    Args:
        mean: μ as stored, float32 [O, ...].
        std: σ as stored, of the same shape.
        arithmetic: what the backend computes.
        epsilon: values of ε [K], from `normal_grid`.
        probability: of each [K].
    """
    index = None
    if mean.size > _SUBSET:
        index = np.linspace(0, mean.size - 1, _SUBSET).astype(np.int64)
    mu, sigma = (v.reshape(-1)[slice(None) if index is None else index] for v in (mean, std))
    rows = []
    for start in range(0, mu.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        w = arithmetic(mu[part, None], sigma[part, None], epsilon.astype(np.float32))
        w = w.astype(np.float64)
        # From the first outcome on, so that a weight that cannot move has variance 0 exactly.
        first = w[:, 0] + (w - w[:, :1]) @ probability
        squared = (w - first[:, None]) ** 2
        still = (w == w[:, :1]).all(axis=1)
        rows.append(np.stack([first, squared @ probability, squared**2 @ probability, still]))
    first, second, fourth, still = np.concatenate(rows, axis=1)
    return Law(first, second, fourth, np.zeros(mu.size), still.astype(bool), index)


def normal_grid(cells: int = 512) -> tuple[F64, F64]:
    """A standard normal in equal cells over ±6: midpoints and probabilities, float64 [cells] each.

    The midpoints are scaled to variance one.
    """
    edges = np.linspace(-6, 6, cells + 1, dtype=np.float64)
    probability = np.diff(norm.cdf(edges))
    probability /= probability.sum()
    values = (edges[:-1] + edges[1:]) / 2
    values /= np.sqrt(values**2 @ probability)
    return values, probability


def bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round finite float32 to the nearest bfloat16, ties to even, and back."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + 0x7FFF + ((bits >> 16) & 1)
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)
