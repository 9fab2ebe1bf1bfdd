"""Noise stream v1 in numpy: the definition that every backend reproduces bit for bit.

`docs/noise-stream.md` says the same in words. Written for clarity; the native sampler is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

VERSION = 1
ROUNDS = 7
SCALE = 4.0 / 127.0  # s_ε: real value of one step of ε_q
LANES = 64
NEAREST = np.int32(1 << 14)
DITHER = 1 << 31  # added to a weight's tensor ordinal: the random bits its rounding draws

U8 = NDArray[np.uint8]
Shape4 = tuple[int, int, int, int]

_KEY_HIGH = 0x5349474D412D7631  # "SIGMA-v1"
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_MASK64 = (1 << 64) - 1


@lru_cache(maxsize=1)
def magnitude_weights() -> NDArray[np.int64]:
    """P(|ε_q| = k) x 2^15 for k = 0..127, int64 [128], summing to 2^15 (largest remainder)."""
    edges = (np.arange(127) + 0.5) * SCALE
    # Twice the upper tail, not 1 - cdf: differences of tails keep their digits far out.
    tail = np.concatenate([[1.0], 2.0 * norm.sf(edges), [0.0]])
    exact = (tail[:-1] - tail[1:]) * 2**15
    weights = np.floor(exact).astype(np.int64)
    rest = int(2**15 - weights.sum())
    weights[np.argsort(weights - exact, kind="stable")[:rest]] += 1
    return weights


@lru_cache(maxsize=1)
def alias_tables() -> tuple[U8, U8]:
    """THRESHOLD and ALIAS, uint8 [128] each: Walker's alias method by Vose's construction.

    A column holds 256 slots; the first THRESHOLD of them mean the column's own index and the rest
    its alias. A column that needs no alias is its own (its threshold does not matter and is 255).
    """
    mass = magnitude_weights().copy()
    threshold = np.full(128, 255, np.uint8)
    alias = np.arange(128, dtype=np.uint8)
    small = [k for k in range(128) if mass[k] < 256]
    large = [k for k in range(128) if mass[k] >= 256]
    while small:
        column, donor = small.pop(0), large[0]
        threshold[column], alias[column] = mass[column], donor
        mass[donor] -= 256 - mass[column]
        if mass[donor] < 256:
            small.append(large.pop(0))
    return threshold, alias


def probabilities() -> NDArray[np.float64]:
    """P(|ε_q| = k) as drawn, float64 [128]."""
    return magnitude_weights() / 2.0**15


@lru_cache(maxsize=1)
def _sbox() -> U8:
    """The AES S-box (FIPS 197): inverse in GF(2^8), then the affine map."""
    exp, log = [0] * 255, [0] * 256
    x = 1
    for i in range(255):
        exp[i], log[x] = x, i
        x ^= (x << 1) ^ (0x11B if x & 0x80 else 0)  # times 3, a generator
        x &= 0xFF
    box = []
    for value in range(256):
        b = exp[(255 - log[value]) % 255] if value else 0
        rotations = [((b << k) | (b >> (8 - k))) & 0xFF for k in range(5)]
        box.append(int(np.bitwise_xor.reduce(rotations)) ^ 0x63)
    return np.array(box, np.uint8)


# AES ShiftRows on a state of 16 bytes, column by column.
_SHIFT_ROWS = np.array([(5 * i) % 16 for i in range(16)])


def _aes_round(state: U8, key: U8, last: bool) -> U8:
    """AESENC, or AESENCLAST: uint8 [N, 16] states, one round key uint8 [16]."""
    state = _sbox()[state[:, _SHIFT_ROWS]]
    if not last:
        columns = state.reshape(-1, 4, 4)
        doubled = ((columns << 1) ^ np.where(columns & 0x80, 0x1B, 0)).astype(np.uint8)
        following = np.roll(columns, -1, axis=2)
        following_doubled = np.roll(doubled, -1, axis=2)
        others = np.roll(columns, -2, axis=2) ^ np.roll(columns, -3, axis=2)
        state = (doubled ^ following_doubled ^ following ^ others).reshape(-1, 16)
    return state ^ key


def ars(counters: NDArray[np.uint32], key: tuple[int, int], rounds: int = ROUNDS) -> U8:
    """ARS (Salmon et al. 2011): outputs of a block of counters.

    Args:
        counters: uint32 [N, 4], least significant word first.
        key: low and high 64 bits.
        rounds: AES rounds, the last without MixColumns.

    Returns:
        uint8 [N, 16].
    """

    def as_bytes(low: int, high: int) -> U8:
        return np.frombuffer(np.array([low, high], "<u8").tobytes(), np.uint8)

    low, high = key
    state = np.ascontiguousarray(counters.astype("<u4")).view(np.uint8) ^ as_bytes(low, high)
    for number in range(1, rounds + 1):
        low, high = (low + _WEYL[0]) & _MASK64, (high + _WEYL[1]) & _MASK64
        state = _aes_round(state, as_bytes(low, high), last=number == rounds)
    return state


def _random_blocks(blocks: NDArray[np.int64], seed: int, mc: int, tensor: int) -> U8:
    """R of whole blocks, uint8 [len(blocks), 128]."""
    counters = np.zeros((len(blocks), 8, 4), np.uint32)
    counters[..., 0] = (blocks[:, None] * 8 + np.arange(8)).astype(np.uint32)
    counters[..., 1] = mc
    counters[..., 2] = tensor
    return ars(counters.reshape(-1, 4), (seed, _KEY_HIGH)).reshape(len(blocks), 128)


def noise_blocks(blocks: NDArray[np.int64], seed: int, mc: int, tensor: int) -> NDArray[np.int16]:
    """ε_q of whole blocks, int16 [len(blocks), 64]."""
    raw = _random_blocks(blocks, seed, mc, tensor)
    first, slot = raw[:, :LANES], raw[:, LANES:]
    threshold, alias = alias_tables()
    column = first & 127
    magnitude = np.where(slot < threshold[column], column, alias[column]).astype(np.int16)
    return np.where(first & 128, -magnitude, magnitude).astype(np.int16)


def canonical_index(shape: Shape4) -> NDArray[np.int64]:
    """`64·block + lane` of every weight of a logical shape (O, I, KH, KW), int64 of that shape."""
    outputs, inputs, height, width = shape
    o, i, h, w = np.ogrid[:outputs, :inputs, :height, :width]
    if inputs == 1:
        block = (o // 64) * (height * width) + h * width + w
        lane = o % 64
    else:
        block = ((o // 16) * (height * width) + h * width + w) * -(-inputs // 4) + i // 4
        lane = (o % 16) * 4 + i % 4
    return np.broadcast_to(block * LANES + lane, shape).astype(np.int64)


def noise(shape: Shape4, seed: int, mc: int, tensor: int) -> NDArray[np.int16]:
    """ε_q of a weight tensor, int16 [O, I, KH, KW], in [-127, 127].

    Args:
        shape: (O, I per group, KH, KW).
        seed: 0 <= seed < 2^64.
        mc: index of the Monte Carlo pass.
        tensor: ordinal, `2·layer` for a weight.
    """
    index = canonical_index(shape)
    blocks = np.arange(index.max() // LANES + 1)
    return noise_blocks(blocks, seed, mc, tensor).reshape(-1)[index]


def dither(shape: Shape4, seed: int, mc: int, tensor: int) -> NDArray[np.int32]:
    """15 random bits for the rounding of each weight, int32 [O, I, KH, KW], 0 to 2^15 - 1.

    Args:
        shape: (O, I per group, KH, KW).
        seed: 0 <= seed < 2^64.
        mc: index of the Monte Carlo pass.
        tensor: ordinal of the weight, `2·layer`.
    """
    index = canonical_index(shape)
    blocks = np.arange(index.max() // LANES + 1)
    raw = _random_blocks(blocks, seed, mc, DITHER + tensor).astype(np.int32)
    return (raw[:, :LANES] + ((raw[:, LANES:] & 127) << 8)).reshape(-1)[index]


def bias_noise(channels: int, seed: int, mc: int, tensor: int) -> NDArray[np.int16]:
    """ε_q of a bias, int16 [O]; `tensor` is `2·layer + 1`."""
    blocks = np.arange(-(-channels // LANES))
    return noise_blocks(blocks, seed, mc, tensor).reshape(-1)[:channels]


@dataclass(frozen=True)
class Constants:
    """Per output channel, the integers that turn σ_q and ε_q into a step on the weight grid.

    Attributes:
        multiplier: A, int16 [O].
        offset: B, int16 [O].
        shift: uint8 [O], 0 to 8.
    """

    multiplier: NDArray[np.int16]
    offset: NDArray[np.int16]
    shift: NDArray[np.uint8]


def constants(
    sigma_scale: NDArray[np.float32],
    sigma_offset: NDArray[np.float32],
    weight_scale: NDArray[np.float32],
    bits: int,
) -> Constants:
    """The sampler's constants, from σ̂ = offset + scale·σ_q and s_w, float32 [O] each."""
    per_step = SCALE / weight_scale.astype(np.float64)
    slope = sigma_scale.astype(np.float64) * per_step * 2.0**bits
    base = sigma_offset.astype(np.float64) * per_step
    top = slope * (2**bits - 1) / 2**bits + base
    largest = np.maximum(np.maximum(slope, base), top)
    shift = _smallest_shift(largest)
    unit = 2.0 ** (15 - shift)
    return Constants(
        np.minimum(np.rint(slope * unit), 32767).astype(np.int16),
        np.minimum(np.rint(base * unit), 32767).astype(np.int16),
        shift.astype(np.uint8),
    )


@dataclass(frozen=True)
class Table:
    """Per output channel, the width of one step of ε_q for every entry of a codebook.

    Attributes:
        steps: g, int16 [O, 2^n].
        shift: uint8 [O], 0 to 8.
    """

    steps: NDArray[np.int16]
    shift: NDArray[np.uint8]


def table(codebook: NDArray[np.float32], weight_scale: NDArray[np.float32]) -> Table:
    """The sampler's table, from σ̂ = codebook[c, σ_q], [O or 1, 2^n], and s_w [O], float32."""
    steps = codebook.astype(np.float64) * (SCALE / weight_scale.astype(np.float64))[:, None]
    shift = _smallest_shift(steps.max(axis=1))
    rounded = np.minimum(np.rint(steps * 2.0 ** (15 - shift[:, None])), 32767)
    return Table(rounded.astype(np.int16), shift.astype(np.uint8))


def _smallest_shift(largest: NDArray[np.float64]) -> NDArray[np.int64]:
    """The smallest of 0..8 that leaves largest·2^(15 - shift) in 15 bits, or 8."""
    fits = largest[:, None] * 2.0 ** (15 - np.arange(9)) <= 32767
    return np.where(fits.any(axis=1), fits.argmax(axis=1), 8)


def step_table(sigma_q: NDArray[np.uint8], channel: Constants, bits: int) -> NDArray[np.int32]:
    """g of every weight, int32 [O, ...]: the width of one step of ε_q, in 2^(shift - 15) of a grid
    step."""
    extra = (1,) * (sigma_q.ndim - 1)
    a = channel.multiplier.astype(np.int32).reshape(-1, *extra)
    b = channel.offset.astype(np.int32).reshape(-1, *extra)
    v = sigma_q.astype(np.int32) << (15 - bits)
    return np.minimum(((a * v + 2**14) >> 15) + b, 32767)


def perturb(
    mean_q: NDArray[np.int8],
    sigma_q: NDArray[np.uint8],
    channel: Constants,
    bits: int,
    epsilon: NDArray[np.int16],
) -> NDArray[np.int8]:
    """Sampled weights w_q = clamp(μ_q ± d, -127, 127), int8 of the shape of `mean_q` [O, ...].

    How far they are from clamp(μ_q + step·ε_q) in real arithmetic: A and B are within half a unit
    of 2^(shift - 15) grid steps, A is taken σ_q/2^n times, and the product is rounded to a unit,
    so that g loses at most e = 1/2 units at σ_q = 0, and 1 + σ_q/2^(n + 1) above; d is rounded to a
    grid step. Neither cap nor clamp adds to it:

        |w_q - real| <= 1/2 + |ε_q|·2^(shift - 15)·e

    Where A, B or g is cut to 32767, this holds for the step that is cut as they are.
    """
    return move(mean_q, step_table(sigma_q, channel, bits), channel.shift, epsilon)


def move(
    mean_q: NDArray[np.int8],
    steps: NDArray[np.int32],
    shift: NDArray[np.uint8],
    epsilon: NDArray[np.int16],
    dithers: NDArray[np.int32] | np.int32 = NEAREST,
) -> NDArray[np.int8]:
    """Sampled weights w_q = clamp(μ_q ± d, -127, 127), int8 [O, ...].

    Args:
        mean_q: μ_q [O, ...].
        steps: g of every weight [O, ...].
        shift: [O].
        epsilon: ε_q [O, ...].
        dithers: what is added before the last 15 bits of d are cut off: `NEAREST`, a half, or what
            `dither` drew [O, ...].
    """
    places = shift.astype(np.int32).reshape(-1, *(1,) * (mean_q.ndim - 1))
    d = (steps * (np.abs(epsilon).astype(np.int32) << places) + dithers) >> 15
    w = mean_q.astype(np.int32) + np.where(epsilon < 0, -d, d)
    return np.clip(w, -127, 127).astype(np.int8)


def perturb_bias(
    bias: NDArray[np.float32], bias_step: NDArray[np.float32], epsilon: NDArray[np.int16]
) -> NDArray[np.float32]:
    """Sampled biases b = μ_b + (σ_b·s_ε)·ε_q, float32 [O], one rounded product, one rounded sum.

    Args:
        bias: μ_b.
        bias_step: σ_b·s_ε rounded to float32.
        epsilon: ε_q.
    """
    return bias + bias_step * epsilon.astype(np.float32)


def bias_step(bias_std: NDArray[np.float32]) -> NDArray[np.float32]:
    """σ_b·s_ε, float32 [O]: the product in float64, rounded once."""
    return (bias_std.astype(np.float64) * SCALE).astype(np.float32)
