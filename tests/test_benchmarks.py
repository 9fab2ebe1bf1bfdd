"""pytest-benchmark over the parts that cost time.

`pytest tests/test_benchmarks.py --benchmark-enable` times them. Without it each runs once, as
a test of its result. Times are compared with `pytest-benchmark compare`, never asserted.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy import RESIDUAL_SHAPE

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.predicted import Predictive
from sigmabench.harness.quantize import noise
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.ptq import quantize
from sigmabench.harness.quantize.sigma import pack, quantize_sigma, unpack


@pytest.fixture(scope="module")
def artefact(residual, posterior, images):
    model = fold(residual, posterior, RESIDUAL_SHAPE)
    return quantize(model, "INT8_SIGMA4", calibrate(model, images))


@pytest.mark.benchmark(group="sampler")
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_sampler(benchmark, artefact, backend):
    found = BACKENDS.get(backend)
    if found.unavailable():
        pytest.skip(found.unavailable())
    predictor = found.load(artefact, 1)
    drawn = benchmark(predictor.sample, "conv2", 1, 2)
    layer = artefact.layers["conv2"]
    ordinal = [conv.name for conv in artefact.graph.convs].index("conv2")
    epsilon = noise.noise(layer.mean.shape, 1, 2, 2 * ordinal)
    assert np.array_equal(
        drawn, noise.perturb(layer.mean, layer.sigma_q, layer.constants, 4, epsilon)
    )


@pytest.mark.benchmark(group="pass")
@pytest.mark.parametrize("backend", ["native", "reference"])
def test_ten_passes(benchmark, artefact, images, backend):
    found = BACKENDS.get(backend)
    if found.unavailable():
        pytest.skip(found.unavailable())
    logits = benchmark(found.load(artefact, 1).logits, images[:4], 0, range(10))
    assert logits.shape == (10, 4, 5)
    assert logits.isfinite().all()


@pytest.mark.benchmark(group="packing")
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_packing(benchmark, bits):
    values = np.random.default_rng(0).integers(0, 2**bits, 1 << 16).astype(np.uint8)
    packed = benchmark(pack, values, bits)
    assert np.array_equal(unpack(packed, bits, values.size), values)


@pytest.mark.benchmark(group="sigma")
@pytest.mark.parametrize("offset", ["float", "integer"])
def test_quantizing_sigma(benchmark, offset):
    std = np.random.default_rng(0).lognormal(-4, 1, (64, 64, 3, 3)).astype(np.float32)
    found = benchmark(quantize_sigma, std, 4, "channel", offset)
    assert found.values.max() == 15


@pytest.mark.benchmark(group="metrics")
def test_accumulating_and_scoring(benchmark):
    torch.manual_seed(0)
    logits, labels = torch.randn(10, 2000, 10), torch.randint(10, (2000,))

    def accumulate_and_score():
        total = Predictive((10,))
        total.update(logits)
        return score(total.summaries()[10], labels)

    scores = benchmark(accumulate_and_score)
    assert 5 < scores["accuracy"] < 15
