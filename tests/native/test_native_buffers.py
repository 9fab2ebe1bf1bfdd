"""What lies in the buffers that kernels read, and the bytes that a pass moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from native_nets import artefact, lenet, one_conv, one_linear
from test_native_layers import CASES

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.backends.shipped import NATIVE as BACKEND
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.graph import Activation, Conv, Graph

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))


def path(program: Any, batch: int = 1, layer: int = 0) -> str:
    return str(program.describe(batch)[layer]["path"])


def check_buffer(artefact: Artefact, layer: str, engine: str) -> None:
    """Weights where the map says, once each, and 0 everywhere else."""
    program = build(artefact, 1, engine)
    found, weight = program.packed(layer, 9, 2)
    expected = program.sample(layer, 9, 2).ravel()
    np.testing.assert_array_equal(found[weight >= 0], expected[weight[weight >= 0]])
    np.testing.assert_array_equal(np.sort(weight[weight >= 0]), np.arange(expected.size))
    assert not found[weight < 0].any()


@pytest.mark.parametrize("engine", ["auto", "portable"])
@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("case", CASES)
def test_bytes_without_a_weight_are_zero(case: str, signed: bool, engine: str) -> None:
    """Whatever was in the buffer and in the scratch before: `packed` fills both with 99."""
    check_buffer(one_conv(**CASES[case], signed=signed), "conv", engine)


@pytest.mark.parametrize("bits", [0, 4])
def test_bytes_without_a_weight_are_zero_in_linear_layers(bits: int) -> None:
    for shape in ((10, 84, 1, 1), (17, 5, 3, 3), (65, 1, 1, 1), (33, 7, 1, 1)):
        check_buffer(one_linear(shape, bits), "fc", "auto")


def test_kernels_and_isa_are_of_the_latest_call() -> None:
    """Neither what was planned before nor what is looked at meanwhile counts."""
    artefact = lenet(4)
    alone = {}
    for batch in (1, 64):
        predictor = BACKEND.load(artefact, 1)
        predictor.logits(torch.zeros(batch, 1, 28, 28), 0, range(1))
        alone[batch] = (predictor.isa, predictor.kernels)
    predictor = BACKEND.load(artefact, 1)
    assert (predictor.isa, predictor.kernels) == alone[1]
    for batch in (64, 1, 64):
        predictor.logits(torch.zeros(batch, 1, 28, 28), 0, range(1))
        predictor.traffic(65 - batch)
        predictor.program.describe(65 - batch)
        predictor.program.draw(0, 0, 1)
        assert (predictor.isa, predictor.kernels) == alone[batch]


def test_neither_measuring_nor_drawing_is_a_call_of_logits() -> None:
    program = build(lenet(4), 2)
    program.team(np.zeros((8, 1, 28, 28), np.float32), 1)
    program.draw(0, 0, 1)
    assert program.latest_team == 1


def lanes(shape: tuple[int, ...]) -> int:
    """Of the noise stream, by docs/noise-stream.md."""
    outputs, inputs, height, width = shape
    if inputs == 1:
        return -(-outputs // 64) * height * width * 64
    return -(-outputs // 16) * height * width * -(-inputs // 4) * 64


def folded(shape: tuple[int, ...]) -> int:
    """Weights of a kernel whose columns may have been folded into channels, a multiple of 16."""
    outputs, inputs, height, width = shape
    channels = -(-inputs * width // 16) * 16 if inputs <= 4 else inputs * width
    return outputs * channels * height


@pytest.mark.parametrize("engine", ["auto", "portable"])
@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("case", CASES)
def test_sampled_bytes_are_those_of_the_path(case: str, signed: bool, engine: str) -> None:
    artefact = one_conv(**CASES[case], signed=signed)
    program = build(artefact, 1, engine)
    low = high = 0
    for index, conv in enumerate(artefact.graph.convs):
        weights = int(np.prod(conv.shape))
        elements = program.packed(conv.name, 0, 0)[1].size
        way = path(program, 1, index)
        scratch = {"direct": 0, "gather": lanes(conv.shape) + (1 + 4) * elements}
        scratch["reorder"] = lanes(conv.shape) + (1 + 4 + 2) * weights
        low += scratch[way] + 2 * elements
        if way == "reorder":  # a folded kernel has channels of padding; int32 sums, a channel
            scratch[way] += (1 + 4 + 2) * (folded(conv.shape) - weights)
            elements += 4 * 4 * -(-conv.shape[0] // 64) * 64
        high += scratch[way] + 2 * elements
    assert low <= program.traffic(1)["sampled"] <= high


def test_nothing_sampled_moves_nothing_sampled() -> None:
    assert build(lenet(0), 1).traffic(4)["sampled"] == 0


def test_activation_bytes_count_every_copy() -> None:
    """A residual that is read again is copied first; planes of the input last for a row."""
    twice = Conv("b", "x", (4, 4, 1, 1), "b.weight", residual="x")
    fc = Conv("fc", "b", (3, 4, 3, 3), "fc.weight")
    activations = {
        "x": Activation((4, 3, 3), 0.02),
        "b": Activation((4, 3, 3), 0.3),
        "fc": Activation((3, 1, 1)),
    }
    program = build(artefact(Graph("x", "fc", (twice, fc), activations), 4), 1, "portable")
    one = 36
    into = 4 * one + one  # float32, NHWC
    b = one + (one + one) + one + one  # x, the residual's copy, the residual, the sum
    assert program.traffic(5)["activations"] == 5 * (into + b + one + 4 * 3)
    gray = build(one_linear((3, 1, 4, 4), 4), 1, "portable")
    assert gray.traffic(2)["activations"] == 2 * (4 * 16 + 16 + 16 + 4 * 3)
