"""Group norms, dilated and uneven pools: the reference is PyTorch's arithmetic, rounded once, and
the compiled program the reference, bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from native_nets import artefact, images
from torch.nn import functional

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.backends.reference import ReferencePredictor
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, GroupNorm, Node, Pool

compiled = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

DILATED = (
    ((2, 2), (1, 1), (0, 0), (2, 3), False),
    ((3, 2), (2, 1), (1, 1), (1, 4), False),
    ((2, 3), (3, 2), (0, 1), (3, 2), True),
    ((3, 3), (1, 3), (1, 0), (3, 2), False),
)
UNEVEN = ((1, 2), (5, 3), (2, 4), (7, 1), (9, 8), (3, 11))
SIZE = (7, 5)


def behind_one(node: Node, channels: int, size: tuple[int, int], signed: bool) -> Artefact:
    """A node `p` of the input `x`, then a linear layer to three logits."""
    source = Activation((channels, *SIZE), 0.02, signed)
    made = replace(source, shape=(channels, *size))
    if isinstance(node, GroupNorm):
        made = replace(made, scale=0.03, signed=True)
    fc = Conv("fc", "p", (3, channels, *size), "fc.weight")
    activations = {"x": source, "p": made, "fc": Activation((3, 1, 1))}
    return artefact(Graph("x", "fc", (node, fc), activations), 8)


def some_images(channels: int) -> torch.Tensor:
    """Integers and halves, some beyond the range."""
    halves = np.random.default_rng(channels).integers(-600, 600, (3, channels, *SIZE))
    return torch.from_numpy((halves * 0.5 * np.float32(0.02)).astype(np.float32))


def dilated(case: tuple[Any, ...]) -> Pool:
    kernel, stride, padding, dilation, ceil = case
    return Pool("p", "x", "max", kernel, stride, padding, ceil, dilation)


def check(model: Artefact, x: torch.Tensor) -> None:
    """Plain loops are the reference, whoever shares a pass."""
    expected = ReferencePredictor(model).logits(x, 3, range(2)).numpy()
    for threads, team in ((1, 1), (2, 2), (3, 3)):
        program = build(model, threads, "portable", team=team)
        np.testing.assert_array_equal(program.logits(x.numpy(), 3, 0, 2), expected)
        alone = [program.logits(x[n : n + 1].numpy(), 3, 0, 2) for n in range(len(x))]
        np.testing.assert_array_equal(np.concatenate(alone, axis=1), expected)


@pytest.mark.parametrize("case", DILATED)
@pytest.mark.parametrize("channels", [1, 6, 20])
@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
def test_dilated_pools(case: tuple[Any, ...], channels: int, signed: bool) -> None:
    pool, x = dilated(case), some_images(channels)
    model = behind_one(pool, channels, pool.size(SIZE), signed)
    found = ReferencePredictor(model).activations(x, 0, 0)
    kernel, stride, padding, dilation, ceil = case
    numbers = torch.from_numpy(found["x"].astype(np.float64))
    expected = functional.max_pool2d(numbers, kernel, stride, padding, dilation, ceil)
    np.testing.assert_array_equal(found["p"], expected.numpy())
    if native.unavailable() is None:
        check(model, x)


@pytest.mark.parametrize("out", UNEVEN)
@pytest.mark.parametrize("channels", [1, 20])
@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
def test_uneven_pools(out: tuple[int, int], channels: int, signed: bool) -> None:
    pool, x = Pool("p", "x", "avg", (1, 1), (1, 1), out=out), some_images(channels)
    model = behind_one(pool, channels, out, signed)
    found = ReferencePredictor(model).activations(x, 0, 0)
    exact = functional.adaptive_avg_pool2d(torch.from_numpy(found["x"].astype(np.float64)), out)
    np.testing.assert_allclose(found["p"], exact.numpy(), rtol=0, atol=0.5 + 1e-5)
    assert found["p"].dtype == found["x"].dtype
    if native.unavailable() is None:
        check(model, x)


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 2), (20, 20), (24, 3)])
@pytest.mark.parametrize("eps", [1e-5, 0.3, 1e-30])
@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
def test_group_norms(channels: int, groups: int, eps: float, signed: bool) -> None:
    x = some_images(channels)
    x[1] = 1.0  # no variance
    model = behind_one(GroupNorm("p", "x", groups, eps), channels, SIZE, signed)
    found = ReferencePredictor(model).activations(x, 0, 0)
    scale = float(np.float32(0.02))
    real = torch.from_numpy(found["x"].astype(np.float64) * scale)
    exact = functional.group_norm(real, groups, eps=eps).numpy() / float(np.float32(0.03))
    np.testing.assert_allclose(found["p"], exact.clip(-128, 127), rtol=0, atol=0.5 + 1e-4)
    assert not found["p"][1].any()
    assert found["p"][0].any()
    if native.unavailable() is None:
        check(model, x)


@compiled
@pytest.mark.parametrize("scales", [(1e38, 1e-38), (1e-38, 1e38), (1e-45, 1e-45), (3e38, 3e38)])
def test_no_scale_makes_a_norm_other_than_the_references(scales: tuple[float, float]) -> None:
    """Factors beyond float32, and below."""
    model = behind_one(GroupNorm("p", "x", 1, 1e-30), 6, SIZE, True)
    graph = model.graph
    activations = {
        **graph.activations,
        "x": replace(graph.activations["x"], scale=float(np.float32(scales[0]))),
        "p": replace(graph.activations["p"], scale=float(np.float32(scales[1]))),
    }
    header = replace(model.header, graph=replace(graph, activations=activations))
    model = replace(model, header=header)
    x = some_images(6).clamp(-1, 1) * np.float32(scales[0])
    x[1] = 0.0
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        expected = ReferencePredictor(model).activations(x, 0, 0)["p"]
        program = build(model, 1, "portable")
        found = program.logits(x.numpy(), 0, 0, 1)
        again = ReferencePredictor(model).logits(x, 0, range(1)).numpy()
    np.testing.assert_array_equal(found, again)
    assert not expected[1].any()


def normed(size: int = 48) -> Graph:
    """Norms and pools among layers, so large that a few images at a time go through the first."""
    less = size - 3
    nodes: tuple[Node, ...] = (
        Conv("a", "x", (40, 3, 3, 3), "a.weight", padding=(1, 1), relu=True),
        GroupNorm("n", "a", 4, 1e-5),
        Conv("b", "n", (40, 1, 1, 1), "b.weight", groups=40, residual="a"),
        Pool("d", "b", "max", (2, 2), (1, 1), (1, 1), dilation=(5, 5)),
        GroupNorm("m", "d", 40, 1e-5),
        Conv("c", "m", (24, 40, 1, 1), "c.weight", relu=True),
        Pool("u", "c", "avg", (1, 1), (1, 1), out=(4, 7)),
        GroupNorm("l", "u", 1, 1e-5),
        Conv("y", "l", (3, 24, 4, 7), "y.weight"),
    )
    shapes = {"x": (3, size, size), "a": (40, size, size), "n": (40, size, size)}
    shapes |= {"b": (40, size, size), "d": (40, less, less), "m": (40, less, less)}
    shapes |= {"c": (24, less, less), "u": (24, 4, 7), "l": (24, 4, 7), "y": (3, 1, 1)}
    scales = {"b": 0.08, "d": 0.08, "c": 0.05, "u": 0.05, "y": 0.0}
    activations = {
        name: Activation(shape, scales.get(name, 0.03), name not in "acu")
        for name, shape in shapes.items()
    }
    return Graph("x", "y", nodes, activations)


@compiled
def test_a_network_of_them_is_the_reference_for_any_threads_and_batch() -> None:
    model = artefact(normed(), 4)
    x = images(model, 8)
    expected = ReferencePredictor(model).logits(x[:1], 1, range(1)).numpy()
    for engine in ("portable", "auto"):
        alone = build(model, 1, engine)
        each = [alone.logits(x[n : n + 1].numpy(), 1, 0, 1) for n in range(8)]
        if engine == "portable":
            np.testing.assert_array_equal(each[0], expected)
        for threads, team in ((1, 1), (2, 1), (2, 2), (3, 3)):
            program = build(model, threads, engine, team=team)
            np.testing.assert_array_equal(
                program.logits(x.numpy(), 1, 0, 1), np.concatenate(each, axis=1)
            )
            np.testing.assert_array_equal(program.logits(x[:1].numpy(), 1, 0, 1), each[0])


@compiled
@pytest.mark.parametrize(
    ("node", "size", "named"),
    [
        (Pool("p", "x", "max", (2, 2), (1, 1), (1, 1), dilation=(8, 1)), (1, 6), "nothing but pad"),
        (Pool("p", "x", "avg", (2, 2), (1, 1), dilation=(2, 2)), (5, 3), "maximum alone"),
        (Pool("p", "x", "max", (2, 2), (1, 1), dilation=(2, 2)), (5, 5), "does not follow"),
        (Pool("p", "x", "max", (1, 1), (1, 1), out=(3, 3)), (3, 3), "average alone"),
        (Pool("p", "x", "avg", (2, 1), (1, 1), out=(3, 3)), (3, 3), "no kernel of their own"),
        (GroupNorm("p", "x", 4, 1e-5), SIZE, "in groups of its channels"),
        (GroupNorm("p", "x", 0, 1e-5), SIZE, "in groups of its channels"),
        (GroupNorm("p", "x", 2, 0.0), SIZE, "eps"),
        (GroupNorm("p", "x", 2, float("nan")), SIZE, "eps"),
        (GroupNorm("p", "x", 2, 1e-5), (7, 4), "keeps its input's shape"),
    ],
)
def test_the_program_refuses_what_does_not_fit(
    node: Node, size: tuple[int, int], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        build(behind_one(node, 6, size, False), 1)
