"""Ranges of sampled weights against loops over every draw, and what is concluded from them."""

from __future__ import annotations

import json
import math
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from clocked import Clock, Slow
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from sigmabench.harness.backends.base import BACKENDS
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.waiting import about
from sigmabench.harness.quantize import fold
from sigmabench.harness.quantize.ptq import Options
from sigmabench.harness.records.weights_record import LayerRange, WeightCounts
from sigmabench.harness.studies.weights import measure
from sigmabench.harness.studies.weights.analyse import verdicts
from sigmabench.harness.studies.weights.measure import WeightsMeasurer, _wasserstein
from sigmabench.harness.studies.weights.plan import plan, tasks
from sigmabench.harness.workload.plan import Plan
from sigmabench.harness.workload.prepare import prepare
from sigmabench.harness.workload.workload import WORKLOADS

PASSES = 6
SEED = 3


def prepared(range_: str):
    return prepare(Plan(WORKLOADS.get("lenet-digits"), options=Options(range=range_)))


@pytest.fixture(scope="module")
def artefacts():
    head, paper = prepared("headroom"), prepared("paper")
    quantized = ("INT8", "INT8_SIGMA1")
    return {
        "FP32": head.artefact("FP32"),
        **{name: head.artefact(name) for name in quantized},
        **{f"{name} paper": paper.artefact(name) for name in quantized},
    }


@pytest.fixture(scope="module")
def predictors(artefacts):
    def load(artefact):
        name = "reference" if artefact.format.quantized else "float"
        return BACKENDS.get(name).load(artefact, 1)

    return {label: load(artefact) for label, artefact in artefacts.items()}


@pytest.fixture(scope="module")
def ranges(artefacts, predictors):
    measure = WeightsMeasurer(artefacts, predictors)
    return [one for name in artefacts["FP32"].layers for one in measure.layer(name, PASSES, SEED)]


def draws(artefacts, predictors, label, layer, passes):
    """[P][weight] lists of real values, by a loop over every weight."""
    scale = artefacts[label].layers[layer].weight_scale
    found = []
    for mc in passes:
        sampled = predictors[label].sample(layer, SEED, mc)
        found.append(
            [np.float32(w) * scale[o] for o in range(len(sampled)) for w in sampled[o].flat]
        )
    return found


@pytest.mark.parametrize("seconds", [0.1, 1e-9])
def test_a_long_look_says_before_how_long_it_takes(monkeypatch, artefacts, predictors, seconds):
    clock, told = Clock(), []
    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=clock))
    slow = {label: Slow(one, clock, seconds) for label, one in predictors.items()}
    sampling = measure.WeightsMeasurer(artefacts, slow)
    asked, _ = plan("lenet-digits", scoring=True, passes=PASSES)
    asked = tasks(asked, True)
    sampling.announce(
        lambda phase, *_: told.append((phase, clock.now)), [task.subjects[0] for task in asked]
    )
    for task in asked:
        list(sampling(task))
    first, began = told[0]
    if seconds < 0.1:
        assert not any("takes" in phase for phase, _ in told)
    else:
        assert first == f"Sampling layers takes {about(clock.now - began)}"


@pytest.mark.parametrize("label", ["FP32", "INT8", "INT8_SIGMA1 paper"])
@pytest.mark.parametrize("layer", ["conv1", "fc3"])
def test_a_layer_is_described_as_a_loop_over_its_draws_does(
    artefacts, predictors, ranges, label, layer
):
    (found,) = [r for r in ranges if (r.label, r.layer) == (label, layer)]
    own = draws(artefacts, predictors, label, layer, range(PASSES))
    pooled = sorted(float(w) for one in own for w in one)
    mean = artefacts[label].layers[layer].real_mean().reshape(-1)
    sigma = artefacts["FP32"].layers[layer].std.reshape(-1)
    noise = [float(w - m) for one in own for w, m in zip(one, mean, strict=True)]
    weights = len(mean)

    assert (found.format, found.weights, found.passes) == (label.split()[0], weights, PASSES)
    assert (found.low, found.high) == (pooled[0], pooled[-1])
    for quantile, value in ((0.001, found.p001), (0.999, found.p999)):
        place = quantile * (len(pooled) - 1)
        below = math.floor(place)
        expected = pooled[below] + (place - below) * (pooled[below + 1] - pooled[below])
        assert value == pytest.approx(expected, rel=1e-5)
    centre = math.fsum(pooled) / len(pooled)
    spread = math.sqrt(math.fsum((w - centre) ** 2 for w in pooled) / len(pooled))
    assert found.std == pytest.approx(spread, rel=1e-6)
    rms = math.sqrt(math.fsum(e * e for e in noise) / len(noise))
    assert found.noise_std == pytest.approx(rms, rel=1e-6)
    base = math.sqrt(math.fsum(float(s) ** 2 for s in sigma) / weights)
    assert found.noise_ratio == pytest.approx(rms / base, rel=1e-6)
    assert found.at_mean == sum(e == 0 for e in noise) / len(noise)
    still = sum(len({one[i] for one in own}) == 1 for i in range(weights))
    assert found.still == still / weights


@pytest.mark.parametrize("label", ["FP32", "INT8"])
def test_the_distance_is_the_mean_gap_of_the_sorted_draws(artefacts, predictors, ranges, label):
    (found,) = [r for r in ranges if (r.label, r.layer) == (label, "conv2")]
    base = draws(artefacts, predictors, "FP32", "conv2", range(PASSES))
    passes = range(PASSES, 2 * PASSES) if label == "FP32" else range(PASSES)
    other = draws(artefacts, predictors, label, "conv2", passes)
    gaps = np.abs(np.sort(np.ravel(base)) - np.sort(np.ravel(other)))
    assert found.wasserstein == pytest.approx(gaps.mean(dtype=np.float64), rel=1e-4)
    assert found.wasserstein > 0


@given(st.integers(1, 500), st.integers(0, 2**32), st.sampled_from([0.0, 1e-3, 5.0]))
def test_the_distance_is_scipys(count, seed, shift):
    generator = np.random.default_rng(seed)
    one, other = (generator.normal(size=count).astype(np.float32) for _ in range(2))
    other = (other + np.float32(shift)).round(2)  # with ties
    expected = wasserstein_distance(one, other)
    found = _wasserstein(np.sort(one), other.reshape(count, 1, 1))
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_the_distance_takes_a_few_bytes_a_draw():
    one = np.linspace(0, 1, 10**6, dtype=np.float32)
    tracemalloc.start()
    _wasserstein(one, one[::-1])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 13e6


def test_histograms_hold_every_draw_once_between_edges_of_their_own_layer(ranges):
    for found in ranges:
        for histogram in (found.weights_histogram, found.noise_histogram):
            assert sum(histogram.counts) == found.weights * PASSES
            assert len(histogram.edges) == len(histogram.counts) + 1
            assert list(histogram.edges) == sorted(histogram.edges)
        (base,) = [r for r in ranges if (r.layer, r.label) == (found.layer, "FP32")]
        assert found.weights_histogram.edges == base.weights_histogram.edges


def test_noise_that_is_rounded_away_is_in_the_middle_bin(ranges):
    for found in ranges:
        counts = found.noise_histogram.counts
        assert len(counts) % 2 == 1
        assert counts[len(counts) // 2] >= round(found.at_mean * found.weights * PASSES)


def test_the_noise_of_fp32_is_its_sigma(artefacts, ranges):
    for found in (r for r in ranges if r.label == "FP32"):
        variance = artefacts["FP32"].layers[found.layer].std.astype(float).reshape(-1) ** 2
        # Var of the mean of n independent (σ ε)² is 2 Σ σ⁴ / n².
        error = math.sqrt(2 * np.sum(variance**2) / PASSES) / np.sum(variance)
        assert abs(found.noise_ratio**2 - 1) < 5 * error


def test_under_the_papers_range_one_bit_has_the_range_of_eight_but_not_the_noise(ranges):
    (found,) = [
        v for v in verdicts(ranges) if (v.label, v.base) == ("INT8_SIGMA1 paper", "INT8 paper")
    ]
    assert found.similar_range
    assert not found.similar_noise
    assert "fc1" in found.misleading


def test_all_of_it_is_json(ranges):
    read = json.loads(json.dumps([r.to_dict() for r in ranges], allow_nan=False))
    assert read[0]["mean_share"] == pytest.approx(1 - (ranges[0].noise_std / ranges[0].std) ** 2)
    judged = json.loads(json.dumps([v.to_dict() for v in verdicts(ranges)], allow_nan=False))
    assert {"similar_range", "similar_noise", "misleading", "layers"} <= set(judged[0])


def test_what_cannot_be_compared_is_a_user_error(artefacts, predictors):
    for choices, message in (
        ({"passes": 1}, "at least 2"),
        ({"formats": ("INT8",)}, "add FP32"),
        ({"formats": ("FP32", "DNN_INT8")}, "deterministic twin"),
        ({"ranges": ()}, "--range names nothing"),
        ({"ranges": ("wide",)}, "wide"),
    ):
        with pytest.raises(UserError, match=message):
            plan("lenet-digits", scoring=True, **choices)
    twin = {"FP32": artefacts["FP32"], "DNN_INT8": prepared("paper").artefact("DNN_INT8")}
    with pytest.raises(UserError, match="DNN_INT8 samples no layer conv1"):
        WeightsMeasurer(twin, predictors).layer("conv1", 2, SEED)


def test_layers_are_those_that_have_noise(monkeypatch):
    asked, _ = plan("lenet-digits", scoring=True)
    original, still = fold.fold, {"fc1", "conv2"}

    def folded(*given):
        model = original(*given)
        layers = {
            name: replace(layer, std=layer.std * (name not in still))
            for name, layer in model.layers.items()
        }
        return replace(model, layers=layers)

    monkeypatch.setattr(fold, "fold", folded)
    found = [(task.subjects[0].layer, task.about) for task in tasks(asked, True)]
    assert found == [("conv1", 0), ("fc2", 1), ("fc3", 2)]
    still |= {"conv1", "fc2", "fc3"}
    with pytest.raises(UserError, match="No layer's weights have a σ"):
        tasks(asked, True)


NONE = WeightCounts((0.0, 1.0), (0,))


def made(label="FP32", layer="a", *, end=1.0, noise=0.1, extreme=2.0) -> LayerRange:
    return LayerRange(
        layer, label, label.split()[0], 10, 2, -extreme, extreme, -end, end, 0.5, noise, noise,
        0.0, 0.0, 0.0, NONE, NONE,
    )  # fmt: skip


def test_errors_are_over_the_width_of_the_range_and_over_the_larger_noise():
    (verdict,) = verdicts([made(), made("INT8", end=1.3, noise=0.075, extreme=1.6)])
    (layer,) = verdict.layers
    assert layer.range_error == pytest.approx(0.15)
    assert layer.extremes_error == pytest.approx(0.1)
    assert layer.noise_error == pytest.approx(0.25)


def test_one_layer_out_of_tolerance_is_enough():
    base = [made(layer="a"), made(layer="b")]
    off = [made("INT8", "a"), made("INT8", "b", end=1.5, noise=0.05)]
    (verdict,) = verdicts(base + off)
    assert not verdict.similar_range
    assert not verdict.similar_noise
    assert verdict.similar_extremes
    assert verdict.worst_range.layer == verdict.worst_noise.layer == "b"
    assert verdict.misleading == ()
    (alike,) = verdicts([*base, made("INT8", "a"), made("INT8", "b", noise=0.05)])
    assert alike.similar_range
    assert alike.misleading == ("b",)


def test_few_bits_are_held_against_eight_of_the_same_variant():
    labels = ("FP32", "INT8", "INT8 paper", "INT8_SIGMA1 paper", "INT8_SIGMA2", "BF16")
    pairs = [(v.label, v.base) for v in verdicts([made(label) for label in labels])]
    assert pairs == [
        *((label, "FP32") for label in labels[1:]),
        ("INT8_SIGMA1 paper", "INT8 paper"),
        ("INT8_SIGMA2", "INT8"),
    ]


@given(st.floats(0, 10), st.floats(0, 10), st.floats(0.001, 10))
def test_a_noise_error_is_a_share_whatever_is_lost(noise, base, size):
    (one,) = verdicts([made(noise=base), made("INT8", noise=noise)])[0].layers
    (other,) = verdicts([made(noise=noise), made("INT8", noise=base)])[0].layers
    assert 0 <= one.noise_error <= 1
    assert one.noise_error == other.noise_error
    scaled = [made(noise=base * size), made("INT8", noise=noise * size)]
    assert verdicts(scaled)[0].layers[0].noise_error == pytest.approx(one.noise_error, abs=1e-9)
