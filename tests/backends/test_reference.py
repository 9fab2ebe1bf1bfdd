"""The integer reference against PyTorch in float64, and against the float backend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.reference import accumulate, quantize_activation
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.graph import Activation, Conv
from sigmabench.harness.quantize.ptq import quantize


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 2, 3]))
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    pair = st.tuples(st.integers(1, 2), st.integers(1, 2))
    shape = (groups * draw(st.integers(1, 3)), draw(st.integers(1, 3)), *kernel)
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    conv = Conv(
        "y", "x", shape, "w", draw(pair), padding, draw(pair), groups
    )  # fmt: skip
    return conv, draw(st.integers(0, 2**32 - 1)), draw(st.booleans())


@given(convolutions())
def test_accumulators_are_an_exact_convolution(case):
    conv, seed, signed = case
    rng = np.random.default_rng(seed)
    kind = np.int8 if signed else np.uint8
    x = rng.integers(*((-128, 128) if signed else (0, 256)), (2, conv.shape[1] * conv.groups, 7, 6))
    w = rng.integers(-127, 128, conv.shape)
    expected = functional.conv2d(
        torch.from_numpy(x).double(),
        torch.from_numpy(w).double(),
        None,
        conv.stride,
        conv.padding,
        conv.dilation,
        conv.groups,
    )
    found = accumulate(x.astype(kind), w.astype(np.int8), conv)
    assert found.dtype == np.int32
    assert np.array_equal(found, expected.numpy())


def test_activations_saturate_and_round_half_to_even():
    x = np.float32([-300, -1.5, -0.5, 0.5, 1.5, 2.5, 300])
    signed = quantize_activation(x, Activation((7, 1, 1), 1.0, True))
    assert signed.tolist() == [-128, -2, 0, 0, 2, 2, 127]
    unsigned = quantize_activation(x, Activation((7, 1, 1), 1.0, False))
    assert unsigned.tolist() == [0, 0, 0, 0, 2, 2, 255]


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


@pytest.fixture(scope="module")
def ranges(model, images):
    return calibrate(model, images, sampled=True)


def test_logits_are_those_of_the_sampled_network_up_to_quantization(model, ranges, images):
    """The same sampled weights in float: what differs is 8-bit activations alone."""
    from sigmabench.harness.quantize.forward import forward

    artefact = quantize(model, "INT8", ranges)
    predictor = BACKENDS.get("reference").load(artefact, 1)
    logits = predictor.logits(images[:32], seed=3, passes=range(2, 4))
    for index, mc in enumerate((2, 3)):
        weights = {}
        for conv in artefact.graph.convs:
            scale = artefact.layers[conv.name].weight_scale.reshape(-1, 1, 1, 1)
            weight = predictor.sample(conv.name, 3, mc) * scale
            bias = predictor.sample_bias(conv.name, 3, mc)
            weights[conv.name] = (torch.from_numpy(weight).float(), torch.from_numpy(bias))
        expected = forward(artefact.graph, weights, images[:32])
        error = (logits[index] - expected).square().mean().sqrt()
        assert error < 0.05 * expected.std()


def test_passes_do_not_depend_on_how_they_are_asked_for(model, ranges, images):
    predictor = BACKENDS.get("reference").load(quantize(model, "INT8_SIGMA4", ranges), 1)
    whole = predictor.logits(images[:6], 1, range(4))
    parts = torch.cat([predictor.logits(images[:6], 1, range(t, t + 1)) for t in range(4)])
    halves = torch.cat(
        [predictor.logits(images[:2], 1, range(4)), predictor.logits(images[2:6], 1, range(4))], 1
    )
    assert torch.equal(whole, parts)
    assert torch.equal(whole, halves)
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(whole, predictor.logits(images[:6], 2, range(4)))


def test_every_pass_counts_its_draws(model, ranges, images):
    artefact = quantize(model, "INT8", ranges)
    predictor = BACKENDS.get("reference").load(artefact, 1)
    predictor.logits(images[:2], 0, range(3))
    assert predictor.draws == 3 * sum(layer.mean.size for layer in artefact.layers.values())


@pytest.mark.parametrize(
    ("x", "seed", "passes", "message"),
    [
        (torch.zeros(2, 3, 5, 5), 0, range(1), "takes float32 images"),
        (torch.zeros(2, *RESIDUAL_SHAPE, dtype=torch.float64), 0, range(1), "takes float32 images"),
        (torch.zeros(0, *RESIDUAL_SHAPE), 0, range(1), "batch is empty"),
        (torch.zeros(2, *RESIDUAL_SHAPE), 0, range(0), "MC passes"),
        (torch.zeros(2, *RESIDUAL_SHAPE), 0, range(2**32, 2**32 + 1), "MC passes"),
        (torch.zeros(2, *RESIDUAL_SHAPE), -1, range(1), "seed"),
        (torch.zeros(2, *RESIDUAL_SHAPE), 2**64, range(1), "seed"),
    ],
)
@pytest.mark.parametrize("backend", ["reference", "float", "native"])
def test_calls_that_cannot_be_right_are_refused(model, ranges, backend, x, seed, passes, message):
    loader = BACKENDS.get(backend)
    if loader.unavailable():
        pytest.skip(loader.unavailable())
    artefact = quantize(model, "FP32" if backend == "float" else "INT8", ranges)
    with pytest.raises(UserError, match=message):
        loader.load(artefact, 1).logits(x, seed, passes)


@pytest.mark.parametrize(("backend", "format"), [("reference", "FP32"), ("float", "INT8")])
def test_formats_a_backend_does_not_compute_are_refused(model, ranges, backend, format):
    with pytest.raises(UserError, match="--backend"):
        BACKENDS.get(backend).load(quantize(model, format, ranges), 1)
