"""Paired differences, against the published formula, a textbook's t and resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairing import each
from scipy import stats

from sigmabench.harness.core.formats import FORMATS, reference_of
from sigmabench.harness.data.splits import Split
from sigmabench.harness.predict.predicted import Summary
from sigmabench.harness.records.run_record import Paired
from sigmabench.harness.stats.paired import paired, per_image
from sigmabench.harness.stats.significance import Estimate, half_of_both, luck_of, p_of_both


def summary(probs: np.ndarray) -> Summary:
    tensor = torch.from_numpy(probs / probs.sum(1, keepdims=True))
    entropy = -(tensor * tensor.log()).sum(1)
    return Summary(1, tensor, tensor.log(), entropy, entropy, None)


def drawn(count: int, seed: int) -> Summary:
    return summary(np.random.default_rng(seed).dirichlet((0.7, 0.7, 0.7), count) + 1e-6)


def compared(mine: list[Summary], others: list[Summary], part: Split) -> Paired:
    sides = ([per_image(one, part.labels) for one in side] for side in (mine, others))
    return paired("FP32", *sides, part.sources)


def split(count: int, sources: torch.Tensor | None = None) -> Split:
    labels = torch.from_numpy(np.random.default_rng(5).integers(0, 3, count))
    images = torch.zeros(count, 1, 1, 1, dtype=torch.uint8)
    return Split("test", images, labels, (0.0,), (1.0,), 3, sources=sources)


def test_accuracy_by_agresti_and_min() -> None:
    part, mine, other = split(200), drawn(200, 1), drawn(200, 2)
    a, b = mine.correct(part.labels), other.correct(part.labels)
    gained, lost, n = int((a & ~b).sum()) + 0.5, int((~a & b).sum()) + 0.5, 200 + 2
    wald = math.sqrt(((gained + lost) - (gained - lost) ** 2 / n) / n**2)
    found = compared([mine], [other], part)
    low, high = found.intervals["accuracy_percent"]
    t = stats.t.ppf(0.975, 199)
    assert found.differences["accuracy_percent"] == pytest.approx(0.5 * int(a.sum() - b.sum()))
    assert (high - low) / 2 == pytest.approx(100 * t * wald, rel=0.01)


def test_nll_by_students_t() -> None:
    part, mine, other = split(300), drawn(300, 1), drawn(300, 2)
    rows = torch.arange(300)
    per_image = other.log_probs[rows, part.labels] - mine.log_probs[rows, part.labels]
    expected = stats.ttest_1samp(per_image.numpy(), 0.0).confidence_interval(0.95)
    found = compared([mine], [other], part)
    assert found.intervals["nll_nats"] == pytest.approx((expected.low, expected.high))


def test_equal_predictions_are_no_proof_of_equality() -> None:
    part, same = split(100), drawn(100, 1)
    found = compared([same], [same], part)
    assert found.differences == {"accuracy_percent": 0.0, "nll_nats": 0.0, "brier": 0.0}
    assert found.intervals["nll_nats"] == (0.0, 0.0)
    low, high = found.intervals["accuracy_percent"]
    assert high == -low
    assert 1 < high < 3


def test_seeds_are_averaged_image_by_image() -> None:
    part, seeds, other = split(150), [drawn(150, s) for s in range(3)], drawn(150, 9)
    found = compared(seeds, [other], part)
    single = [compared([one], [other], part) for one in seeds]
    for metric in ("accuracy_percent", "nll_nats"):
        mean = np.mean([one.differences[metric] for one in single])
        assert found.differences[metric] == pytest.approx(mean)
        widths = [np.ptp(one.intervals[metric]) for one in single]
        assert np.ptp(found.intervals[metric]) < np.mean(widths)
    assert found.seeds == (3, 1)


def test_images_of_one_source_are_no_independent_ones() -> None:
    half_a, half_b = drawn(80, 1), drawn(80, 2)
    twice = [summary(one.probs.repeat(2, 1).numpy()) for one in (half_a, half_b)]
    once = split(80)
    both = Split(
        "test",
        torch.zeros(160, 1, 1, 1, dtype=torch.uint8),
        once.labels.repeat(2),
        (0.0,),
        (1.0,),
        3,
        sources=torch.arange(80).repeat(2),
    )
    alone = compared([half_a], [half_b], once).intervals["nll_nats"]
    assert compared([twice[0]], [twice[1]], both).intervals["nll_nats"] == pytest.approx(alone)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_turned_round_it_is_the_same(seed: int) -> None:
    part, mine, other = split(40), drawn(40, seed), drawn(40, seed + 1)
    there, back = compared([mine], [other], part), compared([other], [mine], part)
    for metric, value in there.differences.items():
        assert back.differences[metric] == pytest.approx(-value)
        low, high = there.intervals[metric]
        assert back.intervals[metric] == pytest.approx((-high, -low))
        assert low <= value <= high


def test_the_interval_covers() -> None:
    rng, covered, trials = np.random.default_rng(0), 0, 400
    labels = torch.zeros(120, dtype=torch.int64)
    images = torch.zeros(120, 1, 1, 1, dtype=torch.uint8)
    part = Split("test", images, labels, (0.0,), (1.0,), 2)
    for _ in range(trials):
        right = rng.random((2, 120)) < np.array([[0.9], [0.86]])
        sides = [summary(np.where(r[:, None], [0.9, 0.1], [0.1, 0.9])) for r in right]
        low, high = compared([sides[0]], [sides[1]], part).intervals["accuracy_percent"]
        covered += low <= 4.0 <= high
    assert 0.92 < covered / trials < 0.985


def right(sources: list[int], gained: list[int], lost: list[int]) -> tuple[Paired, int]:
    """Of images right in both, but for those that one side gains or loses; and how many."""
    mine, other = np.ones(len(sources), bool), np.ones(len(sources), bool)
    other[gained], mine[lost] = False, False
    sides = [each(side, np.zeros(len(sources))) for side in (mine, other)]
    return paired("FP32", sides[:1], sides[1:], torch.tensor(sources)), len(sources)


@pytest.mark.parametrize(
    ("gained", "lost", "squares", "pseudo"),
    [
        ([0, 1, 2], [5], 3**2 + 1**2 - 2**2 / 10, math.sqrt((3**2 + 1**2) / 2)),
        ([0], [1], 0.0, 5.0),  # what a unit gains and loses it has not
        ([], [], 0.0, 5.0),
    ],
)
def test_a_pseudo_unit_is_as_large_as_units_that_differ(
    gained: list[int], lost: list[int], squares: float, pseudo: float
) -> None:
    """10 units of 5 images, by hand."""
    found, images = right([i // 5 for i in range(50)], gained, lost)
    half = stats.t.ppf(0.975, 9) * math.sqrt(squares * 10 / 9 + pseudo**2) / (images + 2 * pseudo)
    middle = 100 * (len(gained) - len(lost)) / images
    expected = (middle - 100 * half, middle + 100 * half)
    assert found.intervals["accuracy_percent"] == pytest.approx(expected)


def test_of_one_image_a_unit_the_pseudo_unit_is_one_image_whatever_the_seeds() -> None:
    """Agresti and Min's, also where an image differs in one seed of three."""
    mine, other = np.ones((3, 90), bool), np.ones((3, 90), bool)
    other[0, :4] = mine[1, 4:5] = False
    sides = [[each(one, np.zeros(90)) for one in side] for side in (mine, other)]
    each_seed = mine.astype(float) - other
    d = each_seed.mean(axis=0)
    spread = np.square(d - d.mean()).sum() * 90 / 89
    of_images = (spread + 1) / 92**2
    alone = np.var(each_seed, axis=0, ddof=1).sum() / 90**2
    luck = (np.var(each_seed.mean(axis=1), ddof=1) - alone) / 3
    images, draws = (stats.t.ppf(0.975, freedom) for freedom in (89, 2))
    found = paired("FP32", *sides)
    low, high = found.intervals["accuracy_percent"]
    assert (high - low) / 2 == pytest.approx(
        100 * math.hypot(images * math.sqrt(of_images), draws * math.sqrt(luck))
    )
    assert found.luck["accuracy_percent"] == pytest.approx(100 * math.sqrt(luck))


@pytest.mark.parametrize(("seeds", "shared"), [(3, 0.0), (3, 0.01), (3, 0.03), (5, 0.01)])
def test_the_interval_covers_the_luck_of_the_draw(seeds: int, shared: float) -> None:
    """A draw moves all images by `shared` nats, and each by as much as images differ."""
    rng, held, trials, images = np.random.default_rng(4), 0, 400, 200
    for _ in range(trials):
        kind = rng.normal(0.0, 0.1, images)
        own = rng.normal(0.0, 0.1, (seeds, images)) + rng.normal(0.0, shared, (seeds, 1))
        right = np.ones(images, bool)
        mine, other = ([each(right, nll) for nll in side] for side in (kind + own, 0.0 * own))
        low, high = paired("FP32", mine, other).intervals["nll_nats"]
        held += low <= 0.0 <= high
    assert 0.93 < held / trials < 0.985


def covered(units: int, images: int, rate: float, alike: float, studies: int) -> tuple[int, float]:
    """How many 95 % intervals of accuracy hold the truth, 0, and their mean width over what the
    spread of the studies asks for.

    Args:
        units: in a study.
        images: a unit.
        rate: of images that differ.
        alike: correlation of that within a unit.
        studies: how many.
    """
    rng, held, widths, effects = np.random.default_rng(7), 0, [], []
    sources = torch.arange(units).repeat_interleave(images)
    for _ in range(studies):
        law = rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1)
        differ = rng.random((units, images)) < rng.beta(*law, (units, 1))
        gain = rng.random((units, images)) < rng.choice((0.1, 0.9), (units, 1))
        sides = [each(~(differ & g).ravel(), np.zeros(len(sources))) for g in (~gain, gain)]
        found = paired("FP32", sides[:1], sides[1:], sources)
        low, high = found.intervals["accuracy_percent"]
        held += low <= 0.0 <= high
        widths.append(high - low)
        effects.append(found.differences["accuracy_percent"])
    return held, float(np.mean(widths) / 3.92 / np.std(effects))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("units", "images", "rate", "alike"),
    [(84, 15, 0.05, 0.05), (84, 15, 0.2, 0.3), (157, 4, 0.05, 0.3), (300, 8, 0.01, 0.05),
     (300, 1, 0.05, 0.3), (1000, 1, 0.02, 0.3)],
)  # fmt: skip
def test_intervals_of_accuracy_cover_and_are_no_wider(
    units: int, images: int, rate: float, alike: float
) -> None:
    """Within what 1,000 studies tell of 93 to 97 % and of the standard deviation, and 5 % for the
    pseudo-unit, which is one in 15 or more of the units that differ."""
    held, width = covered(units, images, rate, alike, 1000)
    assert stats.binom.isf(0.999, 1000, 0.93) <= held <= stats.binom.isf(0.001, 1000, 0.97)
    assert abs(width - 1.0) < 3.3 / math.sqrt(2 * 1000) + 0.05


def test_what_is_compared_with_what() -> None:
    assert {name: reference_of(name) for name in ("FP32", "BF16", "INT8_SIGMA1", "INT4")} == {
        "FP32": "DNN_FP32",
        "BF16": "FP32",
        "INT8_SIGMA1": "FP32",
        "INT4": "FP32",
    }
    assert (reference_of("DNN_INT8"), reference_of("DNN_FP32")) == ("DNN_FP32", None)
    assert all(reference_of(name) in (None, *FORMATS.names()) for name in FORMATS.names())


@pytest.mark.parametrize("luck", [0.0, 0.4, 2.0])
def test_the_p_value_is_of_the_interval_that_ends_at_none(luck: float) -> None:
    images, draw = Estimate(0.0, 0.5, 40), luck_of(luck, (3, 3))
    for level in (0.5, 0.95, 0.999):
        half = half_of_both(images, draw, level)
        assert p_of_both(-half, images, draw) == pytest.approx(1 - level, rel=1e-6)
    if not luck:
        assert half_of_both(images, draw) == pytest.approx(0.5 * stats.t.ppf(0.975, 40))
        assert p_of_both(1.2, images, draw) == pytest.approx(2 * stats.t.sf(2.4, 40), rel=1e-6)
    assert p_of_both(0.0, images, draw) == 1.0
