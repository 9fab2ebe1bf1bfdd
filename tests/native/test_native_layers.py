"""Integer sums of single layers: oneDNN against the portable engine against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from native_nets import lenet, one_conv, residual_net

from sigmabench.harness import native
from sigmabench.harness.backends.native import build
from sigmabench.harness.backends.reference import accumulate
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.graph import Activation

pytestmark = pytest.mark.skipif(native.unavailable() is not None, reason=str(native.unavailable()))

CASES: dict[str, dict[str, Any]] = {
    "plain 3x3": {"image": (16, 9, 9), "shape": (24, 16, 3, 3)},
    "one channel": {"image": (1, 12, 12), "shape": (6, 1, 5, 5), "padding": (2, 2)},
    "rgb, strided 7x7": {
        "image": (3, 21, 21),
        "shape": (20, 3, 7, 7),
        "padding": (3, 3),
        "stride": (2, 2),
    },
    "rgb, dilated": {
        "image": (3, 13, 13),
        "shape": (8, 3, 3, 3),
        "padding": (2, 2),
        "dilation": (2, 2),
    },
    "uneven everything": {
        "image": (7, 11, 8),
        "shape": (9, 7, 3, 2),
        "padding": (2, 1),
        "stride": (3, 2),
    },
    "1x1": {"image": (70, 5, 5), "shape": (33, 70, 1, 1)},
    "1x1 strided": {"image": (64, 8, 8), "shape": (64, 64, 1, 1), "stride": (2, 2)},
    "dilated": {
        "image": (16, 14, 14),
        "shape": (16, 16, 3, 3),
        "padding": (3, 3),
        "dilation": (3, 3),
    },
    "grouped": {"image": (64, 7, 7), "shape": (64, 16, 3, 3), "groups": 4, "padding": (1, 1)},
    "odd groups": {"image": (9, 6, 6), "shape": (15, 3, 3, 3), "groups": 3},
    "depthwise": {"image": (70, 7, 7), "shape": (70, 1, 3, 3), "groups": 70, "padding": (1, 1)},
    "wide": {"image": (128, 6, 6), "shape": (128, 128, 3, 3), "padding": (1, 1)},
    "asymmetric reach": {"image": (8, 8, 8), "shape": (16, 8, 4, 4), "stride": (3, 3)},
    "one column of output": {"image": (1, 5, 6), "shape": (8, 1, 5, 5), "stride": (2, 2)},
    "one padded pixel": {"image": (3, 5, 3), "shape": (8, 3, 5, 5), "padding": (0, 1)},
    "one column, two rows": {"image": (3, 6, 4), "shape": (8, 3, 5, 4)},
}


def integers(rng: np.random.Generator, batch: int, activation: Activation) -> np.ndarray:
    low, high, kind = (-128, 127, np.int8) if activation.signed else (0, 255, np.uint8)
    return rng.integers(low, high + 1, (batch, *activation.shape)).astype(kind)


def check_sums(artefact: Artefact, x: np.ndarray, layer: str, weights: np.ndarray) -> None:
    conv = next(c for c in artefact.graph.convs if c.name == layer)
    expected = accumulate(x, weights, conv).transpose(0, 2, 3, 1)
    for engine in ("auto", "portable"):
        sums = build(artefact, 1, engine).accumulators(layer, x, weights)
        np.testing.assert_array_equal(sums, expected, engine)


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("case", CASES)
def test_sums_of_sampled_weights(case: str, batch: int, signed: bool) -> None:
    artefact = one_conv(**CASES[case], signed=signed)
    x = integers(np.random.default_rng(1), batch, artefact.graph.activations["x"])
    check_sums(artefact, x, "conv", build(artefact, 1).sample("conv", 9, 2))


@pytest.mark.parametrize("signed", [False, True], ids=["u8", "s8"])
@pytest.mark.parametrize("case", CASES)
def test_sums_do_not_saturate(case: str, signed: bool) -> None:
    """Largest inputs times largest weights: 16-bit intermediate sums would show."""
    artefact = one_conv(**CASES[case], signed=signed)
    x = integers(np.random.default_rng(1), 2, artefact.graph.activations["x"])
    weights = np.full(artefact.layers["conv"].mean.shape, 127, np.int8)
    for extreme in (np.iinfo(x.dtype).max, np.iinfo(x.dtype).min):
        for sign in (1, -1):
            check_sums(artefact, np.full_like(x, extreme), "conv", sign * weights)


@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("make", [lenet, residual_net])
def test_sums_of_every_layer_of_a_network(make: Any, batch: int) -> None:
    artefact = make(4)
    rng = np.random.default_rng(2)
    program = build(artefact, 1)
    for conv in artefact.graph.convs:
        x = integers(rng, batch, artefact.graph.activations[conv.input])
        check_sums(artefact, x, conv.name, program.sample(conv.name, 4, 4))


@pytest.mark.parametrize("case", CASES)
def test_weights_are_read_back_from_the_kernels_buffer(case: str) -> None:
    """Whatever the kernel's layout and the way into it, both engines hold the same weights."""
    artefact = one_conv(**CASES[case], bits=3)
    for mc in (0, 7):
        ours, theirs = (build(artefact, 1, e).sample("conv", 5, mc) for e in ("auto", "portable"))
        np.testing.assert_array_equal(ours, theirs)
