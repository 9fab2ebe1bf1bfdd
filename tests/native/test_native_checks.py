"""Networks that the runtime must refuse, each with a sentence that says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from native_nets import lenet, one_conv, one_linear, one_pool, residual_net

from sigmabench.harness import native
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.native import build
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.graph import Pool

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def with_activation(artefact: Artefact, name: str, **changes: Any) -> Artefact:
    """The same network, one of its activations declared otherwise."""
    graph = artefact.graph
    changed = replace(graph.activations[name], **changes)
    graph = replace(graph, activations={**graph.activations, name: changed})
    return replace(artefact, header=replace(artefact.header, graph=graph))


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("engine", ["auto", "portable"])
def test_a_kernel_larger_than_its_padded_input_is_refused(stride: int, engine: str) -> None:
    """(3 - 5) / stride + 1 is 1 if the division truncates: it must be 0, hence an error."""
    fits = one_conv((2, 5, 5), (4, 2, 5, 5), stride=(stride, stride))
    with pytest.raises(ValueError, match="conv: its output's size does not follow"):
        build(with_activation(fits, "x", shape=(2, 3, 3)), 1, engine)
    pool = one_pool(Pool("p", "x", "max", (5, 5), (stride, stride), (0, 0)), (2, 5, 5), False)
    with pytest.raises(ValueError, match="p: its output's size does not follow"):
        build(with_activation(pool, "x", shape=(2, 3, 3)), 1, engine)


def builder_with(shape: list[int], mean: np.ndarray, **settings: Any) -> Any:
    """A builder that was given one conv of that shape."""
    builder = native.load().Builder()
    pair = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1]}
    sizes = {name: settings.pop(name, default) for name, default in pair.items()}
    builder.activation("x", [2, 3, 3], 0.1, False)
    builder.activation("y", [4, 1, 1], 0.0, True)
    ones = np.ones(max(shape[0], 0), np.float32)
    builder.conv(
        input=0, output=1, residual=-1, shape=shape, groups=1, relu=False,
        mean=mean, weight_scale=ones, bias=ones, **sizes,
    )  # fmt: skip
    return builder


@pytest.mark.parametrize(
    "shape",
    [[4, 2, 0, 3], [4, 2, 3, 0], [0, 2, 3, 3], [4, -2, -3, 3], [2**16, 2**16, 2**16, 2**16]],
)
def test_shapes_that_hold_nothing_or_too_much_are_refused(shape: list[int]) -> None:
    size = int(np.prod(np.array(shape, np.int64)))  # 2^64 wraps to 0
    with pytest.raises(ValueError, match="y: its weights must be at least one and fewer than"):
        builder_with(shape, np.zeros(max(size, 0), np.int8))


@pytest.mark.parametrize("name", ["stride", "padding", "dilation"])
@pytest.mark.parametrize("value", [-1, 2**40, 2**62])
def test_geometry_out_of_range_is_refused(name: str, value: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        builder_with([4, 2, 3, 3], np.zeros(72, np.int8), **{name: [1, value]})


def test_sums_that_int32_cannot_hold_are_refused() -> None:
    """66 311 products of 255 by 127 are the most that fit."""
    assert 66311 * 255 * 127 < 2**31 <= 66312 * 255 * 127
    largest = one_linear((1, 66311, 1, 1), 1)
    largest.layers["fc"].mean[:] = 127
    largest = with_activation(largest, "x", signed=False)
    x = np.full((1, 66311, 1, 1), 255, np.uint8)
    for engine in ("auto", "portable"):
        sums = build(largest, 1, engine).accumulators("fc", x, largest.layers["fc"].mean)
        assert sums.ravel().tolist() == [66311 * 255 * 127]
    with pytest.raises(ValueError, match="fc: a sum of more than 66311 products"):
        build(one_linear((1, 66312, 1, 1), 1), 1)


def test_tensors_that_the_noise_stream_cannot_number_are_refused() -> None:
    """2^30 weights of two inputs take four lanes for two."""
    with pytest.raises(ValueError, match=r"y: its weights take 2\^31 or more lanes"):
        builder_with([2**21, 2, 16, 16], np.zeros(1, np.int8))
    with pytest.raises(ValueError, match="mean must have 1073733632 values, not 1"):
        builder_with([2**21 - 16, 2, 16, 16], np.zeros(1, np.int8))


def test_activations_that_int32_cannot_count_are_refused() -> None:
    builder = native.load().Builder()
    builder.activation("x", [2**11, 2**10, 2**10 - 1], 0.1, False)
    for shape in ([2**11, 2**10, 2**10], [2**62, 4, 1], [1, 0, 1]):
        with pytest.raises(ValueError, match="y: it must hold at least one number and fewer"):
            builder.activation("y", shape, 0.1, False)


@pytest.mark.filterwarnings("ignore:invalid value")  # of integers made from them
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("field", ["weight_scale", "bias", "bias_std"])
def test_numbers_that_are_not_finite_are_refused(field: str, value: float) -> None:
    artefact = lenet(4)
    getattr(artefact.layers["c2"], field)[3] = value
    with pytest.raises(ValueError, match="c2: its scales and biases must be finite"):
        build(artefact, 1)


def test_an_infinite_activation_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="c2: its scale must be finite"):
        build(with_activation(lenet(4), "c2", scale=np.inf), 1)


def test_a_residual_of_another_shape_is_refused() -> None:
    """(32, 4, 4) and (32, 2, 8) have as many elements."""
    artefact = residual_net(4)
    graph = artefact.graph
    nodes = tuple(replace(n, stride=(4, 1)) if n.name == "down" else n for n in graph.nodes)
    graph = replace(graph, nodes=nodes)
    artefact = replace(artefact, header=replace(artefact.header, graph=graph))
    artefact = with_activation(artefact, "down", shape=(32, 2, 8))
    with pytest.raises(ValueError, match="b2: its residual has another shape"):
        build(artefact, 1)


def test_a_pool_that_changes_the_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="p1: a pool's output must have its input's type, scale"):
        build(with_activation(lenet(4), "p1", scale=0.021), 1)


@pytest.mark.parametrize("first", [-1, 2**29 + 1])
def test_layers_are_not_numbered_beyond_the_noise_stream_s_counter(first: int) -> None:
    with pytest.raises(ValueError, match="ordinal is out of range"):
        native.load().Builder("int8", first)


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**31 - 1])
def test_thread_counts_out_of_range_are_refused(threads: int) -> None:
    with pytest.raises(ValueError, match="threads must be from 1 to 1024"):
        build(lenet(4), threads)


@pytest.mark.parametrize("batch", [0, -1, 2**24 + 1, 2**62])
def test_batches_that_cannot_be_are_refused(batch: int) -> None:
    program = build(lenet(4), 2)
    with pytest.raises(ValueError, match="a batch holds from 1 to 16777216 images"):
        program.traffic(batch)
    if batch:  # 0: of the latest call
        with pytest.raises(ValueError, match="a batch holds from 1 to 16777216 images"):
            program.describe(batch)


@pytest.mark.parametrize(("width", "fits"), [(2901, True), (2903, False)])
def test_averages_that_int32_cannot_sum_are_refused(width: int, fits: bool) -> None:
    """8 421 504 values of 255 are the most that fit."""
    assert 8421504 * 255 < 2**31 <= 8421505 * 255
    artefact = one_pool(Pool("p", "x", "avg", (width, width), (1, 1)), (1, width, width), False)
    if fits:
        assert build(artefact, 1).threads == 1
        return
    with pytest.raises(ValueError, match="p: an average of more than 8421504 values"):
        build(artefact, 1)


def test_an_array_off_its_boundary_is_refused() -> None:
    x = np.frombuffer(bytes(28 * 28 * 4 + 1), np.float32, offset=1).reshape(1, 1, 28, 28)
    assert not x.flags.aligned
    with pytest.raises(ValueError, match="x must be aligned"):
        build(lenet(4), 1).logits(x, 0, 0, 1)


@pytest.mark.parametrize("backend", ["native", "drawn"])
def test_what_is_refused_is_told_to_users_as_one_sentence(backend: str) -> None:
    bad = with_activation(lenet(4), "p1", scale=0.021)
    with pytest.raises(UserError, match=r"cannot be computed: p1 has another scale .*; make"):
        BACKENDS.get(backend).load(bad, 1)


@pytest.mark.parametrize(
    ("backend", "threads", "team"),
    [("native", 0, 0), ("native", 1025, 0), ("native", 4, 3), ("native", 2, -1), ("drawn", 0, 0)],
)
def test_bad_threads_are_not_blamed_on_the_network(backend: str, threads: int, team: int) -> None:
    with pytest.raises(UserError, match=r"^--(threads|team) is -?\d+; give a number"):
        BACKENDS.get(backend).load(lenet(4), threads, team)


def test_too_little_memory_is_said_to_be_that(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def logits(self, *_: Any) -> None:
            raise MemoryError("std::bad_alloc")

    predictor = BACKENDS.get("native").load(lenet(4), 1)
    monkeypatch.setattr(predictor, "program", Full())
    with pytest.raises(UserError, match=r"not the memory .* smaller batch"):
        predictor.logits(torch.zeros(1, 1, 28, 28), 0, range(1))
