"""Activation ranges against the values themselves."""

from __future__ import annotations

import pytest
import torch
from toy import RESIDUAL_SHAPE

from sigmabench.harness.data import Split
from sigmabench.harness.errors import UserError
from sigmabench.harness.quantize.calibrate import (
    BATCH,
    BINS,
    Histogram,
    calibrate,
    minmax,
    mse,
    percentile,
)
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.forward import forward


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


def histogram(values: torch.Tensor) -> Histogram:
    top = float(values.abs().max())
    return Histogram(torch.histc(values.abs(), BINS, 0, top).double(), top)


def test_minmax_represents_the_largest_value_seen(model, images):
    found = calibrate(model, images)
    seen = {}

    def keep(name, value):
        seen[name] = value

    weights = {name: (layer.mean, layer.bias) for name, layer in model.layers.items()}
    forward(model.graph, weights, images, keep)
    for name in ("input", *(conv.name for conv in model.graph.convs[:-1])):
        activation = found.graph.activations[name]
        levels = 127 if activation.signed else 255
        assert activation.scale * levels == pytest.approx(float(seen[name].abs().max()), rel=1e-6)
        assert activation.signed == bool((seen[name] < 0).any())


def test_a_split_is_read_a_batch_at_a_time(model, monkeypatch):
    shape = (2 * BATCH, *RESIDUAL_SHAPE)
    made = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator())
    per_channel = (0.5,) * shape[1]
    labels = torch.zeros(len(made), dtype=torch.int64)
    split = Split("train", made, labels, per_channel, per_channel, 10)
    expected = calibrate(model, split.batch(slice(None)))
    sizes: list[int] = []
    whole = Split.batch

    def batch(self: Split, index: slice) -> torch.Tensor:
        found = whole(self, index)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(Split, "batch", batch)
    assert calibrate(model, split) == expected
    assert max(sizes) <= BATCH


def test_pools_inherit_and_logits_stay_float(model, images):
    graph = calibrate(model, images).graph
    for node in graph.nodes:
        if node.op == "pool":
            a, b = graph.activations[node.input], graph.activations[node.name]
            assert (a.scale, a.signed) == (b.scale, b.signed)
    assert graph.activations[graph.output].scale == 0


def test_percentile_holds_its_share():
    values = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    top = percentile(histogram(values), 127)
    assert float((values.abs() <= top).double().mean()) == pytest.approx(0.9999, abs=1e-4)


def test_mse_beats_minmax_and_agrees_with_brute_force():
    values = torch.randn(50_000, generator=torch.Generator().manual_seed(1))

    def loss(top: float) -> float:
        scale = top / 7
        return float(((values / scale).round().clamp(-7, 7) * scale - values).square().mean())

    chosen = histogram(values)
    best = mse(chosen, 7)
    assert loss(best) < 0.8 * loss(minmax(chosen, 7))
    assert loss(best) <= 1.01 * min(loss(chosen.top * k / 128) for k in range(1, 129))


def test_sampled_passes_widen_ranges_and_cut_less(model, images):
    alone = calibrate(model, images)
    both = calibrate(model, images, sampled=True)
    for name, share in both.saturation.items():
        assert both.graph.activations[name].scale >= alone.graph.activations[name].scale
        assert share <= alone.saturation[name]
    assert max(both.saturation.values()) < max(alone.saturation.values())


def test_calibration_repeats(model, images):
    assert calibrate(model, images, "mse", sampled=True) == calibrate(
        model, images, "mse", sampled=True
    )


def test_too_few_images_and_unknown_observer(model, images):
    with pytest.raises(UserError, match="at least 512"):
        calibrate(model, images[:0])
    with pytest.raises(UserError, match="did you mean percentile"):
        calibrate(model, images, "percentil")


def test_values_that_are_not_finite_are_named(model, images):
    broken = images.clone()
    broken[3, 0, 0, 0] = float("nan")
    with pytest.raises(UserError, match="input is not finite"):
        calibrate(model, broken)
