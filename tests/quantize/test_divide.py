"""Networks that no graph holds whole: the steps compute what the module does."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
from divided_nets import CLASSES, NETS, SHAPE, settle, settled
from forgery import forged
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.measure.operations import finding, operations
from sigmabench.harness.posterior import initial, moped
from sigmabench.harness.quantize import artefact as files
from sigmabench.harness.quantize import artefact_file, floats
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.divide import divide
from sigmabench.harness.quantize.fold import FloatModel, _folded, fold, mean_weights
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.graph import Segment
from sigmabench.harness.quantize.ptq import quantize


def computed(model: FloatModel, x: Tensor) -> Tensor:
    with torch.no_grad():
        return forward(model.graph, mean_weights(model), x, constants=model.constants)


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, FloatModel]:
    module, x = settled(request.param)
    return module, x, fold(module, initial(module), SHAPE)


def test_the_steps_compute_what_the_module_does_at_any_batch_size(net) -> None:
    module, x, model = net
    for batch in (1, 5):
        with torch.no_grad():
            expected = module(x[:batch].clone())
        torch.testing.assert_close(computed(model, x[:batch]), expected, rtol=1e-4, atol=1e-5)
    assert expected.std(dim=0).mean() > 50e-4 * expected.abs().max(), "far beyond the tolerance"


def test_every_layer_is_in_a_segment(net) -> None:
    module, _, model = net
    layers = [m for m in module.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    attention = [m for m in module.modules() if isinstance(m, nn.MultiheadAttention)]
    found = [conv for conv in model.graph.convs if conv.bayesian]
    assert len(found) == len(layers)
    assert len(model.graph.convs) == len(layers) + len(attention)
    assert operations(model.graph).float_layers == ()


def test_steps_read_what_is_there_and_segments_end_in_layers(net) -> None:
    graph = net[2].graph
    done = {graph.input}
    for step in graph.steps:
        assert done.issuperset([step.value] if isinstance(step, Segment) else floats.reads(step))
        done.add(step.name)
    parts = graph.parts()
    assert sum(len(part.nodes) for part in parts.values()) == len(graph.nodes)
    for part in parts.values():
        assert part.nodes[-1].op == "conv"
        assert part.nodes[-1].residual is None
    names = [conv.name for part in parts.values() for conv in part.convs]
    assert names == [conv.name for conv in graph.convs]


def test_multiply_adds_are_those_of_an_independent_counter(net) -> None:
    module, x, model = net
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module(x[:1].clone())
    # FlopCounterMode counts a multiplication and an addition each, biases not at all.
    assert 2 * operations(model.graph).total_multiply_adds == counter.get_total_flops()


class Rearranged(nn.Module):
    """A norm that no layer takes, channels picked and put together, and a gate: what a graph needs
    layers of its own for."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.upper, self.other = nn.Conv2d(4, 4, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        y = torch.relu(self.norm(torch.relu(self.second(torch.relu(y)) + torch.relu(y))))
        one, two = y.chunk(2, 1)
        y = self.other(torch.cat([self.upper(two), one], 1))
        return self.head((y * torch.sigmoid(y)).mean((2, 3)))


def test_layers_that_the_graph_added_are_no_operations() -> None:
    torch.manual_seed(2)
    module, x = Rearranged(), torch.randn(8, 3, 8, 8)
    model = fold(settle(module, x), initial(module), (3, 8, 8))
    added = [conv for conv in model.graph.convs if not conv.bayesian]
    assert len(added) >= 3
    assert all(conv.fixed == (conv in added) for conv in model.graph.convs)
    with FlopCounterMode(display=False) as counter:
        module(x[:1].clone())
    found = operations(model.graph)
    assert 2 * found.total_multiply_adds == counter.get_total_flops()
    assert found.inside == len(model.graph.nodes) - len(added)
    restored = files.from_bytes(files.to_bytes(quantize(model, "FP32")), "it")
    assert operations(restored.graph) == found


def test_layers_without_a_sigma_are_told() -> None:
    module, _ = settled("torchvision vit", 4)
    model = fold(module, initial(module), SHAPE)
    layer = "encoder.layers.encoder_layer_{}.self_attention.in_proj_weight"
    told = f"layers without a σ, the same in every pass: {layer.format(0)}, {layer.format(1)}"
    for name in ("FP32", "INT8"):
        assert finding(model.graph, FORMATS.get(name))[-1] == told
    for name in ("DNN_FP32", "DNN_INT8"):
        assert told not in finding(quantize(model, "DNN_FP32").graph, FORMATS.get(name))


def pretrained_kind(name: str, size: int) -> nn.Module:
    """As torchvision, or timm, builds it."""
    if name.startswith("torchvision/"):
        name = name.removeprefix("torchvision/")
        return torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    sized = {"img_size": size} if name.startswith(("vit", "deit", "mixer")) else {}
    return pytest.importorskip("timm").create_model(name, num_classes=CLASSES, **sized)


PUBLISHED = {
    "torchvision/mobilenet_v3_small": 32,
    "torchvision/efficientnet_b0": 32,
    "convnext_atto": 32,
    "vit_tiny_patch16_224": 32,
}
MORE = {
    "torchvision/convnext_tiny": 32,
    "torchvision/swin_t": 64,
    "torchvision/regnet_y_400mf": 64,
    "torchvision/maxvit_t": 224,
    "seresnet18": 64,
    "skresnet18": 64,
    "tf_efficientnet_b0": 64,
    "mobilevit_xxs": 64,
    "mixer_s32_224": 64,
    "poolformer_s12": 64,
    "convnextv2_atto": 64,
    "pvt_v2_b0": 64,
    "swin_tiny_patch4_window7_224": 224,
    "hrnet_w18_small": 64,
}
EVERY = [
    "convnext_atto",
    *(
        pytest.param(name, marks=pytest.mark.thorough)
        for name in PUBLISHED
        if name != "convnext_atto"
    ),
    *(pytest.param(name, marks=pytest.mark.slow) for name in MORE),
]


@pytest.mark.parametrize("name", EVERY)
def test_published_networks_go_through(name: str) -> None:
    """`fold` itself compares the steps with the module, and refuses where they differ."""
    size = (PUBLISHED | MORE)[name]
    torch.manual_seed(4)
    module = pretrained_kind(name, size)
    x = torch.randn(2, 3, size, size)
    settle(module, torch.randn(8, 3, size, size))
    model = fold(module, moped(module, 0.1), (3, size, size))
    found = operations(model.graph)
    assert found.float_layers == ()
    assert found.inside_multiply_adds > 0.9 * found.total_multiply_adds
    with torch.no_grad():
        expected = module(x.clone())
    assert (computed(model, x) - expected).abs().max() < 1e-3 * expected.abs().max()


def test_operations_are_counted_and_told() -> None:
    module, _ = settled("gated")
    graph = fold(module, initial(module), SHAPE).graph
    assert [segment.nodes for segment in graph.segments] == [1, 1, 1]
    assert [o.target.split(".")[1] for o in graph.operations] == [
        "sigmoid", "mul", "square", "amax",
    ]  # fmt: skip
    found = operations(graph)
    assert (found.segments, found.inside, found.total) == (3, 3, 7)
    assert found.inside_multiply_adds == found.total_multiply_adds == 2 * 81 * 1024 + 15
    assert finding(graph, FORMATS.get("INT8")) == (
        "3 of 7 operations (100 % of multiply–adds) in int8; the rest stays float32",
    )
    assert finding(graph, FORMATS.get("FP32")) == ()


def test_whole_networks_are_not_divided(residual, posterior) -> None:
    model = fold(residual, posterior, RESIDUAL_SHAPE)
    assert model.graph.steps == ()
    assert model.constants == {}
    assert operations(model.graph) is None
    assert finding(model.graph, FORMATS.get("INT8")) == ()
    header = quantize(model, "FP32").header
    assert header.schema == 1
    assert "steps" not in artefact_file._header_text(header)


def test_a_whole_network_forced_into_steps_is_one_segment_with_the_same_logits(
    residual, posterior, images
) -> None:
    whole = fold(residual, posterior, RESIDUAL_SHAPE)
    traced = divide(residual, RESIDUAL_SHAPE, {**posterior.state, **posterior.mean})
    forced = _folded(traced, residual, posterior)
    assert len(forced.graph.steps) == 1
    logits = []
    for model in (whole, forced):
        artefact = quantize(model, "INT8_SIGMA4", observe_ranges(model, images, "minmax"))
        logits.append(BACKENDS.get("reference").load(artefact, 1).logits(images[:4], 5, range(3)))
    assert torch.equal(*logits)


class Body(nn.Module):
    """`body(first convolution, module)` between two layers."""

    def __init__(self, body: Callable[[Tensor, Body], Tensor]) -> None:
        super().__init__()
        self.body = body
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.scale = nn.Parameter(torch.randn(6, 1, 1))
        self.register_buffer("order", torch.randperm(6), persistent=False)
        self.head = nn.LazyLinear(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x), self).flatten(1))


def masked(y: Tensor, m: Body) -> Tensor:
    mask = torch.zeros(8, 8)
    mask[2:5, 1:3] = 1.0
    return y * mask


def mask_like_the_map(y: Tensor, m: Body) -> Tensor:
    mask = y.new_zeros(8, 8)
    mask[2:5, 1:3] = 1.0
    return y * mask


def standardised(y: Tensor, m: Body) -> Tensor:
    weight = m.scale[:, :, :, None].expand(6, 6, 3, 3) * torch.ones_like(m.scale)
    return y * functional.conv2d(y, weight / weight.square().sum().sqrt(), padding=1)


def changed_in_place(y: Tensor, m: Body) -> Tensor:
    z = m.second(y)
    y *= torch.sigmoid(z)
    functional.silu(z, inplace=True)
    return y + z


BODIES: dict[str, Callable[[Tensor, Body], Tensor]] = {
    "product": lambda y, m: y * m.second(y),
    "a parameter": lambda y, m: m.second(y * m.scale),
    "a buffer that is not saved": lambda y, m: y[:, m.order] * 2,
    "a mask made in place": masked,
    "a mask made of the map's type": mask_like_the_map,
    "a computed weight": standardised,
    "in place": changed_in_place,
    "split": lambda y, m: (lambda a, b: torch.cat([a * b, m.second(y)], 1))(*y.chunk(2, 1)),
    "shortcut from outside": lambda y, m: m.second(torch.erf(y)) + y,
    "chain behind": lambda y, m: torch.relu(m.second(torch.relu(m.second(y * y)))[:, :, ::2]),
    "upsampled": lambda y, m: m.second(functional.interpolate(y, scale_factor=2, mode="nearest")),
    "bilinear": lambda y, m: functional.interpolate(y, (11, 13), mode="bilinear"),
    "layer norm over channels": lambda y, m: functional.layer_norm(
        y.permute(0, 2, 3, 1), (6,)
    ).permute(0, 3, 1, 2),
    "a number": lambda y, m: 1 - y,
    "rows side by side": lambda y, m: torch.cat([y, y], 2),
    "average that rounds up": lambda y, m: functional.avg_pool2d(y, 3, 2, 1, ceil_mode=True),
    "adaptive maximum": lambda y, m: m.second(functional.adaptive_max_pool2d(y, 3)),
    "windows added up": lambda y, m: functional.fold(
        functional.unfold(y, 3, padding=1), (8, 8), 3, padding=1
    ),
    "tokens": lambda y, m: functional.gelu(y.flatten(2).transpose(1, 2)).softmax(1),
}


@pytest.mark.parametrize("name", [name for name in BODIES if name != "chain behind"])
def test_what_stays_float_is_what_the_module_does(name: str) -> None:
    torch.manual_seed(1)
    module, x = Body(BODIES[name]), torch.randn(4, 3, 8, 8)
    module.eval()(x.clone())
    model = fold(module, initial(module), (3, 8, 8))
    assert model.graph.steps
    with torch.no_grad():
        expected = module(x.clone())
    torch.testing.assert_close(computed(model, x), expected, rtol=1e-4, atol=1e-5)
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    logits = BACKENDS.get("reference").load(artefact, 1).logits(x, 0, range(1))[0]
    assert (logits - expected).square().mean() < 0.06**2 * expected.square().mean()


class Mixes(Body):
    """Images of a batch depend on one another."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return self.head((y * (y - y.mean(0))).flatten(1))


def rows_in_place(y: Tensor, m: Body) -> Tensor:
    y[:, :, ::2].mul_(2.0)
    return y * torch.sigmoid(y)


def bad(module: nn.Module) -> nn.Module:
    module.eval()(torch.zeros(2, 3, 8, 8))
    return module


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Mixes(BODIES["product"]), "may mix the images of a batch"),
        (lambda: Body(BODIES["chain behind"]), "The layer second is called more than once"),
        (lambda: Body(lambda y, m: torch.fft.fft(y).real), "fft_fft.default .node"),
        (
            lambda: nn.Sequential(nn.Conv2d(3, 2, 1), nn.Softmax(1)),
            "not a vector of logits; its shape is .1, 2, 8, 8.",
        ),
        (lambda: Body(rows_in_place), "mul_ changes a slice in place"),
        (lambda: nn.Sequential(nn.Softmax(1), nn.Flatten()), "no convolution or linear layer"),
    ],
)
def test_what_cannot_be_is_named(make: Callable[[], nn.Module], named: str) -> None:
    module = bad(make())
    with pytest.raises(UserError, match=named):
        fold(module, initial(module), (3, 8, 8))


def test_a_deterministic_layer_may_stay_float_and_is_told() -> None:
    module, x = bad(Body(BODIES["chain behind"])), torch.randn(2, 3, 8, 8)
    model = fold(module, initial(module, bayesian=["first.weight", "head.weight"]), (3, 8, 8))
    found = operations(model.graph)
    assert found.float_layers == ("second.weight",)
    assert found.inside_multiply_adds < found.total_multiply_adds
    assert "layers among it: second.weight" in finding(model.graph, FORMATS.get("BF16"))[0]
    with torch.no_grad():
        torch.testing.assert_close(computed(model, x), module(x), rtol=1e-4, atol=1e-5)


def test_ranges_are_those_of_the_values_that_segments_read() -> None:
    module, x = settled("gated", 8)
    model = fold(module, initial(module), SHAPE)
    graph = observe_ranges(model, x, "minmax").graph
    with torch.no_grad():
        first = module.first(x)
        gated = first * first.sigmoid()
        pooled = module.second(gated).square().amax((2, 3))
    read = [graph.activations[segment.input] for segment in graph.segments]
    for activation, value in zip(read, (x, gated, pooled), strict=True):
        assert activation.signed
        assert 127 * activation.scale == pytest.approx(float(value.abs().max()), rel=1e-5)
    assert all(graph.activations[name].scale == 0 for name in graph.outputs)


def made(name: str = "vit", format: str = "INT8_SIGMA2") -> Artefact:
    module, x = settled(name, 4)
    model = fold(module, moped(module, 0.1), SHAPE)
    return quantize(model, format, observe_ranges(model, x, "minmax"))


@pytest.mark.parametrize("format", ["INT8_SIGMA2", "BF16", "INT4"])
def test_the_file_holds_steps_and_constants(format: str) -> None:
    artefact = made(format=format)
    assert artefact.header.schema == 4
    data = files.to_bytes(artefact)
    again = files.from_bytes(data, "it")
    assert again.graph == artefact.graph
    assert files.to_bytes(again) == data
    assert again.constants.keys() == artefact.constants.keys()
    for name, array in artefact.constants.items():
        assert np.array_equal(array, again.constants[name])
        assert array.dtype == again.constants[name].dtype
    size = files.size(artefact)
    assert size.constant_bytes == sum(4 * array.size for array in artefact.constants.values()) > 0
    parts = (size.weight_bytes, size.scale_bytes, size.bias_bytes, size.graph_bytes)
    assert size.file_bytes == sum(parts) + size.header_bytes + size.constant_bytes


def first_operation(header: dict) -> dict:
    return next(step for step in header["graph"]["steps"] if "target" in step)


def only_an_operation(header: dict) -> None:
    step = {"name": "y", "target": "aten.relu.default", "args": [{"value": "input"}]}
    header["graph"].update(nodes=[], output="y", steps=[{**step, "shape": [1, CLASSES]}])


@pytest.mark.parametrize(
    "change",
    [
        lambda h: first_operation(h).update(target="aten.from_file.default"),
        lambda h: first_operation(h).update(args=[{"value": "nothing"}]),
        lambda h: first_operation(h).update(args=[{"constant": "nothing"}]),
        lambda h: first_operation(h).update(kwargs={"dtype": {"dtype": "load"}}),
        lambda h: h["graph"].update(output="nothing"),
        lambda h: first_operation(h).update(args=[{"value": ["input"]}]),
        lambda h: h["graph"]["steps"].pop(0),
        lambda h: h["graph"]["steps"][0].update(input="nothing"),
        lambda h: h["graph"]["steps"][0].update(name="nothing"),
        lambda h: h["constants"].popitem(),
        only_an_operation,
        lambda h: next(iter(h["constants"].values())).update(shape=[7, 7, 7]),
    ],
)
def test_a_file_with_impossible_steps_is_refused(change: Callable[[dict], None]) -> None:
    artefact = made()
    files.from_bytes(forged(files.to_bytes(artefact)), "it")
    with pytest.raises(UserError, match="it is damaged or not a SigmaBench artefact"):
        files.from_bytes(forged(files.to_bytes(artefact), change), "it")


def test_parts_are_numbered_as_layers_of_the_whole() -> None:
    artefact = made()
    ordinals = [i for part in artefact.parts().values() for i in part.ordinals.values()]
    assert ordinals == list(range(len(artefact.graph.convs)))
