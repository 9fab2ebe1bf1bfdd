"""The artefact: every format there and back, sizes against the closed form, damage."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from toy import RESIDUAL_SHAPE

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.quantize import artefact as files
from sigmabench.harness.quantize import artefact_file
from sigmabench.harness.quantize.calibrate import calibrate
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.ptq import Options, mean_steps, quantize, weight_scale
from sigmabench.harness.quantize.sigma import quantize_sigma_codebook


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


@pytest.fixture(scope="module")
def ranges(model, images):
    return calibrate(model, images)


@pytest.mark.parametrize("name", FORMATS.names())
def test_every_format_survives_the_file(name, model, ranges, tmp_path):
    before = quantize(model, name, ranges)
    path = tmp_path / "model.safetensors"
    files.save(before, path)
    after = files.load(path)
    assert after.header == before.header
    for layer, other in zip(before.layers.values(), after.layers.values(), strict=True):
        for field in vars(layer):
            assert np.array_equal(getattr(layer, field), getattr(other, field)), field
    assert files.to_bytes(after) == path.read_bytes()


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("name", ["INT8", "INT8_SIGMA2", "INT4_SIGMA1", "DNN_INT8"])
def test_codebooks_and_dithered_rounding_survive_the_file(name, granularity, model, ranges):
    options = Options(granularity=granularity, sigma_grid="codebook", rounding="dithered")
    before = quantize(model, name, ranges, options)
    after = files.from_bytes(files.to_bytes(before), "model")
    assert after.header == before.header
    for layer, other in zip(before.layers.values(), after.layers.values(), strict=True):
        for field in vars(layer):
            assert np.array_equal(getattr(layer, field), getattr(other, field)), field


def test_a_codebook_is_2_to_the_n_floats_a_grid(model, ranges):
    sampled = [node for node in model.graph.convs if node.bayesian]
    for granularity, grids in (
        ("channel", sum(conv.shape[0] for conv in sampled)),
        ("tensor", len(sampled)),
    ):
        options = Options(granularity=granularity, sigma_grid="codebook")
        found = files.size(quantize(model, "INT8_SIGMA4", ranges, options))
        scales = 4 * sum(len(layer.bias) for layer in model.layers.values())
        assert found.scale_bytes == scales + 4 * 2**4 * grids
        plain = files.size(quantize(model, "INT8_SIGMA4", ranges))
        assert found.weight_bytes == plain.weight_bytes


def test_a_codebook_s_sigma_is_what_was_quantized(model, ranges):
    for granularity in ("channel", "tensor"):
        options = Options(granularity=granularity, sigma_grid="codebook")
        for name, layer in quantize(model, "INT8_SIGMA2", ranges, options).layers.items():
            std = model.layers[name].std.numpy()
            expected = quantize_sigma_codebook(std, 2, granularity).dequantize()
            assert np.array_equal(layer.real_std(), expected)


def test_only_files_an_older_reader_would_misread_have_a_newer_schema(model, ranges):
    def schema(name, **choices):
        return quantize(model, name, ranges, Options(**choices)).header.schema

    assert schema("INT8") == schema("INT4") == schema("FP32") == 1
    assert schema("DNN_INT8", sigma_grid="codebook", rounding="dithered") == 1
    assert schema("INT8", sigma_grid="codebook") == schema("INT8", rounding="dithered") == 2


def test_int4_means_are_multiples_of_a_whole_step(model, ranges):
    for layer in quantize(model, "INT4", ranges).layers.values():
        k = layer.mean_step.astype(int).reshape(-1, 1, 1, 1)
        assert ((k >= 1) & (k <= 18)).all()
        assert not (layer.mean % k).any()
        assert (np.abs(layer.mean // k) <= 7).all()


def test_int4_step_loses_least(model, ranges):
    made = quantize(model, "INT4", ranges)
    for name, layer in made.layers.items():
        scale = layer.weight_scale.reshape(-1, 1, 1, 1)
        steps = model.layers[name].mean.numpy() / scale
        for c, chosen in enumerate(layer.mean_step):
            errors = [
                np.square(np.clip(np.rint(steps[c] / k), -7, 7) * k - steps[c]).sum(dtype=float)
                for k in range(1, 19)
            ]
            assert errors[chosen - 1] == pytest.approx(min(errors), rel=1e-6)


def test_int4_keeps_a_weight_that_only_selects():
    """What a shortcut that pads with zero channels is made of."""
    weight = np.float32([1, 0, 0]).reshape(1, 3, 1, 1)
    scale = weight_scale(torch.from_numpy(weight), torch.zeros(1, 3, 1, 1), "headroom", 126)
    k = mean_steps(weight / scale.reshape(-1, 1, 1, 1))
    assert k.tolist() == [18]
    assert np.float32(7 * 18) * scale[0] == 1


@pytest.mark.parametrize("name", FORMATS.names())
def test_size_is_the_closed_form_and_the_rest_is_small(name, model, ranges):
    found = files.size(quantize(model, name, ranges), quantize(model, "FP32"))
    format = FORMATS.get(name)
    layers = len(model.layers)
    channels = sum(len(layer.bias) for layer in model.layers.values())
    exact = found.weights * format.weight_bits / 8
    assert exact <= found.weight_bytes <= exact + layers  # σ ends on a byte in each layer
    assert found.ratio_weights == 64 / format.weight_bits
    rest = found.file_bytes - found.weight_bytes
    assert rest <= 24 * channels + 300 * layers + 8192
    assert rest == sum((found.scale_bytes, found.bias_bytes, found.graph_bytes, found.header_bytes))


@pytest.mark.parametrize("name", ["FP32", "BF16", "INT8_SIGMA4", "INT4"])
def test_size_is_what_the_file_holds_item_by_item(name, model, ranges):
    artefact, fp32 = quantize(model, name, ranges), quantize(model, "FP32")
    stored = files.to_bytes(artefact)
    length = int.from_bytes(stored[:8], "little")
    header = json.loads(stored[8 : 8 + length])
    spans = {n: one["data_offsets"] for n, one in header.items() if n != "__metadata__"}
    held = {n: end - start for n, (start, end) in spans.items()}
    found = files.size(artefact, fp32)
    assert found.file_bytes == len(stored)
    assert isinstance(found.weight_bytes, int)
    assert found.weight_bytes == held.pop("mean") + held.pop("sigma")
    assert found.bias_bytes == held.pop("bias")
    assert found.scale_bytes == sum(held.values())  # nothing else, in a network that is whole
    assert set(held) <= {"scale", "step", "codebook"}
    assert found.constant_bytes == 0
    graph = json.loads(artefact_file._opened(stored)[0])["graph"]
    assert found.graph_bytes == len(json.dumps(graph, separators=(",", ":")).encode())
    items = found.weight_bytes + found.bias_bytes + found.scale_bytes + found.graph_bytes
    assert found.header_bytes == len(stored) - items
    assert found.weights == sum(layer.mean.numel() for layer in model.layers.values())
    assert found.ratio_file == len(files.to_bytes(fp32)) / len(stored)
    assert files.size(artefact).ratio_file is None


def test_size_of_constants_and_codebooks(model, ranges):
    artefact = quantize(model, "INT8_SIGMA2", ranges, Options(sigma_grid="codebook"))
    plain = files.size(artefact)
    codebooks = artefact_file.tensors_of(artefact)["codebook"].nbytes
    assert 0 < codebooks < plain.scale_bytes
    constants = {"shift": np.zeros((2, 3), np.float32), "order": np.arange(5)}
    found = files.size(replace(artefact, constants=constants))
    assert found.constant_bytes == 2 * 3 * 4 + 5 * 8
    assert found.scale_bytes == plain.scale_bytes


def test_weight_grid_covers_the_range(model):
    layer = model.layers["conv1"]
    top = layer.mean.abs().flatten(1).amax(1)
    np.testing.assert_allclose(weight_scale(layer.mean, layer.std, "paper") * 127, top, rtol=1e-6)
    reach = (layer.mean.abs() + 3 * layer.std).flatten(1).amax(1)
    np.testing.assert_allclose(
        weight_scale(layer.mean, layer.std, "headroom") * 127, reach, rtol=1e-6
    )
    assert weight_scale(torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1), "paper").tolist() == [
        1,
        1,
    ]


def test_quantized_mean_is_within_half_a_step(model, ranges):
    for name, layer in quantize(model, "INT8", ranges).layers.items():
        step = layer.weight_scale.reshape(-1, 1, 1, 1)
        error = np.abs(layer.real_mean() - model.layers[name].mean.numpy())
        assert (error <= step * 0.5001).all()


def test_deterministic_twin_has_no_sigma(model, ranges):
    twin = quantize(model, "DNN_INT8", ranges, Options("headroom"))
    assert twin.header.range == "paper"
    assert twin.sampled_weights == 0
    assert not any(layer.bias_std.any() for layer in twin.layers.values())
    assert not any(conv.bayesian or conv.bias_bayesian for conv in twin.graph.convs)


def test_int8_needs_ranges_and_known_names(model, ranges):
    with pytest.raises(UserError, match="calibrate"):
        quantize(model, "INT8")
    with pytest.raises(UserError, match="did you mean INT8_SIGMA4"):
        quantize(model, "INT8_SIGMA44", ranges)
    with pytest.raises(UserError, match="no range named"):
        Options("wide")  # type: ignore[arg-type]


@pytest.fixture
def stored(model, ranges, tmp_path):
    path = tmp_path / "model.safetensors"
    files.save(quantize(model, "INT8_SIGMA2", ranges), path)
    return path


def test_missing_truncated_and_foreign_files(stored, tmp_path):
    with pytest.raises(UserError, match="There is no artefact"):
        files.load(tmp_path / "none.safetensors")
    whole = stored.read_bytes()
    for cut in (0, 4, 100, len(whole) - 1):
        stored.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=str(stored.name)):
            files.load(stored)
    safetensors.torch.save_file({"a": torch.zeros(3)}, stored, {"other": "thing"})
    with pytest.raises(UserError, match="not a SigmaBench artefact"):
        files.load(stored)


def test_any_flipped_bit_is_noticed(stored):
    whole = bytearray(stored.read_bytes())
    rng = np.random.default_rng(0)
    for position in rng.choice(len(whole), 150, replace=False):
        damaged = whole.copy()
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(UserError):
            files.from_bytes(bytes(damaged), "model")


@pytest.mark.parametrize("name", ["scale", "bias"])
def test_tensors_of_another_rank_are_damage(name, stored, monkeypatch):
    artefact, whole = files.load(stored), artefact_file.tensors_of
    monkeypatch.setattr(
        artefact_file, "tensors_of", lambda a: {**whole(a), name: whole(a)[name].ravel()}
    )
    flat = files.to_bytes(artefact)
    with pytest.raises(UserError, match=f"the tensor {name} is F32"):
        files.from_bytes(flat, "model")


def test_a_mean_of_minus_128_steps_is_refused(stored):
    artefact = files.load(stored)
    name = next(iter(artefact.layers))
    mean = artefact.layers[name].mean.copy()
    mean.flat[0] = -128
    layers = {**artefact.layers, name: replace(artefact.layers[name], mean=mean)}
    with pytest.raises(UserError, match=f"a mean of layer {name} is not from -127 to 127"):
        files.from_bytes(files.to_bytes(replace(artefact, layers=layers)), "model")


def test_newer_files_say_so(stored):
    artefact = files.load(stored)
    for field in ("schema", "noise_stream"):
        newer = replace(artefact, header=replace(artefact.header, **{field: 99}))
        with pytest.raises(UserError, match=r"newer SigmaBench.*upgrade"):
            files.from_bytes(files.to_bytes(newer), "model")


def test_header_is_one_json_object_beside_the_tensors(stored):
    data = stored.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    fields = json.loads(header["__metadata__"][files.KEY])
    assert fields["format"] == "INT8_SIGMA2"
    assert len(fields["sha256"]) == 64
    assert set(header) == {"__metadata__", "mean", "sigma", "scale", "bias"}
