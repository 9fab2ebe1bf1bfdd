"""Ranking, areas and bounds against brute force over copies of images, one at a time."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sigmabench.harness.stats.bound import balanced_curve, largest_cut
from sigmabench.harness.stats.ranking import Ranked, balanced_error, once

IMAGES = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7]),  # uncertainty, with ties
        st.booleans(),  # wrong
        st.integers(0, 2),  # label
        st.integers(0, 3),  # copies
    ),
    min_size=1,
    max_size=9,
).filter(lambda images: any(copies for *_, copies in images))


def columns(images: list[tuple]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    uncertainty, wrong, labels, copies = zip(*images, strict=True)
    return np.array(uncertainty), np.array(wrong), np.array(labels), np.array(copies, float)


def expanded(ranked: Ranked, copies: np.ndarray) -> list[int]:
    """Every copy by the index of its image, the surest first."""
    return [i for i in ranked.order.tolist() for _ in range(int(copies[i]))]


@given(IMAGES, st.floats(0, 1))
def test_what_is_kept_and_its_error(images: list[tuple], share: float) -> None:
    uncertainty, wrong, _, copies = columns(images)
    ranked = Ranked.by(uncertainty, wrong)
    assert (np.diff(uncertainty[ranked.order]) >= 0).all()
    every = expanded(ranked, copies)
    stays = every[: round(share * len(every))]
    kept = ranked.kept(copies[None], share)[0]
    assert kept.tolist() == [stays.count(i) for i in range(len(images))]
    expected = np.mean([wrong[i] for i in stays]) if stays else 0
    assert ranked.error(kept[None])[0] == pytest.approx(expected, abs=1e-12)


@given(IMAGES)
def test_the_area_is_the_mean_of_the_risks(images: list[tuple]) -> None:
    uncertainty, wrong, *_ = columns(images)
    ranked = Ranked.by(uncertainty, wrong)
    running = np.cumsum(wrong[ranked.order]) / np.arange(1, len(wrong) + 1)
    assert ranked.aurc(once(len(wrong)))[0] == pytest.approx(running.mean(), abs=1e-12)


def test_the_area_of_a_resample_is_near_that_of_its_copies() -> None:
    generator = np.random.default_rng(0)
    wrong = generator.random(150) < np.linspace(0, 0.6, 150)
    ranked = Ranked.by(np.linspace(0, 1, 150), wrong)
    counts = np.stack([np.bincount(generator.integers(0, 150, 150), minlength=150)] * 2).astype(
        float
    )
    every = wrong[expanded(ranked, counts[0])]
    risks = np.cumsum(every) / np.arange(1, len(every) + 1)
    assert ranked.aurc(counts)[0] == pytest.approx(risks.mean(), rel=0.01)


def test_without_ties_it_is_the_library_s_area() -> None:
    from metrics.metric_cases import make_case

    from sigmabench.harness.metrics.risk_coverage import aurc

    summary, labels = make_case(0)
    ranked = Ranked.by(-summary.confidence.numpy(), (summary.prediction != labels).numpy())
    assert ranked.aurc(once(len(labels)))[0] == pytest.approx(aurc(summary, labels))


def test_ties_are_broken_alike_in_all_formats() -> None:
    tied = np.zeros(40)
    one, other = (Ranked.by(tied, np.full(40, value)) for value in (True, False))
    assert one.order.tolist() == other.order.tolist() != list(range(40))


@given(IMAGES)
def test_balanced_error_is_the_mean_over_classes(images: list[tuple]) -> None:
    _, wrong, labels, kept = columns(images)
    rates = []
    for label in set(labels.tolist()):
        own = [(wrong[i], kept[i]) for i in range(len(labels)) if labels[i] == label]
        if sum(k for _, k in own):
            rates.append(sum(w * k for w, k in own) / sum(k for _, k in own))
    assert balanced_error(wrong, labels, kept[None])[0] == pytest.approx(np.mean(rates))


def test_nothing_kept_has_no_balanced_error() -> None:
    assert np.isnan(balanced_error(np.array([True]), np.array([0]), np.zeros((1, 1))))[0]


@given(IMAGES, st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]))
def test_the_cut_keeps_most_of_all_thresholds(images: list[tuple], bound: float) -> None:
    uncertainty, wrong, labels, _ = columns(images)
    best = (0.0, -np.inf)
    for threshold in sorted(set(uncertainty.tolist())):
        kept = (uncertainty <= threshold).astype(float)
        if balanced_error(wrong, labels, kept[None])[0] <= bound + 1e-12:
            best = (kept.mean(), threshold)
    cut = largest_cut(uncertainty, wrong, labels, bound + 1e-12)
    assert (cut.coverage, cut.threshold) == pytest.approx(best)
    thresholds, coverage, _ = balanced_curve(uncertainty, wrong, labels)
    assert thresholds.tolist() == sorted(set(uncertainty.tolist()))
    assert coverage[-1] == 1


def test_a_tie_is_never_cut_through() -> None:
    """Half the group is right: a cut inside would hold a bound that the group breaks."""
    uncertainty = np.array([0.1, 0.5, 0.5])
    cut = largest_cut(uncertainty, np.array([False, False, True]), np.zeros(3, int), 0.1)
    assert (cut.coverage, cut.threshold) == (pytest.approx(1 / 3), 0.1)


def test_float32_thresholds_keep_what_they_were_taken_from() -> None:
    uncertainty = (-torch.rand(200, generator=torch.Generator().manual_seed(0))).numpy()
    cut = largest_cut(uncertainty, np.zeros(200, bool), np.zeros(200, int), 0.0)
    assert (uncertainty <= cut.threshold).all()


def test_the_images_as_they_are_are_one_resample() -> None:
    np.testing.assert_array_equal(once(3), [[1.0, 1.0, 1.0]])


def test_a_thousand_classes_cost_no_matrix_of_them() -> None:
    """20,000 images of 1,000 classes: their membership alone would be 160 MB."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 1000, 20_000)
    wrong = generator.random(20_000) < 0.2
    tracemalloc.start()
    balanced_error(wrong, labels, np.ones((1, 20_000)))
    largest_cut(generator.random(20_000), wrong, labels, 0.1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
