"""σ in n bits: Algorithm 1's grid (Subedar et al. 2021, section 3), a codebook, and packing.

As printed, line 4 of Algorithm 1 defines the scale as the reciprocal of what line 6 divides by;
this is the intended form: scale = (σ_max - σ_min) / (2^n - 1), zero_point = -round(σ_min / scale),
σ_q = clamp(round(σ / scale) + zero_point, 0, 2^n - 1).

Codebook: 2^n levels by Lloyd and Max's method (Lloyd, "Least squares quantization in PCM", IEEE
Transactions on Information Theory 1982), which puts them where the values are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Granularity = Literal["channel", "tensor"]
Offset = Literal["float", "integer"]
Grid = Literal["affine", "codebook"]
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class QuantizedSigma:
    """σ̂ = offset[c] + scale[c]·σ_q.

    Attributes:
        values: σ_q, uint8 of σ's shape [O, ...], 0 to 2^n - 1.
        scale: float32 [O].
        offset: float32 [O]; -scale·zero_point for the integer offset, σ_min for the float one.
    """

    values: NDArray[np.uint8]
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]

    def dequantize(self) -> NDArray[np.float32]:
        """σ̂, float32 of the original shape."""
        extra = (1,) * (self.values.ndim - 1)
        slope = self.scale.reshape(-1, *extra)
        return (self.offset.reshape(-1, *extra) + slope * self.values).astype(np.float32)


def quantize_sigma(
    std: NDArray[np.float32],
    bits: int,
    granularity: Granularity = "channel",
    offset: Offset = "float",
) -> QuantizedSigma:
    """Quantize σ to n bits.

    Args:
        std: σ, float32 [O, ...], finite and non-negative.
        bits: n, 1 to 8.
        granularity: one grid per output channel, or one per tensor.
        offset: `integer`: Algorithm 1's zero point, an int32; `float`: the grid starts at σ_min
            exactly. At n = 1 an integer zero point sends most of a skewed σ to zero.

    A constant σ > 0 is scale = σ, zero_point = 0, σ_q = 1 under the integer offset, and σ_q = 0,
    offset = σ under the float one.
    """
    rows = std.reshape(1 if granularity == "tensor" else len(std), -1).astype(np.float64)
    low, high = rows.min(axis=1), rows.max(axis=1)
    top = 2**bits - 1
    constant = high == low
    scale = np.where(constant, np.where(high > 0, high, 1.0), (high - low) / top)
    if offset == "integer":
        zero_point = np.where(constant, 0.0, -np.rint(low / scale))
        values = np.clip(np.rint(rows / scale[:, None]) + zero_point[:, None], 0, top)
        base = -scale * zero_point
    else:
        scale = np.where(constant, 0.0, scale)
        steps = (rows - low[:, None]) / np.where(constant, 1.0, scale)[:, None]
        values = np.clip(np.rint(steps), 0, top)
        base = low
    channels = len(std)
    return QuantizedSigma(
        values.reshape(std.shape).astype(np.uint8),
        np.broadcast_to(scale, channels).astype(np.float32),
        np.broadcast_to(base, channels).astype(np.float32),
    )


@dataclass(frozen=True)
class CodebookSigma:
    """σ̂ = codebook[c, σ_q].

    Attributes:
        values: σ_q, uint8 of σ's shape [O, ...], 0 to 2^n - 1.
        codebook: levels in ascending order, float32 [O, 2^n], or [1, 2^n] for the whole tensor.
    """

    values: NDArray[np.uint8]
    codebook: NDArray[np.float32]

    def dequantize(self) -> NDArray[np.float32]:
        """σ̂, float32 of the original shape."""
        return look_up(self.codebook, self.values)


def look_up(table: NDArray[Any], values: NDArray[np.uint8]) -> NDArray[Any]:
    """table[c, σ_q] of every σ_q [O, ...]; one row of the table serves every channel."""
    rows = np.broadcast_to(table, (len(values), table.shape[1]))
    return np.take_along_axis(rows, values.reshape(len(values), -1), 1).reshape(values.shape)


def quantize_sigma_codebook(
    std: NDArray[np.float32], bits: int, granularity: Granularity = "channel"
) -> CodebookSigma:
    """Quantize σ to one of 2^n levels of its own.

    Lloyd's iterations run from the quantiles of the values and from Algorithm 1's grid with the
    float offset; the better end is kept. So the mean square error is never above that grid's. Up to
    2^n distinct values are kept as they are.

    Args:
        std: σ, float32 [O, ...], finite and non-negative.
        bits: n, 1 to 8.
        granularity: one codebook per output channel, or one per tensor.
    """
    rows = std.reshape(1 if granularity == "tensor" else len(std), -1)
    codebook = np.stack([_codebook(row.astype(np.float64), 2**bits) for row in rows])
    values = np.stack([_nearest(row, codes) for row, codes in zip(rows, codebook, strict=True)])
    return CodebookSigma(values.reshape(std.shape).astype(np.uint8), codebook)


def _codebook(values: F64, levels: int) -> NDArray[np.float32]:
    """The best levels for values [N] that were found, float32 [levels]."""
    distinct = np.unique(values)
    if len(distinct) <= levels:
        return np.pad(distinct, (0, levels - len(distinct)), mode="edge").astype(np.float32)
    ordered = np.sort(values)
    grid = np.linspace(ordered[0], ordered[-1], levels)
    quantiles = np.quantile(ordered, (np.arange(levels) + 0.5) / levels)
    ends = [lloyd(ordered, quantiles), lloyd(ordered, grid), grid]
    found = [codes.astype(np.float32) for codes in ends]
    errors = [float(np.square(values - codes[_nearest(values, codes)]).sum()) for codes in found]
    return found[int(np.argmin(errors))]


def lloyd(ordered: F64, levels: F64) -> F64:
    """Lloyd's iterations: levels to the means of the values nearest to them, until the mean square
    error falls no further.

    Args:
        ordered: values in ascending order [N].
        levels: where to start, in ascending order [K]; one that no value is nearest to stays.

    Returns:
        Levels in ascending order [K].
    """
    centre = ordered.mean()  # small numbers keep their digits
    sums = np.concatenate([[0.0], np.cumsum(ordered - centre)])
    best = -np.inf
    while True:
        inner = np.searchsorted(ordered, (levels[:-1] + levels[1:]) / 2, side="right")
        cuts = np.concatenate([[0], inner, [len(ordered)]])
        counts, totals = np.diff(cuts), np.diff(sums[cuts])
        means = totals / np.maximum(counts, 1)
        explained = float(totals @ means)  # the error is Σ (x - centre)² less this
        if explained <= best:
            return levels
        best = explained
        levels = np.where(counts > 0, means + centre, levels)


def _nearest(values: NDArray[np.floating], codes: NDArray[np.float32]) -> NDArray[np.intp]:
    """Index of the level nearest to each value; of two, the lower."""
    exact = codes.astype(np.float64)
    return np.searchsorted((exact[:-1] + exact[1:]) / 2, values.astype(np.float64), side="left")


def pack(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """n-bit values, row-major, into ⌈count·n/8⌉ bytes: value i in bits i·n … i·n + n - 1, least
    significant bit first."""
    planes = np.unpackbits(values.reshape(-1, 1), axis=1, count=bits, bitorder="little")
    return np.packbits(planes.reshape(-1), bitorder="little")


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """The inverse of `pack`: uint8 [count]."""
    planes = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
    return np.packbits(planes, axis=1, bitorder="little").reshape(-1)


def packed_bytes(count: int, bits: int) -> int:
    """Bytes `pack` needs for `count` values."""
    return -(-count * bits // 8)
