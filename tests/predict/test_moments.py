"""Moments of each operation against numerical integrals, simulation and PyTorch's operators."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional

from sigmabench.harness.predict import moments
from sigmabench.harness.predict.moments import FUNCTION_MOMENTS, Moments, WeightMoments
from sigmabench.harness.quantize.fold import FloatLayer
from sigmabench.harness.quantize.graph import Conv, Pool

#: Standard normal numbers and their weights: the trapezoidal rule, whose tails are below 1e-30.
Z = np.linspace(-12.0, 12.0, 48_001)
WEIGHTS = norm.pdf(Z) * (Z[1] - Z[0])
MEANS = [-8.0, -3.0, -1.0, -0.2, 0.0, 0.3, 1.0, 2.5, 5.9, 6.0, 7.0, 9.0]
DEVIATIONS = [0.01, 0.5, 1.0, 4.0]


def given(mean: object, deviation: object) -> Moments:
    """Maps of one pixel each, [N, 1, 1, 1]."""
    m, s = (
        torch.tensor(one, dtype=torch.float32).reshape(-1, 1, 1, 1) for one in (mean, deviation)
    )
    return Moments(m, s.square())


def slope_of(y: Moments, x: Moments) -> Tensor:
    """As autograd finds it."""
    (found,) = torch.autograd.grad(y.mean.sum(), x.mean, retain_graph=True)
    return found


def integrated(function, m: float, s: float) -> tuple[float, float, float]:
    """Mean, variance and slope Cov[x, f(x)] / Var[x]."""
    y = function(m + s * Z)
    mean = float(WEIGHTS @ y)
    return mean, float(WEIGHTS @ (y - mean) ** 2), float(WEIGHTS @ (Z * (y - mean))) / s


@pytest.mark.parametrize(
    ("name", "parameter", "function"),
    [
        ("identity", 0.0, lambda x: x),
        ("relu", math.inf, lambda x: np.maximum(x, 0.0)),
        ("relu", 6.0, lambda x: np.clip(x, 0.0, 6.0)),
        ("scale", -1.5, lambda x: -1.5 * x),
        ("shift", 2.0, lambda x: x + 2.0),
    ],
)
def test_functions_have_the_moments_of_their_integrals(name, parameter, function) -> None:
    cases = [(m, s) for m in MEANS for s in DEVIATIONS]
    x = given(*zip(*cases, strict=True))
    x.mean.requires_grad_()
    y = FUNCTION_MOMENTS[name](x, parameter)
    slope = slope_of(y, x)
    expected = np.array([integrated(function, m, s) for m, s in cases])
    scale = np.array([s for _, s in cases])
    largest = np.abs(expected[:, 0]) + scale  # rounding of float32 is relative to these
    np.testing.assert_array_less(
        np.abs(y.mean.detach().flatten().numpy() - expected[:, 0]), 1e-6 * largest + 1e-30
    )
    np.testing.assert_array_less(np.abs(y.var.flatten().numpy() - expected[:, 1]), 2e-5 * scale**2)
    np.testing.assert_allclose(slope.flatten().numpy(), expected[:, 2], rtol=0, atol=2e-4)


@pytest.mark.parametrize("ceiling", [None, 6.0])
@pytest.mark.parametrize("far", [40.0, 1e6])
def test_tails_are_certain_and_finite(ceiling: float | None, far: float) -> None:
    """|m|/s is 40 or a million: nothing of the Gaussian is cut, or everything."""
    s = 0.01
    inside = 3.0 if ceiling else far * s
    x = given([-far * s, inside, 6.0 + far * s], [s, s, s])
    x.mean.requires_grad_()
    y = moments.clipped(x, ceiling)
    end = ceiling or 6.0 + far * s
    np.testing.assert_allclose(y.mean.detach().flatten().numpy(), [0.0, inside, end], rtol=1e-6)
    np.testing.assert_allclose(
        y.var.flatten().numpy(), [0.0, s**2, 0.0 if ceiling else s**2], rtol=1e-5
    )
    assert slope_of(y, x).flatten().tolist() == [0.0, 1.0, 0.0 if ceiling else 1.0]


def test_the_lower_tail_has_digits_of_its_own() -> None:
    """Five deviations below 0: E[y²] = s² ((1 + α²) Φ(α) + α φ(α)), 2e-8 of the variance."""
    y = moments.clipped(given([-5.0], [1.0]))
    second = 26.0 * norm.cdf(-5.0) - 5.0 * norm.pdf(5.0)
    mean = norm.pdf(5.0) - 5.0 * norm.cdf(-5.0)
    assert float(y.mean) == pytest.approx(mean, rel=1e-3)
    assert float(y.var) == pytest.approx(second - mean**2, rel=1e-2)


@pytest.mark.parametrize("ceiling", [None, 6.0])
def test_certain_numbers_are_clipped(ceiling: float | None) -> None:
    x = torch.tensor([-2.0, -1e-20, 0.0, 1e-20, 2.0, 6.0, 7.0]).reshape(-1, 1, 1, 1)
    y = moments.clipped(Moments(x, torch.zeros_like(x)), ceiling)
    assert torch.equal(y.mean, x.clamp(0.0, ceiling))
    assert not y.var.any()


POOLS = [
    Pool("p", "x", kind, kernel, stride, padding, ceil)
    for kind in ("max", "avg")
    for kernel, stride, padding, ceil in [
        ((2, 2), (2, 2), (0, 0), False),
        ((3, 3), (2, 2), (1, 1), False),
        ((3, 2), (2, 3), (1, 0), True),
        ((2, 2), (3, 3), (0, 0), False),
        ((7, 5), (7, 5), (0, 0), False),
    ]
]
DILATED = Pool("p", "x", "max", (2, 2), (1, 1), dilation=(2, 3))
ADAPTIVE = Pool("p", "x", "avg", (1, 1), (1, 1), out=(3, 4))


def by_pytorch(pool: Pool, x: Tensor) -> Tensor:
    if pool.out is not None:
        return functional.adaptive_avg_pool2d(x, pool.out)
    if pool.kind == "max":
        return functional.max_pool2d(
            x, pool.kernel, pool.stride, pool.padding, pool.dilation, ceil_mode=pool.ceil
        )
    return functional.avg_pool2d(
        x, pool.kernel, pool.stride, pool.padding, pool.ceil, count_include_pad=False
    )


@pytest.mark.parametrize("pool", [*POOLS, DILATED, ADAPTIVE], ids=str)
def test_pools_of_certain_maps_are_pytorch_s(pool: Pool) -> None:
    x = torch.randn(2, 3, 8, 9)
    y = moments.pooled(pool, Moments(x, torch.zeros_like(x)))
    torch.testing.assert_close(y.mean, by_pytorch(pool, x))
    assert not y.var.any()


@pytest.mark.parametrize("pool", [*POOLS[5:], ADAPTIVE], ids=str)
def test_averages_of_random_maps_are_those_of_draws(pool: Pool) -> None:
    mean, std = torch.randn(1, 2, 8, 9), torch.rand(1, 2, 8, 9) + 0.2
    y = moments.pooled(pool, Moments(mean, std.square()))
    drawn = by_pytorch(pool, mean + std * torch.randn(4000, 2, 8, 9))
    deviation = drawn.std(0, keepdim=True)
    assert float(((y.mean - drawn.mean(0)) / deviation).abs().max()) < 5 / math.sqrt(4000)
    ratio = y.var / deviation.square()
    assert 0.85 < float(ratio.min()) <= float(ratio.max()) < 1.15
    assert abs(float(ratio.mean()) - 1) < 0.03


@pytest.mark.parametrize("pool", [*POOLS[:5], DILATED], ids=str)
def test_maxima_of_maps_that_move_as_one_are_those_of_draws(pool: Pool) -> None:
    """One number is added to a whole map in every draw: the maximum moves by it."""
    mean, std = torch.randn(1, 2, 8, 9), torch.tensor([0.3, 2.0]).reshape(1, 2, 1, 1)
    y = moments.pooled(pool, Moments(mean, std.square().expand_as(mean)))
    drawn = by_pytorch(pool, mean + std * torch.randn(4000, 2, 1, 1))
    torch.testing.assert_close(y.mean, by_pytorch(pool, mean))
    torch.testing.assert_close(y.var.expand_as(y.mean).sqrt(), std.expand_as(y.mean))
    assert float((drawn.mean(0) - y.mean).abs().max()) < 5 * 2.0 / math.sqrt(4000)
    torch.testing.assert_close(drawn.std(0)[None], y.var.sqrt(), rtol=0.06, atol=0)


def test_an_average_divides_the_variance_by_what_it_counts() -> None:
    """A corner window of three by three has four pixels of the map, one in the middle nine."""
    x = Moments(torch.zeros(1, 1, 5, 5), torch.ones(1, 1, 5, 5))
    y = moments.pooled(Pool("p", "x", "avg", (3, 3), (1, 1), (1, 1)), x)
    np.testing.assert_allclose(y.var[0, 0, :2, :2].numpy(), [[1 / 4, 1 / 6], [1 / 6, 1 / 9]])


LAYERS = [
    Conv("c", "x", (4, 3, 3, 3), "w"),
    Conv("c", "x", (4, 3, 3, 2), "w", stride=(2, 1), padding=(1, 2)),
    Conv("c", "x", (6, 1, 3, 3), "w", padding=(2, 2), dilation=(2, 2), groups=3),
    Conv("c", "x", (5, 3, 6, 7), "w"),  # a linear layer
]


@pytest.mark.parametrize("conv", LAYERS, ids=lambda conv: str(conv.shape))
def test_a_layer_of_random_weights_and_inputs_is_that_of_draws(conv: Conv) -> None:
    count = 6000
    layer = FloatLayer(
        torch.randn(conv.shape),
        torch.rand(conv.shape),
        torch.randn(conv.shape[0]),
        torch.rand(conv.shape[0]),
    )
    mean, std = torch.randn(1, 3, 6, 7), torch.rand(1, 3, 6, 7)
    y = moments.layer(conv, WeightMoments.of(layer), Moments(mean, std.square()))
    x = mean + std * torch.randn(count, 3, 6, 7)
    weight = layer.mean + layer.std * torch.randn(count, *conv.shape)
    bias = layer.bias + layer.bias_std * torch.randn(count, conv.shape[0])
    drawn = functional.conv2d(  # a draw for each group of channels
        x.reshape(1, -1, 6, 7),
        weight.flatten(0, 1),
        bias.flatten(),
        conv.stride,
        conv.padding,
        conv.dilation,
        count * conv.groups,
    ).reshape(count, *y.mean.shape[1:])
    deviation = drawn.std(0)
    assert float(((y.mean - drawn.mean(0)) / deviation).abs().max()) < 5 / math.sqrt(count)
    ratio = (y.var / deviation.square()).flatten()
    assert 0.85 < float(ratio.min()) <= float(ratio.max()) < 1.15
    assert abs(float(ratio.mean()) - 1) < 0.03


def test_a_layer_without_a_sigma_passes_variances_on() -> None:
    conv = LAYERS[1]
    mean, zero, none = torch.randn(conv.shape), torch.zeros(conv.shape), torch.zeros(4)
    weights = WeightMoments.of(FloatLayer(mean, zero, none, none))
    assert weights.std is None
    x = Moments(torch.randn(2, 3, 6, 7), torch.rand(2, 3, 6, 7))
    y = moments.layer(conv, weights, x)
    expected = functional.conv2d(x.var, mean.square(), None, conv.stride, conv.padding)
    torch.testing.assert_close(y.var, expected)
    certain = moments.layer(conv, weights, replace(x, var=torch.zeros_like(x.var)))
    assert not certain.var.any()


def test_a_residual_sum_adds_both() -> None:
    """Of independent sides, as of 100,000 draws."""
    x, y = given([1.0, -2.0], [0.5, 3.0]), given([0.25, 4.0], [2.0, 1.0])
    total = moments.plus(x, y)
    drawn = sum(
        one.mean.flatten() + one.var.sqrt().flatten() * torch.randn(100_000, 2) for one in (x, y)
    )
    torch.testing.assert_close(total.mean.flatten(), drawn.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(total.var.flatten(), drawn.var(0), rtol=0.03, atol=0)


def test_beside_one_another_channels_follow() -> None:
    x, y = given([1.0], [2.0]), given([3.0], [4.0])
    both = moments.beside([x, y, x])
    assert both.mean.flatten().tolist() == [1.0, 3.0, 1.0]
    assert both.var.flatten().tolist() == [4.0, 16.0, 4.0]
