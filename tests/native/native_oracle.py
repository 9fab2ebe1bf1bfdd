"""Noise stream v1 once more, from docs/noise-stream.md alone, one weight at a time in plain Python.

Slow and shares nothing with the package: neither its numpy stream nor its compiled one.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 7
WEYL_LOW, WEYL_HIGH = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
KEY_HIGH = int.from_bytes(b"SIGMA-v1", "big")
MASK64 = 2**64 - 1


def gf_multiply(a: int, b: int) -> int:
    """Product in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2)."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(15, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << (bit - 8)
    return product


def sbox_entry(value: int) -> int:
    """SubBytes of one byte, by searching its inverse (FIPS 197, section 5.1.1)."""
    inverse = next((c for c in range(256) if gf_multiply(value, c) == 1), 0)
    out = 0
    for bit in range(8):
        taps = (bit, bit + 4, bit + 5, bit + 6, bit + 7)
        parity = sum(inverse >> (tap % 8) & 1 for tap in taps) & 1
        out |= (parity ^ (0x63 >> bit & 1)) << bit
    return out


SBOX = [sbox_entry(value) for value in range(256)]


def aes_round(state: bytes, key: bytes, last: bool = False) -> bytes:
    """The AESENC instruction, or AESENCLAST."""
    # State byte r + 4c is row r, column c; row r moves r columns to the left.
    order = [row + 4 * ((column + row) % 4) for column in range(4) for row in range(4)]
    state = bytes(SBOX[state[at]] for at in order)
    if not last:
        columns = [state[at : at + 4] for at in range(0, 16, 4)]
        state = bytes(mixed(column, row) for column in columns for row in range(4))
    return bytes(a ^ b for a, b in zip(state, key, strict=True))


def mixed(column: bytes, row: int) -> int:
    """One byte of MixColumns (FIPS 197, section 5.1.3)."""
    a, b, c, d = (column[(row + k) % 4] for k in range(4))
    return gf_multiply(2, a) ^ gf_multiply(3, b) ^ c ^ d


def ars(counter: int, key: int, rounds: int = ROUNDS) -> bytes:
    """ARS on 128-bit integers."""
    low, high = key & MASK64, key >> 64
    x = (counter ^ key).to_bytes(16, "little")
    for number in range(1, rounds + 1):
        low, high = (low + WEYL_LOW) & MASK64, (high + WEYL_HIGH) & MASK64
        x = aes_round(x, (low | high << 64).to_bytes(16, "little"), number == rounds)
    return x


def place(shape: tuple[int, ...], o: int, i: int, h: int, w: int) -> tuple[int, int]:
    """Block and lane of a weight."""
    _, inputs, height, width = shape
    if inputs > 1:
        block = ((o // 16) * height * width + h * width + w) * -(-inputs // 4) + i // 4
        return block, (o % 16) * 4 + i % 4
    return (o // 64) * height * width + h * width + w, o % 64


class Noise:
    """ε_q of one tensor in one pass, by (block, lane)."""

    def __init__(self, seed: int, mc: int, ordinal: int, threshold, alias) -> None:
        self.seed, self.mc, self.ordinal = seed, mc, ordinal
        self.threshold, self.alias = threshold, alias
        self.blocks: dict[int, bytes] = {}

    def __call__(self, block: int, lane: int) -> int:
        if block not in self.blocks:
            self.blocks[block] = b"".join(self._output(8 * block + j) for j in range(8))
        random = self.blocks[block]
        a, f = random[lane], random[64 + lane]
        column = a % 128
        magnitude = column if f < self.threshold[column] else int(self.alias[column])
        return -magnitude if a >= 128 else magnitude

    def _output(self, word: int) -> bytes:
        counter = word | self.mc << 32 | self.ordinal << 64
        return ars(counter, self.seed | KEY_HIGH << 64)


def sample(mean, sigma, multiplier, offset, shift, bits, noise: Noise):
    """w_q of a whole tensor, int8 [O, I, KH, KW]."""
    out = np.zeros(mean.shape, np.int8)
    for o, i, h, w in np.ndindex(*mean.shape):
        epsilon = noise(*place(mean.shape, o, i, h, w))
        v = int(sigma[o, i, h, w]) * 2 ** (15 - bits)
        g = min(((int(multiplier[o]) * v + 2**14) >> 15) + int(offset[o]), 32767)
        d = (g * (abs(epsilon) * 2 ** int(shift[o])) + 2**14) >> 15
        exact = int(mean[o, i, h, w]) + (d if epsilon > 0 else -d)
        out[o, i, h, w] = max(-127, min(127, exact))
    return out
