"""The float backend against the module itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends import float as backend
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.ptq import quantize
from sigmabench.harness.workload import resolve_workload


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


def lenet():
    torch.manual_seed(3)
    workload = resolve_workload("lenet5-mnist")
    module = workload.model()
    return module, initial(module, 0.05), workload.input_shape


def test_deterministic_twin_is_the_mean_network(residual, posterior, model, images):
    predictor = BACKENDS.get("float").load(quantize(model, "DNN_FP32"), 1)
    expected = functional_call(residual, {**posterior.state, **posterior.mean}, (images[:9],))
    torch.testing.assert_close(predictor.logits(images[:9], 0, range(1))[0], expected)


@pytest.mark.parametrize("images_at_once", [1, 7, 64])
def test_a_pass_is_the_network_with_the_weights_it_reports(model, images, images_at_once):
    predictor = BACKENDS.get("float").load(quantize(model, "FP32"), 1)
    x = images[:images_at_once]
    logits = predictor.logits(x, 5, range(3, 6))
    for index, mc in enumerate((3, 4, 5)):
        weights = {
            name: (torch.from_numpy(predictor.sample(name, 5, mc)), layer.bias)
            for name, layer in model.layers.items()
        }
        if any(layer.bias_std.any() for layer in model.layers.values()):
            weights = {
                name: (weight, torch.from_numpy(predictor.sample_bias(name, 5, mc)))
                for name, (weight, _) in weights.items()
            }
        torch.testing.assert_close(
            logits[index], forward(model.graph, weights, x), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("format", ["FP32", "BF16"])
def test_stacking_passes_changes_rounding_alone(format, monkeypatch):
    module, posterior, shape = lenet()
    artefact = quantize(fold(module, posterior, shape), format)
    x = torch.randn(3, *shape)
    stacked = BACKENDS.get("float").load(artefact, 1).logits(x, 1, range(7))
    monkeypatch.setattr(backend, "STACK_IMAGES", 1)
    single = BACKENDS.get("float").load(artefact, 1).logits(x, 1, range(7))
    tolerance = 1e-5 if format == "FP32" else 0.05
    torch.testing.assert_close(stacked, single, rtol=tolerance, atol=tolerance)


def test_draws_are_normal_with_the_posterior_s_moments(model):
    predictor = BACKENDS.get("float").load(quantize(model, "FP32"), 1)
    layer = model.layers["stem"]
    draws = np.stack([predictor.sample("stem", 11, mc) for mc in range(400)])
    z = (draws - layer.mean.numpy()) / layer.std.numpy()
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)


def test_bf16_draws_are_bf16_values(model):
    predictor = BACKENDS.get("float").load(quantize(model, "BF16"), 1)
    drawn = torch.from_numpy(predictor.sample("conv1", 0, 0))
    assert torch.equal(drawn, drawn.bfloat16().float())


def test_passes_repeat_and_differ(model, images):
    predictor = BACKENDS.get("float").load(quantize(model, "FP32"), 1)
    first = predictor.logits(images[:4], 1, range(3))
    assert torch.equal(first, predictor.logits(images[:4], 1, range(3)))
    assert not torch.equal(first[0], first[1])
    torch.testing.assert_close(first[2:], predictor.logits(images[:4], 1, range(2, 3)))
