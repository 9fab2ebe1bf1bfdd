"""Noise stream v1 against FIPS-197, exact probabilities, its own formulas and golden hashes."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from golden import GOLDEN
from hypothesis import example, given
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


def one_channel(bits, scale, offset, weight, sigma, mean, epsilon):
    floats = (np.array([value], np.float32) for value in (scale, offset, weight))
    integers = np.array([[sigma]], np.uint8), np.array([[mean]], np.int8)
    return bits, *floats, *integers, np.array([[epsilon]], np.int16)


# σ_q = 0 beside a scale so wide that a unit of g is 2⁻⁷ of a grid step: 0.114 steps lost in B.
COARSE = one_channel(7, 1.0, 0.9027799, 0.02342401, 0, 0, 73)
# A no longer fits, even with the widest shift.
CUT = one_channel(8, 1.0, 2**-20, 2**-20, 1, 0, 1)


@given(layers())
@example(COARSE)
@example(CUT)
def test_perturbation_is_as_far_from_real_arithmetic_as_derived(case):
    """The bound of `perturb`, against float64 without any rounding."""
    bits, scale, offset, weight, sigma, mean, epsilon = case
    constants = noise.constants(scale, offset, weight, bits)
    result = noise.perturb(mean, sigma, constants, bits, epsilon)
    unit = 2.0 ** (constants.shift.astype(float) - 15)[:, None]
    cut = 32767 * unit
    per_weight = noise.SCALE / weight.astype(float)[:, None]
    slope = np.minimum(scale.astype(float)[:, None] * per_weight, cut / 2**bits)
    base = np.minimum(offset.astype(float)[:, None] * per_weight, cut)
    step = np.minimum(slope * sigma + base, cut)
    exact = np.clip(mean + step * epsilon, -127, 127)
    lost = 0.5 + np.where(sigma > 0, 0.5 + 0.5 * sigma / 2.0**bits, 0.0)
    units = noise.step_table(sigma, constants, bits)
    assert (np.abs(units - step / unit) <= lost + 1e-9).all()  # 1e-9: float64's own rounding
    assert (np.abs(result - exact) <= 0.5 + np.abs(epsilon) * unit * lost + 1e-9).all()


@pytest.mark.parametrize(
    ("case", "real", "drawn"), [(COARSE, 88.6135, 88), (CUT, 4 / 127 * 2**20, 1)]
)
def test_what_coarse_constants_lose(case, real, drawn):
    bits, scale, offset, weight, sigma, mean, epsilon = case
    std = float(offset[0]) + float(scale[0]) * float(sigma[0, 0])
    assert std * noise.SCALE / float(weight[0]) * float(epsilon[0, 0]) == pytest.approx(real, 1e-6)
    constants = noise.constants(scale, offset, weight, bits)
    assert noise.perturb(mean, sigma, constants, bits, epsilon).item() == drawn


@given(layers())
def test_a_unit_is_small_beside_the_widest_step_of_its_channel(case):
    """With any shift but 0 one less would not fit: A, B or their sum has more than 32767/2 units,
    and the widest step no less than half of that."""
    bits, scale, offset, weight, *_ = case
    shift = noise.constants(scale, offset, weight, bits).shift
    widest = offset.astype(float) + scale.astype(float) * (2**bits - 1)
    units = widest * noise.SCALE / weight.astype(float) * 2.0 ** (15 - shift.astype(float))
    assert (units[shift > 0] > 32767 / 4).all()


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
