"""A network in two parts computes what it computes whole, bit for bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.posterior import Posterior
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.cut import cut
from sigmabench.harness.quantize.fold import FloatModel, fold
from sigmabench.harness.quantize.ptq import quantize


@pytest.fixture(scope="module")
def model(residual: nn.Module, posterior: Posterior) -> FloatModel:
    return fold(residual, posterior, RESIDUAL_SHAPE)


@pytest.fixture(scope="module")
def head_alone(residual: nn.Module, posterior: Posterior) -> FloatModel:
    """All layers but the last are fixed."""
    drawn = [name for name in posterior.mean if name.startswith("head.")]
    fixed = {name: value for name, value in posterior.mean.items() if name not in drawn}
    alone = Posterior(
        {name: posterior.mean[name] for name in drawn},
        {name: posterior.rho[name] for name in drawn},
        {**fixed, **posterior.state},
    )
    return fold(residual, alone, RESIDUAL_SHAPE)


def made(model: FloatModel, format: str, images: Tensor) -> Artefact:
    return quantize(model, format, calibrate(model, images))


@pytest.mark.parametrize(
    ("format", "backend"),
    [("INT8", "native"), ("INT8_SIGMA1", "native"), ("INT8", "reference"), ("FP32", "float")],
)
def test_draws_behind_a_trunk_that_ran_once_are_those_of_the_whole(
    format: str, backend: str, head_alone: FloatModel, images: Tensor
) -> None:
    artefact, load = made(head_alone, format, images), BACKENDS.get(backend).load
    parts = cut(artefact, artefact.graph.convs[-1].name)
    assert parts.trunk is not None
    assert parts.shape == (16, 1, 1)
    assert len(parts.rest.graph.nodes) == 1
    x, passes = images[:5], range(2, 6)
    whole = load(artefact, 1).logits(x, 3, passes)
    features = load(parts.trunk, 1).logits(x, 9, range(1))[0]
    found = load(parts.rest, 1).logits(features.reshape(-1, *parts.shape), 3, passes)
    assert torch.equal(found, whole)
    assert len(found.unique(dim=0)) == 4


@pytest.mark.parametrize("layer", range(1, 5))
def test_no_sum_is_cut_in_two(layer: int, model: FloatModel, images: Tensor) -> None:
    """Whatever layer is named, one activation crosses, and what is computed stays the same."""
    artefact, load = made(model, "DNN_INT8", images), BACKENDS.get("native").load
    at = artefact.graph.convs[layer].name
    parts = cut(artefact, at)
    assert parts.trunk is not None
    assert at in {node.name for node in parts.rest.graph.nodes}
    x = images[:5]
    features = load(parts.trunk, 1).logits(x, 0, range(1))[0].reshape(-1, *parts.shape)
    whole = load(artefact, 1).logits(x, 0, range(1))
    assert torch.equal(load(parts.rest, 1).logits(features, 0, range(1)), whole)


def test_before_the_first_layer_there_is_no_trunk(model: FloatModel, images: Tensor) -> None:
    artefact = made(model, "FP32", images)
    parts = cut(artefact, artefact.graph.convs[0].name)
    assert parts.trunk is None
    assert parts.rest is artefact
    assert parts.shape == RESIDUAL_SHAPE
