"""The analytic pass against closed forms of linear networks, draws, and the mean network."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor, nn
from torch.func import functional_call
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import NotFiniteImageError, UserError
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.posterior import Posterior, initial, moped
from sigmabench.harness.predict import analytic, gaussian
from sigmabench.harness.predict.analytic import AnalyticPredictor
from sigmabench.harness.predict.gaussian import (
    LEADING,
    GaussianLogits,
    RankedLogits,
    normal_nodes,
)
from sigmabench.harness.predict.loop import predict
from sigmabench.harness.predict.predicted import Summary
from sigmabench.harness.predict.temperature import Temperature
from sigmabench.harness.quantize.fold import FloatModel, fold, mean_weights
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.graph import Conv
from sigmabench.harness.quantize.ptq import quantize

SHAPE = (1, 6, 6)


@pytest.fixture(scope="module")
def model(residual, posterior) -> FloatModel:
    return fold(residual, posterior, RESIDUAL_SHAPE)


def without_sigma(model: FloatModel) -> FloatModel:
    layers = {
        name: replace(one, std=torch.zeros_like(one.std), bias_std=torch.zeros_like(one.bias_std))
        for name, one in model.layers.items()
    }
    return replace(model, layers=layers)


def drawn_logits(module: nn.Module, posterior: Posterior, x: Tensor, count: int) -> Tensor:
    """Float32 [count, N, classes], of the module itself."""
    std = posterior.std()

    def once(noise: dict[str, Tensor]) -> Tensor:
        drawn = {name: posterior.mean[name] + std[name] * noise[name] for name in std}
        logits: Tensor = functional_call(
            module, {**posterior.state, **posterior.mean, **drawn}, (x,)
        )
        return logits

    noise = {name: torch.randn(count, *one.shape) for name, one in std.items()}
    with torch.no_grad():
        return torch.vmap(once, chunk_size=500)(noise)


class Linear(nn.Module):
    """Three linear layers and nothing between them."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(36, 7), nn.Linear(7, 9), nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x.flatten(1))))


def test_a_linear_network_is_exact() -> None:
    """E[z] = M E[h] + b and Cov[z] = M Cov[h] Mᵀ + diag(Σ_i σ_oi² E[h_i²] + σ_b²), layer by layer,
    in float64 with full covariances."""
    module = Linear()
    posterior, x = moped(module, 0.7), torch.randn(3, *SHAPE)
    mean, covariance = AnalyticPredictor(fold(module, posterior, SHAPE)).logit_moments(x)
    std = {name: one.double().numpy() for name, one in posterior.std().items()}
    mu = {name: one.double().numpy() for name, one in posterior.mean.items()}
    for image in range(len(x)):
        h, cov = x[image].double().flatten().numpy(), np.zeros((36, 36))
        for name in "abc":
            weight, spread = mu[f"{name}.weight"], std[f"{name}.weight"]
            own = spread**2 @ (h**2 + np.diag(cov)) + std[f"{name}.bias"] ** 2
            h, cov = weight @ h + mu[f"{name}.bias"], weight @ cov @ weight.T + np.diag(own)
        np.testing.assert_allclose(mean[image].numpy(), h, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(covariance[image].numpy(), cov, rtol=1e-4, atol=1e-5 * cov.max())


class Filtered(nn.Module):
    """One random convolution, an average and a given linear layer."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, stride=2, padding=2, dilation=2, groups=groups)
        self.pool, self.f = nn.AvgPool2d(2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self.pool(self.a(x)).flatten(1))


@pytest.mark.parametrize("groups", [1, 2])
def test_pixels_that_share_a_filter_move_together(groups: int) -> None:
    """A linear function of the filter: its covariance is that of its values at each weight."""
    module, x = Filtered(groups), torch.randn(2, 2, 3, 3)
    posterior = moped(module, 0.5, bayesian=["a.weight", "a.bias"])
    model = fold(module, posterior, (2, 3, 3))
    _, found = AnalyticPredictor(model).logit_moments(x)
    means = {**posterior.state, **posterior.mean}
    start = functional_call(module, means, (x,))
    expected = torch.zeros(2, 3, 3, dtype=torch.float64)
    for name, std in posterior.std().items():
        for index in np.ndindex(*std.shape):
            moved = means[name].clone()
            moved[index] += 1.0
            column = functional_call(module, {**means, name: moved}, (x,)) - start
            column = (column * std[index]).double().detach()
            expected += column[:, :, None] * column[:, None]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_a_last_layer_alone_is_exact() -> None:
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    posterior = moped(module, 0.4, bayesian=["3.weight", "3.bias"])
    x = torch.randn(2, *SHAPE)
    predictor = AnalyticPredictor(fold(module, posterior, SHAPE))
    mean, found = predictor.logit_moments(x)
    features, std = module[:3](x).detach(), posterior.std()
    expected = features.square() @ std["3.weight"].square().T + std["3.bias"].square()
    torch.testing.assert_close(mean, module(x).detach())
    torch.testing.assert_close(found.float(), torch.diag_embed(expected))


def test_a_network_with_every_kind_of_node_is_near_its_draws(
    residual, posterior, model, images
) -> None:
    """Convolutions with stride, groups and dilation, both pools, a sum: the standard deviations
    within 10 %, where one filter's pixels taken apart lose a good part of them."""
    x = images[:6]
    drawn = drawn_logits(residual, posterior, x, 1500)
    deviation = drawn.std(0)
    mean, covariance = AnalyticPredictor(model).logit_moments(x)
    found = covariance.diagonal(dim1=1, dim2=2).sqrt() / deviation
    assert 0.85 < float(found.min()) <= float(found.max()) < 1.15
    assert abs(float(found.mean()) - 1) < 0.07
    weights = mean_weights(model)
    error = (mean - drawn.mean(0)).square().mean().sqrt()
    assert error < (forward(model.graph, weights, x) - drawn.mean(0)).square().mean().sqrt()
    centred = drawn.double() - drawn.double().mean(0)
    expected = torch.einsum("tnc,tnd->ncd", centred, centred) / (len(drawn) - 1)
    scale = deviation.double()[:, :, None] * deviation.double()[:, None]
    assert float(((covariance - expected) / scale).abs().max()) < 0.25


def test_its_probabilities_are_nearer_to_those_of_many_passes_than_the_mean_network_s(
    model, images
) -> None:
    x = images[:16]
    passes = predict(BACKENDS.get("float").load(quantize(model, "FP32"), 1), x, 1000)
    found = AnalyticPredictor(model).summary(x)
    alone = forward(model.graph, mean_weights(model), x).double().softmax(1)

    def apart(probs: Tensor) -> float:
        return float((probs - passes.probs).square().mean().sqrt())

    assert apart(found.probs) < 0.4 * apart(alone)
    both = torch.stack([found.mutual_information, passes.mutual_information])
    assert float(torch.corrcoef(both)[0, 1]) > 0.95


def test_without_a_sigma_it_is_the_mean_network(model, images) -> None:
    certain, x = without_sigma(model), images[:9]
    predictor = BACKENDS.get("float").load(quantize(certain, "DNN_FP32"), 1)
    expected = predict(predictor, x, 1, deterministic=True)
    mean, covariance = AnalyticPredictor(certain).logit_moments(x)
    torch.testing.assert_close(mean, predictor.logits(x, 0, range(1))[0], rtol=1e-4, atol=1e-4)
    assert not covariance.any()
    found = AnalyticPredictor(certain).summary(x)
    for name in ("probs", "log_probs", "entropy", "expected_entropy"):
        torch.testing.assert_close(
            getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4
        )
    assert found.mutual_information is None


def check_summary(found: Summary) -> None:
    """What holds of every predictive distribution."""
    assert found.T == 1
    assert {one.dtype for one in (found.probs, found.log_probs, found.entropy)} == {torch.float64}
    torch.testing.assert_close(found.probs.sum(1), torch.ones(found.images, dtype=torch.float64))
    torch.testing.assert_close(found.log_probs.exp(), found.probs)
    torch.testing.assert_close(found.entropy, -(found.probs * found.log_probs).sum(1))
    mutual = found.mutual_information
    assert mutual is not None
    assert float(mutual.min()) >= 0.0
    torch.testing.assert_close(mutual, found.entropy - found.expected_entropy)


def test_a_summary_is_scored_as_any_other(model, images) -> None:
    found = AnalyticPredictor(model).summary(images[:8])
    check_summary(found)
    labels = torch.arange(8) % 5
    whole = score(found, labels)
    assert whole == score(found.outcomes(labels, whole=True), labels)
    assert whole["mutual_information"] > 0


def test_no_image_depends_on_its_batch(model, images, monkeypatch) -> None:
    x = images[:7]
    predictor = AnalyticPredictor(model)
    whole = predictor.summary(x)
    assert torch.equal(whole.log_probs, predictor.summary(x.numpy()).log_probs)
    parts = Summary.cat([predictor.summary(one) for one in x.split(1)])
    turned = predictor.summary(x.flip(0)).log_probs.flip(0)
    monkeypatch.setattr(analytic, "CHUNK_BYTES", 1)
    monkeypatch.setattr(gaussian, "NODE_BYTES", 1)
    chunked = AnalyticPredictor(model).summary(x)
    for found in (parts.log_probs, turned, chunked.log_probs):
        torch.testing.assert_close(found, whole.log_probs, rtol=1e-4, atol=1e-5)


def test_nothing_is_drawn(model, images) -> None:
    before = torch.get_rng_state()
    AnalyticPredictor(model).summary(images[:2])
    assert torch.equal(torch.get_rng_state(), before)


def covariances(images: int, classes: int, seed: int, size: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(images, classes, classes, generator=generator, dtype=torch.float64)
    return size * root @ root.mT / classes


def law_of(mean: Tensor, covariance: Tensor) -> GaussianLogits:
    """From the covariance of all logits."""
    ranked = RankedLogits.of(mean)
    directions = ranked.directions().double()
    return GaussianLogits(ranked, directions @ covariance @ directions.mT)


def test_two_classes_are_integrated_as_by_gauss_and_hermite() -> None:
    """The nodes' own error: 2e-4 of a probability."""
    mean = torch.tensor([[0.3, -0.4], [5.0, 1.0], [-20.0, 3.0], [0.0, 0.0]])
    covariance = covariances(4, 2, 3, 4.0)
    found = law_of(mean, covariance).summary()
    check_summary(found)
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    for image in range(4):
        apart = float(mean[image, 0] - mean[image, 1])
        c = covariance[image].numpy()
        s = math.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1])
        p = 1 / (1 + np.exp(-(apart + s * nodes)))
        share = float(weights @ p) / math.sqrt(2 * math.pi)
        assert float(found.probs[image, 0]) == pytest.approx(share, abs=2e-4)
        h = -p * np.log(p) - (1 - p) * np.log1p(-np.minimum(p, 1 - 1e-16))
        expected = float(weights @ h) / math.sqrt(2 * math.pi)
        assert float(found.expected_entropy[image]) == pytest.approx(expected, abs=1e-3)


def simulated(logits: np.ndarray) -> tuple[np.ndarray, float, float]:
    """p̄, predictive and expected entropy of drawn logits [draws, C]."""
    p = softmax(logits, axis=1)
    mean = p.mean(0)
    return mean, -float(mean @ np.log(mean)), -float((p * np.log(p)).sum(1).mean())


@pytest.mark.parametrize("classes", [3, 10, LEADING + 1])
def test_some_classes_are_integrated_as_by_many_draws(classes: int) -> None:
    mean = 2 * torch.randn(2, classes)
    covariance = covariances(2, classes, classes, 2.0)
    found = law_of(mean, covariance).summary()
    check_summary(found)
    rng = np.random.default_rng(5)
    for image in range(2):
        drawn = rng.multivariate_normal(mean[image].numpy(), covariance[image].numpy(), 60_000)
        probs, entropy, expected = simulated(drawn)
        np.testing.assert_allclose(found.probs[image].numpy(), probs, atol=6e-3)
        assert float(found.entropy[image]) == pytest.approx(entropy, abs=0.01)
        assert float(found.expected_entropy[image]) == pytest.approx(expected, abs=0.01)


def test_classes_beyond_the_leading_ones_move_together() -> None:
    """Exactly so where their logits do."""
    classes, rng = LEADING + 6, np.random.default_rng(6)
    mean = torch.linspace(3.0, -1.0, classes).flip(0)[None]
    shared = covariances(1, LEADING + 1, 7)
    which = [LEADING] * 6 + list(range(LEADING))[::-1]  # class 0 is the least likely
    covariance = shared[:, which][:, :, which]
    found = law_of(mean, covariance).summary()
    check_summary(found)
    drawn = rng.multivariate_normal(np.zeros(LEADING + 1), shared[0].numpy(), 60_000)
    probs, entropy, expected = simulated(mean[0].numpy() + drawn[:, which])
    np.testing.assert_allclose(found.probs[0].numpy(), probs, atol=3e-3)
    assert float(found.entropy[0]) == pytest.approx(entropy, abs=0.01)
    assert float(found.expected_entropy[0]) == pytest.approx(expected, abs=0.01)


def test_far_logits_have_finite_logarithms() -> None:
    mean = torch.tensor([[1e4, -1e4, 0.0]])
    found = law_of(mean, covariances(1, 3, 1)).summary()
    assert bool(torch.isfinite(found.log_probs).all())
    assert float(found.log_probs[0, 1]) < -1.9e4


@pytest.mark.parametrize("classes", [3, LEADING + 4])
def test_a_temperature_divides_the_logits(classes: int, monkeypatch) -> None:
    """Means by τ and covariance by τ²; the fitted one is the best of a grid, and its derivatives
    are differences of the NLL."""
    monkeypatch.setattr(gaussian, "NODE_BYTES", 17 * 8 * gaussian.POINTS * classes)
    mean, covariance = 3 * torch.randn(40, classes), covariances(40, classes, 1, 3.0)
    labels = torch.distributions.Categorical(logits=0.4 * mean).sample()
    law = law_of(mean, covariance)

    def at(tau: float) -> Temperature:
        return Temperature(tau, "passes", 0.0, 0.0, 40)

    cooler = law.summary(1, at(2.0))
    directly = law_of(mean / 2, covariance / 4)
    if classes <= LEADING:
        torch.testing.assert_close(cooler.probs, directly.summary().probs)
    fitted = law.fit(labels)
    grid = np.exp(np.linspace(math.log(fitted.tau) - 0.5, math.log(fitted.tau) + 0.5, 21))
    nlls = [float(law.summary(1, at(tau)).nll(labels).mean()) for tau in grid]
    assert grid[int(np.argmin(nlls))] == pytest.approx(fitted.tau)
    assert fitted.nll == pytest.approx(nlls[10])
    assert fitted.nll_without == pytest.approx(float(law.summary().nll(labels).mean()))
    assert (fitted.form, fitted.images) == ("passes", 40)
    found, step = law.derivatives(labels, fitted), 1e-3
    low, middle, high = (
        law.summary(1, at(fitted.tau * math.exp(by))).nll(labels).numpy() for by in (-step, 0, step)
    )
    np.testing.assert_allclose(found.nll, middle)
    np.testing.assert_allclose(found.slope, (high - low) / (2 * step), rtol=1e-4, atol=1e-5)
    curved = (high - 2 * middle + low) / step**2
    np.testing.assert_allclose(found.curvature, curved, rtol=1e-3, atol=1e-4)
    parts = GaussianLogits.cat([law_of(mean[:7], covariance[:7]), law_of(mean[7:], covariance[7:])])
    torch.testing.assert_close(parts.summary().log_probs, law.summary().log_probs)


@pytest.mark.parametrize("dimensions", [1, 4, LEADING])
def test_nodes_have_the_moments_of_the_normal_distribution(dimensions: int) -> None:
    nodes = normal_nodes(dimensions)
    assert float(nodes.mean(0).abs().max()) < 1e-6
    products = nodes.T @ nodes / len(nodes)
    torch.testing.assert_close(products, torch.eye(dimensions, dtype=torch.float64))
    assert float((nodes**4).mean(0).min()) > 2.8


def small(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), *middle, nn.Flatten(), nn.Linear(64, 3))


@pytest.mark.parametrize(
    ("middle", "operation"),
    [
        (nn.Hardswish(), "hardswish"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.GroupNorm(2, 4), "group_norm"),
    ],
)
def test_an_operation_without_moments_is_named(middle: nn.Module, operation: str) -> None:
    module = small(middle)
    model = fold(module, initial(module, bayesian=["0.weight", "3.weight"]), SHAPE)
    (other,) = (node for node in model.graph.nodes if not isinstance(node, Conv))
    told = rf"has no mean and variance for {operation} \(node {other.name}\); predict with Monte"
    with pytest.raises(UserError, match=told):
        AnalyticPredictor(model)


def test_an_operation_of_a_divided_network_is_named() -> None:
    module = small(nn.LayerNorm(4))
    model = fold(module, initial(module, bayesian=["0.weight", "3.weight"]), SHAPE)
    assert model.graph.steps
    with pytest.raises(UserError, match=r"no mean and variance for aten\.layer_norm"):
        AnalyticPredictor(model)


def test_one_class_is_refused() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 1))
    with pytest.raises(UserError, match="one output"):
        AnalyticPredictor(fold(module, initial(module), SHAPE))


def test_images_that_do_not_fit_are_refused(model, images) -> None:
    predictor = AnalyticPredictor(model)
    with pytest.raises(UserError, match="float32 images of shape"):
        predictor.summary(images[:2, :1])
    with pytest.raises(UserError, match="batch is empty"):
        predictor.summary(images[:0])
    bad = images[:3].clone()
    bad[1, 0, 0, 0] = math.nan
    with pytest.raises(NotFiniteImageError, match="Image 1"):
        predictor.summary(bad)


def test_moments_too_large_for_float32_are_refused(model, images) -> None:
    layers = {name: replace(one, std=one.std + 1e19) for name, one in model.layers.items()}
    with pytest.raises(UserError, match="NaN or infinite"):
        AnalyticPredictor(replace(model, layers=layers)).summary(images[:2])


def test_joined_channels_go_back_to_where_they_came_from() -> None:
    """A concatenation and a pool over a linear convolution, against draws of its filters."""

    class Joined(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 3, 3)
            self.f = nn.Linear(20, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(torch.cat([self.a(x), self.b(x)], 1))
            return self.f(nn.functional.avg_pool2d(y, 2).flatten(1))

    module, x = Joined(), torch.randn(3, *SHAPE)
    posterior = moped(module, 0.2)
    mean, covariance = AnalyticPredictor(fold(module, posterior, SHAPE)).logit_moments(x)
    drawn = drawn_logits(module, posterior, x, 4000)
    deviation = drawn.std(0)
    torch.testing.assert_close(mean / deviation, drawn.mean(0) / deviation, rtol=0, atol=0.1)
    ratio = covariance.diagonal(dim1=1, dim2=2).sqrt() / deviation
    assert 0.92 < float(ratio.min()) <= float(ratio.max()) < 1.08
