"""Whom formats refer: against scikit-learn on two sets of images, and verdicts of known cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from selective_cases import noisy_run, outputs, sample
from sklearn.metrics import cohen_kappa_score, jaccard_score

from sigmabench.harness.selective.agreement import LESS, MORE, UNDECIDED, comparisons
from sigmabench.harness.selective.selection import Choices

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
    floats = [noisy_run(seed, 0.1) for seed in range(3)]
    others = [noisy_run(seed + 10, noise) for seed in range(3)]
    (one,) = comparisons([sample({"FP32": floats, "INT8": others})], CHOICES, resamples=300)
    assert one.verdict == verdict
    assert one.p_holm.keys() == {MORE, LESS}


def test_holm_covers_formats_and_splits() -> None:
    floats = [noisy_run(seed, 0.1) for seed in range(2)]
    worse = [noisy_run(seed + 10, 1.0) for seed in range(2)]
    one = sample({"FP32": floats, "INT8": worse, "INT8_SIGMA1": floats})
    found = comparisons([one, one], CHOICES, resamples=200)
    assert len(found) == 4
    for outcome in found:
        assert all(outcome.p_holm[h] >= outcome.p[h] for h in outcome.p)
    least = min(outcome.p[MORE] for outcome in found)
    assert min(outcome.p_holm[MORE] for outcome in found) == pytest.approx(4 * least)


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
