"""Networks as others write them: the graph computes what the module does, in floats and in int8."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.vgg import VGG, make_layers

from sigmabench.harness import native
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.native import build
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize import artefact as files
from sigmabench.harness.quantize import functions
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import FloatModel, fold
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.graph import Conv, GroupNorm, Join, Node, Pool, reads
from sigmabench.harness.quantize.ptq import quantize
from sigmabench.harness.quantize.trace import trace

CLASSES = 10


def torchvision_net(name: str, **how: object) -> nn.Module:
    return torchvision.models.get_model(name, weights=None, num_classes=CLASSES, **how)


def narrow_vgg() -> nn.Module:
    """VGG-11 with batch norm on 224 x 224 images, thin enough to be quick."""
    widths = [4, "M", 8, "M", 8, 8, "M", 16, 16, "M", 16, 16, "M"]
    module = VGG(make_layers(widths, batch_norm=True), num_classes=CLASSES, init_weights=False)
    head = [nn.Linear(16 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, CLASSES)]
    module.classifier = nn.Sequential(*head)
    return module


def narrow_densenet() -> nn.Module:
    return torchvision.models.DenseNet(8, (2, 3, 2, 2), 16, num_classes=CLASSES)


def timm_net(name: str) -> nn.Module:
    timm = pytest.importorskip("timm")
    return timm.create_model(name, num_classes=CLASSES)


NETS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: torchvision_net("resnet18"), 32),
    "resnet50": (lambda: torchvision_net("resnet50"), 64),
    "mobilenet_v2": (lambda: torchvision_net("mobilenet_v2", width_mult=0.35), 64),
    "vgg11_bn": (narrow_vgg, 224),
    "densenet": (narrow_densenet, 64),
    "squeezenet1_1": (lambda: torchvision_net("squeezenet1_1"), 64),
    "squeezenet1_0": (lambda: torchvision_net("squeezenet1_0"), 60),
    "googlenet": (lambda: torchvision_net("googlenet", aux_logits=False, init_weights=False), 64),
    "shufflenet": (lambda: torchvision_net("shufflenet_v2_x0_5"), 64),
    "resnet18, group norm": (
        lambda: torchvision_net("resnet18", norm_layer=partial(nn.GroupNorm, 8)),
        32,
    ),
    "resnetv2": (lambda: timm_net("resnetv2_18"), 32),
    "res2net": (lambda: timm_net("res2net50_48w_2s"), 32),
    "dla34": (lambda: timm_net("dla34"), 32),
}
SLOW: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "densenet121": (lambda: torchvision_net("densenet121"), 224),
    "inception_v3": (
        lambda: torchvision_net("inception_v3", aux_logits=False, init_weights=False),
        299,
    ),
    "regnet_x": (lambda: torchvision_net("regnet_x_400mf"), 64),
    "mnasnet": (lambda: torchvision_net("mnasnet0_5"), 64),
    "cspdarknet53": (lambda: timm_net("cspdarknet53"), 64),
    "darknet53": (lambda: timm_net("darknet53"), 64),
    "vovnet39a": (lambda: timm_net("vovnet39a"), 64),
    "repvgg_a0": (lambda: timm_net("repvgg_a0"), 64),
    "dpn68": (lambda: timm_net("dpn68"), 64),
    "xception41": (lambda: timm_net("xception41"), 64),
    "selecsls42": (lambda: timm_net("selecsls42"), 64),
    "efficientnet_lite0": (lambda: timm_net("efficientnet_lite0"), 64),
}
LARGE = (
    "resnet50", "res2net", "googlenet", "dla34", "resnet18", "resnetv2", "shufflenet", "vgg11_bn",
    "squeezenet1_1", "resnet18, group norm",
)  # fmt: skip


def each(names: Iterable[str], slow: Iterable[str] = ()) -> list[Any]:
    """Names of networks; the large ones are thorough."""
    marks = {**dict.fromkeys(LARGE, pytest.mark.thorough), **dict.fromkeys(slow, pytest.mark.slow)}
    return [pytest.param(name, marks=marks.get(name, ())) for name in names]


EVERY = [*each(NETS), *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


def settle(module: nn.Module, x: Tensor) -> nn.Module:
    """Batch norms get the statistics of random images, else deep networks tell no two apart, and
    weights of their own."""
    torch.manual_seed(5)
    module.train()
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.momentum = 1.0
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 1.5)
                nn.init.normal_(norm.bias, 0, 0.2)
        elif isinstance(norm, (nn.GroupNorm, nn.LayerNorm, nn.InstanceNorm2d)):
            assert norm.weight is not None
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0, 0.2)
        elif isinstance(norm, nn.Dropout):
            norm.p = 0.0
    with torch.no_grad():
        module(x)
    return module.eval()


@lru_cache(maxsize=2)
def prepared(name: str) -> tuple[nn.Module, FloatModel, Tensor]:
    make, size = (NETS | SLOW)[name]
    torch.manual_seed(4)
    module, x = make(), torch.randn(8, 3, size, size)
    settle(module, x)
    return module, fold(module, initial(module), (3, size, size)), x


def computed(model: FloatModel, x: Tensor) -> Tensor:
    weights = {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}
    with torch.no_grad():
        return forward(model.graph, weights, x)


def check(module: nn.Module, x: Tensor) -> FloatModel:
    """The folded graph computes what the module does, whatever the module does in place."""
    model = fold(module, initial(module), tuple(x.shape[1:]))
    with torch.no_grad():
        expected = copy.deepcopy(module)(x.clone())
    error = (computed(model, x) - expected).abs().max()
    assert error < 1e-4 * expected.abs().max()
    assert expected.std(dim=0).mean() > 0.01 * expected.abs().max()  # images are told apart
    done = {model.graph.input}
    for node in model.graph.nodes:
        assert done.issuperset(reads(node))
        done.add(node.name)
    return model


@pytest.mark.parametrize("name", EVERY)
def test_the_graph_of_a_network_computes_what_the_network_does(name: str) -> None:
    module, _, x = prepared(name)
    check(module, x[:2])


def in_float(node: Node, artefact: Artefact, values: dict[str, Tensor]) -> Tensor:
    """What a node makes of real numbers, with the weights that its integers stand for."""
    if isinstance(node, Join):
        return functions.apply(node, torch.cat([values[name] for name in node.inputs], 1))
    x = values[node.input]
    if isinstance(node, GroupNorm):
        return functional.group_norm(x, node.groups, eps=node.eps)
    if isinstance(node, Pool) and node.kind == "max":
        how = (node.kernel, node.stride, node.padding, node.dilation)
        return functional.max_pool2d(x, *how, node.ceil)
    if isinstance(node, Pool) and node.out is not None:
        return functional.adaptive_avg_pool2d(x, node.out)
    if isinstance(node, Pool):
        return functional.avg_pool2d(x, node.kernel, node.stride, node.padding, node.ceil, False)
    layer = artefact.layers[node.name]
    weight = torch.from_numpy(layer.mean * layer.weight_scale.reshape(-1, 1, 1, 1).astype(float))
    bias = torch.from_numpy(layer.bias).double()
    how = (node.stride, node.padding, node.dilation, node.groups)
    y = functional.conv2d(x, weight, bias, *how)
    y = y if node.residual is None else y + values[node.residual]
    return y.clamp(0, node.ceiling) if node.relu else y


DEEP = ("resnet50", "res2net")


@pytest.mark.parametrize("name", each(NETS, slow=DEEP))
def test_every_integer_is_the_nearest_to_what_floats_make_of_those_before_it(name: str) -> None:
    """Layer by layer: random networks of this depth amplify the least difference, weights that are
    off by 0.4 % included, so that their logits alone would say little."""
    _, model, x = prepared(name)
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    graph = artefact.graph
    found = BACKENDS.get("reference").load(artefact, 1).activations(x[:1], 0, 0)
    scales = {k: a.scale or 1.0 for k, a in graph.activations.items()}
    values = {k: torch.from_numpy(v.astype(float)) * scales[k] for k, v in found.items()}
    for node in graph.nodes:
        exact, own = in_float(node, artefact, values), values[node.name]
        if node.name == graph.output:
            torch.testing.assert_close(own, exact, rtol=1e-5, atol=1e-5)
            continue
        signed = graph.activations[node.name].signed
        low, high = (-128, 127) if signed else (0, 255)
        nearest = exact.clamp(low * scales[node.name], high * scales[node.name])
        assert (own - nearest).abs().max() <= 0.501 * scales[node.name]


SHALLOW: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v2": lambda: torchvision.models.MobileNetV2(
        CLASSES, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 2]]
    ),
    "densenet": lambda: torchvision.models.DenseNet(8, (2, 2), 16, num_classes=CLASSES),
}


@pytest.mark.parametrize("name", SHALLOW)
def test_int8_is_close_to_fp32(name: str) -> None:
    """Of how logits differ between images, not of what all have in common. 0.98 was chosen before
    looking."""
    torch.manual_seed(4)
    module, x = SHALLOW[name](), torch.randn(32, 3, 64, 64)
    model = fold(settle(module, x), initial(module), (3, 64, 64))
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    backend = BACKENDS.get("reference" if native.unavailable() else "native")
    logits = backend.load(artefact, 1).logits(x, 0, range(1))[0]
    with torch.no_grad():
        expected = module(x)
    both = torch.stack([(y - y.mean(0)).flatten() for y in (logits, expected)])
    assert torch.corrcoef(both)[0, 1] > 0.98


@pytest.mark.parametrize("name", each(["mobilenet_v2", "densenet", "squeezenet1_1", "googlenet"]))
def test_compiled_int8_is_the_reference_s_and_files_keep_it(name: str) -> None:
    if native.unavailable() is not None:
        pytest.skip(str(native.unavailable()))
    _, model, x = prepared(name)
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    restored = files.from_bytes(files.to_bytes(artefact), "it")
    assert restored.graph == artefact.graph
    expected = BACKENDS.get("reference").load(restored, 1).logits(x[:2], 0, range(1))
    found = build(restored, 1, "portable").logits(x[:2].numpy(), 0, 0, 1)
    assert torch.equal(torch.from_numpy(found), expected)


@pytest.mark.parametrize(
    "name", [pytest.param("mobilenet_v2", marks=pytest.mark.thorough), "densenet"]
)
def test_sampled_int8_passes_are_the_reference_s(name: str) -> None:
    module, _, x = prepared(name)
    model = fold(module, initial(module, 0.01), tuple(x.shape[1:]))
    artefact = quantize(model, "INT8_SIGMA4", observe_ranges(model, x, "minmax"))
    if native.unavailable() is not None:
        pytest.skip(str(native.unavailable()))
    expected = BACKENDS.get("reference").load(artefact, 1).logits(x[:2], 3, range(2))
    for threads, team in ((1, 1), (2, 2)):
        program = build(artefact, threads, "portable", team=team)
        assert torch.equal(torch.from_numpy(program.logits(x[:2].numpy(), 3, 0, 2)), expected)


@pytest.mark.parametrize("name", ["mobilenet_v2", "densenet"])
@pytest.mark.parametrize("format", ["FP32", "BF16", "DNN_FP32"])
def test_float_backends_take_them(name: str, format: str) -> None:
    module, model, x = prepared(name)
    predictor = BACKENDS.get("float").load(quantize(model, format), 1)
    logits = predictor.logits(x[:2], 0, range(2))
    assert torch.isfinite(logits).all()
    if format == "DNN_FP32":
        torch.testing.assert_close(logits[0], module(x[:2]), rtol=1e-4, atol=1e-4)


def test_schemas_say_what_older_readers_do_not_know() -> None:
    schemas = {
        name: quantize(prepared(name)[1], "DNN_FP32").header.schema
        for name in ("resnet18", "mobilenet_v2", "densenet", "squeezenet1_0")
    }
    assert schemas == {"resnet18": 1, "mobilenet_v2": 3, "densenet": 3, "squeezenet1_0": 3}


@pytest.mark.parametrize(
    "name", ["group norm", "dilated maximum", "uneven pool that a layer reads"]
)
def test_readers_before_schema_5_know_no_norms_dilated_or_uneven_pools(name: str) -> None:
    module, x = Body(BODIES[name]), torch.randn(4, 3, 8, 8)
    model = fold(settle(module, x), initial(module), (3, 8, 8))
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    assert artefact.header.schema == 5
    restored = files.from_bytes(files.to_bytes(artefact), "it")
    assert restored.graph == artefact.graph


def test_relu6_is_a_ceiling_and_its_range_does_not_exceed_it() -> None:
    _, model, x = prepared("mobilenet_v2")
    clipped = [conv for conv in model.graph.convs if conv.ceiling is not None]
    assert {conv.ceiling for conv in clipped} == {6.0}
    assert len(clipped) == 35
    assert not any(isinstance(node, Join) for node in model.graph.nodes)
    loud = observe_ranges(model, 40 * x, "minmax").graph.activations
    silent = observe_ranges(model, 0 * x, "minmax").graph.activations
    for conv in clipped:
        for ranges in (loud, silent):
            activation = ranges[conv.name]
            assert not activation.signed
            assert 0 < activation.scale * 255 <= 6.0 * (1 + 2**-23)
    assert max(loud[conv.name].scale for conv in clipped) * 255 == pytest.approx(6.0)


class Body(nn.Module):
    """A network whose middle is `body(first convolution, image, module)`."""

    def __init__(self, body: Callable[[Tensor, Tensor, Body], Tensor]) -> None:
        super().__init__()
        self.body = body
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1, bias=False)
        self.norm, self.norm_again = nn.BatchNorm2d(6), nn.BatchNorm2d(6, affine=False)
        self.image_norm = nn.BatchNorm2d(3)
        self.groups = nn.GroupNorm(2, 6)
        self.instances = nn.InstanceNorm2d(6, affine=True)
        self.head = nn.LazyLinear(CLASSES, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.first(x), x, self).flatten(1))


def relu_in_place_read_after(y: Tensor, x: Tensor, m: Body) -> Tensor:
    z = m.second(y)
    torch.relu_(y)
    return y + z


def relu_in_place_read_before_and_after(y: Tensor, x: Tensor, m: Body) -> Tensor:
    z = m.second(y)
    torch.relu_(y)
    return torch.cat([functional.hardswish(z), y], 1)


def sum_in_place(y: Tensor, x: Tensor, m: Body) -> Tensor:
    z = m.second(y)
    y += functional.silu(z)
    return torch.cat([y, z], 1)


BODIES: dict[str, Callable[[Tensor, Tensor, Body], Tensor]] = {
    "relu of what is read twice": lambda y, x, m: m.second(torch.relu(y)) + y,
    "relu in place, read after": relu_in_place_read_after,
    "relu in place, read before": relu_in_place_read_before_and_after,
    "sum in place": sum_in_place,
    "relu through dropout, read before it": lambda y, x, m: (
        functional.relu(functional.dropout(y, 0.5, False)) + m.second(y)
    ),
    "relu after a max pool": lambda y, x, m: torch.relu(functional.max_pool2d(y, 2)),
    "relu after a max pool of what is read twice": lambda y, x, m: (
        torch.relu(functional.max_pool2d(y, 3, 1, 1)) + y
    ),
    "relu after an average": lambda y, x, m: torch.relu(functional.avg_pool2d(y, 2)),
    "relu of the image": lambda y, x, m: torch.cat([torch.relu(x), y], 1),
    "relu of a relu": lambda y, x, m: functional.relu6(functional.relu(y)),
    "clamped": lambda y, x, m: m.second(y.clamp(0, 0.5)).clamp_min(0),
    "hardtanh": lambda y, x, m: functional.hardtanh(y, 0.0, 0.3),
    "hardtanh after a sum of relus": lambda y, x, m: functional.hardtanh_(
        torch.relu(y) + torch.relu(m.second(y)), 0.0, 0.4
    ),
    "function of a concatenation": lambda y, x, m: torch.relu(torch.cat([y, x, m.second(y)], 1)),
    "concatenation read twice": lambda y, x, m: (lambda z: functional.gelu(z) + torch.tanh(z))(
        torch.cat([y, y], 1)
    ),
    "norm first": lambda y, x, m: m.second(torch.relu(m.norm(torch.relu(y)))),
    "norm of the image": lambda y, x, m: torch.cat([m.image_norm(x), y], 1),
    "norm of a norm": lambda y, x, m: m.norm_again(m.norm(y)),
    "norm of a sum": lambda y, x, m: m.norm(m.second(y) + y),
    "norm of a pool": lambda y, x, m: m.norm_again(functional.max_pool2d(m.norm(y), 2)),
    "sum of relus": lambda y, x, m: torch.relu(torch.relu(y) + torch.relu(m.second(y))),
    "numbers": lambda y, x, m: (m.second(y * 0.5 + 1.0).abs() / -4.0).square(),
    "a sum that begins with 0": lambda y, x, m: sum([m.second(y), y]),
    "sum with itself": lambda y, x, m: torch.relu(y + y),
    "average that counts its padding": lambda y, x, m: functional.avg_pool2d(
        torch.relu(y), 3, 2, 1
    ),
    "average with a divisor": lambda y, x, m: functional.avg_pool2d(y, 2, divisor_override=3),
    "average that rounds up": lambda y, x, m: functional.avg_pool2d(
        y, 3, 2, 1, ceil_mode=True, count_include_pad=False
    ),
    "maximum that rounds up": lambda y, x, m: functional.max_pool2d(y, 3, 2, ceil_mode=True),
    "maximum of a padded map that rounds up": lambda y, x, m: functional.max_pool2d(
        y, 2, 2, 1, ceil_mode=True
    ),
    "adaptive pool that does not divide": lambda y, x, m: functional.adaptive_avg_pool2d(y, (3, 5)),
    "adaptive pool of what is not negative": lambda y, x, m: functional.adaptive_avg_pool2d(
        torch.relu(y), 11
    ),
    "adaptive pool of a multiple": lambda y, x, m: functional.adaptive_avg_pool2d(y, (4, 2)),
    "uneven pool that a layer reads": lambda y, x, m: m.second(
        functional.adaptive_avg_pool2d(torch.relu(y), (3, 5))
    ),
    "uneven pool that is larger than its map": lambda y, x, m: torch.relu(
        m.second(functional.adaptive_avg_pool2d(y, (11, 12)))
    ),
    "uneven pool, flattened and not": lambda y, x, m: (
        lambda z: m.second(z).flatten(1) + z.flatten(1)
    )(functional.adaptive_avg_pool2d(y, 3)),
    "dilated maximum": lambda y, x, m: torch.relu(functional.max_pool2d(y, 2, 1, 0, (3, 2))),
    "dilated maximum of a padded map": lambda y, x, m: m.second(
        functional.max_pool2d(y, (3, 2), (1, 2), 1, 2)
    ),
    "dilated maximum that rounds up": lambda y, x, m: functional.max_pool2d(
        torch.relu(y), 2, 2, 0, 2, ceil_mode=True
    ),
    "group norm": lambda y, x, m: torch.relu(m.groups(m.second(y))),
    "group norm of what is not negative": lambda y, x, m: m.second(m.groups(torch.relu(y)) + y),
    "group norm twice": lambda y, x, m: m.groups(m.second(torch.relu(m.groups(y)))),
    "group norm without factors": lambda y, x, m: m.second(functional.group_norm(y, 3)),
    "group norm with factors alone": lambda y, x, m: functional.group_norm(
        m.second(y), 2, m.groups.weight
    ),
    "group norm with terms alone": lambda y, x, m: torch.relu(
        functional.group_norm(y, 6, None, m.groups.bias)
    ),
    "instance norm": lambda y, x, m: torch.relu(m.instances(m.second(y))),
    "layer norm of maps": lambda y, x, m: m.second(functional.layer_norm(y, (6, 8, 8))),
    "layer norm of a flattened map": lambda y, x, m: functional.layer_norm(y.flatten(1), (384,)),
    "batch norm of a group norm": lambda y, x, m: torch.relu(m.norm(m.groups(y))),
}


@pytest.mark.parametrize("name", BODIES)
def test_what_surrounds_an_operation_does_not_change_it(name: str) -> None:
    module, x = Body(BODIES[name]), torch.randn(6, 3, 8, 8)
    model = check(settle(module, x), x)
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    reference = BACKENDS.get("reference").load(artefact, 1).logits(x, 0, range(1))
    with torch.no_grad():
        expected = copy.deepcopy(module)(x.clone())
    # The coarsest of these has three roundings to 8 bits on its way.
    assert (reference[0] - expected).square().mean() < 0.05**2 * expected.square().mean()
    if native.unavailable() is None:
        found = build(artefact, 2, "portable", team=2).logits(x.numpy(), 0, 0, 1)
        assert torch.equal(torch.from_numpy(found), reference)


def test_a_layer_norm_of_vectors_runs_in_int8() -> None:
    torch.manual_seed(2)
    layers = (nn.Linear(192, 24), nn.LayerNorm(24), nn.GELU(), nn.Linear(24, CLASSES))
    module, x = nn.Sequential(nn.Flatten(), *layers), torch.randn(32, 3, 8, 8)
    model = check(settle(module, x), x)
    kinds = [type(node) for node in model.graph.nodes]
    assert kinds == [Conv, GroupNorm, Conv, Join, Conv]
    artefact = quantize(model, "DNN_INT8", observe_ranges(model, x, "minmax"))
    logits = BACKENDS.get("reference").load(artefact, 1).logits(x, 0, range(1))[0]
    expected = module(x).detach()
    assert (logits - expected).square().mean() < 0.05**2 * expected.square().mean()


FUNCTIONS: dict[str, nn.Module] = {
    "leaky_relu": nn.LeakyReLU(0.2, inplace=True),
    "elu": nn.ELU(0.7, inplace=True),
    "sigmoid": nn.Sigmoid(),
    "hardsigmoid": nn.Hardsigmoid(inplace=True),
    "silu": nn.SiLU(inplace=True),
    "hardswish": nn.Hardswish(inplace=True),
    "gelu": nn.GELU(),
    "tanh": nn.Tanh(),
    "mish": nn.Mish(inplace=True),
    "selu": nn.SELU(inplace=True),
    "gelu_tanh": nn.GELU("tanh"),
    "softplus": nn.Softplus(2.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_traced(name: str) -> None:
    convolution = nn.Conv2d(3, 5, 3, padding="same", dilation=2, bias=False)
    module = nn.Sequential(convolution, FUNCTIONS[name], nn.Flatten(), nn.Linear(5 * 64, 4))
    model = check(module, torch.randn(4, 3, 8, 8))
    assert [node.function for node in model.graph.nodes if isinstance(node, Join)] == [name]


def test_groups_dilation_and_named_padding() -> None:
    module = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding="valid", groups=2, stride=2),
        nn.ReLU6(True),
        nn.Conv2d(8, 8, (5, 3), padding="same", groups=8, dilation=(1, 2), bias=False),
        nn.Conv2d(8, 10, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    model = check(module, torch.randn(4, 4, 11, 9))
    assert model.graph.output == "logits"
    last = model.graph.nodes[-1]
    assert isinstance(last, Conv)
    assert (last.groups, last.bayesian) == (10, False)


@pytest.mark.parametrize(
    ("module", "named"),
    [
        (
            nn.Sequential(nn.Conv2d(3, 3, 3), nn.LogSigmoid(), nn.Flatten(), nn.LazyLinear(2)),
            "log_sigmoid",
        ),
        (
            nn.Sequential(nn.Conv2d(3, 3, 3), nn.Softplus(1, 2), nn.Flatten(), nn.LazyLinear(2)),
            "softplus softplus has beta 1 and threshold 2",
        ),
        (
            nn.Sequential(nn.LayerNorm((3, 8, 8)), nn.Flatten(), nn.LazyLinear(2)),
            "layer_norm is over .3, 8, 8. of .3, 8, 8. numbers, with factors for each of them",
        ),
        (Body(lambda y, x, m: functional.layer_norm(y, (8,))), "layer_norm is over .8. of"),
        (Body(lambda y, x, m: functional.group_norm(y, 3, eps=0.0)), "group_norm has the eps 0"),
        (
            Body(lambda y, x, m: functional.group_norm(y.flatten(1), 6)),
            "group_norm is over a flattened map",
        ),
        (
            nn.Sequential(
                nn.InstanceNorm2d(3, track_running_stats=True), nn.Flatten(), nn.LazyLinear(2)
            ),
            "instance_norm uses running statistics",
        ),
        (nn.Sequential(nn.RReLU(), nn.Flatten(), nn.LazyLinear(2)), "node rrelu"),
        (nn.Sequential(nn.Conv2d(3, 2, 1)), "conv2d is not a vector of logits but 2 maps of 8x8"),
        (
            nn.Sequential(
                nn.BatchNorm2d(3, track_running_stats=False), nn.Flatten(), nn.LazyLinear(2)
            ),
            "batch_norm keeps no statistics",
        ),
        (Body(lambda y, x, m: m.second(m.second(y))), "second is used more than once"),
        (Body(lambda y, x, m: 1 - y), "rsub.Scalar .node rsub"),
        (Body(lambda y, x, m: y * y), "mul .aten.mul.Tensor"),
        (Body(lambda y, x, m: torch.cat([y, y], 2)), "concatenation cat is not over channels"),
        (Body(lambda y, x, m: y[:, :, ::2].relu_()), "changes a slice in place"),
        (
            Body(lambda y, x, m: functional.avg_pool2d(y, 3, 2, 1, ceil_mode=True)),
            "rounds its size up",
        ),
    ],
)
def test_what_no_graph_holds_whole_is_named(module: nn.Module, named: str) -> None:
    module.eval()(torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match=named):
        trace(module, (3, 8, 8))
