"""`drawn`: the native backend's bits where both compute, the definition's where it alone does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from toy import RESIDUAL_SHAPE

from sigmabench.harness import native as runtime
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.reference import ReferencePredictor
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.measure.layers import fidelities
from sigmabench.harness.quantize import noise
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.ptq import Options, quantize
from sigmabench.harness.quantize.sigma import look_up

BEYOND = [
    Options(sigma_grid="codebook"),
    Options(rounding="dithered"),
    Options("paper", "tensor", sigma_grid="codebook", rounding="dithered"),
]


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


@pytest.fixture(scope="module")
def ranges(model, images):
    return calibrate(model, images)


@pytest.fixture
def native():
    backend = BACKENDS.get("native")
    if backend.unavailable():
        pytest.skip(backend.unavailable())
    return backend


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("format", ["INT8", "INT8_SIGMA1", "INT4_SIGMA2", "DNN_INT8"])
def test_logits_are_the_native_backend_s_bit_for_bit(
    native, model, ranges, images, format, threads
):
    artefact = quantize(model, format, ranges)
    ours = BACKENDS.get("drawn").load(artefact, threads)
    theirs = native.load(artefact, 1)
    assert torch.equal(
        ours.logits(images[:40], 3, range(2, 5)), theirs.logits(images[:40], 3, range(2, 5))
    )
    assert ours.draws == theirs.draws
    assert ours.isa == theirs.isa


@pytest.mark.parametrize("options", BEYOND)
def test_other_grids_and_rounding_follow_the_reference(native, model, ranges, images, options):
    artefact = quantize(model, "INT8_SIGMA2", ranges, options)
    fast, slow = BACKENDS.get("drawn").load(artefact, 1), ReferencePredictor(artefact)
    for conv in artefact.graph.convs:
        assert np.array_equal(fast.sample(conv.name, 7, 49), slow.sample(conv.name, 7, 49))
    ours, theirs = (p.logits(images[:40], 3, range(2)) for p in (fast, slow))
    assert (ours - theirs).abs().max() <= 4 * float(np.spacing(theirs.abs().max().numpy()))


@pytest.mark.parametrize(
    "options",
    [BEYOND[0], *(pytest.param(one, marks=pytest.mark.thorough) for one in BEYOND[1:])],
)
def test_draws_of_other_grids_and_rounding_have_the_law_s_moments(model, ranges, options):
    artefact = quantize(model, "INT8_SIGMA2", ranges, options)
    found = fidelities(artefact, model, BACKENDS.get("drawn").load(artefact, 1), 5)
    assert len(found) == len(model.graph.convs)
    for layer in found:
        assert abs(layer.moment_mean_z) < 4
        assert abs(layer.moment_var_z) < 4


def test_a_codebook_of_the_affine_grid_draws_what_the_grid_does(model, ranges):
    """Entries σ_min and σ_max are Algorithm 1's ends at n = 1: a step of ε_q differs by what A and
    B round."""
    plain = quantize(model, "INT8_SIGMA1", ranges)
    for layer in plain.layers.values():
        ends = np.stack([layer.sigma_offset, layer.sigma_offset + layer.sigma_scale], 1)
        table = noise.table(ends, layer.weight_scale)
        affine, codes = (
            steps.astype(int) << shift.astype(int).reshape(-1, 1, 1, 1)
            for steps, shift in (
                (layer.steps(), layer.shift),
                (look_up(table.steps, layer.sigma_q), table.shift),
            )
        )
        rounded = 2 << layer.shift.astype(int).reshape(-1, 1, 1, 1)
        assert (np.abs(codes - affine) <= rounded).all()
        assert (codes > 0).all()


@pytest.mark.parametrize("options", BEYOND[:2])
def test_native_names_the_backend_that_computes_it(native, model, ranges, options):
    with pytest.raises(UserError, match=r"(codebook|dithered).*--backend drawn") as told:
        native.load(quantize(model, "INT8", ranges, options), 1)
    assert str(told.value).count(".") == 1


def test_without_the_extension_the_reference_computes(monkeypatch, model, ranges, images):
    monkeypatch.setattr(runtime, "unavailable", lambda: "there is none.")
    backend = BACKENDS.get("drawn")
    artefact = quantize(model, "INT8", ranges, Options(rounding="dithered"))
    found = backend.load(artefact, 1)
    assert backend.claimed_isa() == found.isa == "numpy"
    expected = ReferencePredictor(artefact).logits(images[:4], 0, range(1))
    assert torch.equal(found.logits(images[:4], 0, range(1)), expected)


@pytest.mark.parametrize("format", ["FP32", "BF16"])
def test_float_formats_have_the_int8_formats_noise(model, ranges, format):
    ours = BACKENDS.get("drawn").load(quantize(model, format), 1)
    layers = quantize(model, format).layers
    for ordinal, conv in enumerate(model.graph.convs):
        layer, found = layers[conv.name], ours.sample(conv.name, 7, 49)
        epsilon = noise.noise(conv.shape, 7, 49, 2 * ordinal)
        expected = layer.mean.astype(np.float64) + layer.std.astype(np.float64) * (
            epsilon * (4.0 / 127.0)
        )
        steps = {"FP32": 2.0**-22, "BF16": 2.0**-8}[format]
        assert np.abs(found - expected).max() <= steps * np.abs(expected).max()
        if format == "BF16":
            assert np.array_equal(torch.from_numpy(found).bfloat16().float().numpy(), found)
    assert ours.draws == sum(conv.weights for conv in model.graph.convs)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("format", "near"), [("FP32", 1e-4), ("BF16", 0.02), ("DNN_FP32", 1e-4)])
def test_float_logits_are_those_of_the_drawn_weights(
    monkeypatch, model, images, format, near, compiled
):
    if not compiled:
        monkeypatch.setattr("sigmabench.harness.backends.drawn.load_program", lambda *_, **__: None)
    artefact = quantize(model, format)
    predictor = BACKENDS.get("drawn").load(artefact, 1)
    found = predictor.logits(images[:8], 3, range(2, 4))
    for row, mc in zip(found, (2, 3), strict=True):
        weights = {
            name: tuple(
                torch.from_numpy(drawn(name, 3, mc).copy())
                for drawn in (predictor.sample, predictor.sample_bias)
            )
            for name in artefact.layers
        }
        expected = forward(artefact.graph, weights, images[:8])
        error = (row - expected).norm() / expected.norm()
        assert error <= near
        if format != "DNN_FP32":  # far from what another pass computes
            assert (found[0] - found[1]).norm() / expected.norm() > 5 * near
    assert torch.equal(found[0], found[1]) == (format == "DNN_FP32")


def test_float_draws_are_normal_but_for_the_grid(model):
    """Kolmogorov and Smirnov: grid steps of 4/127 move the distribution by less than 0.7 %."""
    artefact = quantize(model, "FP32")
    predictor = BACKENDS.get("drawn").load(artefact, 1)
    drawn = []
    for conv in model.graph.convs:
        layer = artefact.layers[conv.name]
        for mc in range(60):
            moved = (predictor.sample(conv.name, 5, mc) - layer.mean) / layer.std
            drawn.append(moved.ravel())
    found = np.concatenate(drawn)
    found += np.random.default_rng(0).uniform(-2 / 127, 2 / 127, len(found))  # within a step
    assert len(found) > 1e5
    assert stats.kstest(found, "norm").pvalue > 1e-3
