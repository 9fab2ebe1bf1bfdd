"""Small networks with random numbers in them, as artefacts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from sigmabench.harness.quantize.artefact import Artefact, Header, Layer
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Node, Pool

FORMATS = {0: "DNN_INT8", 8: "INT8"} | {n: f"INT8_SIGMA{n}" for n in range(1, 8)}


def random_layer(rng: np.random.Generator, shape: tuple[int, int, int, int], bits: int) -> Layer:
    """Weights whose noise ranges from nothing to far beyond the grid, shifts 0 to 8 included."""
    outputs = shape[0]
    weight_scale = rng.uniform(0.002, 0.006, outputs).astype(np.float32)
    steps = weight_scale * 10.0 ** rng.uniform(-2, 2.5, outputs)
    bias = rng.normal(0, 0.1, outputs).astype(np.float32)
    spread = np.zeros(outputs) if bits == 0 else rng.uniform(0, 0.05, outputs)
    return Layer(
        mean=rng.integers(-127, 128, shape).astype(np.int8),
        std=None,
        sigma_q=rng.integers(0, 2**bits, shape).astype(np.uint8) if bits else None,
        sigma_bits=bits,
        weight_scale=weight_scale,
        sigma_scale=(steps / 2**bits).astype(np.float32),
        sigma_offset=(steps * rng.uniform(0, 1, outputs)).astype(np.float32),
        bias=bias,
        bias_std=spread.astype(np.float32),
    )


def artefact(graph: Graph, bits: int, seed: int = 0) -> Artefact:
    """An artefact of the graph with random numbers."""
    rng = np.random.default_rng(seed)
    if not bits:
        fixed = {"bayesian": False, "bias_bayesian": False}
        nodes = tuple(replace(n, **fixed) if isinstance(n, Conv) else n for n in graph.nodes)
        graph = replace(graph, nodes=nodes)
    header = Header(FORMATS[bits], "test", "1", "", graph)
    return Artefact(header, {c.name: random_layer(rng, c.shape, bits) for c in graph.convs})


def out_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Length of a convolution's output along one axis."""
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def one_linear(shape: tuple[int, int, int, int], bits: int, seed: int = 0) -> Artefact:
    """A network of one layer, whose kernel covers its input."""
    conv = Conv("fc", "x", shape, "fc.weight")
    activations = {"x": Activation(shape[1:], 0.02), "fc": Activation((shape[0], 1, 1))}
    return artefact(Graph("x", "fc", (conv,), activations), bits, seed)


def one_conv(
    image: tuple[int, int, int],
    shape: tuple[int, int, int, int],
    signed: bool = False,
    bits: int = 4,
    **settings: object,
) -> Artefact:
    """A convolution `conv`, then a linear layer to three logits."""
    conv = Conv("conv", "x", shape, "conv.weight", relu=True, **settings)  # type: ignore[arg-type]
    height, width = (
        out_size(image[k + 1], shape[k + 2], conv.stride[k], conv.padding[k], conv.dilation[k])
        for k in range(2)
    )
    activations = {
        "x": Activation(image, 0.02, signed),
        "conv": Activation((shape[0], height, width), 0.7, False),
        "fc": Activation((3, 1, 1)),
    }
    fc = Conv("fc", "conv", (3, shape[0], height, width), "fc.weight")
    return artefact(Graph("x", "fc", (conv, fc), activations), bits)


def one_pool(pool: Pool, image: tuple[int, int, int], signed: bool) -> Artefact:
    """A pool `p` of the input `x`, then a linear layer to three logits."""
    height, width = (
        out_size(image[k + 1], pool.kernel[k], pool.stride[k], pool.padding[k], 1) for k in range(2)
    )
    activations = {
        "x": Activation(image, 0.02, signed),
        "p": Activation((image[0], height, width), 0.02, signed),
        "fc": Activation((3, 1, 1)),
    }
    fc = Conv("fc", "p", (3, image[0], height, width), "fc.weight")
    return artefact(Graph("x", "fc", (pool, fc), activations), 8)


def lenet(bits: int, seed: int = 0) -> Artefact:
    """LeNet-5 on 28 x 28 images."""
    activations = {
        "x": Activation((1, 28, 28), 0.02),
        "c1": Activation((6, 28, 28), 0.02, False),
        "p1": Activation((6, 14, 14), 0.02, False),
        "c2": Activation((16, 10, 10), 0.05, False),
        "p2": Activation((16, 5, 5), 0.05, False),
        "f1": Activation((120, 1, 1), 0.1, False),
        "f2": Activation((84, 1, 1), 0.2, False),
        "f3": Activation((10, 1, 1)),
    }
    nodes: tuple[Node, ...] = (
        Conv("c1", "x", (6, 1, 5, 5), "c1.weight", padding=(2, 2), relu=True),
        Pool("p1", "c1", "max", (2, 2), (2, 2)),
        Conv("c2", "p1", (16, 6, 5, 5), "c2.weight", relu=True),
        Pool("p2", "c2", "max", (2, 2), (2, 2)),
        Conv("f1", "p2", (120, 16, 5, 5), "f1.weight", relu=True),
        Conv("f2", "f1", (84, 120, 1, 1), "f2.weight", relu=True),
        Conv("f3", "f2", (10, 84, 1, 1), "f3.weight"),
    )
    return artefact(Graph("x", "f3", nodes, activations), bits, seed)


def residual_net(bits: int, seed: int = 0) -> Artefact:
    """Two residual blocks, one strided with a signed downsample branch, and both kinds of pool."""
    activations = {
        "x": Activation((3, 16, 16), 0.02),
        "stem": Activation((20, 16, 16), 0.03, False),
        "pool": Activation((20, 8, 8), 0.03, False),
        "a1": Activation((20, 8, 8), 0.05, False),
        "a2": Activation((20, 8, 8), 0.07, False),
        "down": Activation((32, 4, 4), 0.06, True),
        "b1": Activation((32, 4, 4), 0.04, False),
        "b2": Activation((32, 4, 4), 0.08, False),
        "gap": Activation((32, 1, 1), 0.08, False),
        "fc": Activation((7, 1, 1)),
    }
    nodes: tuple[Node, ...] = (
        Conv("stem", "x", (20, 3, 3, 3), "w", padding=(1, 1), relu=True),
        Pool("pool", "stem", "max", (3, 3), (2, 2), (1, 1)),
        Conv("a1", "pool", (20, 20, 3, 3), "w", padding=(1, 1), relu=True),
        Conv("a2", "a1", (20, 20, 3, 3), "w", padding=(1, 1), relu=True, residual="pool"),
        Conv("down", "a2", (32, 20, 1, 1), "w", stride=(2, 2)),
        Conv("b1", "a2", (32, 20, 3, 3), "w", stride=(2, 2), padding=(1, 1), relu=True),
        Conv("b2", "b1", (32, 32, 3, 3), "w", padding=(1, 1), relu=True, residual="down"),
        Pool("gap", "b2", "avg", (4, 4), (4, 4)),
        Conv("fc", "gap", (7, 32, 1, 1), "w"),
    )
    return artefact(Graph("x", "fc", nodes, activations), bits, seed)


def images(artefact: Artefact, batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    graph = artefact.graph
    return torch.randn(batch, *graph.activations[graph.input].shape, generator=generator)
