"""Algorithm 1 against a loop over its lines, codebooks against scikit-learn's k-means, packing
against bit strings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans

from sigmabench.harness.quantize.sigma import (
    lloyd,
    look_up,
    pack,
    packed_bytes,
    quantize_sigma,
    quantize_sigma_codebook,
    unpack,
)

stds = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.floats(0, 2, width=32, allow_subnormal=False).map(lambda v: np.float32(max(v, 0))),
)


def algorithm_1(values: list[float], bits: int) -> tuple[list[int], float, float]:
    """The intended form, line by line, with an integer zero point."""
    largest, smallest = max(values), min(values)
    top = 2**bits - 1
    if largest == smallest:
        return [1 if largest > 0 else 0] * len(values), largest if largest > 0 else 1.0, 0.0
    scale = (largest - smallest) / top
    zero_point = -round(smallest / scale)
    return [min(max(round(v / scale) + zero_point, 0), top) for v in values], scale, zero_point


@given(stds, st.integers(1, 8), st.sampled_from(["channel", "tensor"]))
def test_integer_offset_is_algorithm_1(std, bits, granularity):
    found = quantize_sigma(std, bits, granularity, "integer")
    rows = std if granularity == "channel" else [std.reshape(-1)] * len(std)
    for c, row in enumerate(rows):
        values, scale, zero_point = algorithm_1([float(v) for v in row], bits)
        own = values if granularity == "channel" else values[c * std.shape[1] :][: std.shape[1]]
        assert found.values[c].tolist() == own
        assert found.scale[c] == np.float32(scale)
        assert found.offset[c] == np.float32(-scale * zero_point)


@given(stds, st.integers(1, 8), st.sampled_from(["channel", "tensor"]))
def test_float_offset_is_within_half_a_step_and_keeps_the_ends(std, bits, granularity):
    found = quantize_sigma(std, bits, granularity, "float")
    restored = found.dequantize()
    half = found.scale[:, None] / 2
    assert (np.abs(restored - std) <= half * (1 + 1e-4) + 1e-6 * std.max()).all()
    assert np.isclose(restored.min(), std.min(), rtol=1e-5, atol=1e-7)
    assert np.isclose(restored.max(), std.max(), rtol=1e-5, atol=1e-7)


def test_constant_sigma():
    std = np.full((2, 3), 0.25, np.float32)
    integer = quantize_sigma(std, 4, "channel", "integer")
    assert (integer.values == 1).all()
    assert (integer.scale == 0.25).all()
    floating = quantize_sigma(std, 4, "channel", "float")
    assert (floating.values == 0).all()
    assert (floating.offset == 0.25).all()
    for one in (integer, floating):
        assert (one.dequantize() == std).all()


@pytest.mark.parametrize("offset", ["integer", "float"])
def test_zero_sigma_stays_zero(offset):
    assert not quantize_sigma(np.zeros((2, 3), np.float32), 2, "channel", offset).dequantize().any()


def test_one_bit_integer_offset_loses_a_skewed_sigma_and_the_float_offset_does_not():
    std = np.random.default_rng(0).lognormal(-4, 1, (1, 5000)).astype(np.float32)
    lost = (quantize_sigma(std, 1, "channel", "integer").dequantize() == 0).mean()
    kept = (quantize_sigma(std, 1, "channel", "float").dequantize() == 0).mean()
    assert lost > 0.99
    assert kept == 0


@given(st.integers(1, 8), st.data())
def test_packing_is_little_endian_and_reversible(bits, data):
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=1, max_size=40))
    packed = pack(np.array(values, np.uint8), bits)
    assert len(packed) == packed_bytes(len(values), bits)
    whole = int.from_bytes(packed.tobytes(), "little")
    assert [(whole >> (i * bits)) & (2**bits - 1) for i in range(len(values))] == values
    assert unpack(packed, bits, len(values)).tolist() == values


def square_error(std, restored):
    return np.square(std.astype(np.float64) - restored.astype(np.float64)).sum()


@given(stds, st.integers(1, 8), st.sampled_from(["channel", "tensor"]))
def test_a_codebook_is_never_worse_than_the_affine_grid(std, bits, granularity):
    found = quantize_sigma_codebook(std, bits, granularity)
    rows = std if granularity == "channel" else std.reshape(1, -1)
    restored = found.dequantize().reshape(rows.shape)
    grids = np.linspace(rows.min(axis=1), rows.max(axis=1), 2**bits, axis=1).astype(np.float32)
    for row, own, grid in zip(rows, restored, grids, strict=True):
        affine = grid[np.abs(row[:, None].astype(np.float64) - grid).argmin(axis=1)]
        assert square_error(row, own) <= square_error(row, affine)


@given(stds, st.integers(1, 8), st.sampled_from(["channel", "tensor"]))
def test_a_codebook_ascends_and_every_sigma_takes_a_nearest_level(std, bits, granularity):
    found = quantize_sigma_codebook(std, bits, granularity)
    rows = len(std) if granularity == "channel" else 1
    assert found.codebook.shape == (rows, 2**bits)
    assert found.codebook.dtype == np.float32
    assert (np.diff(found.codebook, axis=1) >= 0).all()
    levels = np.broadcast_to(found.codebook, (len(std), 2**bits))[:, None].astype(np.float64)
    nearest = np.abs(levels - std[:, :, None]).min(axis=2)
    assert (np.abs(found.dequantize().astype(np.float64) - std) == nearest).all()


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
def test_few_distinct_values_are_kept(granularity):
    rng = np.random.default_rng(0)
    std = rng.choice(rng.lognormal(-4, 1, 256).astype(np.float32), (3, 2000))
    assert (quantize_sigma_codebook(std, 8, granularity).dequantize() == std).all()


@pytest.mark.parametrize("levels", [2, 4, 16])
def test_lloyd_ends_where_k_means_does(levels):
    values = np.sort(np.random.default_rng(levels).lognormal(-4, 1, 3000))
    start = np.quantile(values, (np.arange(levels) + 0.5) / levels)
    oracle = KMeans(
        levels, init=start[:, None], n_init=1, max_iter=10_000, tol=0, algorithm="lloyd"
    ).fit(values[:, None])
    found = lloyd(values, start)
    np.testing.assert_allclose(found, np.sort(oracle.cluster_centers_[:, 0]), 1e-9)


def test_a_level_without_values_stays():
    assert lloyd(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.4, 1.0])).tolist() == [0, 0.4, 1]


def test_one_bit_codebook_follows_a_skewed_sigma():
    std = np.random.default_rng(0).lognormal(-4, 1, (1, 5000)).astype(np.float32)
    affine = square_error(std, quantize_sigma(std, 1).dequantize())
    assert square_error(std, quantize_sigma_codebook(std, 1).dequantize()) < affine / 1.5


def test_one_row_serves_every_channel():
    table, values = np.array([[1.0, 5.0]]), np.array([[0, 1], [1, 1]], np.uint8)
    assert look_up(table, values).tolist() == [[1, 5], [5, 5]]
