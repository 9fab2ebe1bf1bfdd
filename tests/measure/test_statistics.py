"""Latency statistics, against closed forms and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, t

from sigmabench.harness.measure.clock import Samples
from sigmabench.harness.measure.timing import timing
from sigmabench.harness.stats.latency import log_median_ratio, median_ci95, ratio_of_medians
from sigmabench.harness.stats.samples import percentile, robust_spread, run_noise, split


@pytest.mark.parametrize(("p", "least"), [(0.5, 20), (0.9, 100), (0.99, 1000)])
def test_percentiles_need_ten_samples_above_them(p: float, least: int) -> None:
    assert percentile(range(least - 1), p) is None
    assert percentile(range(least), p) == pytest.approx(p * (least - 1))


def test_median_interval_covers_the_truth_when_slices_share_their_fate() -> None:
    rng = np.random.default_rng(6)
    hits = 0
    for _ in range(100):
        low, high = median_ci95(latencies(rng, 1e6, slices=10), [25] * 10)
        hits += low <= 1e6 <= high
    assert binom.ppf(0.001, 100, 0.95) <= hits < 100


def test_median_interval_of_one_slice_is_the_range_of_its_samples() -> None:
    assert median_ci95([5, 1, 3], [3]) == (1.0, 5.0)
    assert median_ci95([7], [1]) == (7.0, 7.0)


@given(st.lists(st.lists(st.integers(1, 10**9), min_size=1, max_size=5), min_size=1, max_size=8))
def test_median_interval_holds_the_median(parts: list[list[int]]) -> None:
    samples = [v for part in parts for v in part]
    low, high = median_ci95(samples, [len(part) for part in parts])
    assert min(samples) <= low <= np.median(samples) <= high <= max(samples)


def test_median_interval_is_that_of_the_ratio_to_a_constant() -> None:
    """One bootstrap: a median's error does not depend on who asks."""
    samples = latencies(np.random.default_rng(7), 1e6)
    low, high = median_ci95(samples, [25] * 20)
    middle = float(np.median(samples))
    found = log_median_ratio(
        (samples, [10**6] * 500), ([25] * 20,) * 2, np.random.default_rng(0), paired=True
    )
    assert found is not None
    ends = np.exp(np.array(found.interval()) - found.value)
    assert (low / middle, high / middle) == pytest.approx(tuple(ends))


def t_half(resampled: list[float], slices: int) -> float:
    """Half of a 95 % interval: Student's t times the error, widened for few slices."""
    error = np.std(resampled, ddof=1) * np.sqrt(slices / (slices - 1))
    return float(t.ppf(0.975, slices - 1) * error)


def lower_median(values: list[int]) -> int:
    return sorted(values)[(len(values) - 1) // 2]


def resampled_medians(
    parts: list[list[int]], rng: np.random.Generator
) -> tuple[list[float], np.ndarray]:
    """Log of the lower median of 2,000 resamples of whole slices, one by one."""
    drawn = rng.multinomial(len(parts), [1 / len(parts)] * len(parts), size=2000)
    return resampled_as(parts, drawn), drawn


def resampled_as(parts: list[list[int]], drawn: np.ndarray) -> list[float]:
    return [
        math.log(
            lower_median([v for part, n in zip(parts, row, strict=True) for v in part * int(n)])
        )
        for row in drawn
    ]


def parted(samples: list[int], slices: int) -> list[list[int]]:
    size = len(samples) // slices
    return [samples[i : i + size] for i in range(0, len(samples), size)]


def test_median_interval_is_the_slices_bootstrap_by_brute_force() -> None:
    """Neither narrower nor wider than the definition."""
    samples = latencies(np.random.default_rng(8), 1e6, slices=6)
    values, _ = resampled_medians(parted(samples, 6), np.random.default_rng(0))
    half, middle = t_half(values, 6), float(np.median(samples))
    expected = (middle * math.exp(-half), middle * math.exp(half))
    assert min(samples) < expected[0] < expected[1] < max(samples)
    assert median_ci95(samples, [25] * 6) == pytest.approx(expected, rel=1e-12)
    assert median_ci95(samples, [25] * 6, seed=1) != median_ci95(samples, [25] * 6)


@pytest.mark.parametrize("paired", [True, False])
def test_ratio_interval_is_the_slices_bootstrap_by_brute_force(paired: bool) -> None:
    rng = np.random.default_rng(9)
    first, second = latencies(rng, 1.3e6, slices=5), latencies(rng, 1e6, slices=5)
    rng = np.random.default_rng(4)
    a, drawn = resampled_medians(parted(first, 5), rng)
    if paired:
        b = resampled_as(parted(second, 5), drawn)
        half = t_half([x - y for x, y in zip(a, b, strict=True)], 5)
    else:
        b, _ = resampled_medians(parted(second, 5), rng)
        # Welch, Biometrika 1947.
        variances = [np.var(x, ddof=1) * 5 / 4 for x in (a, b)]
        freedom = sum(variances) ** 2 / sum(v**2 / 4 for v in variances)
        half = float(t.ppf(0.975, freedom) * math.sqrt(sum(variances)))
    ratio = float(np.median(first) / np.median(second))
    found = ratio_of_medians((first, second), ([25] * 5,) * 2, paired=paired, seed=4)
    expected = (ratio, ratio * math.exp(-half), ratio * math.exp(half))
    assert (found.value, found.low, found.high) == pytest.approx(expected, rel=1e-12)


def test_robust_spread_is_the_standard_deviation_of_a_normal() -> None:
    values = np.random.default_rng(0).normal(100, 3, 100_000)
    assert robust_spread(values) == pytest.approx(0.03, rel=0.02)
    values[:1000] = 1e9  # one percent of outliers hardly matters
    assert robust_spread(values) == pytest.approx(0.03, rel=0.03)


def test_run_noise_sees_slices_not_queries() -> None:
    rng = np.random.default_rng(0)
    jitter = rng.normal(0, 0.3, (50, 101))
    steady = (1e6 * np.exp(jitter)).astype(int).reshape(-1).tolist()
    assert run_noise(steady, [101] * 50) < 0.06
    level = rng.normal(0, 0.3, (50, 1))
    moving = (1e6 * np.exp(level + 0 * jitter)).astype(int).reshape(-1).tolist()
    assert 0.2 < run_noise(moving, [101] * 50) < 0.45


def test_run_noise_of_few_slices_is_the_whole_range() -> None:
    assert run_noise([90, 100, 130], [1, 2]) == pytest.approx(0.4)
    assert run_noise([100], [1]) == 0


def test_slices_have_to_add_up() -> None:
    assert [list(part) for part in split([1, 2, 3], [1, 2])] == [[1], [2, 3]]
    for slices in ([1, 1], [4], [], [3, 0]):
        with pytest.raises(ValueError, match="slices"):
            split([1, 2, 3], slices)


def latencies(rng: np.random.Generator, median: float, slices: int = 20) -> list[int]:
    level = np.exp(0.05 * rng.standard_normal((slices, 1)))
    return (
        (median * level * np.exp(0.02 * rng.standard_normal((slices, 25))))
        .astype(int)
        .ravel()
        .tolist()
    )


def test_ratio_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    slices = [25] * 20
    hits = 0
    for repeat in range(40):
        first, second = latencies(rng, 1.2e6), latencies(rng, 1e6)
        ratio = ratio_of_medians((first, second), (slices, slices), seed=repeat)
        assert ratio.low <= ratio.high
        assert ratio.value == np.median(first) / np.median(second)
        hits += ratio.low <= 1.2 <= ratio.high
    assert hits >= 33


def test_samples_in_one_slice_are_not_independent() -> None:
    """An interval from queries as if independent would be far too narrow here."""
    rng = np.random.default_rng(1)
    first, second = latencies(rng, 1e6), latencies(rng, 1e6)
    blocks = ratio_of_medians((first, second), ([25] * 20, [25] * 20))
    singles = ratio_of_medians((first, second), ([1] * 500, [1] * 500))
    assert blocks.high - blocks.low > 2 * (singles.high - singles.low)


def test_pairing_removes_what_both_have_in_common() -> None:
    rng = np.random.default_rng(2)
    level = np.exp(0.2 * rng.standard_normal((20, 1)))
    first = (1.1e6 * level * np.ones((1, 10))).astype(int).ravel().tolist()
    second = (1e6 * level * np.ones((1, 10))).astype(int).ravel().tolist()
    both, slices = (first, second), ([10] * 20, [10] * 20)
    paired, apart = ratio_of_medians(both, slices, paired=True), ratio_of_medians(both, slices)
    assert paired.low == pytest.approx(1.1, rel=1e-3)
    assert paired.high == pytest.approx(1.1, rel=1e-3)
    assert apart.low < 1 < apart.high
    with pytest.raises(ValueError, match="20 slices cannot be paired with 10"):
        ratio_of_medians(both, ([10] * 20, [20] * 10), paired=True)


def test_ratio_is_reproducible_and_handles_many_samples() -> None:
    rng = np.random.default_rng(3)
    many = (1e6 * np.exp(0.1 * rng.standard_normal(60_000))).astype(int).tolist()
    one, two = (ratio_of_medians((many, many), ([3000] * 20, [3000] * 20)) for _ in range(2))
    assert one == two
    assert one.low < 1 < one.high
    assert one.high - one.low < 0.02


def test_a_ratio_of_single_slices_is_not_bounded() -> None:
    ratio = ratio_of_medians(([30, 30], [10, 10]), ([2], [2]), paired=True)
    assert (ratio.value, ratio.low, ratio.high) == (3.0, 0.0, np.inf)


def test_timing_of_samples() -> None:
    latency = tuple(range(1_000_000, 1_000_100))
    result = timing(Samples(latency, (50, 50), 7), batch=32, inputs=4, interleaved_with=("k",))
    assert (result.latency_ns, result.slices, result.warmup_queries) == (latency, (50, 50), 7)
    assert (result.inputs, result.interleaved_with) == (4, ("k",))
    assert result.percentiles_ns == {
        "p50": 1_000_049.5,
        "p90": pytest.approx(1_000_089.1),
        "p99": None,
    }
    assert result.images_per_second == pytest.approx(32e9 / 1_000_049.5)
    assert result.p50_ci95_ns[0] < 1_000_049.5 < result.p50_ci95_ns[1]
