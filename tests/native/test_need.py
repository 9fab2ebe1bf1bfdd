"""What a predictor is said to take beside what it takes; and what is refused before it takes it."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from native_nets import artefact as random_artefact
from native_nets import lenet, residual_net

from sigmabench.harness import native
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.float import FloatPredictor
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.machine import memory_limit
from sigmabench.harness.machine.peak_memory import PeakMemory
from sigmabench.harness.posterior import moped
from sigmabench.harness.quantize import calibrate, floats, need
from sigmabench.harness.quantize.artefact import Artefact, Header, Layer
from sigmabench.harness.quantize.calibrate import observe_ranges
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.graph import (
    Activation,
    Conv,
    Graph,
    GroupNorm,
    Node,
    Operation,
    Pool,
    Segment,
    reads,
)  # fmt: skip

MIB = 1 << 20
compiled = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def wide(size: int = 640, channels: int = 16) -> Artefact:
    """Three layers of the input's height and width, then one over all of it by stride."""
    activations = {
        "x": Activation((3, size, size), 0.02),
        "a": Activation((channels, size, size), 0.1, False),
        "b": Activation((channels, size, size), 0.1, False),
        "y": Activation((4, 1, 1)),
    }
    nodes: tuple[Node, ...] = (
        Conv("a", "x", (channels, 3, 3, 3), "a", padding=(1, 1), relu=True),
        Conv("b", "a", (channels, channels, 1, 1), "b", relu=True, residual="a"),
        Conv("y", "b", (4, channels, 1, 1), "y", stride=(size, size)),
    )
    return random_artefact(Graph("x", "y", nodes, activations), 4)


def statistics(kind: str, size: int = 320, channels: int = 16) -> Artefact:
    """A group norm, or an uneven pool, of a layer's output."""
    less = size - 1 if kind == "pool" else size
    activations = {
        "x": Activation((3, size, size), 0.02),
        "a": Activation((channels, size, size), 0.1),
        "b": Activation((channels, less, less), 0.1),
        "y": Activation((4, 1, 1)),
    }
    node: Node = GroupNorm("b", "a", 4, 1e-5)
    if kind == "pool":
        node = Pool("b", "a", "avg", (1, 1), (1, 1), out=(less, less))
    nodes = (
        Conv("a", "x", (channels, 3, 1, 1), "a"),
        node,
        Conv("y", "b", (4, channels, 1, 1), "y", stride=(size, size)),
    )
    return random_artefact(Graph("x", "y", nodes, activations), 4)


def in_floats(model: Artefact) -> Artefact:
    """The same as FP32."""
    graph = model.graph
    activations = {n: Activation(a.shape) for n, a in graph.activations.items()}
    layers = {}
    for name, layer in model.layers.items():
        one, zero = np.ones_like(layer.bias), np.zeros_like(layer.bias)
        mean = layer.mean.astype(np.float32)
        layers[name] = Layer(mean, 0 * mean + 1, None, 32, one, zero, zero, layer.bias, zero)
    header = Header("FP32", "wide", "1", "", replace(graph, activations=activations))
    return Artefact(header, layers)


def grown(call: Callable[[], object]) -> int:
    """Bytes by which the process grows at most."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    before = psutil.Process().memory_info().rss
    with PeakMemory() as peak:
        call()
    return peak.peak_bytes - before


PREDICTORS: dict[str, Callable[[], Any]] = {
    "native": lambda: BACKENDS.get("native").load(wide(), 2),
    "float": lambda: BACKENDS.get("float").load(in_floats(wide()), 2),
    "stacked": lambda: FloatPredictor(in_floats(wide()), 2),
    "drawn": lambda: BACKENDS.get("drawn").load(in_floats(wide()), 2),
    "reference": lambda: BACKENDS.get("reference").load(wide(320), 1),
    "reference's norm": lambda: BACKENDS.get("reference").load(statistics("norm"), 1),
    "reference's pool": lambda: BACKENDS.get("reference").load(statistics("pool"), 1),
}


def taken_and_said(name: str) -> tuple[int, int]:
    """Bytes by which the process grows in two passes over two images, and bytes that are said."""
    predictor = PREDICTORS[name]()
    graph = getattr(predictor, "_graph", None) or predictor.artefact.graph
    x = torch.zeros(2, *graph.activations["x"].shape)
    taken = grown(lambda: predictor.logits(x, 0, range(2)))
    side = min(2, predictor.need.side)
    return taken, 2 * (
        predictor.need.given + side * predictor.need.image + 2 * predictor.need.result
    )


def in_a_fresh_process(call: Callable[..., Any], *given: object) -> Any:
    """What it returns: what the allocator adds depends on what the process ran before. The server
    that each process is forked from has imported what they need, and computed nothing."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["sigmabench.harness.backends.native"])
    with ProcessPoolExecutor(1, context) as fresh:
        return fresh.submit(call, *given).result()


@compiled
@pytest.mark.parametrize("name", PREDICTORS)
def test_what_is_said_bounds_what_is_taken(name: str) -> None:
    taken, said = in_a_fresh_process(taken_and_said, name)
    assert taken < said + 24 * MIB  # code that runs for the first time, teams of threads
    assert said < 4 * taken


def brute_force(graph: Graph) -> int:
    """Of each node the sizes of all activations made by then and read then or later."""
    sizes = {name: int(np.prod(a.shape)) for name, a in graph.activations.items()}
    made = {graph.input: -1} | {node.name: k for k, node in enumerate(graph.nodes)}
    read = {n: max(k for k, m in enumerate(graph.nodes) if n in (*reads(m), m.name)) for n in sizes}
    return max(
        sum(sizes[n] for n in sizes if made[n] <= k <= read[n]) for k in range(len(graph.nodes))
    )


@pytest.mark.parametrize("graph", [lenet(4).graph, residual_net(4).graph, wide(8).graph])
def test_what_is_alive_is_counted_as_by_brute_force(graph: Graph) -> None:
    assert need._live(graph) == brute_force(graph)


def padded(by: int, stride: int, size: int) -> Artefact:
    """1 kB: a convolution of a 2 × 2 map that is padded far."""
    how = {"padding": (by, by), "stride": (stride, stride)}
    conv = Conv("y", "x", (1, 1, 2, 2), "w", **how)  # type: ignore[arg-type]
    activations = {"x": Activation((1, 2, 2), 0.1), "y": Activation((1, size, size))}
    return random_artefact(Graph("x", "y", (conv,), activations), 8)


def large() -> Artefact:
    """It makes a map of 32 769 × 32 769."""
    return padded(1 << 14, 1, (1 << 15) + 1)


LOADS: dict[str, Callable[[], object]] = {
    "native": lambda: BACKENDS.get("native").load(large(), 1),
    "float": lambda: BACKENDS.get("float").load(in_floats(large()), 1),
    "stacked": lambda: FloatPredictor(in_floats(large()), 1),
    "drawn": lambda: BACKENDS.get("drawn").load(in_floats(large()), 1),
    "reference": lambda: BACKENDS.get("reference").load(large(), 1),
    "reference, padding alone": lambda: BACKENDS.get("reference").load(
        padded(1 << 14, 1 << 15, 2), 1
    ),
}


@compiled
@pytest.mark.parametrize("name", LOADS)
def test_a_model_that_cannot_fit_is_refused_at_load(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(memory_limit.VARIABLE, str(200 * MIB))

    def load() -> None:
        says = r"^One pass of the model of \w+ on one image needs about [\d.]+ GiB of memory, and "
        with pytest.raises(UserError, match=says + r"0\.195 GiB may be taken"):
            LOADS[name]()

    assert grown(load) < 32 * MIB


def repeated(times: int) -> Artefact:
    """A divided network that repeats its input so many times, and averages what it made."""
    image = {"value": "x"}
    steps = (
        Operation("big", "aten.repeat.default", [image, [1, 1, times, 1]], (1, 3, times * 8, 8)),
        Operation("small", "aten.mean.dim", [{"value": "big"}, [2, 3], True], (1, 3, 1, 1)),
        Segment("fc", "small", "in", 1, (1, 4)),
    )  # fmt: skip
    conv = Conv("fc", "in", (4, 3, 1, 1), "w")
    activations = {
        "x": Activation((3, 8, 8)),
        "in": Activation((3, 1, 1), 0.1),
        "fc": Activation((4, 1, 1)),
    }
    return random_artefact(Graph("x", "fc", (conv,), activations, steps), 8)


@compiled
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_what_stays_float_counts(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(2, 3, 8, 8)
    small = BACKENDS.get(backend).load(repeated(4), 1)
    assert small.logits(x, 0, range(2)).shape == (2, 2, 4)
    times = 1 << 16  # 48 MiB an image
    large = BACKENDS.get(backend).load(repeated(times), 1)
    size = 3 * 64 * 4 * times
    assert size <= large.need.image < 2.1 * size
    monkeypatch.setenv(memory_limit.VARIABLE, str(200 * MIB))
    assert large.logits(x[:1], 0, range(1)).shape == (1, 1, 4)

    def call() -> None:
        with pytest.raises(UserError, match=r"^A batch of 2, 1 of 3 passes side by side, needs "):
            large.logits(x, 0, range(3))

    monkeypatch.setenv(memory_limit.VARIABLE, str(150 * MIB))
    assert grown(call) < 16 * MIB


def test_scores_of_attention_count() -> None:
    tokens, width = 1 << 12, 8
    shape = (1, tokens, width)
    values = [{"value": "q"}] * 3
    attention = "aten.scaled_dot_product_attention.default"
    steps = (
        Operation("q", "aten.view.default", [{"value": "x"}, list(shape)], shape),
        Operation("a", attention, values, shape, multiply_adds=2 * tokens * tokens * width),
        Operation("m", "aten.mean.dim", [{"value": "a"}, [1]], (1, width)),
        Segment("fc", "m", "in", 1, (1, 4)),
    )
    activations = {
        "x": Activation((1, tokens, width)),
        "in": Activation((width, 1, 1), 0.1),
        "fc": Activation((4, 1, 1)),
    }
    graph = Graph("x", "fc", (Conv("fc", "in", (4, width, 1, 1), "w"),), activations, steps)
    assert need.divided(graph, [], {}).image >= 4 * 2 * tokens * tokens


def product(equation: str, *sizes: tuple[int, ...], path: list[int] | None = None) -> Graph:
    """A divided network with an einsum, its first operand the image and the others constants."""
    names = [{"value": "q"}, *({"constant": f"c{k}"} for k in range(1, len(sizes)))]
    shape = tuple(torch.einsum(equation, *(torch.zeros(one) for one in sizes)).shape)
    arguments = [equation, names, *([path] if path else [])]
    steps = (
        Operation("q", "aten.view.default", [{"value": "x"}, list(sizes[0])], sizes[0]),
        Operation("e", "aten.einsum.default", arguments, shape),
        Operation("m", "aten.mean.dim", [{"value": "e"}, [1]], (1, shape[-1])),
        Segment("fc", "m", "in", 1, (1, 4)),
    )
    activations = {
        "x": Activation((1, *sizes[0][1:])),
        "in": Activation((shape[-1], 1, 1), 0.1),
        "fc": Activation((4, 1, 1)),
    }
    return Graph("x", "fc", (Conv("fc", "in", (4, shape[-1], 1, 1), "w"),), activations, steps)


N, K = 1 << 12, 8  # N × N floats are more than the allocator keeps of what others freed
PRODUCTS: dict[str, tuple[Any, ...]] = {
    "of two": ("bnk,mk->bnm", 0, (1, N, K), (K, K)),
    "of three": ("bnk,mk,mj->bnj", N * N, (1, N, K), (N, K), (N, K)),
    "with an ellipsis": ("b...k,mk,mj->b...j", N * N, (1, N, K), (N, K), (N, K)),
    "without a result": ("bnk,mk,m", N * N, (1, N, K), (N, K), (N,)),
    "of three by a path": ("bnk,mk,mj->bnj", K * K, (1, N, K), (N, K), (N, K), [1, 2, 0, 1]),
    "of four": ("bnk,mk,mj,jl->bnl", N * N + K * N, (1, N, K), (N, K), (N, K), (K, K)),
}


@pytest.mark.parametrize("kind", PRODUCTS)
def test_what_products_of_many_make_on_their_way_counts(kind: str) -> None:
    equation, between, *sizes = PRODUCTS[kind]
    path = sizes.pop() if isinstance(sizes[-1], list) else None
    constants = {f"c{k}": one for k, one in enumerate(sizes)}
    one = need.divided(product(equation, *sizes, path=path), [], constants)
    assert floats.between(equation, sizes, path or ()) == between
    operands = [torch.ones(size) for size in sizes]
    taken = grown(lambda: torch.ops.aten.einsum(equation, operands, path=path))
    assert 4 * between < taken + 4 * MIB
    assert taken < one.image + 8 * MIB
    assert one.image < 4 * (2 * between + 20 * N * K)


def calibrated_on_one_image() -> tuple[int, int, int, str]:
    """Bytes taken, bytes said, bytes taken where it is refused, and the refusal."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 4),
    ).eval()
    small = fold(module, moped(module, 0.1), (1, 8, 8))
    observe_ranges(small, torch.rand(2, 1, 8, 8), "minmax")  # libraries, loaded once
    size = 512
    model = fold(module, moped(module, 0.1), (1, size, size))
    x = torch.rand(2, 1, size, size)
    taken = min(grown(lambda: observe_ranges(model, x, "minmax")) for _ in range(3))
    said: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "require", lambda _, needed: said.append(needed))
        observe_ranges(model, x, "minmax")
    refusals: list[str] = []

    def refused() -> None:
        with pytest.raises(UserError) as caught:
            observe_ranges(model, x, "minmax")
        refusals.append(str(caught.value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(memory_limit.VARIABLE, str(100 * MIB))
        return taken, said[0], grown(refused), refusals[0]


@pytest.mark.thorough
def test_calibration_counts_one_image_where_more_would_not_fit() -> None:
    taken, said, refused, refusal = in_a_fresh_process(calibrated_on_one_image)
    assert taken < said + 24 * MIB
    assert said < 4 * taken
    assert refusal.startswith("Calibration on 1 of the images at a time needs ")
    assert refused < 16 * MIB


@pytest.mark.parametrize("images", [1, 2, 1000])
def test_batches_and_passes_count(images: int) -> None:
    one = need.integer(lenet(4).graph)
    for passes in (1, 9, 10**6):
        total = images * (one.given + one.image + passes * one.result)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(memory_limit.VARIABLE, str(total))
            one.check(images, passes)
            patch.setenv(memory_limit.VARIABLE, str(total - 1))
            with pytest.raises(UserError, match=rf"^A batch of {images}, 1 of {passes} passes"):
                one.check(images, passes)
