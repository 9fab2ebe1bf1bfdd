"""Times of several fresh processes: their median, interval and noise, against scipy and a known
truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sigmabench.harness.measure.clock import Samples
from sigmabench.harness.measure.timing import joined, timing
from sigmabench.harness.stats.latency import log_median_ratio, median_ci95, ratio_of_medians
from sigmabench.harness.stats.samples import median, process_medians, run_noise

LATENCY = (100, 104, 102, 120, 119, 121, 90, 92, 91, 95)
SLICES = (2, 1, 3, 2, 2)
PROCESSES = (2, 1, 2)  # slices: 100 104 | 102, 120 119 121, 90 92 | 91 95
MEDIANS = np.array([102, 120, 91.5])


def test_medians_of_processes_are_those_of_their_samples():
    logs = process_medians(LATENCY, SLICES, PROCESSES)
    np.testing.assert_allclose(np.exp(logs), MEDIANS)
    assert median(LATENCY, SLICES, PROCESSES) == pytest.approx(stats.gmean(MEDIANS))
    assert median(LATENCY) == np.median(LATENCY)


def test_interval_is_student_s_of_the_processes_logarithms():
    logs = np.log(MEDIANS)
    low, high = stats.t.interval(0.95, 2, logs.mean(), stats.sem(logs))
    assert median_ci95(LATENCY, SLICES, processes=PROCESSES) == pytest.approx(
        (math.exp(low), math.exp(high))
    )
    assert run_noise(LATENCY, SLICES, PROCESSES) == pytest.approx(logs.std(ddof=1))


def test_ratio_pairs_the_processes():
    other = tuple(3 * one for one in LATENCY)
    both = (other, LATENCY), (SLICES, SLICES)
    ratio = ratio_of_medians(*both, processes=(PROCESSES, PROCESSES))
    # Each process is three times as slow: what differs between processes is no error of the ratio.
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((3, 3, 3))
    alone = ratio_of_medians(*both)
    assert alone.low < 2.9 < 3.1 < alone.high


@pytest.mark.parametrize("processes", [(2, 1, 3), (1, 1), (5, 0)])
def test_processes_that_do_not_add_up_are_refused(processes):
    with pytest.raises(ValueError, match="slices"):
        median_ci95(LATENCY, SLICES, processes=processes)


def test_two_processes_and_three_are_no_race():
    with pytest.raises(ValueError, match="not a race"):
        ratio_of_medians((LATENCY, LATENCY), (SLICES, SLICES), processes=((2, 3), PROCESSES))


def test_joined_timings_hold_every_sample():
    parts = [
        timing(Samples((100,) * 20, (10, 10), 3), batch=4, inputs=2, race="a", passes=5, mc=50),
        timing(Samples((144,) * 30, (10, 20), 4), batch=4, inputs=2, race="b", passes=5, mc=50),
    ]
    whole = joined(parts, batch=4, mc=50, adaptive=False)
    assert len(whole.latency_ns) == 50
    assert whole.slices == (10, 10, 10, 20)
    assert whole.processes == (2, 2)
    assert whole.warmup_queries == 7
    assert whole.race == "a-b"
    assert whole.percentiles_ns["p50"] == pytest.approx(120)
    # T = 50 takes ten times as long as the five passes that were timed.
    assert whole.images_per_second == pytest.approx(4e9 / 1200)
    assert whole.noise == pytest.approx(np.log([100, 144]).std(ddof=1))


@pytest.mark.slow
@pytest.mark.parametrize("count", [3, 5])
def test_interval_of_processes_covers_the_truth(count):
    """95 % of the intervals of a ratio hold the truth where processes differ by 4 % at random."""
    rng, covered, trials = np.random.default_rng(1), 0, 4000
    for _ in range(trials):
        sides = []
        for truth in (1.1e6, 1e6):
            centre = np.repeat(truth * np.exp(rng.normal(0, 0.04, count)), 40)
            sides.append(tuple((centre * np.exp(rng.normal(0, 0.02, 40 * count))).astype(int)))
        slices = (8,) * (5 * count)
        found = log_median_ratio(
            (sides[0], sides[1]), (slices, slices), rng, processes=((5,) * count, (5,) * count)
        )
        assert found is not None
        low, high = found.interval()
        covered += low <= math.log(1.1) <= high
    assert 0.93 <= covered / trials <= 0.97
