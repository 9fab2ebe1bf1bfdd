"""Tracing and folding against the module itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn
from torch.func import functional_call
from toy import RESIDUAL_SHAPE

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize.builder import Builder
from sigmabench.harness.quantize.fold import CHECK_TOLERANCE, fold, mean_weights
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.graph import Conv
from sigmabench.harness.quantize.trace import trace


def test_folded_mean_network_is_the_module(residual, posterior, images):
    model = fold(residual, posterior, RESIDUAL_SHAPE)
    weights = {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}
    expected = functional_call(residual, {**posterior.state, **posterior.mean}, (images[:16],))
    torch.testing.assert_close(forward(model.graph, weights, images[:16]), expected)


def test_folding_commutes_with_sampling(residual, posterior, images):
    """The same ε on folded (μ, σ) and on the module's own, whose batch norms still run.

    A norm with a negative γ flips the sign of its channel's noise, which σ·|γ| does not: there ε is
    flipped first.
    """
    model = fold(residual, posterior, RESIDUAL_SHAPE)
    generator = torch.Generator().manual_seed(0)
    epsilon = {n: torch.randn(m.shape, generator=generator) for n, m in posterior.mean.items()}
    drawn = {n: m + posterior.std()[n] * epsilon[n] for n, m in posterior.mean.items()}
    expected = functional_call(residual, {**posterior.state, **drawn}, (images[:8],))
    norms = {"stem": "stem_norm", "conv1": "norm1", "conv2": "norm2"}
    weights = {}
    for name, layer in model.layers.items():
        sign = torch.ones(len(layer.bias))
        if name in norms:
            sign = posterior.state[f"{norms[name]}.weight"].sign()
        noise = epsilon[f"{name}.weight"].reshape(layer.mean.shape) * sign.view(-1, 1, 1, 1)
        bias = layer.bias
        if f"{name}.bias" in epsilon:
            bias = bias + layer.bias_std * epsilon[f"{name}.bias"] * sign
        weights[name] = (layer.mean + layer.std * noise, bias)
    torch.testing.assert_close(
        forward(model.graph, weights, images[:8]), expected, rtol=1e-4, atol=1e-4
    )


def test_graph_fuses_norm_relu_and_sum(residual, posterior):
    graph = fold(residual, posterior, RESIDUAL_SHAPE).graph
    assert len(graph.nodes) == len(graph.convs) + 2
    by_name = {conv.name: conv for conv in graph.convs}
    summed = [conv for conv in graph.convs if conv.residual]
    assert len(summed) == 1
    assert summed[0].relu
    assert {summed[0].name, summed[0].residual} == {"conv2", "shortcut"}
    assert by_name["stem"].relu
    assert not by_name["stem"].bias_bayesian
    assert by_name["conv1"].bias_bayesian
    assert by_name["conv1"].groups == 2
    assert by_name["head"].shape == (5, 16, 1, 1)
    done = {graph.input}
    for node in graph.nodes:
        needs = {node.input} | ({node.residual} if isinstance(node, Conv) else set())
        assert needs - {None} <= done
        done.add(node.name)


def test_linear_layer_of_a_map_is_a_convolution_that_covers_it():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))
    model = fold(module, initial(module), (1, 5, 5))
    assert model.graph.convs[1].shape == (3, 4, 3, 3)
    x = torch.randn(6, 1, 5, 5)
    weights = {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}
    torch.testing.assert_close(forward(model.graph, weights, x), module(x))


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (
            nn.Sequential(nn.Conv2d(1, 2, 3), nn.LogSigmoid(), nn.Flatten(), nn.Linear(18, 2)),
            "node log_sigmoid",
        ),
        (nn.Sequential(nn.Softmax2d(), nn.Flatten(), nn.Linear(25, 2)), "node softmax"),
        (nn.Sequential(nn.Hardtanh(), nn.Flatten(), nn.Linear(25, 2)), "hardtanh clamps"),
    ],
)
def test_unsupported_operation_is_named(module, named):
    with pytest.raises(UserError, match=named):
        trace(module, (1, 5, 5))


def test_posterior_of_another_module_is_refused(residual, posterior):
    other = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(800, 5))
    with pytest.raises(UserError):
        fold(other, posterior, RESIDUAL_SHAPE)


class Sum(nn.Module):
    """A sum of a convolution and its input, as the subclass forms it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.head = nn.Linear(2 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.add(self.conv(x), x).flatten(1))

    def add(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return y + x


class ScaledSum(Sum):
    def add(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.add(y, x, alpha=3)


class BroadcastSum(Sum):
    def add(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return y + nn.functional.adaptive_avg_pool2d(x, 1)


class Reshaped(Sum):
    def add(self, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return (y + x).reshape(-1, 4, 2, 4)


def test_a_sum_with_the_network_s_input_is_folded():
    module, x = Sum(), torch.randn(4, 2, 4, 4)
    model = fold(module, initial(module), (2, 4, 4))
    weights = {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}
    torch.testing.assert_close(forward(model.graph, weights, x), module(x))


class Ends(nn.Module):
    """`end(module, maps of a convolution)`."""

    def __init__(self, end: Callable[[Ends, torch.Tensor], Any]) -> None:
        super().__init__()
        self.end = end
        self.conv, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.norm_again, self.head = nn.BatchNorm1d(6 * 16), nn.Linear(6 * 16, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.end(self, self.conv(x))

    def logits(self, y: torch.Tensor) -> torch.Tensor:
        return self.head(y.flatten(1))


def raises(module: Ends, y: torch.Tensor) -> None:
    raise ValueError


def trained_norm(module: Ends, y: torch.Tensor) -> torch.Tensor:
    norm = module.norm
    statistics = (norm.running_mean, norm.running_var)
    return module.logits(nn.functional.batch_norm(y, *statistics, training=True))


@pytest.mark.parametrize(
    ("end", "named"),
    [
        (lambda m, y: m.logits(nn.functional.dropout(y)), "dropout dropout is at work in eval"),
        (
            lambda m, y: m.logits(nn.functional.dropout2d(torch.erf(y))),
            "feature_dropout is at work in eval",
        ),
        (trained_norm, "batch_norm uses its batch's statistics in evaluation mode too"),
        (lambda m, y: (y.flatten(1), m.logits(y)), "Ends does not return one tensor"),
        (lambda m, y: {"logits": m.logits(y)}, "Ends does not return one tensor"),
        (lambda m, y: (m.logits(torch.erf(y)),), "Ends does not return one tensor"),
        (lambda m, y: None, "Ends does not return one tensor"),
        (raises, "cannot be captured by torch.export .*: ValueError"),
        (lambda m, y: y.mean(dim=None), "mean is not a vector of logits"),
    ],
)
def test_what_is_no_classifier_in_evaluation_mode_is_refused(end, named):
    module = Ends(end)
    with pytest.raises(UserError, match=named):
        fold(module, initial(module), (2, 4, 4))


@pytest.mark.parametrize(
    "end",
    [
        lambda m, y: m.head(m.norm_again(y.flatten(1))),
        lambda m, y: m.logits(y - y.mean(dim=(1, 2, 3), keepdim=True)),
        lambda m, y: m.logits(nn.functional.dropout(y, 0.0)),
    ],
    ids=["norm of a flattened map", "mean of an image", "dropout of nothing"],
)
def test_what_is_unusual_is_computed(end):
    module, x = Ends(end), torch.randn(4, 2, 4, 4)
    module.norm_again.running_mean.normal_()
    model = fold(module, initial(module), (2, 4, 4))
    found = forward(model.graph, mean_weights(model), x, constants=model.constants)
    torch.testing.assert_close(found, module(x), rtol=1e-4, atol=1e-5)


def test_a_graph_that_is_not_the_module_is_refused(monkeypatch):
    """Whatever a handler gets wrong: here every ReLU is lost."""
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 3))
    lost = partial(Builder.change, relu=False)
    monkeypatch.setattr(Builder, "change", lambda b, name, **_: lost(b, name))
    with pytest.raises(UserError, match="does not compute what the module does"):
        fold(module, initial(module), (2, 4, 4))


def test_a_module_whose_own_rounding_is_large_is_told_by_float64():
    """The offset leaves float32 two digits; the folded layer has none."""
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 3))
    offset = 1e5
    with torch.no_grad():
        module[0].bias += offset
        module[1].running_mean += offset
    model = fold(module.eval(), initial(module), (2, 4, 4))
    x = torch.randn(8, 2, 4, 4)
    with torch.no_grad():
        found, rounded = forward(model.graph, mean_weights(model), x), module(x)
        exact = module.double()(x.double())
    assert (rounded - exact).abs().max() > CHECK_TOLERANCE * exact.abs().max()
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "named"),
    [(ScaledSum(), "alpha"), (BroadcastSum(), "broadcasts"), (Reshaped(), "not a flattening")],
)
def test_sums_and_reshapes_that_would_be_misread_are_refused(module, named):
    with pytest.raises(UserError, match=named):
        trace(module, (2, 4, 4))
