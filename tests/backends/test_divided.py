"""Divided networks: every backend computes the same, and it is what a plain simulation computes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache, partial

import numpy as np
import pytest
import torch
from divided_nets import NETS, SHAPE, Gated, settled
from some import first_alone, later
from torch import Tensor, nn
from torch.nn import functional

from sigmabench.harness import native
from sigmabench.harness.backends import stack
from sigmabench.harness.backends.base import BACKENDS, Predictor
from sigmabench.harness.backends.divided import DividedPredictor
from sigmabench.harness.backends.float import FloatPredictor
from sigmabench.harness.backends.native import NativePredictor, build
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.posterior import initial, moped
from sigmabench.harness.quantize import floats, noise
from sigmabench.harness.quantize.artefact import Artefact
from sigmabench.harness.quantize.calibrate import Calibration, observe_ranges
from sigmabench.harness.quantize.fold import FloatModel, fold
from sigmabench.harness.quantize.ptq import Options, quantize

compiled = pytest.mark.skipif(native.unavailable() is not None, reason="nothing is compiled")


@lru_cache
def prepared(name: str) -> tuple[nn.Module, Tensor, FloatModel, Calibration]:
    module, x = settled(name)
    model = fold(module, moped(module, 0.1), SHAPE)
    return module, x, model, observe_ranges(model, x, "minmax")


def artefact_of(name: str, format: str, options: Options | None = None) -> Artefact:
    _, _, model, calibration = prepared(name)
    return quantize(model, format, calibration, options)


def portable(threads: int, artefact: Artefact) -> NativePredictor:
    program = build(artefact, threads, "portable", team=threads)
    return NativePredictor(program, artefact.graph, threads)


@compiled
@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("format", first_alone(["INT8", "INT8_SIGMA2", "DNN_INT8"]))
def test_compiled_passes_are_the_reference_s_bit_for_bit(name: str, format: str) -> None:
    artefact, x = artefact_of(name, format), prepared(name)[1][:3]
    reference = BACKENDS.get("reference").load(artefact, 1).logits(x, 9, range(1, 3))
    for threads in (1, 2):
        found = DividedPredictor(artefact, partial(portable, threads)).logits(x, 9, range(1, 3))
        assert torch.equal(found, reference)


class Simulated:
    """`Gated` in int8 by plain PyTorch, from the artefact's numbers and the noise stream's page."""

    def __init__(self, artefact: Artefact) -> None:
        self.layers = artefact.layers
        self.scales = [artefact.graph.activations[s.input].scale for s in artefact.graph.segments]

    def layer(self, index: int, name: str, x: Tensor, seed: int, mc: int) -> Tensor:
        """Float to float; the layer is the network's `index`-th."""
        layer = self.layers[name]
        epsilon = noise.noise(layer.mean.shape, seed, mc, 2 * index)
        weight = noise.move(layer.mean, layer.steps(), layer.shift, epsilon).astype(np.float64)
        bias_epsilon = noise.bias_noise(len(layer.bias), seed, mc, 2 * index + 1)
        bias = noise.perturb_bias(layer.bias, noise.bias_step(layer.bias_std), bias_epsilon)
        scale = np.float32(self.scales[index])
        integers = (x / scale).round().clamp(-128, 127).double()
        sums = functional.conv2d(integers, torch.from_numpy(weight), padding=weight.shape[2] // 2)
        real = torch.from_numpy(scale * layer.weight_scale).reshape(1, -1, 1, 1)
        return sums.float() * real + torch.from_numpy(bias).reshape(1, -1, 1, 1)

    def logits(self, x: Tensor, seed: int, mc: int) -> Tensor:
        y = self.layer(0, "first", x, seed, mc)
        y = self.layer(1, "second", y * torch.sigmoid(y), seed, mc)
        pooled = y.square().amax((2, 3), keepdim=True)
        return self.layer(2, "head", pooled, seed, mc).flatten(1)


@pytest.mark.parametrize("format", ["INT8", "INT8_SIGMA1"])
def test_passes_are_those_of_a_plain_simulation(format: str) -> None:
    artefact, x = artefact_of("gated", format), prepared("gated")[1][:4]
    simulated = Simulated(artefact)
    expected = torch.stack([simulated.logits(x, 21, mc) for mc in range(3)])
    found = BACKENDS.get("reference").load(artefact, 1).logits(x, 21, range(3))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert (found[0] != found[1]).any()


def backends(format: str) -> list[str]:
    names = ["float"] if format in ("FP32", "BF16", "DNN_FP32") else ["reference"]
    return [*names, "drawn", *(["native"] if names == ["reference"] else [])]


@pytest.mark.parametrize("name", ["convnext", "torchvision vit", "mobilenet_v3"])
@pytest.mark.parametrize(
    "format", ["INT8", *later(["FP32", "BF16", "INT8_SIGMA4", "INT4", "INT8_SIGMA1"])]
)
def test_every_format_is_near_the_network(name: str, format: str) -> None:
    """Of the mean network: nothing is sampled. The bound was chosen before looking."""
    module, x = settled(name)
    still = fold(module, moped(module, 0.0), SHAPE)
    artefact = quantize(still, format, observe_ranges(still, x, "minmax"))
    with torch.no_grad():
        expected = module(x.clone())
    bound = {"FP32": 1e-4, "BF16": 0.03, "INT4": 0.5}.get(format, 0.1)
    for backend in backends(format):
        if backend == "native" and native.unavailable():
            continue
        logits = BACKENDS.get(backend).load(artefact, 1).logits(x, 0, range(1))[0]
        assert (logits - expected).square().mean() < bound**2 * expected.square().mean()


@pytest.mark.parametrize("format", ["FP32", "BF16", "INT8"])
def test_a_pass_is_the_same_in_whatever_range_it_is_asked_for(format: str) -> None:
    artefact, x = artefact_of("vit", format), prepared("vit")[1][:2]
    predictor = BACKENDS.get(backends(format)[0]).load(artefact, 1)
    whole = predictor.logits(x, 5, range(4))
    assert torch.equal(predictor.logits(x, 5, range(2, 4)), whole[2:])
    assert all((a != b).any() for a, b in itertools.combinations(whole, 2))
    assert (predictor.logits(x, 6, range(4)) != whole).any()


@compiled
@pytest.mark.parametrize("name", ["convnext", "vit", "mobilenet_v3"])
def test_images_do_not_depend_on_others_of_their_batch(name: str) -> None:
    """Up to the last bits of float sums, which may move an integer by a step."""
    artefact, x = artefact_of(name, "INT8"), prepared(name)[1]
    predictor = BACKENDS.get("native").load(artefact, 1)
    whole = predictor.logits(x, 2, range(2))
    split = torch.cat([predictor.logits(part, 2, range(2)) for part in x.split(5)], 1)
    probs = [logits.softmax(-1).mean(0) for logits in (whole, split)]
    assert (probs[0] - probs[1]).abs().max() < 2e-2


def equal_layers(format: str) -> tuple[Artefact, Tensor]:
    """Two layers of one shape, in segments of their own, with the same μ and σ."""
    torch.manual_seed(0)
    module = Gated().eval()
    with torch.no_grad():
        module.second.weight.copy_(module.first.weight)
        module.second.bias.copy_(module.first.bias)
    x = torch.randn(8, *SHAPE)
    model = fold(module, initial(module, 0.1), SHAPE)
    return quantize(model, format, observe_ranges(model, x, "minmax")), x


def differing(predictor: Predictor) -> float:
    first, second = (predictor.sample(layer, 3, 1) for layer in ("first", "second"))
    return float((first != second).mean())


def test_no_two_layers_share_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    for format in ("INT8", "FP32", "BF16"):
        artefact, _ = equal_layers(format)
        for backend in backends(format):
            if backend != "native" or not native.unavailable():
                assert differing(BACKENDS.get(backend).load(artefact, 1)) > 0.9
    torch_only = partial(FloatPredictor, threads=1)
    assert differing(DividedPredictor(equal_layers("FP32")[0], torch_only)) > 0.9
    monkeypatch.setattr(stack, "noise_source", lambda: "normal-torch")
    assert differing(DividedPredictor(equal_layers("FP32")[0], torch_only)) > 0.9


@compiled
def test_compiled_and_pytorch_floats_draw_what_they_say() -> None:
    """The weights that `sample` gives are those of the pass, in each segment."""
    artefact, x = equal_layers("FP32")
    module = Gated().eval()
    for load in (
        lambda part: BACKENDS.get("float").load(part, 1),
        lambda part: FloatPredictor(part, 1),
    ):
        predictor = DividedPredictor(artefact, load)
        found = predictor.logits(x, 4, range(2))
        for mc in range(2):
            drawn = {
                f"{name}.{kind}": torch.from_numpy(sample(name, 4, mc).copy())
                for name in artefact.layers
                for kind, sample in (
                    ("weight", predictor.sample),
                    ("bias", predictor.sample_bias),
                )
            }
            drawn["head.weight"] = drawn["head.weight"].flatten(1)
            expected = torch.func.functional_call(module, drawn, (x,))
            torch.testing.assert_close(found[mc], expected, rtol=1e-4, atol=1e-4)


def test_codebooks_and_dithering_are_drawn() -> None:
    options = Options(sigma_grid="codebook", rounding="dithered")
    artefact, x = artefact_of("gated", "INT8_SIGMA2", options), prepared("gated")[1][:2]
    drawn = BACKENDS.get("drawn").load(artefact, 1)
    reference = BACKENDS.get("reference").load(artefact, 1)
    for layer in artefact.layers:
        assert np.array_equal(drawn.sample(layer, 1, 2), reference.sample(layer, 1, 2))
    logits = reference.logits(x, 1, range(2))
    torch.testing.assert_close(drawn.logits(x, 1, range(2)), logits, rtol=0.1, atol=0.1)
    if native.unavailable() is None:
        with pytest.raises(UserError, match="use --backend drawn"):
            BACKENDS.get("native").load(artefact, 1)


def test_draws_kernels_and_traffic_are_of_all_segments() -> None:
    artefact, x = artefact_of("gated", "INT8"), prepared("gated")[1][:2]
    predictor = BACKENDS.get("reference").load(artefact, 1)
    predictor.logits(x, 0, range(3))
    assert predictor.draws == 3 * artefact.sampled_weights
    assert list(predictor.kernels) == list(artefact.layers)
    assert predictor.isa == "numpy"
    moved = predictor.traffic(4)
    parts = [part.traffic(4) for part in predictor.parts.values()]
    assert (moved.mean, moved.std) == (sum(p.mean for p in parts), sum(p.std for p in parts))
    maps, pooled = 3 * 32 * 32, 3
    # sigmoid, product, square and maximum: values read, then written.
    floats = maps + maps + 2 * maps + maps + maps + maps + maps + pooled
    assert moved.activations == sum(p.activations for p in parts) + 4 * 4 * floats


class Rolled(nn.Module):
    """Maps that are copied, and looked at, between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.roll(self.first(x), 1, 2)
        y = torch.cat([y, y.flip(3).transpose(2, 3)], 1)
        return self.head(y.amax((2, 3)))


def test_copies_are_traffic_and_views_are_not() -> None:
    module = Rolled()
    artefact = quantize(fold(module, moped(module, 0.1), SHAPE), "FP32")
    predictor = BACKENDS.get("float").load(artefact, 1)
    moved = predictor.traffic(2).activations
    inside = sum(part.traffic(2).activations for part in predictor.parts.values())
    maps = 4 * 32 * 32
    # roll, flip, concatenation and maximum: values read, then written.
    read = (maps + maps) + (maps + maps) + (2 * maps + 2 * maps) + (2 * maps + 8)
    assert moved == inside + 4 * 2 * read


@pytest.mark.parametrize("threads", [1, 3])
def test_operators_have_the_threads_that_were_asked_for(
    threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    artefact, x = artefact_of("gated", "FP32"), prepared("gated")[1][:2]
    found = []

    def sigmoid(y: Tensor) -> Tensor:
        found.append(torch.get_num_threads())
        return torch.sigmoid(y)

    monkeypatch.setitem(floats.TARGETS, "aten.sigmoid.default", sigmoid)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        BACKENDS.get("float").load(artefact, threads).logits(x, 0, range(1))
        assert found[-1] == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_images_of_another_shape_are_refused() -> None:
    predictor = BACKENDS.get("reference").load(artefact_of("gated", "INT8"), 1)
    with pytest.raises(UserError, match="float32 images of shape"):
        predictor.logits(torch.zeros(2, 3, 8, 8), 0, range(1))


def test_an_artefact_without_steps_is_not_divided() -> None:
    artefact = artefact_of("gated", "INT8")
    part = artefact.parts()["second"]
    assert part.graph.steps == ()
    assert part.first_layer == 1
    assert replace(part, first_layer=0).ordinals == {"second": 0}
