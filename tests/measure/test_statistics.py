"""Latency statistics, against closed forms and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from sigmabench.harness.measure.clock import Samples
from sigmabench.harness.measure.statistics import (
    log_median_ratio,
    median_ci95,
    percentile,
    ratio_of_medians,
    robust_spread,
    run_noise,
    split,
)
from sigmabench.harness.measure.timing import timing


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
    with pytest.raises(ValueError, match="paired"):
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
