"""The float backend against the module itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call
from toy import RESIDUAL_SHAPE

from sigmabench.harness import native
from sigmabench.harness.backends import float as backend
from sigmabench.harness.backends import float_program, stack
from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.backends.float_program import ProgramPredictor
from sigmabench.harness.backends.stack import max_pool
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.ptq import quantize
from sigmabench.harness.workload.workload import resolve_workload


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


def by_program(artefact, threads):
    if native.unavailable() is not None or native.load().normal_paths()[0] == "portable":
        pytest.skip("nothing is compiled that draws normals fast")
    predictor = BACKENDS.get("float").load(artefact, threads)
    assert isinstance(predictor, ProgramPredictor)
    return predictor


@pytest.fixture(params=["program", "PyTorch"])
def load(request):
    """Each of the two engines."""
    return by_program if request.param == "program" else backend.FloatPredictor


def lenet():
    torch.manual_seed(3)
    workload = resolve_workload("lenet5-mnist")
    module = workload.model()
    return module, initial(module, 0.05), workload.input_shape


def test_deterministic_twin_is_the_mean_network(load, residual, posterior, model, images):
    predictor = load(quantize(model, "DNN_FP32"), 1)
    expected = functional_call(residual, {**posterior.state, **posterior.mean}, (images[:9],))
    torch.testing.assert_close(predictor.logits(images[:9], 0, range(1))[0], expected)


@pytest.mark.parametrize("images_at_once", [1, 7, 64])
def test_a_pass_is_the_network_with_the_weights_it_reports(load, model, images, images_at_once):
    predictor = load(quantize(model, "FP32"), 1)
    x = images[:images_at_once]
    logits = predictor.logits(x, 5, range(3, 6))
    for index, mc in enumerate((3, 4, 5)):
        weights = {
            name: (torch.from_numpy(predictor.sample(name, 5, mc)), layer.bias)
            for name, layer in model.layers.items()
        }
        if any(layer.bias_std.any() for layer in model.layers.values()):
            weights = {
                name: (weight, torch.from_numpy(predictor.sample_bias(name, 5, mc)))
                for name, (weight, _) in weights.items()
            }
        torch.testing.assert_close(
            logits[index], forward(model.graph, weights, x), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("format", ["FP32", "BF16"])
def test_stacking_passes_changes_rounding_alone(format, monkeypatch):
    module, posterior, shape = lenet()
    artefact = quantize(fold(module, posterior, shape), format)
    x = torch.randn(3, *shape)
    stacked = backend.FloatPredictor(artefact, 1).logits(x, 1, range(7))
    monkeypatch.setattr(backend, "STACK_IMAGES", 1)
    single = backend.FloatPredictor(artefact, 1).logits(x, 1, range(7))
    tolerance = 1e-5 if format == "FP32" else 0.05
    torch.testing.assert_close(stacked, single, rtol=tolerance, atol=tolerance)


def test_draws_are_normal_with_the_posterior_s_moments(load, model):
    predictor = load(quantize(model, "FP32"), 1)
    layer = model.layers["stem"]
    draws = np.stack([predictor.sample("stem", 11, mc) for mc in range(400)])
    z = (draws - layer.mean.numpy()) / layer.std.numpy()
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)


def test_bf16_draws_are_bf16_values(load, model):
    predictor = load(quantize(model, "BF16"), 1)
    drawn = torch.from_numpy(predictor.sample("conv1", 0, 0))
    assert torch.equal(drawn, drawn.bfloat16().float())


def test_passes_repeat_and_differ(load, model, images):
    predictor = load(quantize(model, "FP32"), 1)
    first = predictor.logits(images[:4], 1, range(3))
    assert torch.equal(first, predictor.logits(images[:4], 1, range(3)))
    assert not torch.equal(first[0], first[1])
    torch.testing.assert_close(first[2:], predictor.logits(images[:4], 1, range(2, 3)))


def without_extension(monkeypatch):
    monkeypatch.setattr(stack, "noise_source", lambda: "normal-torch")


@pytest.fixture(params=["as installed", "without the extension"])
def sampler(request, monkeypatch):
    if request.param == "without the extension":
        without_extension(monkeypatch)
    return request.param


@pytest.mark.parametrize("format", ["FP32", "BF16"])
@pytest.mark.parametrize(("images", "passes"), [(1, 1), (1, 12), (9, 3)])
def test_lenet_is_the_network_with_the_weights_it_reports(sampler, format, images, passes):
    module, posterior, shape = lenet()
    model = fold(module, posterior, shape)
    predictor = backend.FloatPredictor(quantize(model, format), 1)
    x = torch.randn(images, *shape)
    logits = predictor.logits(x, 5, range(2, 2 + passes))
    tolerance = 1e-4 if format == "FP32" else 0.1
    for index in range(passes):
        weights = {
            name: (
                torch.from_numpy(predictor.sample(name, 5, 2 + index)),
                torch.from_numpy(predictor.sample_bias(name, 5, 2 + index)),
            )
            for name in model.layers
        }
        expected = forward(model.graph, weights, x)
        torch.testing.assert_close(logits[index], expected, rtol=tolerance, atol=tolerance)


def test_every_plan_computes_the_same_up_to_rounding():
    module, posterior, shape = lenet()
    predictor = backend.FloatPredictor(quantize(fold(module, posterior, shape), "FP32"), 2)
    x = torch.randn(3, *shape)
    plans = predictor._candidates(3, 6)
    assert {plan.stack for plan in plans} == {1, 2, 4, 6}
    assert {plan.threads for plan in plans} == {1, 2}
    assert {plan.onednn for plan in plans} == {True, False}
    before = torch.get_num_threads(), torch.backends.mkldnn.enabled
    outputs = []
    for plan in plans:
        with backend._settings(plan):
            outputs.append(predictor._logits(x, 1, range(6), plan))
    assert (torch.get_num_threads(), torch.backends.mkldnn.enabled) == before
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0], rtol=1e-4, atol=1e-4)


def test_noise_says_whose_it_is(model, images, sampler):
    predictor = backend.FloatPredictor(quantize(model, "FP32"), 1)
    ours = sampler == "as installed" and native.unavailable() is None
    if ours and native.load().normal_paths()[0] != "portable":
        assert predictor.noise == "normal"
    else:
        assert predictor.noise == "normal-torch"
    predictor.logits(images[:1], 0, range(1))
    assert set(predictor.kernels) == set(model.layers)
    assert all(predictor.noise in kernel for kernel in predictor.kernels.values())


def test_without_the_extension_draws_are_normal_too(model, monkeypatch):
    without_extension(monkeypatch)
    test_draws_are_normal_with_the_posterior_s_moments(backend.FloatPredictor, model)


def test_the_seed_of_a_pass_is_splitmix64_s():
    """The first outputs of Vigna's reference implementation, for the states 0 and 1234567."""
    assert [stack.pass_seed(0, mc) for mc in range(3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]
    assert [stack.pass_seed(1234567, mc) for mc in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_without_the_extension_each_stacked_pass_draws_from_its_own_seed(model, monkeypatch):
    without_extension(monkeypatch)
    artefact = replace(quantize(model, "FP32"), first_layer=3)
    draws = stack.Draws(artefact, torch.float32)
    out = torch.empty(3 * draws.size)
    draws.fill(out, 11, range(4, 7))
    for row, mc in enumerate((4, 5, 6)):
        seed = stack.pass_seed(11, (3 << 32) + mc)
        z = torch.empty(draws.size).normal_(generator=torch.Generator().manual_seed(seed))
        for name, slots in draws.slots.items():
            layer, order = artefact.layers[name], draws.order(name)
            tensors = ((layer.mean, layer.real_std(), order), (layer.bias, layer.bias_std, (0,)))
            for slot, (mean, std, axes) in zip(slots, tensors, strict=True):
                noise = z[slot.start : slot.start + slot.size].view(slot.shape)
                expected = mean.transpose(axes) + std.transpose(axes) * noise.numpy()
                drawn = draws.part(out, slot, 3)[row].numpy()
                np.testing.assert_allclose(drawn, expected, rtol=1e-6, atol=1e-7)


def test_measuring_draws_no_weights_that_count(load, model, images):
    artefact = quantize(model, "FP32")
    predictor = load(artefact, 1)
    predictor.logits(images[:2], 0, range(5))
    assert predictor.draws == 5 * artefact.sampled_weights


@given(
    size=st.tuples(*[st.integers(3, 11)] * 2),
    kernel=st.tuples(*[st.integers(1, 3)] * 2),
    stride=st.tuples(*[st.integers(1, 4)] * 2),
    layout=st.sampled_from([torch.contiguous_format, torch.channels_last]),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_max_pool_is_pytorch_s(size, kernel, stride, layout, seed):
    x = torch.randn(2, 5, *size, generator=torch.Generator().manual_seed(seed))
    x = x.to(memory_format=layout)
    expected = torch.nn.functional.max_pool2d(x, kernel, stride)
    assert torch.equal(max_pool(x, kernel, stride), expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("split", [1, 5, 32])
def test_fp32_logits_are_within_64_ulps_whatever_the_batch_and_threads(
    load, model, images, split, threads
):
    """The bound that docs/spec.md states."""
    artefact = quantize(model, "FP32")
    whole = load(artefact, 1).logits(images[:32], 1, range(5))
    other = load(artefact, threads)
    parts = torch.cat([other.logits(x, 1, range(5)) for x in images[:32].split(split)], 1)
    ulp = np.spacing(np.float32(whole.abs().max()))
    assert float((whole - parts).abs().max()) <= 64 * ulp


def test_without_the_extension_pytorch_computes(model, images, monkeypatch):
    monkeypatch.setattr(float_program, "noise_source", lambda: "normal-torch")
    predictor = BACKENDS.get("float").load(quantize(model, "FP32"), 1)
    assert isinstance(predictor, backend.FloatPredictor)


@pytest.mark.parametrize(("threads", "team"), [(0, 0), (1025, 0), (4, 3)])
def test_bad_threads_are_refused_and_do_not_change_the_engine(model, threads, team):
    """PyTorch's engine draws other weights from the same seed."""
    artefact = quantize(model, "FP32")
    by_program(artefact, 1)
    with pytest.raises(UserError, match=r"^--(threads|team) is"):
        BACKENDS.get("float").load(artefact, threads, team)


def test_threads_that_cannot_be_had_do_not_change_the_engine(model, monkeypatch):
    artefact = quantize(model, "FP32")
    by_program(artefact, 1)

    def build(*_, **__):
        raise RuntimeError("the system has not 8 threads for this process")

    monkeypatch.setattr(float_program, "build", build)
    with pytest.raises(UserError, match=r"has not 8 threads .*; use fewer --threads"):
        BACKENDS.get("float").load(artefact, 8)


@pytest.mark.parametrize("format", ["FP32", "BF16"])
def test_the_program_names_what_runs(model, images, format):
    artefact = quantize(model, format)
    predictor = by_program(artefact, 1)
    assert predictor.isa == BACKENDS.get("float").claimed_isa()
    assert set(predictor.kernels) == set(model.layers)
    assert all(predictor.noise in kernel for kernel in predictor.kernels.values())
    width = 4 if format == "FP32" else 2
    traffic = predictor.traffic(2)
    assert traffic.mean >= traffic.std >= width * artefact.sampled_weights
    assert traffic.sampled >= 2 * width * artefact.sampled_weights
