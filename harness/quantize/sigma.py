"""Algorithm 1: σ in n bits (Subedar et al. 2021, section 3), and its packing.

As printed, line 4 defines the scale as the reciprocal of what line 6 divides by; this is the
intended form: scale = (σ_max - σ_min) / (2^n - 1), zero_point = -round(σ_min / scale),
σ_q = clamp(round(σ / scale) + zero_point, 0, 2^n - 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Granularity = Literal["channel", "tensor"]
Offset = Literal["float", "integer"]


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
        granularity: one grid an output channel, or one a tensor.
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
