"""Concatenation and functions: the compiled program against the reference and against floats."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from native_nets import artefact, images
from test_native_float import artefact as float_artefact
from test_native_float import images as float_images
from test_native_float import weights_of

from sigmabench.harness import native
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.drawn import DrawnPredictor
from sigmabench.harness.backends.float import FloatPredictor, Schedule
from sigmabench.harness.backends.float_program import build as build_float
from sigmabench.harness.backends.float_program import load_program
from sigmabench.harness.backends.native import build
from sigmabench.harness.backends.reference import ReferencePredictor
from sigmabench.harness.backends.shipped import NATIVE as BACKEND
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.functions import FUNCTIONS, signs
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Join, Node, Pool
from sigmabench.harness.race.profiled import Target, profile
from sigmabench.harness.records.profile_record import ProfileSubject

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def joined(
    function: str,
    channels: tuple[int, ...],
    relus: tuple[bool, ...],
    scales: tuple[float, ...] = (0.05, 0.02, 0.3, 0.1),
    size: tuple[int, int] = (5, 3),
    own: float = 0.04,
) -> Graph:
    """Convolutions `c0`, `c1`, … of `x`, joined to `j`, then a linear layer to three logits."""
    pixels = (2, *size)
    nodes: list[Node] = [
        Conv(f"c{k}", "x", (count, 2, 3, 3), f"c{k}.weight", padding=(1, 1), relu=relu)
        for k, (count, relu) in enumerate(zip(channels, relus, strict=True))
    ]
    total = sum(channels)
    nodes.append(Join("j", tuple(node.name for node in nodes), function))
    nodes.append(Conv("y", "j", (3, total, *size), "y.weight"))
    signed = signs(Graph("x", "y", tuple(nodes), {}))
    activations = {"x": Activation(pixels, 0.02), "y": Activation((3, 1, 1))}
    for k, count in enumerate(channels):
        activations[f"c{k}"] = Activation((count, *size), scales[k], signed[f"c{k}"])
    activations["j"] = Activation((total, *size), own, signed["j"])
    return Graph("x", "y", tuple(nodes), activations)


def check(graph: Graph, batch: int, bits: int = 4, seed: int = 0) -> None:
    """The reference's logits bit for bit, whoever works on a pass."""
    model = artefact(graph, bits, seed)
    x = images(model, batch, seed)
    expected = ReferencePredictor(model).logits(x, 5, range(2, 4)).numpy()
    for threads, team in ((1, 1), (2, 1), (2, 2)):
        found = build(model, threads, "portable", team=team).logits(x.numpy(), 5, 2, 2)
        np.testing.assert_array_equal(found, expected)
    fast = build(model, 2, team=2).logits(x.numpy(), 5, 2, 2)
    few_ulp = 4 * np.spacing(np.abs(expected).max())
    np.testing.assert_allclose(fast, expected, rtol=0, atol=few_ulp)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_of_maps_side_by_side_is_the_references(function: str, batch: int) -> None:
    check(joined(function, (5, 1, 70), (True, False, False)), batch)


@settings(max_examples=30)
@given(
    function=st.sampled_from(list(FUNCTIONS)),
    parts=st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=4),
    batch=st.sampled_from([1, 3, 8]),
    equal=st.booleans(),
    seed=st.integers(0, 100),
)
def test_any_join_is_the_references(function, parts, batch, equal, seed) -> None:
    channels, relus = zip(*parts, strict=True)
    scales = {"scales": (0.04,) * 4} if equal else {}  # then bytes are copied
    check(joined(function, channels, relus, **scales), batch, seed=seed)


def chained() -> Graph:
    """What DenseNet does: joins of joins, of the input, of pools, of one map twice, after sums."""
    nodes: tuple[Node, ...] = (
        Join("in", ("x", "x"), "relu"),
        Conv("a", "in", (7, 4, 3, 3), "a.weight", padding=(1, 1)),
        Join("b", ("in", "a", "x")),
        Conv("c", "b", (13, 1, 1, 1), "c.weight", groups=13, relu=True),
        Join("d", ("b", "c"), "tanh"),
        Conv("e", "b", (26, 13, 1, 1), "e.weight", residual="d"),
        Pool("f", "e", "max", (3, 3), (2, 2), ceil=True),
        Join("g", ("f",), "gelu"),
        Join("h", ("g", "f")),
        Pool("p", "h", "avg", (4, 4), (4, 4)),
        Conv("y", "p", (3, 52, 1, 1), "y.weight"),
    )
    shapes = {"x": (2, 8, 8), "in": (4, 8, 8), "a": (7, 8, 8), "b": (13, 8, 8), "c": (13, 8, 8)}
    shapes |= {"d": (26, 8, 8), "e": (26, 8, 8), "f": (26, 4, 4), "g": (26, 4, 4)}
    shapes |= {"h": (52, 4, 4), "p": (52, 1, 1), "y": (3, 1, 1)}
    scales = {"x": 0.02, "in": 0.01, "a": 0.03, "b": 0.03, "c": 0.05, "d": 0.008, "e": 0.04}
    scales |= {"f": 0.04, "g": 0.02, "h": 0.04, "p": 0.04, "y": 0.0}
    signed = signs(Graph("x", "y", nodes, {})) | {"p": True}
    activations = {k: Activation(shapes[k], scales[k], signed[k]) for k in shapes}
    return Graph("x", "y", nodes, activations)


def wide() -> Graph:
    """Maps so large that a few images at a time go through the first layers, joins among them."""
    nodes: tuple[Node, ...] = (
        Conv("a", "x", (40, 3, 3, 3), "a.weight", padding=(1, 1), relu=True),
        Conv("b", "a", (24, 40, 1, 1), "b.weight"),
        Join("c", ("a", "b"), "silu"),
        Conv("d", "c", (32, 64, 1, 1), "d.weight", relu=True),
        Join("e", ("d", "b")),
        Pool("p", "e", "avg", (48, 48), (48, 48)),
        Conv("y", "p", (3, 56, 1, 1), "y.weight"),
    )
    sizes = {"x": 3, "a": 40, "b": 24, "c": 64, "d": 32, "e": 56}
    signed = signs(Graph("x", "y", nodes, {}))
    activations = {k: Activation((v, 48, 48), 0.1, signed[k]) for k, v in sizes.items()}
    activations |= {"p": Activation((56, 1, 1), 0.1, True), "y": Activation((3, 1, 1))}
    return Graph("x", "y", nodes, activations)


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_joins_of_joins_are_the_references(batch: int) -> None:
    check(chained(), batch, 8)


def test_joins_of_a_few_images_at_a_time_are_what_each_is_alone() -> None:
    model = artefact(wide(), 4)
    x = images(model, 8).numpy()
    expected = ReferencePredictor(model).logits(torch.from_numpy(x[:1]), 1, range(1)).numpy()
    for engine in ("portable", "auto"):
        alone = build(model, 1, engine)
        each = np.concatenate([alone.logits(x[n : n + 1], 1, 0, 1) for n in range(8)], axis=1)
        if engine == "portable":
            np.testing.assert_array_equal(each[:, :1], expected)
        for threads, team in ((1, 1), (2, 1), (2, 2)):
            program = build(model, threads, engine, team=team)
            np.testing.assert_array_equal(program.logits(x, 1, 0, 1), each)


def test_drawn_weights_pass_through_joins_too() -> None:
    model = artefact(chained(), 3)
    x = images(model, 3)
    expected = ReferencePredictor(model).logits(x, 4, range(2))
    found = DrawnPredictor(model, 1).logits(x, 4, range(2))
    few_ulp = 4 * float(np.spacing(expected.abs().max().numpy()))
    torch.testing.assert_close(found, expected, rtol=0, atol=few_ulp)


def test_a_profile_has_joins_and_what_is_read_is_counted() -> None:
    model = artefact(chained(), 8)
    found = profile(
        Target("random", model, images(model, 12)),
        ProfileSubject("test", "ab", "INT8", 3, 2, 1, 0.01, 0),
    )
    operations = {step.name: step.operation for step in found.steps}
    joins = [name for name, kind in operations.items() if kind == "join"]
    assert joins == ["in", "b", "d", "g", "h"]
    predictor = BACKEND.load(model, 1)
    predictor.logits(images(model, 1), 0, range(1))
    assert predictor.traffic(2).activations > 2 * sum(
        int(np.prod(a.shape)) for a in model.graph.activations.values()
    )


def floats(graph: Graph, ceiling: float | None = None) -> Graph:
    """The same without scales; a ReLU ends at the ceiling."""
    activations = {k: Activation(a.shape) for k, a in graph.activations.items()}
    nodes = tuple(
        replace(n, ceiling=ceiling) if isinstance(n, Conv) and n.relu else n for n in graph.nodes
    )
    return replace(graph, nodes=nodes, activations=activations)


def without_functions(graph: Graph) -> Graph:
    """Those that have float kernels alone."""
    kept = ("identity", "relu")
    nodes = tuple(
        replace(n, function="relu", parameter=0.5)
        if isinstance(n, Join) and n.function not in kept
        else n
        for n in graph.nodes
    )
    return replace(graph, nodes=nodes)


FLOATS = {
    "chained": floats(without_functions(chained()), 0.4),
    "clipped": floats(joined("relu", (5, 1, 9), (True, False, True)), 0.3),
    "one": floats(joined("relu", (6,), (False,))),
}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("format", ["FP32", "BF16"])
def test_float_joins_and_ceilings_are_float64s(name: str, format: str, batch: int) -> None:
    graph = FLOATS[name]
    program = build_float(float_artefact(graph, format), 2)
    x = float_images(graph, batch)
    logits = program.logits(x, 7, 3, 2)
    for index in range(2):
        weights = weights_of(program, graph, 7, 3 + index)
        expected = forward(graph, weights, torch.from_numpy(x).double()).numpy()
        bound = (1e-5 if format == "FP32" else 0.04) * np.abs(expected).max()
        np.testing.assert_allclose(logits[index], expected, rtol=0, atol=bound)


def test_ceilings_are_reached() -> None:
    """Else the tests above would pass without any."""
    graph = FLOATS["clipped"]
    program = build_float(float_artefact(graph, "FP32"), 1)
    x = torch.from_numpy(float_images(graph, 2)).double()
    tops: dict[str, float] = {}
    forward(graph, weights_of(program, graph, 7, 0), x, lambda k, v: tops.update({k: v.max()}))
    assert tops["c0"] == tops["c2"] == 0.3
    assert tops["c1"] > 0.3


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("identity", "relu")])
def test_pytorch_computes_functions_that_have_no_compiled_float_kernel(name: str) -> None:
    model = float_artefact(floats(joined(name, (3, 4), (False, True))), "FP32")
    assert load_program(model, 1) is None
    assert isinstance(BACKENDS.get("float").load(model, 1), FloatPredictor)


def vectors() -> Graph:
    """Joins, sums and depthwise layers behind linear ones, which are stacked otherwise."""
    nodes: tuple[Node, ...] = (
        Conv("a", "x", (6, 2, 4, 4), "a.weight"),
        Conv("b", "x", (4, 2, 4, 4), "b.weight", relu=True),
        Pool("p", "x", "avg", (4, 4), (4, 4)),
        Join("c", ("a", "b", "p"), "elu"),
        Conv("d", "c", (12, 1, 1, 1), "d.weight", groups=12, residual="c"),
        Conv("e", "d", (12, 12, 1, 1), "e.weight", residual="c", relu=True, ceiling=0.5),
        Conv("f", "e", (12, 12, 1, 1), "f.weight", residual="d"),
        Conv("y", "f", (3, 12, 1, 1), "y.weight"),
    )
    sizes = {"a": 6, "b": 4, "p": 2, "c": 12, "d": 12, "e": 12, "f": 12, "y": 3}
    activations = {name: Activation((size, 1, 1)) for name, size in sizes.items()}
    return Graph("x", "y", nodes, {"x": Activation((2, 4, 4)), **activations})


STACKS = {
    "chained": floats(chained(), 0.4),
    "two": floats(joined("silu", (3, 2), (True, False))),
    "vectors": vectors(),
}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", STACKS)
def test_stacked_passes_keep_their_channels_apart(name: str, count: int, monkeypatch) -> None:
    graph = STACKS[name]
    predictor = FloatPredictor(float_artefact(graph, "FP32"), 1)
    x = torch.from_numpy(float_images(graph, 2))
    monkeypatch.setattr(predictor, "_candidates", lambda *_: [Schedule(count, 1, True)])
    logits = predictor.logits(x, 7, range(count))
    for mc in range(count):
        weights = {
            c.name: (
                torch.from_numpy(predictor.sample(c.name, 7, mc)),
                torch.from_numpy(predictor.sample_bias(c.name, 7, mc)),
            )
            for c in graph.convs
        }
        torch.testing.assert_close(logits[mc], forward(graph, weights, x), rtol=1e-4, atol=1e-4)


def broken(**changes: Any) -> Graph:
    graph = joined("relu", (2, 3), (True, True))
    shapes = {k: replace(a, **changes[k]) for k, a in graph.activations.items() if k in changes}
    return replace(graph, activations=graph.activations | shapes)


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (broken(j={"shape": (6, 5, 3)}), "j: its channels are not those of all that is joined"),
        (broken(j={"shape": (5, 3, 5)}), "j: what is joined must have its height and width"),
    ],
)
def test_joins_that_do_not_fit_are_refused(graph: Graph, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(artefact(graph, 4), 1)


def test_inconsistent_joins_are_refused() -> None:
    def builder(inputs: list[int], tables: int, output: int = 1, scale: float = 0.1) -> None:
        made = native.load().Builder()
        made.activation("x", [2, 3, 3], 0.1, False)
        made.activation("j", [2, 3, 3], scale, False)
        made.join(inputs=inputs, output=output, tables=np.zeros((tables, 256), np.uint8))
        slots = np.zeros(128, np.uint8)
        made.build(
            input=0, output=1, threshold=slots, alias=slots, engine="auto", isa="auto", threads=1
        )

    with pytest.raises(ValueError, match="tables must have the shape"):
        builder([0], 2)
    with pytest.raises(ValueError, match="no node before it made"):
        builder([7], 1)
    with pytest.raises(ValueError, match="no node before it made"):
        builder([1], 1)
    with pytest.raises(ValueError, match="exists already"):
        builder([0], 1, output=9)
    with pytest.raises(ValueError, match="a join's output must have an integer scale"):
        builder([0], 1, scale=0.0)
    with pytest.raises(ValueError, match="use clipped_join"):
        native.load().Builder("fp32").join(
            inputs=[0], output=1, tables=np.zeros((1, 256), np.uint8)
        )
    with pytest.raises(ValueError, match="use join"):
        native.load().Builder().clipped_join(inputs=[0], output=1, low=0.0, high=1.0)
