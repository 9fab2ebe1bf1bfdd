"""Float networks in the compiled program: outputs against float64 with the weights it reports,
and draws that depend on the tensors' shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from native_nets import lenet, out_size, residual_net
from numpy.typing import NDArray

from sigmabench.harness import native
from sigmabench.harness.backends.float_program import build
from sigmabench.harness.quantize.artefact import Artefact, Header, Layer
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Node, Pool

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

FORMATS = ["FP32", "BF16"]
EPSILON = {"FP32": 2.0**-24, "BF16": 2.0**-9}  # half an ulp, relative
F32 = NDArray[np.float32]


def rounded(x: NDArray[Any], format: str) -> F32:
    """As the format's activations and weights hold it."""
    values = torch.from_numpy(np.asarray(x, np.float32))
    return (values.bfloat16().float() if format == "BF16" else values).numpy()


def random_layer(
    rng: np.random.Generator, shape: tuple[int, ...], format: str, sampled: bool = True
) -> Layer:
    """He's scale, noise of a third of it, and a sampled bias."""
    scale = np.sqrt(2 / np.prod(shape[1:]))
    outputs, spread = np.ones(shape[0], np.float32), np.full(shape[0], 0.05, np.float32)
    return Layer(
        mean=rounded(rng.normal(0, scale, shape), format),
        std=rounded(np.abs(rng.normal(0, scale / 3, shape)), format) if sampled else None,
        sigma_q=None,
        sigma_bits=0,
        weight_scale=outputs,
        sigma_scale=outputs,
        sigma_offset=0 * outputs,
        bias=rng.normal(0, 0.1, shape[0]).astype(np.float32),
        bias_std=spread if sampled else 0 * spread,
    )


def artefact(graph: Graph, format: str, sampled: bool = True, seed: int = 0) -> Artefact:
    rng = np.random.default_rng(seed)
    layers = {c.name: random_layer(rng, c.shape, format, sampled) for c in graph.convs}
    return Artefact(Header(format, "test", "1", "", graph), layers)


def one_conv(image: tuple[int, int, int], shape: tuple[int, int, int, int], **how: Any) -> Graph:
    """A convolution `conv`, then a linear layer to three logits."""
    conv = Conv("conv", "x", shape, "w", relu=True, **how)
    height, width = (
        out_size(image[k + 1], shape[k + 2], conv.stride[k], conv.padding[k], conv.dilation[k])
        for k in range(2)
    )
    fc = Conv("fc", "conv", (3, shape[0], height, width), "w")
    sizes = {"x": image, "conv": (shape[0], height, width), "fc": (3, 1, 1)}
    return Graph("x", "fc", (conv, fc), {k: Activation(v) for k, v in sizes.items()})


def kept_residual() -> Graph:
    """Residuals that are read again after the sum, which hence cannot be written over them."""
    nodes: tuple[Node, ...] = (
        Conv("a", "x", (24, 5, 3, 3), "w", padding=(1, 1)),
        Conv("b", "a", (24, 24, 3, 3), "w", padding=(1, 1), relu=True, residual="a"),
        Conv("c", "b", (24, 24, 1, 1), "w", residual="a"),
        Conv("d", "c", (24, 1, 3, 3), "w", padding=(1, 1), groups=24, residual="c"),
        Pool("p", "d", "avg", (6, 6), (6, 6)),
        Conv("fc", "p", (4, 24, 1, 1), "w"),
    )
    sizes = {"x": (5, 6, 6), "p": (24, 1, 1), "fc": (4, 1, 1)}
    sizes |= dict.fromkeys("abcd", (24, 6, 6))
    return Graph("x", "fc", nodes, {k: Activation(v) for k, v in sizes.items()})


CONVOLUTIONS: Mapping[str, Graph] = {
    "plain": one_conv((16, 9, 8), (32, 16, 3, 3), padding=(1, 1)),
    "stride": one_conv((32, 11, 9), (48, 32, 3, 3), stride=(2, 2), padding=(1, 1)),
    "odd channels": one_conv((7, 8, 8), (19, 7, 3, 2), padding=(1, 0)),
    "one channel": one_conv((1, 12, 12), (6, 1, 5, 5), padding=(2, 2)),
    "colours": one_conv((3, 20, 20), (64, 3, 7, 7), stride=(2, 2), padding=(3, 3)),
    "dilation": one_conv((16, 11, 11), (16, 16, 3, 3), dilation=(2, 2)),
    "pointwise": one_conv((72, 5, 5), (130, 72, 1, 1)),
    "groups": one_conv((32, 8, 8), (64, 16, 3, 3), groups=2, padding=(1, 1)),
    "narrow groups": one_conv((24, 8, 8), (24, 6, 3, 3), groups=4, padding=(1, 1)),
    "depthwise": one_conv((40, 8, 8), (40, 1, 3, 3), groups=40, padding=(1, 1)),
    "unequal": one_conv((8, 12, 7), (16, 8, 3, 1), stride=(3, 1), padding=(2, 0)),
}
NETS = {"lenet": lenet(0).graph, "residual": residual_net(0).graph, "kept": kept_residual()}


def images(graph: Graph, batch: int, seed: int = 0) -> F32:
    shape = (batch, *graph.activations[graph.input].shape)
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def weights_of(program: Any, graph: Graph, seed: int, mc: int) -> dict[str, Any]:
    return {
        c.name: tuple(
            torch.from_numpy(draw(c.name, seed, mc)).double()
            for draw in (program.sample, program.sample_bias)
        )
        for c in graph.convs
    }


def check_pass(graph: Graph, format: str, batch: int) -> None:
    """A network of depth d rounds its input and d - 1 maps to half an ulp each; errors grow with
    sums of magnitudes, for which these networks' logits stand within a factor of four. Sums in
    float32 add the root of their length in ulps at most, far below a bfloat16's."""
    program = build(artefact(graph, format), 1)
    x = images(graph, batch)
    logits = program.logits(x, 7, 3, 2)
    depth = len(graph.nodes)
    for index in range(2):
        weights = weights_of(program, graph, 7, 3 + index)
        expected = forward(graph, weights, torch.from_numpy(x).double()).numpy()
        sums = 32 if format == "FP32" else 1
        bound = 4 * depth * sums * EPSILON[format] * np.abs(expected).max()
        np.testing.assert_allclose(logits[index], expected, rtol=0, atol=bound)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_float64s_with_the_weights_it_reports(
    name: str, format: str, batch: int
) -> None:
    check_pass(CONVOLUTIONS[name], format, batch)


@pytest.mark.parametrize("batch", [1, 3, 16])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", NETS)
def test_a_network_is_float64s_with_the_weights_it_reports(
    name: str, format: str, batch: int
) -> None:
    check_pass(NETS[name], format, batch)


def canonical(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Which normal of its tensor every weight takes, written from the definition."""
    _, inputs, height, width = shape
    o, i, h, w = np.indices(shape)
    if inputs == 1:
        return ((o // 32 * height + h) * width + w) * 32 + o % 32
    pairs = (inputs + 1) // 2
    block = ((o // 16 * height + h) * width + w) * pairs + i // 2
    return block * 32 + i % 2 * 16 + o % 16


@pytest.mark.parametrize("isa", ["auto", "avx2", "portable"])
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_draws_are_numbered_by_the_shape_alone(name: str, format: str, isa: str) -> None:
    """The weights are those of NormalTensors with the same counters, in that order."""
    graph = CONVOLUTIONS[name]
    model = artefact(graph, format)
    if isa == "avx2" and "avx2" not in native.load().normal_paths():
        pytest.skip("needs AVX2")
    program = build(model, 1, isa)
    assert program.sampler == (native.load().normal_paths()[0] if isa == "auto" else isa)
    program.logits(images(graph, 3), 0, 0, 1)
    sizes = []
    for conv in graph.convs:
        sizes += [int(canonical(conv.shape).max()) + 1, conv.shape[0]]
    zeros, ones = np.zeros(sum(sizes), np.float32), np.ones(sum(sizes), np.float32)
    z = np.empty(sum(sizes), np.float32)
    native.load().NormalTensors(zeros, ones, sizes, "portable").fill(z, 21, 4, 1)
    parts = np.split(z, np.cumsum(sizes)[:-1])
    for index, conv in enumerate(graph.convs):
        layer = model.layers[conv.name]
        noise = parts[2 * index][canonical(conv.shape)].astype(np.float64)
        exact = (layer.mean + layer.std.astype(np.float64) * noise).astype(np.float32)
        np.testing.assert_array_equal(program.sample(conv.name, 21, 4), rounded(exact, format))
        bias = layer.bias + layer.bias_std.astype(np.float64) * parts[2 * index + 1]
        np.testing.assert_array_equal(
            program.sample_bias(conv.name, 21, 4), bias.astype(np.float32)
        )


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", NETS)
def test_draws_are_the_same_at_every_batch_size(name: str, format: str) -> None:
    graph = NETS[name]
    program = build(artefact(graph, format), 2)
    drawn = []
    for batch in (1, 2, 17):
        program.logits(images(graph, batch), 0, 0, 2)
        drawn.append({c.name: program.sample(c.name, 9, 5) for c in graph.convs})
    for others in drawn[1:]:
        for layer, weights in others.items():
            np.testing.assert_array_equal(weights, drawn[0][layer])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.thorough] * (at > 0)) for at, n in enumerate(NETS)],
)
def test_logits_do_not_depend_on_threads(name: str, format: str) -> None:
    """Bit by bit while every thread has whole passes; where the batch is split, kernels of other
    sizes may sum in another order."""
    graph = NETS[name]
    model, x = artefact(graph, format), images(graph, 8)
    whole = build(model, 1).logits(x, 3, 0, 4)
    for threads in (2, 3, 4):
        np.testing.assert_array_equal(build(model, threads).logits(x, 3, 0, 4), whole)
    split = build(model, 4).logits(x, 3, 0, 1)
    ulps = 64 if format == "FP32" else 4 * len(graph.nodes)
    bound = ulps * 2 * EPSILON[format] * np.abs(whole).max()
    np.testing.assert_allclose(split[0], whole[0], rtol=0, atol=bound)


def pooled(pool: Pool, channels: int, format: str) -> tuple[torch.Tensor, np.ndarray]:
    """What a pool is given, and what it makes of it: behind it is a layer that is the identity."""
    shape = (channels, *pool.size((7, 5)))
    size = int(np.prod(shape))
    fc = Conv("fc", "p", (size, *shape), "w")
    maps = {"x": (channels, 7, 5), "p": shape, "fc": (size, 1, 1)}
    graph = Graph("x", "fc", (pool, fc), {k: Activation(v) for k, v in maps.items()})
    model = artefact(graph, format, sampled=False)
    layer = model.layers["fc"]
    layer.mean[:] = np.eye(size, dtype=np.float32).reshape(size, *shape)
    layer.bias[:] = 0
    x = images(graph, 3)
    logits = build(model, 1).logits(x, 0, 0, 1)[0].reshape(3, *shape)
    return torch.from_numpy(rounded(x, format)), logits


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 20])
def test_dilated_and_uneven_pools_are_pytorchs(channels: int, format: str) -> None:
    for how in (((2, 2), (1, 1), (0, 0), (2, 3)), ((3, 3), (1, 3), (1, 0), (3, 2))):
        x, found = pooled(Pool("p", "x", "max", *how[:3], dilation=how[3]), channels, format)
        np.testing.assert_array_equal(found, torch.nn.functional.max_pool2d(x, *how).numpy())
    for out in ((2, 4), (7, 1), (9, 8)):
        x, found = pooled(Pool("p", "x", "avg", (1, 1), (1, 1), out=out), channels, format)
        expected = torch.nn.functional.adaptive_avg_pool2d(x.double(), out).numpy()
        atol = 16 * EPSILON["FP32"]
        np.testing.assert_allclose(found, expected, rtol=2 * EPSILON[format], atol=atol)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("channels", [1, 3, 6, 16, 20])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pools_are_pytorchs(kind: str, channels: int, format: str) -> None:
    for kernel, stride, padding in [
        ((2, 2), (2, 2), (0, 0)),
        ((3, 3), (2, 2), (1, 1)),
        ((3, 2), (1, 3), (1, 0)),
        ((7, 5), (1, 1), (0, 0)),
        ((2, 3), (3, 1), (1, 1)),
    ]:
        inner, logits = pooled(Pool("p", "x", kind, kernel, stride, padding), channels, format)
        if kind == "max":
            expected = torch.nn.functional.max_pool2d(inner, kernel, stride, padding).numpy()
            np.testing.assert_array_equal(logits, expected)
        else:
            expected = torch.nn.functional.avg_pool2d(
                inner.double(), kernel, stride, padding, count_include_pad=False
            ).numpy()
            atol = 16 * EPSILON["FP32"]
            np.testing.assert_allclose(logits, expected, rtol=2 * EPSILON[format], atol=atol)


@pytest.mark.parametrize("format", FORMATS)
def test_a_deterministic_twin_draws_nothing(format: str) -> None:
    graph = NETS["residual"]
    model = artefact(graph, format, sampled=False)
    program = build(model, 1)
    logits = program.logits(images(graph, 2), 0, 0, 2)
    np.testing.assert_array_equal(logits[0], logits[1])
    assert program.draws == 0
    assert program.traffic(2)["std"] == program.traffic(2)["sampled"] == 0
    for name, layer in model.layers.items():
        np.testing.assert_array_equal(program.sample(name, 1, 1), layer.mean)


@pytest.mark.parametrize("format", FORMATS)
def test_every_sampled_weight_is_drawn_once_a_pass(format: str) -> None:
    graph = NETS["kept"]
    model = artefact(graph, format)
    program = build(model, 2)
    program.logits(images(graph, 4), 0, 0, 6)
    program.logits(images(graph, 4), 0, 0, 1)
    assert program.draws == 7 * model.sampled_weights


def test_what_a_float_network_has_not_is_named() -> None:
    module = native.load()
    graph = NETS["lenet"]
    program = build(artefact(graph, "FP32"), 1)
    with pytest.raises(ValueError, match="no integer weights"):
        program.packed("c1", 0, 0)
    w = np.zeros((6, 1, 5, 5), np.int8)
    with pytest.raises(ValueError, match="no integer sums"):
        program.accumulators("c1", np.zeros((1, 1, 28, 28), np.uint8), w)
    with pytest.raises(ValueError, match="int8, fp32 or bf16"):
        module.Builder("fp16")


def builder_with(mean: F32, std: F32 | None, scale: float = 0.0) -> Any:
    builder = native.load().Builder("fp32")
    ids = [
        builder.activation("x", [4, 1, 1], scale, True),
        builder.activation("y", [3, 1, 1], 0.0, True),
    ]
    builder.normal_conv(
        input=ids[0],
        output=ids[1],
        residual=-1,
        shape=[3, 4, 1, 1],
        stride=[1, 1],
        padding=[0, 0],
        dilation=[1, 1],
        groups=1,
        relu=False,
        mean=mean,
        std=std,
        bias=np.zeros(3, np.float32),
        bias_std=None,
    )
    tables = np.zeros(128, np.uint8)
    return lambda engine: builder.build(
        input=0, output=1, threshold=tables, alias=tables, engine=engine, isa="auto", threads=1
    )


def test_bad_float_networks_are_refused() -> None:
    mean = np.zeros((3, 4, 1, 1), np.float32)
    with pytest.raises(ValueError, match="mean must have the shape"):
        builder_with(mean[:, :3], None)
    with pytest.raises(TypeError, match="std must be float32"):
        builder_with(mean, mean.astype(np.float64))
    with pytest.raises(ValueError, match="a float has no scale"):
        builder_with(mean, None, scale=0.5)("auto")
    with pytest.raises(ValueError, match="portable engine computes int8"):
        builder_with(mean, None)("portable")
    assert (
        builder_with(mean, mean)("auto").logits(np.ones((2, 4, 1, 1), np.float32), 0, 0, 1).sum()
        == 0
    )
