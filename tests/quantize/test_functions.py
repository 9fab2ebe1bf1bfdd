"""Tables of functions against plain loops in Python's own mathematics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.quantize.functions import FUNCTIONS, apply, bounds, get, signs, table
from sigmabench.harness.quantize.graph import Activation, Conv, Graph, Join, Pool


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


ORACLES: dict[str, Callable[[float, float], float]] = {
    "identity": lambda x, _: x,
    "relu": lambda x, end: min(max(x, 0.0), end),
    "leaky_relu": lambda x, slope: x if x >= 0 else slope * x,
    "elu": lambda x, alpha: x if x >= 0 else alpha * (math.exp(x) - 1),
    "sigmoid": lambda x, _: sigmoid(x),
    "hardsigmoid": lambda x, _: min(max(x + 3, 0.0), 6.0) / 6,
    "silu": lambda x, _: x * sigmoid(x),
    "hardswish": lambda x, _: x * min(max(x + 3, 0.0), 6.0) / 6,
    "gelu": lambda x, _: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "gelu_tanh": lambda x, _: (
        x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))) / 2
    ),
    "mish": lambda x, _: x * math.tanh(math.log(1 + math.exp(x))),
    "softplus": lambda x, beta: max(x, 0.0) + math.log1p(math.exp(-abs(beta * x))) / beta,
    "selu": lambda x, _: 1.0507009873554805 * (x if x >= 0 else 1.6732632423543772 * math.expm1(x)),
    "tanh": lambda x, _: math.tanh(x),
    "abs": lambda x, _: max(x, -x),
    "square": lambda x, _: x * x,
    "scale": lambda x, factor: factor * x,
    "shift": lambda x, number: x + number,
}
PARAMETERS = {
    "relu": [None, 6.0, 0.7],
    "leaky_relu": [None, 0.2],
    "elu": [None, 0.5],
    "softplus": [None, 2.5],
    "scale": [None, -0.7, 3.0],
    "shift": [None, -1.5, 2.0],
}
CASES = [(name, p) for name in FUNCTIONS for p in PARAMETERS.get(name, [None])]


def test_every_function_has_an_oracle() -> None:
    assert set(ORACLES) == set(FUNCTIONS)


@pytest.mark.parametrize(("name", "parameter"), CASES)
@given(
    source=st.booleans(),
    target=st.booleans(),
    scales=st.tuples(st.floats(1e-3, 0.5), st.floats(1e-3, 0.5)),
)
def test_a_table_is_the_rounded_saturated_function(name, parameter, source, target, scales) -> None:
    join = Join("y", ("x",), name, parameter)
    s_in, s_out = (float(np.float32(scale)) for scale in scales)
    found = table(join, Activation((1, 1, 1), s_in, source), Activation((1, 1, 1), s_out, target))
    own = get(name).parameter if parameter is None else parameter
    low, high = (-128, 127) if target else (0, 255)
    assert found.dtype == np.uint8
    assert found.shape == (256,)
    for byte in range(256):
        q = byte - 256 if source and byte > 127 else byte
        y = ORACLES[name](q * s_in, own) / s_out
        value = int(found[byte]) - (256 if target and found[byte] > 127 else 0)
        assert low <= value <= high
        # Within half a step of what the end of the range leaves, ties and last bits aside.
        assert abs(value - min(max(y, low), high)) <= 0.5 + 1e-9 * abs(y)


@pytest.mark.parametrize("signed", [False, True])
def test_the_identity_of_equal_scales_changes_no_byte(signed) -> None:
    x = Activation((1, 1, 1), 0.03, signed)
    assert table(Join("y", ("x",)), x, x).tolist() == list(range(256))


def test_ties_go_to_the_even_integer() -> None:
    found = table(Join("y", ("x",)), Activation((1, 1, 1), 0.5), Activation((1, 1, 1), 1.0))
    assert found[[1, 3, 5, 255, 253]].view(np.int8).tolist() == [0, 2, 2, 0, -2]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_the_tensor_s_function_is_the_exact_one(name, parameter) -> None:
    join = Join("y", ("x",), name, parameter)
    x = torch.linspace(-9, 9, 257, dtype=torch.float64)
    own = get(name).parameter if parameter is None else parameter
    exact = get(name).exact(x.numpy(), own)
    np.testing.assert_allclose(apply(join, x).numpy(), exact, rtol=1e-12, atol=1e-12)
    assert get(name).signed is (None if name == "identity" else bool((exact < 0).any()))
    if bounds(join) is not None:
        np.testing.assert_array_equal(np.clip(x.numpy(), *bounds(join)), exact)


def test_signs_follow_from_what_is_read() -> None:
    conv = {"shape": (1, 1, 1, 1), "weight": "w"}
    nodes = (
        Conv("relu", "x", relu=True, **conv),
        Conv("plain", "x", **conv),
        Join("both", ("relu", "plain")),
        Join("two", ("relu", "relu")),
        Pool("pool", "two", "max", (1, 1), (1, 1)),
        Join("silu", ("pool",), "silu"),
        Join("cut", ("plain", "silu"), "relu", 6.0),
    )
    found = signs(Graph("x", "plain", nodes, {}))
    assert {name for name, signed in found.items() if signed} == {"x", "plain", "both", "silu"}


def test_an_unknown_function_is_named() -> None:
    with pytest.raises(UserError, match="function named 'swish'"):
        get("swish")
