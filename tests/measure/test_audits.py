"""Every audit passes on what is sound, and fails when the one thing it watches is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from sigmabench.harness.measure import audits
from sigmabench.harness.measure.clock import Samples
from sigmabench.harness.records.run_record import Fidelity

FINE = Fidelity("conv1", 5000, 1.0, 0.0, 0.0, 0.0, 0.1, 0.5, -0.5, 100_000, None)


class Sampler:
    """A small sampler, with a way to break it: `key` says what the noise depends on."""

    def __init__(self, scale: float = 10.0) -> None:
        self.scale = scale
        self.calls = 0

    def key(self, layer: str, seed: int, mc: int) -> tuple[int, ...]:
        return (len(layer), seed, mc)

    def __call__(self, layer: str, seed: int, mc: int) -> NDArray[np.int8]:
        self.calls += 1
        rng = np.random.default_rng(self.key(layer, seed, mc))
        return np.rint(self.scale * rng.uniform(-1, 1, (4, 50))).astype(np.int8)


class ReusedAcrossPasses(Sampler):
    def key(self, layer: str, seed: int, mc: int) -> tuple[int, ...]:
        return (len(layer), seed)


class ReusedEverySecondPass(Sampler):
    def key(self, layer: str, seed: int, mc: int) -> tuple[int, ...]:
        return (len(layer), seed, mc // 2)


class ReusedAcrossSeeds(Sampler):
    def key(self, layer: str, seed: int, mc: int) -> tuple[int, ...]:
        return (len(layer), mc)


class NotRepeatable(Sampler):
    def key(self, layer: str, seed: int, mc: int) -> tuple[int, ...]:
        return (self.calls,)


class OneLayerReused(Sampler):
    def key(self, layer: str, seed: int, mc: int) -> tuple[int, ...]:
        return (len(layer), seed, 0 if layer == "fc1" else mc)


def test_sound_sampler_passes() -> None:
    assert audits.draws_differ(Sampler(), ["conv1", "fc1"]) == "pass"


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (ReusedAcrossPasses(), "conv1 has the same weights in two MC passes"),
        (ReusedEverySecondPass(), "conv1 has the same weights in two MC passes"),
        (ReusedAcrossSeeds(), "conv1 has the same weights under two seeds"),
        (NotRepeatable(), "conv1 does not repeat"),
        (OneLayerReused(), "fc1 has the same weights in two MC passes"),
        (Sampler(scale=0.1), "no layer's weights ever change"),
    ],
)
def test_broken_samplers_fail(broken: Sampler, reason: str) -> None:
    result = audits.draws_differ(broken, ["conv1", "fc1"])
    assert result.startswith("fail: ")
    assert reason in result


def test_a_layer_that_cannot_move_is_judged_with_the_others() -> None:
    def sample(layer: str, seed: int, mc: int) -> NDArray:
        return Sampler(scale=0.1 if layer == "still" else 10)(layer, seed, mc)

    assert audits.draws_differ(sample, ["still", "fc1"]) == "pass"
    assert audits.draws_differ(sample, ["still"]).startswith("fail")


def test_rare_moves_are_no_failure() -> None:
    def sample(layer: str, seed: int, mc: int) -> NDArray:
        weights = np.zeros(100, np.int8)
        weights[0] = seed  # one weight moved once
        return weights

    assert audits.draws_differ(sample, ["fc1"]) == "pass"


def test_deterministic_twins_have_nothing_to_audit() -> None:
    for result in (
        audits.draws_differ(Sampler(), []),
        audits.moments([]),
        audits.every_pass_drew(0, 0, 10, 0),
    ):
        assert result.startswith("not applicable: ")


def test_moments_pass() -> None:
    assert audits.moments([FINE, replace(FINE, moment_mean_z=3.0)]) == "pass"


@pytest.mark.parametrize(
    "change",
    [
        {"moment_mean_z": 6.0},
        {"moment_mean_z": -6.0},
        {"moment_var_z": 6.0},
        {"moment_var_z": -6.0},
        {"moment_var_z": float("nan")},
        {"moment_draws": 99_999},
    ],
)
def test_moments_that_are_off_fail(change: dict[str, float]) -> None:
    off = replace(FINE, layer="fc3", **change)
    assert audits.moments([FINE, off]).startswith("fail: fc3")


def test_the_threshold_grows_with_the_number_of_layers() -> None:
    # Two-sided p = 1e-3 over one layer's two moments is |z| = 3.48; over 100 layers' 200, 4.56.
    border = replace(FINE, moment_var_z=4.0)
    assert audits.moments([border]).startswith("fail")
    assert audits.moments([border] * 100) == "pass"


@given(st.integers(0, 10**12), st.integers(1, 1000), st.integers(1, 10**8))
def test_a_drawn_pass_moves_the_counter(before: int, passes: int, weights: int) -> None:
    after = before + passes * weights
    assert audits.every_pass_drew(before, after, passes, weights) == "pass"
    reused = after - weights  # one pass took the weights of another
    assert audits.every_pass_drew(before, reused, passes, weights).startswith("fail: ")
    assert audits.every_pass_drew(before, after + 1, passes, weights).startswith("fail: ")


def test_outputs_of_another_path_fail() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(10), 32).astype(np.float32)
    near, far = probs + np.float32(1e-6), probs + np.float32(1e-3)
    assert audits.outputs_match(probs, probs.copy(), exact=True) == "pass"
    assert audits.outputs_match(probs, near, exact=False) == "pass"
    assert audits.outputs_match(probs, near, exact=True).startswith("fail: ")
    assert audits.outputs_match(probs, far, exact=False).startswith("fail: ")
    assert audits.outputs_match(probs, far, exact=False, tolerance=0.01) == "pass"
    assert audits.outputs_match(probs, far, exact=True, tolerance=0.01).startswith("fail: ")
    assert audits.outputs_match(probs, probs[:-1], exact=False).startswith("fail: ")
    assert audits.outputs_match(probs, np.full_like(probs, np.nan), False).startswith("fail: ")
    assert audits.outputs_match(probs[:0], probs[:0], exact=True).startswith("fail: ")


def slow(factor: float, slices: int = 20, jitter: float = 0.02, drift: float = 0.0) -> Samples:
    """Latencies around 1 ms x factor; `drift` is the spread from slice to slice."""
    rng = np.random.default_rng(int(1000 * factor))
    level = factor * np.exp(drift * rng.standard_normal((slices, 1)))
    times = 1e6 * level * np.exp(jitter * rng.standard_normal((slices, 30)))
    return Samples(tuple(int(t) for t in times.reshape(-1)), (30,) * slices, 3)


def test_cached_inputs_are_found() -> None:
    assert audits.inputs_not_cached(slow(1.0), slow(1.001)) == "pass"
    assert audits.inputs_not_cached(slow(1.08), slow(1.0)) == "pass"
    assert audits.inputs_not_cached(slow(0.5), slow(1.0)) == "pass"
    result = audits.inputs_not_cached(slow(1.3), slow(1.0))
    assert result.startswith("fail: ")
    assert "1.3" in result


def test_a_ratio_that_noise_explains_is_no_failure() -> None:
    noisy = slow(1.15, slices=6, drift=0.6), slow(1.0, slices=7, drift=0.6)
    ratio = np.median(noisy[0].latency_ns) / np.median(noisy[1].latency_ns)
    assert ratio > 1.1
    assert audits.inputs_not_cached(*noisy) == "pass"


def test_wrong_isa_fails() -> None:
    assert audits.isa_dispatched("amx", "amx") == "pass"
    assert audits.isa_dispatched("amx", "avx512_vnni").startswith("fail: amx")
    assert audits.isa_dispatched("amx", "") == "fail: amx was claimed, nothing was dispatched"
    assert audits.isa_dispatched("auto", "avx2").startswith("not applicable: ")


def test_noise_above_the_bound_fails() -> None:
    assert audits.noise_bounded(0.15) == "pass"
    assert audits.noise_bounded(0.16).startswith("fail: ")
    assert audits.noise_bounded(float("nan")).startswith("fail: ")


def test_findings_name_layer_and_figure_and_are_short() -> None:
    peer = replace(FINE, layer="layer1.0.conv1", std_ratio=0.03)  # 3 % of σ, as the peer has it
    clamped = replace(FINE, layer="fc1", clamped_share=0.034)
    still = replace(FINE, layer="fc2", immovable_share=0.2)
    found = audits.posterior_findings([FINE, clamped, still, peer])
    assert found == (
        "layer1.0.conv1: POSTERIOR LOST: σ of the draws is 0.03 of the original",
        "fc1: 3.4% of draws clamped",
        "fc2: 20.0% of weights cannot move",
    )
    assert max(map(len, found)) < 80
    at_the_bound = replace(FINE, std_ratio=0.5, clamped_share=0.01, immovable_share=0.05)
    assert audits.posterior_findings([FINE, at_the_bound]) == ()


def test_sentences_follow_a_count_of_one():
    assert audits.every_pass_drew(0, 1, 1, 5) == "fail: 1 weight drawn in 1 pass, 5 expected"
    assert "1 period of" in audits.not_throttled(1, 1.0)
    assert "quota of 1 core " in audits.not_throttled(1, 1.0)
    assert ": 1 distinct output in the 2 passes of" in audits.passes_differ(
        [np.zeros((2, 1, 3))], 5
    )


def test_noise_just_above_the_bound_does_not_read_as_the_bound():
    assert audits.noise_bounded(0.1502) == "fail: run-to-run noise 15.02 % is above 15 %"


def test_a_layer_without_sigma_has_lost_nothing():
    still = replace(FINE, std_ratio=None, w2=None)
    assert audits.posterior_findings([still]) == ()


def test_a_quota_that_did_not_bite_passes_and_none_at_all_is_not_judged() -> None:
    assert audits.not_throttled(0, 1.5) == "pass"
    assert audits.not_throttled(0, None) == "not applicable: no CPU quota is set"
    told = "fail: the CPU quota of 1.5 cores stopped the process in 3 periods of the timing"
    assert audits.not_throttled(3, 1.5) == told
    assert audits.not_throttled(3, None) == told.replace(" of 1.5 cores", "")
