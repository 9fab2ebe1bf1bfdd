"""The exact law, against brute force one weight at a time in plain Python."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sigmabench.harness.measure.law import (
    IntegerLayer,
    bfloat16,
    enumerated_law,
    integer_law,
    normal_grid,
    normal_law,
)
from sigmabench.harness.quantize import noise

WEIGHTS = [int(w) for w in noise.magnitude_weights()]


def brute_force(mu: int, sq: int, a: int, b: int, shift: int, n: int) -> list[float]:
    """Mean, variance, fourth moment, clamp probability, immovable; docs/noise-stream.md word for
    word."""
    g = min(((a * (sq * 2 ** (15 - n)) + 2**14) // 2**15) + b, 32767)
    outcomes = []
    clamped = Fraction(0)
    for k, weight in enumerate(WEIGHTS):
        d = (g * (k * 2**shift) + 2**14) // 2**15
        for sign in (1, -1):
            p = Fraction(weight, 2**16)
            free = mu + sign * d
            outcomes.append((p, max(-127, min(127, free))))
            clamped += p * (abs(free) > 127)
    mean = sum(p * w for p, w in outcomes)
    moment = [sum(p * (w - mean) ** power for p, w in outcomes) for power in (2, 4)]
    still = all(w == mu for _, w in outcomes)
    return [float(mean), float(moment[0]), float(moment[1]), float(clamped), float(still)]


def brute_force_dithered(mu: int, g: int, shift: int) -> list[float]:
    """The same where every fraction is rounded up with its probability."""
    outcomes = []
    clamped = Fraction(0)
    for k, weight in enumerate(WEIGHTS):
        below, fraction = divmod(g * (k * 2**shift), 2**15)
        for d, share in ((below, 2**15 - fraction), (below + 1, fraction)):
            for sign in (1, -1):
                p = Fraction(weight, 2**16) * Fraction(share, 2**15)
                free = mu + sign * d
                outcomes.append((p, max(-127, min(127, free))))
                clamped += p * (abs(free) > 127)
    mean = sum(p * w for p, w in outcomes)
    moment = [sum(p * (w - mean) ** power for p, w in outcomes) for power in (2, 4)]
    still = all(w == mu for p, w in outcomes if p)
    return [float(mean), float(moment[0]), float(moment[1]), float(clamped), float(still)]


def random_layer(seed: int, bits: int, widest: int, channels: int = 3) -> IntegerLayer:
    rng = np.random.default_rng(seed)
    shape = (channels, 2, 2, 1)
    return IntegerLayer(
        rng.integers(-127, 128, shape).astype(np.int8),
        rng.integers(0, 2**bits, shape).astype(np.uint8),
        rng.integers(0, widest, channels).astype(np.int16),
        rng.integers(0, widest, channels).astype(np.int16),
        rng.integers(0, 9, channels).astype(np.uint8),
        bits,
    )


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([2, 300, 5000, 32768]))
def test_integer_law_is_brute_force(seed: int, bits: int, widest: int) -> None:
    layer = random_layer(seed, bits, widest)
    law = integer_law(layer, noise.probabilities())
    rows = np.stack([law.mean, law.variance, law.fourth, law.clamped, law.immovable], axis=1)
    expected = [
        brute_force(
            int(layer.mean.reshape(-1)[i]),
            int(layer.std.reshape(-1)[i]),
            int(layer.multiplier[i // 4]),
            int(layer.offset[i // 4]),
            int(layer.shift[i // 4]),
            bits,
        )
        for i in range(12)
    ]
    np.testing.assert_allclose(rows, expected, rtol=1e-10, atol=1e-10)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.sampled_from([2, 300, 5000, 32768]))
def test_law_of_codebooks_and_dithered_rounding_is_brute_force(
    seed: int, bits: int, widest: int
) -> None:
    rng = np.random.default_rng(seed)
    codebook = rng.integers(0, widest, (3, 2**bits)).astype(np.int16)
    layer = replace(random_layer(seed, bits, widest), codebook=codebook, dithered=True)
    law = integer_law(layer, noise.probabilities())
    rows = np.stack([law.mean, law.variance, law.fourth, law.clamped, law.immovable], axis=1)
    expected = [
        brute_force_dithered(
            int(layer.mean.reshape(-1)[i]),
            int(codebook[i // 4, layer.std.reshape(-1)[i]]),
            int(layer.shift[i // 4]),
        )
        for i in range(12)
    ]
    np.testing.assert_allclose(rows, expected, rtol=1e-10, atol=1e-10)


def test_dithered_draws_follow_their_law() -> None:
    """2^15 dithers at once: every one of them, so that the mean given ε_q is exact."""
    dithers = np.arange(2**15, dtype=np.int32).reshape(1, -1)
    steps, shift = np.full(dithers.shape, 1234, np.int32), np.array([3], np.uint8)
    for k in (1, 5, 90):
        epsilon = np.full(dithers.shape, k, np.int16)
        drawn = noise.move(np.zeros(dithers.shape, np.int8), steps, shift, epsilon, dithers)
        exact = 1234 * k * 2**3 / 2**15
        fraction = exact - int(exact)
        assert drawn.astype(float).mean() == exact
        assert drawn.astype(float).var() == pytest.approx(fraction * (1 - fraction), rel=1e-12)


def test_dither_moves_what_rounding_to_nearest_does_not() -> None:
    layer = IntegerLayer(
        np.zeros((1, 1), np.int8),
        np.zeros((1, 1), np.uint8),
        np.zeros(1, np.int16),
        np.array([64], np.int16),
        np.zeros(1, np.uint8),
        8,
    )
    assert integer_law(layer, noise.probabilities()).immovable.all()
    law = integer_law(replace(layer, dithered=True), noise.probabilities())
    assert not law.immovable.any()
    # All of it is the rounding's: a move of one with the probability of the fraction.
    assert law.variance[0] == pytest.approx(64 / 2**15 * (noise.probabilities() @ np.arange(128)))


def test_edges_of_the_grid() -> None:
    mean = np.array([[127, -127, 0, 126]], np.int8)
    wide = IntegerLayer(
        mean,
        np.zeros((1, 4), np.uint8),
        np.zeros(1, np.int16),
        np.array([32767], np.int16),
        np.array([1], np.uint8),
        4,
    )
    law = integer_law(wide, noise.probabilities())
    nonzero = 1 - noise.probabilities()[0]
    np.testing.assert_allclose(law.clamped[:2], nonzero / 2)  # one sign always leaves the grid
    assert law.mean[0] == -law.mean[1] < 127
    assert law.mean[2] == 0
    assert not law.immovable.any()


def test_step_below_rounding_is_immovable() -> None:
    # g = 1, 2 and 130; 127 steps of 129 end just below half a grid step, of 130 above it.
    layer = IntegerLayer(
        np.zeros((1, 3), np.int8),
        np.array([[0, 1, 255]], np.uint8),
        np.array([130], np.int16),
        np.array([1], np.int16),
        np.array([0], np.uint8),
        8,
    )
    assert layer.steps().tolist() == [1, 2, 130]
    law = integer_law(layer, noise.probabilities())
    assert law.immovable.tolist() == [True, True, False]
    assert law.variance[:2].tolist() == [0, 0]
    assert law.variance[2] == noise.probabilities()[127]


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_samples_of_the_reference_stay_inside_the_law(bits: int) -> None:
    layer = random_layer(bits, bits, 3000)
    law = integer_law(layer, noise.probabilities())
    channel = noise.Constants(layer.multiplier, layer.offset, layer.shift)
    epsilon = np.arange(-127, 128, dtype=np.int16)
    half = noise.probabilities()[1:] / 2
    p = np.concatenate([half[::-1], noise.probabilities()[:1], half])
    mean = np.zeros(layer.mean.size)
    for e, weight in zip(epsilon, p, strict=True):
        drawn = noise.perturb(layer.mean, layer.std, channel, bits, np.full(layer.mean.shape, e))
        mean += weight * drawn.reshape(-1)
    np.testing.assert_allclose(law.mean, mean, atol=1e-9)


def test_large_layers_are_handled_in_chunks() -> None:
    rng = np.random.default_rng(0)
    shape = (64, 1000)
    layer = IntegerLayer(
        rng.integers(-127, 128, shape).astype(np.int8),
        rng.integers(0, 256, shape).astype(np.uint8),
        rng.integers(0, 32767, 64).astype(np.int16),
        rng.integers(0, 32767, 64).astype(np.int16),
        rng.integers(0, 2, 64).astype(np.uint8),
        8,
    )
    law = integer_law(layer, noise.probabilities())
    for i in rng.integers(0, 64_000, 5):
        c = i // 1000
        expected = brute_force(
            int(layer.mean.reshape(-1)[i]),
            int(layer.std.reshape(-1)[i]),
            int(layer.multiplier[c]),
            int(layer.offset[c]),
            int(layer.shift[c]),
            8,
        )
        got = [law.mean[i], law.variance[i], law.fourth[i], law.clamped[i], law.immovable[i]]
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_normal_grid_has_the_normal_moments() -> None:
    epsilon, p = normal_grid()
    moments = [epsilon**k @ p for k in range(5)]
    np.testing.assert_allclose(moments, [1, 0, 1, 0, 3], atol=2e-3)
    assert abs(moments[2] - 1) < 1e-12


def test_enumerated_law_of_exact_arithmetic_is_the_normal_law() -> None:
    rng = np.random.default_rng(1)
    mean = rng.normal(size=(5, 7)).astype(np.float32)
    std = rng.uniform(0.1, 1, (5, 7)).astype(np.float32)
    law = enumerated_law(mean, std, lambda m, s, e: m + s * e, *normal_grid())
    exact = normal_law(mean, std)
    np.testing.assert_allclose(law.mean, exact.mean, atol=1e-6)
    np.testing.assert_allclose(law.variance, exact.variance, rtol=1e-4)
    np.testing.assert_allclose(law.fourth, exact.fourth, rtol=2e-3)


def test_enumerated_law_takes_a_subset_of_a_large_layer() -> None:
    mean = np.arange(200_000, dtype=np.float32).reshape(2, -1)
    law = enumerated_law(mean, np.ones_like(mean), lambda m, s, e: m + s * e, *normal_grid(8))
    assert law.index is not None
    assert len(law.index) == len(law.mean) == 2**17
    np.testing.assert_allclose(law.mean, mean.reshape(-1)[law.index], rtol=1e-5, atol=1e-6)


def test_bfloat16_noise_below_the_rounding_step_vanishes() -> None:
    mean, std = np.full((1, 2), 1.0, np.float32), np.array([[1e-5, 0.5]], np.float32)
    law = enumerated_law(mean, std, lambda m, s, e: bfloat16(m + s * e), *normal_grid())
    assert law.immovable.tolist() == [True, False]
    assert law.variance[0] == 0
    assert law.variance[1] == pytest.approx(0.25, rel=1e-2)


@settings(deadline=None)
@given(st.floats(-(2.0**99), 2.0**99, width=32))
def test_bfloat16_rounds_as_torch_does(value: float) -> None:
    expected = torch.tensor([value]).bfloat16().float().numpy()
    np.testing.assert_array_equal(bfloat16(np.array([value], np.float32)), expected)


def test_float_weights_that_cannot_move() -> None:
    law = normal_law(np.array([[1.0, 1.0, 0.0]], np.float32), np.array([[0, 1e-12, 1e-12]]))
    assert law.immovable.tolist() == [True, True, False]
