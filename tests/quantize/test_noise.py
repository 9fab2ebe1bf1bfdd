"""Noise stream v1 against FIPS-197, exact probabilities, its own formulas and golden hashes."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from golden import GOLDEN
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, norm

from sigmabench.harness.quantize import noise


def test_aes_rounds_encrypt_the_block_of_fips_197():
    """Appendix B: ten rounds under the AES-128 key schedule, computed here from the S-box."""
    box = noise._sbox()
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    words = [list(key[i : i + 4]) for i in range(0, 16, 4)]
    constant = 1
    for i in range(4, 44):
        word = list(words[i - 1])
        if i % 4 == 0:
            word = [int(box[b]) for b in word[1:] + word[:1]]
            word[0] ^= constant
            constant = (constant << 1) ^ (0x11B if constant & 0x80 else 0)
        words.append([a ^ b for a, b in zip(words[i - 4], word, strict=True)])
    keys = [np.array(words[4 * r : 4 * r + 4], np.uint8).reshape(-1) for r in range(11)]
    plain = bytes.fromhex("3243f6a8885a308d313198a2e0370734")
    state = (np.frombuffer(plain, np.uint8) ^ keys[0])[None]
    for number, round_key in enumerate(keys[1:], 1):
        state = noise._aes_round(state, round_key, last=number == 10)
    assert state.tobytes().hex() == "3925841d02dc09fbdc118597196a0b32"


def test_magnitudes_have_exact_probabilities_to_two_to_the_minus_sixteen():
    step = 4 / 127
    signed = noise.probabilities() / np.where(np.arange(128) == 0, 1, 2)
    for k in range(127):
        exact = norm.cdf((k + 0.5) * step) - norm.cdf((k - 0.5) * step)
        assert abs(signed[k] - exact) <= 2**-16, k
    assert abs(signed[127] - norm.sf(126.5 * step)) <= 2**-16
    assert noise.magnitude_weights().sum() == 2**15


def test_alias_tables_give_every_magnitude_its_slots():
    threshold, alias = noise.alias_tables()
    slots = np.zeros(128, int)
    for column in range(128):
        for slot in range(256):
            slots[column if slot < threshold[column] else alias[column]] += 1
    assert slots.tolist() == noise.magnitude_weights().tolist()


shapes = st.tuples(*(st.integers(1, limit) for limit in (70, 9, 3, 3)))


@given(shapes)
def test_canonical_index_follows_the_formula_and_is_one_to_one(shape):
    index = noise.canonical_index(shape)
    _, inputs, height, width = shape
    o, i, h, w = (size - 1 for size in shape)
    if inputs > 1:
        block = ((o // 16) * height * width + h * width + w) * math.ceil(inputs / 4) + i // 4
        lane = (o % 16) * 4 + i % 4
    else:
        block, lane = (o // 64) * height * width + h * width + w, o % 64
    assert index[o, i, h, w] == 64 * block + lane
    assert len(np.unique(index)) == index.size


@given(shapes, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_one_weight_is_drawn_as_the_definition_says(shape, seed, mc, tensor):
    index = noise.canonical_index(shape)[-1, 0, -1, 0]
    block, lane = divmod(int(index), 64)
    counters = [[8 * block + j, mc, tensor, 0] for j in range(8)]
    raw = noise.ars(np.array(counters, np.uint32), (seed, 0x5349474D412D7631)).reshape(-1)
    threshold, alias = noise.alias_tables()
    column = int(raw[lane]) % 128
    magnitude = column if raw[64 + lane] < threshold[column] else int(alias[column])
    expected = -magnitude if raw[lane] >= 128 else magnitude
    assert noise.noise(shape, seed, mc, tensor)[-1, 0, -1, 0] == expected


def test_draws_follow_the_probabilities_and_both_signs_alike():
    draws = noise.noise((256, 256, 3, 3), seed=5, mc=3, tensor=4).reshape(-1)
    counts = np.bincount(np.abs(draws), minlength=128)
    kept = noise.magnitude_weights() >= 4
    expected = noise.probabilities()[kept]
    result = chisquare(counts[kept], expected / expected.sum() * counts[kept].sum())
    assert result.pvalue > 1e-4
    moved = draws[draws != 0]
    assert abs((moved > 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(len(moved))


@pytest.mark.parametrize("change", [{"seed": 2}, {"mc": 1}, {"tensor": 2}])
def test_streams_of_other_seeds_passes_and_tensors_are_uncorrelated(change):
    base = {"seed": 1, "mc": 0, "tensor": 0}
    first = noise.noise((64, 64, 3, 3), **base).reshape(-1)
    second = noise.noise((64, 64, 3, 3), **{**base, **change}).reshape(-1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / math.sqrt(len(first))


@pytest.mark.parametrize("case", GOLDEN)
def test_stream_v1_never_changes(case):
    """These hashes are in docs/noise-stream.md; another value is another version of the stream."""
    digest = hashlib.sha256(noise.noise(*case).astype("<i2").tobytes()).hexdigest()
    assert digest == GOLDEN[case]


@st.composite
def layers(draw):
    bits = draw(st.integers(1, 8))
    channels = draw(st.integers(1, 4))
    floats = st.floats(2**-20, 1.0, width=32)
    scale, offset, weight = (
        np.array(draw(st.lists(floats, min_size=channels, max_size=channels)), np.float32)
        for _ in range(3)
    )
    rows = st.lists(st.integers(0, 2**bits - 1), min_size=channels, max_size=channels)
    sigma = np.array(draw(rows), np.uint8).reshape(-1, 1)
    means = st.lists(st.integers(-127, 127), min_size=channels, max_size=channels)
    mean = np.array(draw(means), np.int8).reshape(-1, 1)
    noises = st.lists(st.integers(-127, 127), min_size=channels, max_size=channels)
    epsilon = np.array(draw(noises), np.int16).reshape(-1, 1)
    return bits, scale, offset, weight, sigma, mean, epsilon


@given(layers())
def test_perturbation_is_the_integer_formula(case):
    bits, scale, offset, weight, sigma, mean, epsilon = case
    constants = noise.constants(scale, offset, weight, bits)
    result = noise.perturb(mean, sigma, constants, bits, epsilon)
    for c in range(len(scale)):
        a, b = int(constants.multiplier[c]), int(constants.offset[c])
        v = int(sigma[c, 0]) << (15 - bits)
        g = min(((a * v + 2**14) >> 15) + b, 32767)
        d = (g * (abs(int(epsilon[c, 0])) << int(constants.shift[c])) + 2**14) >> 15
        w = int(mean[c, 0]) + (d if epsilon[c, 0] >= 0 else -d)
        assert result[c, 0] == max(-127, min(127, w))


@given(layers())
def test_perturbation_is_within_a_step_of_real_arithmetic(case):
    """Half a step of rounding, and what 15-bit constants lose: at most 0.1 % of the move."""
    bits, scale, offset, weight, sigma, mean, epsilon = case
    result = noise.perturb(mean, sigma, noise.constants(scale, offset, weight, bits), bits, epsilon)
    std = offset.astype(float)[:, None] + scale.astype(float)[:, None] * sigma
    move = std * noise.SCALE / weight.astype(float)[:, None] * epsilon
    exact = np.clip(mean + move, -127, 127)
    tolerance = 0.5 + 0.001 * np.minimum(np.abs(move), 254) + 0.02
    assert (np.abs(result - exact) <= tolerance).all()


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("wide", [1e-3, 0.3, 1.0, 30.0, 1e4])
def test_shift_is_the_smallest_that_fits(wide, bits):
    scale = np.array([wide], np.float32)
    shift = int(noise.constants(scale, scale, np.ones(1, np.float32), bits).shift[0])
    step = float(scale[0]) * noise.SCALE

    def fits(candidate: int) -> bool:
        a, b = step * 2**bits * 2 ** (15 - candidate), step * 2 ** (15 - candidate)
        return max(a, b, a * (2**bits - 1) / 2**bits + b) <= 32767

    assert shift == next((s for s in range(9) if fits(s)), 8)


@given(layers(), st.data())
def test_a_codebook_s_steps_are_the_integer_formula(case, data):
    bits, _, _, weight, *_ = case
    rows = st.lists(st.floats(0, 4, width=32), min_size=2**bits, max_size=2**bits)
    codebook = np.array([sorted(data.draw(rows)) for _ in weight], np.float32)
    table = noise.table(codebook, weight)
    for c, levels in enumerate(codebook):
        real = [float(level) * (noise.SCALE / float(weight[c])) for level in levels]
        shift = next((s for s in range(9) if max(real) * 2 ** (15 - s) <= 32767), 8)
        assert table.shift[c] == shift
        expected = [min(round(step * 2 ** (15 - shift)), 32767) for step in real]
        assert table.steps[c].tolist() == expected


@given(layers(), st.integers(0, 2**15 - 1))
def test_dither_is_added_before_the_fraction_is_cut_off(case, dither):
    bits, scale, offset, weight, sigma, mean, epsilon = case
    constants = noise.constants(scale, offset, weight, bits)
    steps = noise.step_table(sigma, constants, bits)
    dithers = np.full(mean.shape, dither, np.int32)
    result = noise.move(mean, steps, constants.shift, epsilon, dithers)
    for c in range(len(scale)):
        exact = int(steps[c, 0]) * (abs(int(epsilon[c, 0])) << int(constants.shift[c]))
        d = (exact + dither) // 2**15
        w = int(mean[c, 0]) + (d if epsilon[c, 0] >= 0 else -d)
        assert result[c, 0] == max(-127, min(127, w))


def test_dither_is_uniform_and_apart_from_the_noise():
    shape = (70, 9, 3, 3)
    drawn = noise.dither(shape, seed=3, mc=2, tensor=4)
    assert drawn.shape == shape
    assert drawn.min() >= 0
    assert drawn.max() < 2**15
    counts = np.bincount(drawn.reshape(-1) >> 10, minlength=32)
    assert chisquare(counts).pvalue > 1e-4
    epsilon = noise.noise(shape, 3, 2, 4).reshape(-1)
    assert abs(np.corrcoef(drawn.reshape(-1), np.abs(epsilon))[0, 1]) < 4 / math.sqrt(drawn.size)
    assert (drawn != noise.dither(shape, 3, 1, 4)).mean() > 0.99


def test_dither_is_the_documented_bytes_of_the_block():
    """Weight (17, 5, 1, 0) of a (20, 6, 2, 1) tensor, from its counters."""
    seed, mc, tensor = 5, 7, 4
    block = (17 // 16 * 2 + 1) * 2 + 5 // 4
    lane = 17 % 16 * 4 + 5 % 4
    counters = np.array([[8 * block + j, mc, 2**31 + tensor, 0] for j in range(8)], np.uint32)
    block_bytes = noise.ars(counters, (seed, 0x5349474D412D7631)).reshape(-1)
    expected = int(block_bytes[lane]) + 256 * (int(block_bytes[64 + lane]) % 128)
    assert noise.dither((20, 6, 2, 1), seed, mc, tensor)[17, 5, 1, 0] == expected


def test_bias_noise_and_bias_arithmetic():
    epsilon = noise.bias_noise(70, seed=3, mc=2, tensor=5)
    assert epsilon.shape == (70,)
    assert (epsilon[:6] == noise.noise((6, 1, 1, 1), 3, 2, 5).reshape(-1)).all()
    bias = np.float32([0.1, -2.0])
    std = np.float32([0.3, 1e-3])
    sampled = noise.perturb_bias(bias, noise.bias_step(std), epsilon[:2])
    for c in range(2):
        step = np.float32(float(std[c]) * noise.SCALE)
        assert sampled[c] == bias[c] + np.float32(step * np.float32(epsilon[c]))
