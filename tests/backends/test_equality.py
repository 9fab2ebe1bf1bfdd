"""What has to be equal between backends, exactly: sampled weights and biases; golden hashes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import GOLDEN
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize import noise
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.ptq import Options, quantize
from sigmabench.harness.workload.workload import resolve_workload

INT8_FORMATS = [n for n in FORMATS.names() if FORMATS.get(n).quantized]


@pytest.fixture(scope="module", autouse=True)
def native():
    backend = BACKENDS.get("native")
    if backend.unavailable():
        pytest.skip(backend.unavailable())
    return backend


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


@pytest.fixture(scope="module")
def ranges(model, images):
    return calibrate(model, images)


@pytest.mark.parametrize("options", [Options(), Options("paper", "tensor", "integer")])
@pytest.mark.parametrize("format", INT8_FORMATS)
def test_weights_and_biases_are_the_reference_s(native, model, ranges, format, options):
    artefact = quantize(model, format, ranges, options)
    fast, slow = native.load(artefact, 2), BACKENDS.get("reference").load(artefact, 1)
    for conv in artefact.graph.convs:
        for seed, mc in ((0, 0), (2**64 - 1, 2**32 - 1), (7, 49)):
            assert np.array_equal(
                fast.sample(conv.name, seed, mc), slow.sample(conv.name, seed, mc)
            )
            assert np.array_equal(
                fast.sample_bias(conv.name, seed, mc), slow.sample_bias(conv.name, seed, mc)
            )


@pytest.mark.parametrize("format", INT8_FORMATS)
def test_logits_are_the_reference_s_up_to_their_last_bits(native, model, ranges, images, format):
    artefact = quantize(model, format, ranges)
    fast = native.load(artefact, 2).logits(images[:64], 3, range(2))
    slow = BACKENDS.get("reference").load(artefact, 1).logits(images[:64], 3, range(2))
    few_ulp = 4 * float(np.spacing(slow.abs().max().numpy()))
    assert (fast - slow).abs().max() <= few_ulp


@pytest.mark.parametrize(("threads", "split"), [(1, 1), (1, 7), (2, 3), (2, 64)])
def test_logits_depend_on_neither_threads_nor_batch_nor_stack(
    native, model, ranges, images, threads, split
):
    artefact = quantize(model, "INT8_SIGMA4", ranges)
    whole = native.load(artefact, 1).logits(images[:64], 3, range(5))
    other = native.load(artefact, threads)
    parts = [other.logits(part, 3, range(5)) for part in images[:64].split(split)]
    assert torch.equal(whole, torch.cat(parts, 1))
    apart = [other.logits(images[:64], 3, range(t, t + 1)) for t in range(5)]
    assert torch.equal(whole, torch.cat(apart))


def lenet_that_samples_its_noise() -> Artefact:
    """LeNet-5 with μ = 0 and a step of exactly one, so that a sampled weight is ε_q itself."""
    workload = resolve_workload("lenet5-mnist")
    model = fold(workload.model(), initial(workload.model(), 0.01), workload.input_shape)
    artefact = quantize(model, "INT8", calibrate(model, torch.randn(512, 1, 28, 28)))
    layers = {}
    for name, layer in artefact.layers.items():
        ones = np.ones(len(layer.bias), np.float32)
        layers[name] = replace(
            layer,
            mean=np.zeros_like(layer.mean),
            weight_scale=ones * np.float32(noise.SCALE),
            sigma_scale=ones * 0,
            sigma_offset=ones,
        )
    return replace(artefact, layers=layers)


@pytest.mark.parametrize("backend", ["native", "reference"])
def test_golden_hashes_of_stream_v1_on_every_backend(backend):
    artefact = lenet_that_samples_its_noise()
    predictor = BACKENDS.get(backend).load(artefact, 1)
    names = [conv.name for conv in artefact.graph.convs]
    for (shape, seed, mc, tensor), digest in GOLDEN.items():
        drawn = predictor.sample(names[tensor // 2], seed, mc)
        assert drawn.shape == shape
        assert hashlib.sha256(drawn.astype("<i2").tobytes()).hexdigest() == digest
