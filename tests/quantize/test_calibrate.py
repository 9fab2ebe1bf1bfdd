"""Activation ranges against the values themselves."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from toy import RESIDUAL_SHAPE

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.data.splits import Split
from sigmabench.harness.posterior import initial
from sigmabench.harness.quantize.calibrate import BATCH, calibrate, sampled_passes, saturation
from sigmabench.harness.quantize.fold import fold
from sigmabench.harness.quantize.forward import forward
from sigmabench.harness.quantize.observers import BINS, Magnitudes, minmax, mse, percentile
from sigmabench.harness.quantize.ptq import quantize


@pytest.fixture(scope="module")
def model(residual, posterior):
    return fold(residual, posterior, RESIDUAL_SHAPE)


def histogram(values: torch.Tensor) -> Magnitudes:
    top = float(values.abs().max())
    return Magnitudes(torch.histc(values.abs(), BINS, 0, top).double(), top)


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


def counted(model, graph, passes, images):
    """Shares by a loop of its own: what rounds beyond the ends of the integers."""
    beyond, total = {}, {}

    def count(name, value):
        activation = graph.activations[name]
        if name == graph.output:
            return
        low, high = (-128, 127) if activation.signed else (0, 255)
        for number in value.double().flatten().tolist():
            step = round(number / activation.scale)
            beyond[name] = beyond.get(name, 0) + (step < low or step > high)
            total[name] = total.get(name, 0) + 1

    for weights in passes:
        forward(graph, weights, images, count)
    return {name: beyond[name] / total[name] for name in total}


def narrowed(model, graph, factor):
    activations = {
        name: replace(one, scale=factor * one.scale) for name, one in graph.activations.items()
    }
    return replace(graph, activations=activations)


def test_every_quantized_activation_is_counted_in_sampled_passes(model, images):
    graph = narrowed(model, calibrate(model, images).graph, 0.3)
    passes = sampled_passes(model, 3)[:2]
    found = saturation(model, graph, passes, images[:6])
    assert found == counted(model, graph, passes, images[:6])
    # the input, layers, the sum with a residual (conv2 or its shortcut) and both pools
    assert set(found) == set(graph.activations) - {graph.output}
    assert all(share > 0 for share in found.values())


class Joined(nn.Module):
    """Two layers side by side, through a function that can be negative."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        y = functional.leaky_relu(torch.cat([self.one(x), self.two(x)], 1), 0.5)
        return self.head(functional.adaptive_avg_pool2d(y, 1).flatten(1))


def test_concatenations_are_counted(images):
    torch.manual_seed(3)
    module = Joined().eval()
    joined = fold(module, initial(module, 0.1), RESIDUAL_SHAPE)
    graph = narrowed(joined, calibrate(joined, images).graph, 0.3)
    (join,) = (node for node in graph.nodes if node.op == "join")
    passes = sampled_passes(joined)[:2]
    found = saturation(joined, graph, passes, images[:6])
    assert found == counted(joined, graph, passes, images[:6])
    assert found[join.name] > 0


def test_deterministic_formats_carry_the_shares_of_their_own_pass(model, images):
    found = calibrate(model, images)
    assert max(found.saturation.values()) > 0
    assert set(found.mean_saturation) == set(found.saturation)
    assert not any(found.mean_saturation.values())  # minmax of the mean network cuts nothing
    assert quantize(model, "DNN_INT8", found).header.saturation == found.mean_saturation
    assert quantize(model, "INT8", found).header.saturation == found.saturation


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
