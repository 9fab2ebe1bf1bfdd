"""Networks a user brings: shared weights, pruned layers, padding by name, embedded positions."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune

from sigmabench.harness import native
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.measure.operations import finding
from sigmabench.harness.posterior import initial, moped
from sigmabench.harness.quantize import artefact as files
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import FloatModel, fold, mean_weights, sampled_parameters
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.ptq import quantize

SHAPE = (1, 8, 8)


def folded(module: nn.Module) -> FloatModel:
    return fold(module, moped(module, 0.1), SHAPE)


def passes(model: FloatModel, format: str, backend: str, x: Tensor) -> Tensor:
    """Two draws, of a file of it."""
    found = quantize(model, format, observe_ranges(model, x, "minmax"))
    restored = files.from_bytes(files.to_bytes(found), "it")
    return BACKENDS.get(backend).load(restored, 1).logits(x, 7, range(2))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = (nn.Conv2d(1, 1, 3, padding=1) for _ in range(2))
        self.b.weight, self.b.bias = self.a.weight, self.a.bias
        self.f = nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(torch.relu(self.b(torch.relu(self.a(x)))).flatten(1))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.f = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(64, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(torch.relu(self.a(torch.relu(self.a(x)))).flatten(1))


def test_layers_with_one_tensor_are_named_and_told_the_way_out() -> None:
    module = Tied()
    told = r"a\.weight and b\.weight are one tensor.*`b\.weight = nn\.Parameter\(a\.weight"
    for make in (lambda: moped(module, 0.1), lambda: initial(module)):
        with pytest.raises(UserError, match=told):
            make()
    module.b.weight = nn.Parameter(module.a.weight.detach().clone())
    with pytest.raises(UserError, match=r"a\.bias and b\.bias"):
        moped(module, 0.1)
    module.b.bias = nn.Parameter(module.a.bias.detach().clone())
    assert len(folded(module).layers) == 3


def test_a_posterior_from_elsewhere_is_held_against_the_network_s_ties() -> None:
    class Apart(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.b.weight, self.b.bias = (
                nn.Parameter(torch.ones(1, 1, 3, 3)),
                nn.Parameter(torch.ones(1)),
            )

    with pytest.raises(UserError, match=r"a\.weight and b\.weight are one tensor"):
        fold(Tied(), moped(Apart(), 0.1), SHAPE)


def test_a_layer_that_is_called_twice_is_named_with_its_second_call() -> None:
    with pytest.raises(UserError, match=r"layer a is called more than once \(again as conv2d_1\)"):
        folded(Twice())


@pytest.mark.parametrize("make", [Tied, Twice])
def test_without_a_sigma_weights_may_be_shared(make: Callable[[], nn.Module]) -> None:
    module, x = make(), torch.randn(3, *SHAPE)
    model = fold(module, moped(module, 0.1, bayesian=["f.weight"]), SHAPE)
    found = forward(model.graph, mean_weights(model), x, constants=model.constants)
    torch.testing.assert_close(found, module(x))


class Standardised(nn.Module):
    """Weight standardisation as timm has it, by a batch norm of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.f = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 2)
        self.gain = nn.Parameter(torch.full((4,), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        weight = functional.batch_norm(
            self.a.weight.reshape(1, 4, -1), None, None, weight=self.gain, training=True
        ).reshape_as(self.a.weight)
        y = functional.conv2d(x, weight, self.a.bias)
        return self.f(self.b(torch.relu(y)).flatten(1))


def test_a_standardised_weight_is_named_and_the_way_out_is_one() -> None:
    torch.manual_seed(5)
    module, x = Standardised(), torch.randn(3, *SHAPE)
    told = "a.weight is Bayesian.*bayesian=sampled_parameters[(]module, [(]1, 8, 8[)]"
    with pytest.raises(UserError, match=told):
        folded(module)
    names = sampled_parameters(module, SHAPE)
    assert names == ["a.bias", "b.weight", "b.bias", "f.weight", "f.bias"]
    model = fold(module, moped(module, 0.1, bayesian=names), SHAPE)
    found = forward(model.graph, mean_weights(model), x, constants=model.constants)
    torch.testing.assert_close(found, module(x))
    drawn = passes(model, "INT8_SIGMA4", "reference", x)
    assert not torch.equal(drawn[0], drawn[1])


class Blurred(nn.Module):
    """A filter that no state dict holds, in a network that is divided or not."""

    def __init__(self, divided: bool) -> None:
        super().__init__()
        self.divided = divided
        self.a, self.f = nn.Conv2d(1, 4, 1), nn.Linear(64, 2)
        self.register_buffer("filter", torch.full((4, 1, 2, 2), 0.25), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y = functional.conv2d(y * y if self.divided else y, self.filter, stride=2, groups=4)
        return self.f(torch.relu(y).flatten(1))


@pytest.mark.parametrize("divided", [False, True])
def test_a_filter_that_is_not_saved_is_the_module_s(divided: bool) -> None:
    torch.manual_seed(6)
    module, x = Blurred(divided), torch.randn(3, *SHAPE)
    model = folded(module)
    assert bool(model.graph.steps) == divided
    found = forward(model.graph, mean_weights(model), x, constants=model.constants)
    torch.testing.assert_close(found, module(x))


class Padded(nn.Module):
    def __init__(self, named: bool) -> None:
        super().__init__()
        self.named = named
        padding = "same" if named else 0
        self.a = nn.Conv2d(1, 2, 4, padding=padding)
        self.b = nn.Conv2d(2, 3, (2, 3), padding=padding, dilation=(3, 1))
        self.f = nn.Linear(192, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x if self.named else functional.pad(x, (1, 2, 1, 2))))
        y = self.b(y if self.named else functional.pad(y, (1, 1, 1, 2)))
        return self.f(y.flatten(1))


@pytest.mark.parametrize(
    ("format", "backend"), [("INT8_SIGMA4", "reference"), ("INT8", "native"), ("FP32", "float")]
)
def test_padding_by_name_is_that_padding(format: str, backend: str) -> None:
    if BACKENDS.get(backend).unavailable() is not None:
        pytest.skip(str(BACKENDS.get(backend).unavailable()))
    torch.manual_seed(1)
    written = Padded(False)
    by_name = Padded(True)
    by_name.load_state_dict(written.state_dict())
    models = [folded(module) for module in (by_name, written)]
    assert [model.graph.steps for model in models] == [(), ()]
    x = torch.randn(4, *SHAPE)
    logits = [passes(model, format, backend, x) for model in models]
    assert torch.equal(*logits)
    assert not torch.equal(logits[0][0], logits[0][1])


def test_pytorch_s_advice_on_padding_is_not_for_users() -> None:
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        folded(Padded(True))
    assert [str(one.message) for one in leaked] == []


def test_a_pruned_layer_has_its_name() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten())
    module.append(nn.Linear(32, 3))
    prune.l1_unstructured(module[2], "weight", 0.5)
    told = finding(folded(module).graph, FORMATS.get("INT8"))
    assert told[-1] == "layers without a σ, the same in every pass: 2.weight"


class Region(nn.Module):
    """Part of it without gradients, part under an autocast that is switched off."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.f = nn.Conv2d(1, 3, 3), nn.Conv2d(3, 3, 3), nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            y = torch.relu(self.a(x).float())
        with torch.no_grad():
            y, _ = self.b(y), y.cumsum(1)
        return self.f(torch.tanh(y).flatten(1))


def test_regions_are_part_of_the_graph() -> None:
    module, x = Region(), torch.randn(3, *SHAPE)
    model = folded(module)
    assert [type(node).__name__ for node in model.graph.nodes] == ["Conv", "Conv", "Join", "Conv"]
    torch.testing.assert_close(forward(model.graph, mean_weights(model), x), module(x))


class Positions(nn.Module):
    """A layer reads nothing but positions, and the error function keeps the network divided."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.a, self.f = nn.Linear(2, 4), nn.Conv2d(1, 4, 1), nn.Linear(256, 2)
        rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
        self.register_buffer("grid", torch.stack([rows, columns], -1) / 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.place(self.grid).permute(2, 0, 1) + self.a(x)
        return self.f((torch.erf(y) * y).flatten(1))


def test_a_layer_of_positions_is_drawn() -> None:
    torch.manual_seed(3)
    module, x = Positions(), torch.randn(3, *SHAPE)
    model = folded(module)
    assert {conv.name for conv in model.graph.convs if conv.bayesian} == {"place", "a", "f"}
    found = forward(model.graph, mean_weights(model), x, constants=model.constants)
    torch.testing.assert_close(found, module(x))
    expected = passes(model, "INT8_SIGMA4", "reference", x)
    assert not torch.equal(expected[0], expected[1])
    if native.unavailable() is None:
        found = passes(model, "INT8_SIGMA4", "native", x)
        torch.testing.assert_close(found, expected, rtol=0, atol=float(expected.abs().max()) * 1e-5)


@pytest.mark.parametrize("make", [Twice, Region, Positions])
def test_what_can_be_sampled_makes_a_posterior_that_folds(make: Callable[[], nn.Module]) -> None:
    module = make()
    names = sampled_parameters(module, SHAPE)
    assert "f.weight" in names
    assert fold(module, moped(module, 0.1, bayesian=names), SHAPE).layers
