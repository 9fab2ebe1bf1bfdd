"""Fidelity: the moment scores find samplers that are off, and the shares are what they say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from sigmabench.harness.measure import audits
from sigmabench.harness.measure.fidelity import (
    IMPOSSIBLE_Z,
    Gaussian,
    layer_fidelity,
    moment_scores,
)
from sigmabench.harness.measure.law import IntegerLayer, Law, integer_law, normal_law
from sigmabench.harness.quantize import noise
from sigmabench.harness.quantize.sigma import QuantizedSigma, quantize_sigma
from sigmabench.harness.records.run_record import Fidelity

Draw = Callable[[int], NDArray]


class Quantized:
    """A layer quantized as the product does it, with headroom or the paper's range."""

    def __init__(self, sigma: float = 0.02, bits: int = 4, headroom: bool = True) -> None:
        rng = np.random.default_rng(0)
        self.mean = rng.normal(0, 0.1, (16, 8, 3, 3)).astype(np.float32)
        self.std = (sigma * rng.lognormal(0, 0.3, self.mean.shape)).astype(np.float32)
        reach = np.abs(self.mean) + (3 * self.std if headroom else 0)
        self.scale = (reach.reshape(16, -1).max(axis=1) / 127).astype(np.float32)
        unit = self.scale.reshape(-1, 1, 1, 1)
        self.mean_q = np.rint(self.mean / unit).astype(np.int8)
        self.sigma: QuantizedSigma = quantize_sigma(self.std, bits)
        self.channel = noise.constants(self.sigma.scale, self.sigma.offset, self.scale, bits)
        self.bits = bits
        self.original = Gaussian(self.mean, self.std)
        self.quantized = Gaussian(self.mean_q * unit, self.sigma.dequantize())
        self.law = integer_law(
            IntegerLayer(
                self.mean_q,
                self.sigma.values,
                self.channel.multiplier,
                self.channel.offset,
                self.channel.shift,
                bits,
            ),
            noise.probabilities(),
        )

    def draw(self, epsilon: Draw) -> Draw:
        """A sampler over noise of one's own choosing."""
        return lambda mc: noise.perturb(
            self.mean_q, self.sigma.values, self.channel, self.bits, epsilon(mc)
        )

    def good(self, mc: int) -> NDArray:
        """ε_q from the right law (inverse transform), another generator than the stream's."""
        rng = np.random.default_rng(mc)
        shape = self.mean_q.shape
        magnitude = rng.choice(128, size=shape, p=noise.probabilities())
        return (magnitude * rng.choice([-1, 1], size=shape)).astype(np.int16)


def score(layer: Quantized, epsilon: Draw) -> str:
    """The moment audit's verdict on a sampler with this noise."""
    fidelity = layer_fidelity(
        "conv", layer.law, layer.draw(epsilon), layer.original, layer.quantized, scale=layer.scale
    )
    return audits.moments([fidelity])


def test_the_right_law_passes() -> None:
    layer = Quantized()
    assert score(layer, layer.good) == "pass"


def test_the_stream_passes() -> None:
    layer = Quantized()
    shape = layer.mean_q.shape
    assert score(layer, lambda mc: noise.noise(shape, 0, mc, 0)) == "pass"


BROKEN: dict[str, Callable[[NDArray], NDArray]] = {
    "one-sided noise": np.abs,
    "noise five percent too wide": lambda e: np.clip(np.rint(e * 1.05), -127, 127),
    "noise cut at three sigma": lambda e: np.clip(e, -60, 60),
    "no noise": np.zeros_like,
    "noise shifted by a step": lambda e: np.clip(e + 1, -127, 127),
}


@pytest.mark.parametrize("name", BROKEN)
def test_moments_that_are_off_fail(name: str) -> None:
    layer = Quantized(sigma=0.05)
    result = score(layer, lambda mc: BROKEN[name](layer.good(mc)).astype(np.int16))
    assert result.startswith("fail: conv, "), name


def test_scores_of_a_subset_by_hand() -> None:
    """Deviations 2 and −1 in every pass, of two weights of variance 1 and fourth moment 3."""
    two = np.ones(2)
    law = Law(10 * two, two, 3 * two, 0 * two, two < 0, index=np.array([1, 3]))
    mean_z, var_z, draws = moment_scores(law, lambda mc: np.array([[99, 12], [-99, 9]], np.int8))
    passes = 50_000  # Σ deviations 1 a pass, variance 2; Σ (deviation² − 1) 3 a pass, variance 4
    assert draws == 2 * passes
    assert mean_z == pytest.approx(np.sqrt(passes / 2))
    assert var_z == pytest.approx(1.5 * np.sqrt(passes))


def test_scores_are_standard_normal_under_the_law() -> None:
    layer = Quantized()
    scores = []
    for repeat in range(20):
        epsilon = [layer.good(1000 * repeat + mc) for mc in range(100)]
        mean_z, var_z, draws = moment_scores(layer.law, layer.draw(epsilon.__getitem__))
        assert draws >= 100_000
        scores += [mean_z, var_z]
    assert 0.6 < np.std(scores) < 1.5
    assert np.abs(scores).max() < 4.5


def test_layers_that_hardly_move_are_drawn_more_often() -> None:
    rare = Quantized(sigma=0.0002)
    moves = rare.law.variance.mean()
    assert 0 < moves < 0.001
    _, _, draws = moment_scores(rare.law, rare.draw(rare.good))
    assert draws > 200_000
    assert draws * moves >= 399
    assert score(rare, rare.good) == "pass"


def test_a_layer_that_cannot_move_but_does() -> None:
    layer = Quantized(sigma=1e-7)
    assert layer.law.immovable.all()
    still = moment_scores(layer.law, layer.draw(layer.good))
    assert still[:2] == (0.0, 0.0)
    moved = moment_scores(layer.law, lambda mc: layer.mean_q.astype(np.int16) + 1)
    assert moved[:2] == (IMPOSSIBLE_Z, IMPOSSIBLE_Z)


def fidelity_of(layer: Quantized) -> Fidelity:
    return layer_fidelity(
        "conv",
        layer.law,
        layer.draw(layer.good),
        layer.original,
        layer.quantized,
        scale=layer.scale,
        saturation=0.25,
    )


def test_headroom_keeps_what_the_papers_range_loses() -> None:
    wide, narrow = (fidelity_of(Quantized(sigma=0.2, headroom=h)) for h in (True, False))
    assert 0.95 < wide.std_ratio < 1.05
    assert narrow.std_ratio < 0.85
    assert wide.clamped_share < 0.01 < narrow.clamped_share
    assert wide.saturation == 0.25


def test_std_ratio_is_that_of_real_draws() -> None:
    layer = Quantized(sigma=0.2, headroom=False)
    draws = np.stack([layer.draw(layer.good)(mc) for mc in range(300)]).astype(np.float64)
    empirical = draws.var(axis=0) * layer.scale.reshape(-1, 1, 1, 1) ** 2
    ratio = np.sqrt(empirical.mean() / np.mean(layer.std.astype(np.float64) ** 2))
    assert fidelity_of(layer).std_ratio == pytest.approx(ratio, rel=0.01)


def test_moped_with_a_small_delta_is_found_immovable() -> None:
    result = fidelity_of(Quantized(sigma=0.0001))
    assert result.immovable_share > 0.9
    assert result.std_ratio < 0.5
    findings = audits.posterior_findings([result])
    assert findings[0].startswith("conv: POSTERIOR LOST")


def test_w2_and_zero_sigma_by_hand() -> None:
    mean = np.array([[0.0, 1.0]], np.float32)
    std = np.array([[3.0, 4.0]], np.float32)
    quantized = Gaussian(np.array([[0.0, 3.0]]), np.array([[0.0, 4.0]]))
    law = normal_law(mean, std)
    rng = np.random.default_rng(0)
    result = layer_fidelity(
        "fc",
        law,
        lambda mc: mean + std * rng.standard_normal((1, 2)),
        Gaussian(mean, std),
        quantized,
    )
    # mean of (0 + 9, 4 + 0) over rms σ² = 12.5
    assert result.w2 == pytest.approx(np.sqrt(6.5 / 12.5))
    assert result.zero_sigma_share == 0.5
    assert result.std_ratio == pytest.approx(1)
    assert (result.weights, result.saturation) == (2, None)


def test_float_sampler_with_the_wrong_width_fails() -> None:
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=(2, 50, 100)).astype(np.float32)
    std = np.abs(std)
    gaussian = Gaussian(mean, std)
    law = normal_law(mean, std)
    for width, expected in ((1.0, "pass"), (1.02, "fail")):
        fidelity = layer_fidelity(
            "fc",
            law,
            lambda mc, width=width: mean + width * std * rng.standard_normal(std.shape),
            gaussian,
            gaussian,
        )
        assert audits.moments([fidelity]).startswith(expected)
        assert fidelity.std_ratio == pytest.approx(1)


def test_layer_without_sigma() -> None:
    gaussian = Gaussian(np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32))
    law = normal_law(gaussian.mean, gaussian.std)
    result = layer_fidelity("fc", law, lambda mc: gaussian.mean, gaussian, gaussian)
    assert (result.std_ratio, result.w2, result.moment_mean_z) == (None, None, 0.0)
