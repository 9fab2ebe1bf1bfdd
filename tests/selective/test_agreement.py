"""Whom formats refer: against scikit-learn on two sets of images, and verdicts of known cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from selective_cases import CLASSES, noisy_run, outputs, sample
from sklearn.metrics import cohen_kappa_score, jaccard_score

from sigmabench.harness.studies.selective.agreement import (
    LESS,
    MORE,
    UNDECIDED,
    _agreement,
    comparisons,
)
from sigmabench.harness.studies.selective.referral import Choices
from sigmabench.harness.studies.selective.sample import Outputs

CHOICES = Choices(coverage=0.75)


def test_figures_are_those_of_the_sets() -> None:
    float_, other = noisy_run(0, 0.1), noisy_run(1, 0.1)
    (one,) = comparisons([sample({"FP32": [float_], "INT8": [other]})], CHOICES, resamples=50)
    referred = []
    for run in (float_, other):
        last = np.argsort(run.uncertainties["confidence"])[150:]
        referred.append(np.isin(np.arange(200), last))
    assert one.found.referred == 50
    both = int((referred[0] & referred[1]).sum())
    assert one.found.overlap.value == pytest.approx(100 * both / 50)
    assert one.found.jaccard.value == pytest.approx(jaccard_score(*referred))
    assert one.found.kappa.value == pytest.approx(cohen_kappa_score(*referred))
    newly = referred[0] & ~referred[1]
    assert one.found.switched.value == newly.sum() > 0
    assert one.found.wrong.value == (newly & other.wrong).sum() > 0
    assert one.luck is None
    assert one.excess is None
    assert one.verdict == ""


def test_each_resample_counts_its_own_images() -> None:
    kept, others = np.array([[1.0, 1, 0], [2, 1, 0]]), np.array([[1.0, 0, 1], [2, 0, 1]])
    counts = np.array([[1.0, 1, 1], [2, 1, 1]])
    found = _agreement(kept, others, np.array([0.0, 1, 0]), counts)
    np.testing.assert_array_equal(found["referred"], [1, 1])
    np.testing.assert_array_equal(found["switched"], [1, 1])
    np.testing.assert_array_equal(found["wrong"], [1, 1])
    np.testing.assert_allclose(found["kappa"], [-0.5, -1 / 3])


def test_a_format_without_a_yardstick_keeps_no_other_from_its_own() -> None:
    twin, runs = noisy_run(9, 0.1), [noisy_run(seed, 0.1) for seed in range(3)]
    formats = {"DNN_FP32": [twin], "DNN_INT8": [twin], "FP32": runs, "INT8": runs}
    both = sample(formats, {"DNN_INT8": "DNN_FP32", "INT8": "FP32"})
    found = comparisons([both], CHOICES, resamples=20)
    assert [one.found.variant for one in found] == ["DNN_INT8", "INT8"]
    assert [one.luck is None for one in found] == [True, False]
    assert {one.found.split for one in found} == {"test"}


def test_luck_is_the_mean_over_pairs_of_seeds() -> None:
    runs = [noisy_run(seed, 0.1) for seed in range(3)]
    (one,) = comparisons([sample({"FP32": runs, "INT8": runs})], CHOICES, resamples=50)
    assert one.luck is not None
    alone = []
    for a in range(3):
        for b in range(3):
            if a != b:
                pair = sample({"FP32": [runs[b]], "INT8": [runs[a]]})
                (single,) = comparisons([pair], CHOICES, resamples=10)
                alone.append((single.found.switched.value, single.found.wrong.value))
    assert one.luck.switched.value == pytest.approx(np.mean(alone, axis=0)[0])
    assert one.luck.wrong.value == pytest.approx(np.mean(alone, axis=0)[1])
    assert one.luck.pairs == 6


def test_a_format_that_changes_nothing_changes_fewer_than_luck() -> None:
    runs = [noisy_run(seed, 0.1) for seed in range(3)]
    (one,) = comparisons([sample({"FP32": runs, "INT8": runs})], CHOICES, resamples=200)
    assert (one.found.overlap.value, one.found.switched.value, one.found.kappa.value) == (100, 0, 1)
    assert one.verdict == LESS
    assert one.excess is not None
    assert one.excess.high < 0


@pytest.mark.parametrize(("noise", "verdict"), [(1.0, MORE), (0.1, UNDECIDED)])
def test_a_format_of_other_noise_is_judged_by_how_much(noise: float, verdict: str) -> None:
    floats = [noisy_run(seed, 0.1) for seed in range(5)]
    others = [noisy_run(seed + 10, noise) for seed in range(5)]
    (one,) = comparisons([sample({"FP32": floats, "INT8": others})], CHOICES, resamples=300)
    assert one.verdict == verdict
    assert one.p_holm.keys() == {MORE, LESS}
    assert one.excess is not None
    assert (one.excess.low > 0) == (verdict == MORE)


def test_what_is_shown_exactly_at_the_level_is_shown() -> None:
    floats = [noisy_run(seed, 0.1) for seed in range(5)]
    both = sample({"FP32": floats, "INT8": [noisy_run(seed + 10, 1.0) for seed in range(5)]})
    (one,) = comparisons([both], CHOICES, resamples=100)
    (at,) = comparisons([both], CHOICES, resamples=100, alpha=one.p_holm[MORE])
    (below,) = comparisons([both], CHOICES, resamples=100, alpha=0.99 * one.p_holm[MORE])
    assert (at.verdict, below.verdict) == (MORE, UNDECIDED)


def sharing(world: int, images: int, seeds: int, first: int = 0) -> list[Outputs]:
    """Draws of one network that move all images along the same few directions: a draw's luck is
    shared by its images, as that of weights is."""
    shared = np.random.default_rng(world)
    difficulty = shared.random(images)
    labels = shared.integers(0, CLASSES, images)
    wrong = shared.random(images) < difficulty**3
    directions = shared.standard_normal((5, images)) / np.sqrt(5)
    draws = [np.random.default_rng([world, first + s]).standard_normal(5) for s in range(seeds)]
    return [outputs(difficulty + 0.1 * draw @ directions, wrong, labels) for draw in draws]


def test_draws_of_the_same_network_are_rarely_told_apart() -> None:
    """The format is the float one with other noise: a verdict is an error. By resamples of the
    images alone there are 17 in 40."""
    verdicts = []
    for world in range(40):
        runs = {"FP32": sharing(world, 400, 3), "INT8": sharing(world, 400, 3, first=3)}
        (one,) = comparisons([sample(runs)], CHOICES, resamples=100)
        verdicts.append(one.verdict)
    assert verdicts.count(UNDECIDED) >= 37


def test_the_interval_has_the_jackknife_over_seeds() -> None:
    """Against pairs counted one by one; resampling one image many times adds nothing to it."""
    runs = {"FP32": sharing(0, 400, 4), "INT8": sharing(0, 400, 4, first=4)}
    referred = {
        name: [
            np.isin(np.arange(400), np.argsort(r.uncertainties["confidence"])[300:]) for r in own
        ]
        for name, own in runs.items()
    }

    def excess(seeds: list[int]) -> float:
        float_, int8 = referred["FP32"], referred["INT8"]
        own = [(float_[s] & ~int8[s]).sum() for s in seeds]
        luck = [(float_[a] & ~float_[b]).sum() for a in seeds for b in seeds if a != b]
        return float(np.mean(own) - np.mean(luck))

    each = [excess([s for s in range(4) if s != out]) for out in range(4)]
    error = np.sqrt(3 / 4 * np.sum((np.array(each) - np.mean(each)) ** 2))
    (one,) = comparisons([sample(runs)], CHOICES, resamples=400)
    assert one.excess is not None
    assert one.excess.value == pytest.approx(excess([0, 1, 2, 3]))
    width = one.excess.high - one.excess.low
    assert width > 0.85 * 2 * stats.t.ppf(0.975, 3) * error > 4


@pytest.mark.parametrize(
    ("seeds", "sources", "why"),
    [
        (2, np.arange(200), "fewer than 3 seeds"),
        (3, np.repeat(np.arange(2), 100), "2 independent images, 72 needed"),
    ],
)
def test_too_little_is_not_judged(seeds: int, sources: np.ndarray, why: str) -> None:
    """By two larger images a p-value would be 1/301."""
    floats = [noisy_run(seed, 0.1) for seed in range(seeds)]
    both = sample({"FP32": floats, "INT8": floats}, sources=sources)
    (one,) = comparisons([both], CHOICES, resamples=300)
    assert one.luck is not None
    assert (one.p, one.verdict) == ({}, "")
    assert why in one.unjudged
    assert (one.excess is None) == (seeds < 3)


def test_holm_covers_hypotheses_formats_and_splits() -> None:
    floats = [noisy_run(seed, 0.1) for seed in range(3)]
    worse = [noisy_run(seed + 10, 1.0) for seed in range(3)]
    one = sample({"FP32": floats, "INT8": worse, "INT8_SIGMA1": floats})
    found = comparisons([one, one], CHOICES, resamples=200)
    assert len(found) == 4
    p = [value for outcome in found for value in outcome.p.values()]
    assert len(p) == 8  # both hypotheses are one family
    p_holm = [value for outcome in found for value in outcome.p_holm.values()]
    for value, adjusted in zip(p, p_holm, strict=True):  # Holm: max over what is no larger
        ranks = [sum(other < one for other in p) for one in p]
        steps = [(8 - r) * one for one, r in zip(p, ranks, strict=True) if one <= value]
        assert adjusted == pytest.approx(min(1.0, max(steps)))


def test_twins_are_compared_without_a_yardstick() -> None:
    run = noisy_run(0, 0.1)
    both = sample({"DNN_FP32": [run], "DNN_INT8": [run]}, {"DNN_INT8": "DNN_FP32"})
    (one,) = comparisons([both], CHOICES, resamples=20)
    assert (one.found.reference, one.luck, one.verdict) == ("DNN_FP32", None, "")


def test_tiles_of_one_image_make_wider_intervals() -> None:
    """Ten copies of 40 images tell as much as 40 images, and not as 400."""
    small = [noisy_run(seed, 0.2, images=40) for seed in range(2)]
    many = [
        outputs(
            np.repeat(run.uncertainties["confidence"], 10) + 1e-9 * np.arange(400),
            np.repeat(run.wrong, 10),
            np.repeat(run.labels, 10),
        )
        for run in small
    ]
    sources = np.repeat(np.arange(40), 10)
    width = {}
    for name, tiles in (("tiles", sources), ("naive", None)):
        (one,) = comparisons(
            [sample({"FP32": many[:1], "INT8": many[1:]}, sources=tiles)], CHOICES, resamples=400
        )
        width[name] = one.found.overlap.high - one.found.overlap.low
    assert width["tiles"] > 2 * width["naive"]


def test_runs_are_paired_by_their_seed() -> None:
    """Where a seed of one side is missing, the others are still held against their own."""
    runs = [noisy_run(seed, 0.1) for seed in range(3)]
    whole = sample({"FP32": runs, "INT8": runs})
    fewer = replace(whole, outputs={**whole.outputs, "INT8": whole.outputs["INT8"][::2]})
    (one,) = comparisons([fewer], CHOICES, resamples=20)
    assert (one.found.pairs, one.found.switched.value) == (2, 0)
    none = replace(
        whole, outputs={"FP32": whole.outputs["FP32"][:1], "INT8": whole.outputs["INT8"][1:]}
    )
    assert comparisons([none], CHOICES, resamples=20) == []
