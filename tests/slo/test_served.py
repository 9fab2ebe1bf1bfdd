"""By how much answers are worse than T passes: against a plain calculation by clusters, what is
decided, and, in the slow set, the coverage of its bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student

from sigmabench.harness.stats.served import (
    EXCEEDS,
    HOLDS,
    NOT_JUDGED,
    UNDECIDED,
    Excess,
    excess,
)


def answers(
    seed: int, count: int, images: int = 400, shared: float = 0.05, spread: float = 0.5
) -> tuple[np.ndarray, ...]:
    """NLL, image and batch of answers, four a batch, and a reference of three seeds."""
    rng = np.random.default_rng(seed)
    base = np.exp(rng.normal(-2, spread, images))
    reference = base + 0.02 * rng.normal(size=(3, images)) + 0.001 * rng.normal(size=(3, 1))
    image, batch = rng.integers(0, images, count), np.arange(count) // 4
    nll = 1.05 * base[image] + 0.1 * rng.normal(size=count)
    nll = nll + shared * rng.normal(size=batch.max() + 1)[batch]
    return nll, image, batch, reference


def test_the_error_is_that_of_two_way_clusters() -> None:
    nll, image, batch, reference = answers(0, 300, images=60)
    found = excess(nll, image, batch, reference)
    difference = nll - reference.mean(axis=0)[image]
    assert found.value == pytest.approx(difference.mean())
    assert found.nll == pytest.approx(nll.mean())
    residual = difference - difference.mean()

    def variance(which: np.ndarray) -> float:
        groups = np.unique(which)
        sums = [residual[which == one].sum() for one in groups]
        return len(groups) / (len(groups) - 1) * sum(s**2 for s in sums) / len(residual) ** 2

    both = np.array([f"{i}-{b}" for i, b in zip(image, batch, strict=True)])
    parts = variance(image), variance(batch)
    expected = math.sqrt(max(*parts, sum(parts) - variance(both)))
    assert found.images.error == pytest.approx(expected)
    assert found.units == len(np.unique(image))
    assert found.images.freedom == min(found.units, 75) - 1
    sums = np.array([residual[image == one].sum() for one in np.unique(image)])
    point = student.ppf(0.95, found.images.freedom)
    skew = (sums**3).sum() / (6 * 300 * (sums**2).sum()) * (1 + 2 * point**2)
    assert found.skew == pytest.approx(skew)
    assert found.carrying == pytest.approx((sums**2).sum() ** 2 / (sums**4).sum())


def test_one_seed_of_the_reference_tells_no_luck_and_several_do() -> None:
    nll, image, batch, reference = answers(1, 800)
    alone = excess(nll, image, batch, reference[:1])
    assert alone.luck.error == 0
    point = student.ppf(0.95, alone.images.freedom)
    assert alone.half == pytest.approx(point * alone.images.error)
    moved = reference + np.array([[-0.05], [0.0], [0.05]])  # all images alike: luck of the draw
    found = excess(nll, image, batch, moved)
    assert found.luck.error == pytest.approx(0.05 / math.sqrt(3), rel=0.1)
    assert found.half > alone.half


def test_images_of_one_source_count_as_one() -> None:
    nll, image, batch, reference = answers(2, 800)
    sources = np.arange(400) // 4
    found = excess(nll, image, batch, reference, sources)
    assert (
        found.units == len(np.unique(sources[image])) < excess(nll, image, batch, reference).units
    )


@pytest.mark.parametrize(("added", "verdict"), [(-0.05, HOLDS), (0.05, EXCEEDS), (0.0, UNDECIDED)])
def test_what_is_decided(added: float, verdict: str) -> None:
    nll, image, batch, reference = answers(3, 2000)
    plain = excess(nll, image, batch, reference)
    margin = plain.value + 0.1 * plain.half
    found = excess(nll + added, image, batch, reference)
    assert found.verdict(margin) == verdict
    needed = found.deciding(margin)
    assert (needed is not None) == (verdict == UNDECIDED)


def test_so_many_images_as_it_says_would_decide() -> None:
    nll, image, batch, reference = answers(4, 700, images=20_000)
    found = excess(nll, image, batch, reference[:1])
    margin = found.value + 0.5 * (found.half + found.skew)
    assert found.verdict(margin) == UNDECIDED
    needed = found.deciding(margin)
    assert needed is not None
    larger = excess(*answers(4, math.ceil(1.3 * needed), images=200_000)[:3],
                    answers(4, 700, images=200_000)[3][:1])  # fmt: skip
    assert larger.half < margin - found.value


def test_too_few_images_and_a_spread_of_a_few_decide_nothing() -> None:
    nll, image, batch, reference = answers(5, 2000, images=50)
    assert excess(nll, image, batch, reference).verdict(1.0) == NOT_JUDGED
    zeros, image = np.zeros(2000), np.arange(2000) % 1000
    rare = np.where(image < 2, 5.0, 0.0)
    found = excess(zeros + rare, image, np.arange(2000), np.zeros((1, 1000)))
    assert found.carrying == pytest.approx(2.0, rel=0.05)
    assert found.verdict(1.0) == UNDECIDED  # others like these two may be missing
    assert found.deciding(1.0) == pytest.approx(1000 * 5 / 2, rel=0.05)
    same = excess(zeros, image, np.arange(2000), np.zeros((1, 1000)))
    assert (same.upper, same.verdict(0.005)) == (0.0, HOLDS)


def test_skew_never_makes_a_bound_narrower() -> None:
    shared = {"images": excess(*answers(6, 300)).images, "luck": excess(*answers(6, 300)).luck}
    for skew in (-0.01, 0.01):
        one = Excess(value=0.0, skew=skew, carrying=99.0, units=300, nll=0.1, **shared)
        assert one.upper >= one.half - 1e-12
        assert one.lower <= -one.half + 1e-12
        assert max(one.upper, -one.lower) == pytest.approx(one.half + 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(("spread", "shared"), [(0.5, 0.05), (0.5, 0.2), (1.0, 0.05), (1.0, 0.0)])
def test_bounds_cover_what_they_say(spread: float, shared: float) -> None:
    truth, runs = 0.05 * math.exp(-2 + spread**2 / 2), 1000
    found = [excess(*answers(seed, 700, 5000, shared, spread)) for seed in range(runs)]
    assert 0.93 <= np.mean([one.upper >= truth for one in found]) <= 0.975
    assert 0.93 <= np.mean([one.lower <= truth for one in found]) <= 0.975
