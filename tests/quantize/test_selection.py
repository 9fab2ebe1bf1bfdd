"""Shortcuts without parameters, strided slices and zero channels, against the module itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import initial, moped
from sigmabench.harness.quantize.artefact import load, save
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import FloatModel, fold
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.ptq import quantize
from sigmabench.harness.quantize.selection import numbered, recognise
from sigmabench.harness.quantize.trace import trace
from sigmabench.workloads.resnet20 import ResNet20

SHAPE = (3, 32, 32)


def means(model: FloatModel) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}


@pytest.fixture(scope="module")
def resnet20() -> nn.Module:
    torch.manual_seed(1)
    module = ResNet20()
    with torch.no_grad():
        module(torch.randn(16, *SHAPE))  # in training mode: statistics
    return module.eval()


@pytest.fixture(scope="module")
def model(resnet20: nn.Module) -> FloatModel:
    return fold(resnet20, moped(resnet20, 0.05), SHAPE)


def test_resnet20_is_the_papers_size(resnet20):
    assert sum(p.numel() for p in resnet20.parameters()) == 269_722
    assert resnet20(torch.zeros(2, *SHAPE)).shape == (2, 10)


def test_folded_resnet20_is_the_module(resnet20, model):
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(forward(model.graph, means(model), x), resnet20(x))
    fixed = [conv.name for conv in model.graph.convs if not conv.bayesian]
    assert len(fixed) == 2
    assert {conv.residual for conv in model.graph.convs} >= set(fixed)


def test_int8_shortcuts_copy_integers(model, tmp_path):
    x = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(3))
    artefact = quantize(model, "INT8", observe_ranges(model, x, "minmax"))
    for conv in artefact.graph.convs:
        if not conv.bayesian:
            layer = artefact.layers[conv.name]
            source = artefact.graph.activations[conv.input]
            target = artefact.graph.activations[conv.name]
            assert (target.scale, target.signed) == (source.scale, False)
            factor = layer.mean[:, :, 0, 0] * layer.weight_scale[:, None]
            inputs = conv.shape[1]
            expected = np.zeros((2 * inputs, inputs))
            expected[inputs // 2 : inputs // 2 + inputs] = np.eye(inputs)
            # Off by less than half a step of 255 is exact after rounding.
            np.testing.assert_allclose(factor, expected, rtol=0, atol=0.4 / 255)
            assert layer.sigma_q is None
    save(artefact, tmp_path / "a.safetensors")
    reference = BACKENDS.get("reference").load(load(tmp_path / "a.safetensors"), 1)
    expected = reference.logits(x[:2], 0, range(2))
    assert torch.isfinite(expected).all()
    native = BACKENDS.get("native")
    if native.unavailable():
        pytest.skip(native.unavailable())
    torch.testing.assert_close(
        native.load(artefact, 1).logits(x[:2], 0, range(2)), expected, rtol=0, atol=0.05
    )


class Select(nn.Module):
    """A network whose one unusual operation is `select`."""

    def __init__(self, select) -> None:
        super().__init__()
        self.select = select
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.head = nn.LazyLinear(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.avg_pool2d(self.select(self.conv(x)), 2).flatten(1))


@pytest.mark.parametrize(
    "select",
    [
        lambda x: x[:, :, ::2, ::3],
        lambda x: functional.pad(x, (0, 0, 0, 0, 1, 2)),
        lambda x: functional.pad(functional.pad(x, (0, 0, 0, 0, 0, 1))[:, :, ::2], [0] * 5 + [1]),
        lambda x: x[:, :, :, :],
        lambda x: x[:, :, ::2][:, :, ::2],
        lambda x: x[:, :3],
        lambda x: x[:, 1::2, ::3],
        lambda x: x.chunk(2, 1)[1],
        lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
        lambda x: x[:, 2:4][:, 1:],
        lambda x: x.reshape(-1, 2, 2, 11, 13).transpose(1, 2).reshape(-1, 4, 11, 13),
        lambda x: functional.channel_shuffle(x, 2)[:, 1:],
        lambda x: x[:, :, 1:],
        lambda x: x[:, :, 1::2, 2::3],
        lambda x: x.split(6, 2)[1][:, :, :5],
        lambda x: functional.pad(x, (1, 1)),
        lambda x: functional.pad(torch.relu(x), (0, 3, 2, -4)),
        lambda x: functional.pad(x, (1, 2, 1, 0))[:, 1:, ::2],
    ],
)
def test_selections(select):
    module = Select(select).eval()
    x = torch.randn(3, 2, 11, 13, generator=torch.Generator().manual_seed(4))
    expected = module(x)
    model = fold(module, initial(module), (2, 11, 13))
    torch.testing.assert_close(forward(model.graph, means(model), x), expected)


pads = st.integers(-3, 5)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    pad=st.tuples(pads, pads, pads, pads),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    channels=st.lists(st.integers(0, 2), min_size=1, max_size=4),
)
def test_a_convolution_takes_what_slices_and_pads_take(size, pad, stride, channels):
    """Found by what moved, made by PyTorch's convolution."""
    x = numbered((1, 3, *size))
    assume(size[1] + min(pad[0], 0) + min(pad[1], 0) > 0)
    assume(size[0] + min(pad[2], 0) + min(pad[3], 0) > 0)
    moved = functional.pad(x, pad)[:, channels, :: stride[0], :: stride[1]]
    assume(moved.any())
    found = recognise(x, moved)
    assert found is not None
    layer = found.layer(3)
    assert layer is not None
    made = functional.conv2d(x, layer[0].double(), **layer[1])
    assert torch.equal(made, moved)
    assert found.keeps_all(3) == (moved.shape == x.shape and torch.equal(moved, x))


@pytest.mark.parametrize(
    ("select", "named"),
    [
        (lambda x: x.transpose(2, 3), "transpose"),
        (lambda x: x.reshape(-1, 2, 2, 12, 12).transpose(1, 3).reshape(-1, 4, 12, 12), "reshape"),
        (lambda x: functional.pad(x, (0, 0, 0, 0, 1, 1), value=1.0), "pad"),
    ],
)
def test_other_slices_and_pads_are_named(select, named):
    module = Select(select).eval()
    module(torch.zeros(1, 2, 12, 12))
    with pytest.raises(UserError, match=f"{named}.*every k-th row and column"):
        trace(module, (2, 12, 12))
