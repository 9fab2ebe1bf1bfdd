"""How far T passes are from many: against exact intervals, and in worlds whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from sigmabench.harness.data.units import Units
from sigmabench.harness.predict.stretches import Stretches
from sigmabench.harness.records.samples_record import DrawLuck
from sigmabench.harness.stats.enough import Gap, Variance, nll_gaps, share_of, shares, unbroken
from sigmabench.harness.studies.enough.agreeing import alike, luck_of, of_reference

NONE = DrawLuck(10, 0.0, 0.0)


def test_without_luck_a_gap_is_that_of_a_paired_t() -> None:
    rng = np.random.default_rng(0)
    values, reference = rng.normal(0.01, 1, (2, 4000)), rng.normal(0, 1, 4000)
    found = nll_gaps(values, reference, [(NONE, NONE)] * 2, Units.of(4000), resamples=4000)
    for own, gap in zip(values, found, strict=True):
        exact = stats.ttest_1samp(own - reference, 0.0).confidence_interval(0.95)
        assert gap.value == pytest.approx(float((own - reference).mean()))
        assert (gap.low, gap.high) == pytest.approx((exact.low, exact.high), abs=2e-3)


def test_the_luck_of_both_sides_is_added_to_that_of_the_images() -> None:
    rng = np.random.default_rng(1)
    values, reference, units = rng.exponential(1, (1, 300)), np.zeros(300), Units.of(300)
    (alone,) = nll_gaps(values, reference, [(NONE, NONE)], units)
    pair = (DrawLuck(5, 0.02, 0.02), DrawLuck(5, 0.01, 0.01))
    (both,) = nll_gaps(values, reference, [pair], units)
    images = values.var(ddof=1) / 300
    whole = images + 0.03
    freedom = whole**2 / (images**2 / 299 + 0.02**2 / 4 + 0.01**2 / 4)
    times = math.sqrt(whole / images) * stats.t.ppf(0.975, freedom) / stats.t.ppf(0.975, 299)
    assert both.value - both.low == pytest.approx(times * (alone.value - alone.low))
    assert both.high - both.value == pytest.approx(times * (alone.high - alone.value))


def test_luck_that_chance_has_below_0_narrows_no_further_than_by_half() -> None:
    found = Variance.of(1.0, 100, (DrawLuck(5, 0.1, -3.0),))
    assert found.whole == 0.25
    assert found.freedom == pytest.approx(0.25**2 / (1 / 99 + 0.01 / 4))
    assert Variance.of(1.0, 100, (DrawLuck(5, 10.0, -3.0),)).freedom == 4


def test_passes_that_are_all_alike_are_known_to_be() -> None:
    (found,) = nll_gaps(np.full((1, 90), 0.5), np.full(90, 0.5), [(NONE, NONE)], Units.of(90))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_what_a_draw_does_to_all_images_alike_is_told_from_the_rest() -> None:
    rng = np.random.default_rng(3)
    own = rng.normal(0, 1, (400, 50))
    moved = own + rng.normal(0, 0.5, (400, 1))
    found = luck_of(moved, Units.of(50))
    assert found.draws == 400
    assert found.shared * 400 == pytest.approx(0.25, rel=0.2)
    assert (found.variance - found.shared) * 400 == pytest.approx(1.25 / 50, rel=0.05)
    assert abs(luck_of(own, Units.of(50)).shared * 400) < 0.005


def test_images_of_one_source_are_one() -> None:
    rng = np.random.default_rng(2)
    values, reference = rng.normal(0, 1, (1, 100)), rng.normal(0, 1, 100)
    twice = Units.of(200, np.repeat(np.arange(100), 2))
    (alone,) = nll_gaps(values, reference, [(NONE, NONE)], Units.of(100))
    (both,) = nll_gaps(values.repeat(2, 1), reference.repeat(2), [(NONE, NONE)], twice)
    assert (both.low, both.high) == pytest.approx((alone.low, alone.high))
    same = (rng.random((1, 100)) < 0.9).astype(float)
    (alone_share,) = shares(same, [(NONE, NONE)], Units.of(100))
    (share,) = shares(same.repeat(2, 1), [(NONE, NONE)], twice)
    assert (share.low, share.high) == pytest.approx((alone_share.low, alone_share.high))


def test_draws_of_the_reference_are_held_against_one_another() -> None:
    """The share of pairs of different draws that decide an image alike."""
    rng = np.random.default_rng(4)
    decision = rng.integers(0, 3, (4, 60)).astype(np.int32)
    found = Stretches(torch.rand(4, 60), torch.from_numpy(decision))
    pairs = [np.mean(a == b) for a, b in itertools.combinations(decision, 2)]
    assert of_reference(7, {7: found}, Units.of(60)).agreeing == pytest.approx(np.mean(pairs))


@pytest.mark.parametrize("differing", [0, 3, 50])
def test_a_share_of_images_that_agree_or_do_not_is_the_exact_one(differing: int) -> None:
    count = 2000
    same = np.ones((1, count))
    same[0, :differing] = 0
    (found,) = shares(same, [(NONE, NONE)], Units.of(count))
    exact = stats.binomtest(count - differing, count).proportion_ci(0.95, "exact")
    assert found.value == pytest.approx(1 - differing / count)
    assert found.low == pytest.approx(exact.low, abs=2e-4)
    assert found.high == pytest.approx(exact.high, abs=2e-4)


def test_luck_widens_a_share() -> None:
    same = np.ones((1, 500))
    same[0, :20] = 0.5
    (alone,), (lucky,) = (
        shares(same, [(DrawLuck(5, v, v), NONE)], Units.of(500)) for v in (0.0, 0.0004)
    )
    assert lucky.low < alone.low - 0.02
    assert lucky.high > alone.high


def test_that_none_agrees_is_an_interval_too() -> None:
    (found,) = shares(np.zeros((1, 300)), [(NONE, NONE)], Units.of(300))
    assert found.low == pytest.approx(0.0, abs=1e-6)
    assert 0 < found.high < 0.03


def test_images_that_would_decide() -> None:
    """As many as bring the interval to what is asked: where none differs, the exact number."""
    found = share_of(1.0, 200, 0.0, (NONE,))
    needed = found.deciding(200, 0.99)
    assert needed == pytest.approx(math.log(0.025) / math.log(0.99), rel=0.06)
    assert share_of(0.98, 200, 0.0, (NONE,)).deciding(200, 0.99) is None
    alone, shared = Variance(1e-6, 0.0, 99.0), Variance(0.5e-6, 0.5e-6, 99.0)
    assert Gap(0.001, -0.001, 0.003, alone).deciding(1000, 0.002) in (4000, 4001)
    assert Gap(0.001, -0.001, 0.003, shared).deciding(1000, 0.002) is None
    assert Gap(0.001, -0.0005, 0.0025, shared).deciding(1000, 0.0022) == pytest.approx(3572, abs=2)
    assert Gap(0.003, 0.001, 0.005, alone).deciding(1000, 0.002) is None


def test_the_first_that_fails_ends_it() -> None:
    assert unbroken([True, True, False, True]) == 2
    assert unbroken([]) == 0
    assert unbroken([True]) == 1


IMAGES, DRAWS, COUNTS, REFERENCE, SHORT = 400, 5, (1, 3, 10, 20), 40, 10


def world(seed: int, common: float, own: float) -> tuple[list[np.ndarray], ...]:
    """NLL and decisions of draws of each T, and of the reference and its stretches of `SHORT`:
    images of three classes, whose logits a pass moves alike and each on its own."""
    rng = np.random.default_rng(seed)
    known = 2 * rng.standard_normal((IMAGES, 3))
    p = np.exp(known) / np.exp(known).sum(axis=1, keepdims=True)
    label = np.minimum((rng.random((IMAGES, 1)) > p.cumsum(axis=1)).sum(axis=1), 2)

    def run(passes: int, mc: tuple[int, ...]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        together = common * rng.standard_normal((passes, 1, 3)) * np.abs(known[:, :1])
        logits = np.exp(known + together + own * rng.standard_normal((passes, IMAGES, 3)))
        each = logits / logits.sum(axis=2, keepdims=True)
        means = [each[: passes // T * T].reshape(-1, T, IMAGES, 3).mean(axis=1) for T in mc]
        return (
            [-np.log(one[:, np.arange(IMAGES), label]) for one in means],
            [one.argmax(axis=2) for one in means],
        )

    return (*run(DRAWS * COUNTS[-1], COUNTS), *run(DRAWS * REFERENCE, (REFERENCE, SHORT)))


@pytest.mark.slow
@pytest.mark.parametrize(("common", "own"), [(0.0, 0.5), (0.3, 0.3)])
def test_intervals_cover_the_truth(common: float, own: float) -> None:
    """Over 600 worlds with images, labels and draws of their own; the truth is their mean."""
    units, gaps, same = Units.of(IMAGES), [], []
    for seed in range(600):
        nll, decided, (many, short), (as_many, _) = world(seed, common, own)
        short_own = nll[COUNTS.index(SHORT)]
        told = [one if T < SHORT else short_own for T, one in zip(COUNTS, nll, strict=True)]
        sides = [(luck_of(one, units), luck_of(short, units)) for one in told]
        means = np.stack([one.mean(axis=0) for one in nll])
        gaps.append(nll_gaps(means, many.mean(axis=0), sides, units, resamples=1000))
        pairs = [(alike(one, as_many), alike(as_many, one)) for one in decided]
        sides = [(luck_of(mine, units), luck_of(others, units)) for mine, others in pairs]
        same.append(shares(np.stack([mine.mean(axis=0) for mine, _ in pairs]), sides, units))
    for found in (gaps, same):
        for each in zip(*found, strict=True):
            truth = np.mean([one.value for one in each])
            covered = np.mean([one.low <= truth <= one.high for one in each])
            assert 0.93 <= covered <= 0.97, (truth, covered)


@pytest.mark.slow
def test_a_t_that_is_not_enough_is_rarely_called_enough() -> None:
    """Of 400 studies of few images, one in a hundred of which no draw decides as many do: less than
    2.5 %, the side that matters, and so for images of which half of the draws do."""
    rng = np.random.default_rng(0)
    for rate in (1.0, 0.5):
        called = 0
        for _ in range(400):
            same = 1 - rate * (rng.random((1, 400)) < 0.0101 / rate)
            (found,) = shares(same, [(NONE, NONE)], Units.of(400))
            called += found.low >= 0.99
        assert called / 400 <= 0.04
