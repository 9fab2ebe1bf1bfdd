"""Differences between methods that have a temperature each, on known laws and in a simulation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sigmabench.harness.data.units import Units
from sigmabench.harness.predict.newton import Derivatives
from sigmabench.harness.predict.temperature import (
    Temperature,
    derivatives,
    fit_temperature,
    tempered,
)
from sigmabench.harness.stats import refitted
from sigmabench.harness.stats.refitted import MethodDifference, Side, nll_difference
from sigmabench.harness.stats.significance import Estimate

CLASSES = 3


def world(images: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """What is known of images, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    known = 1.5 * torch.randn(images, CLASSES, generator=generator, dtype=torch.float64)
    return known, torch.multinomial(known.softmax(dim=1), 1, generator=generator).flatten()


def side(factor: float, noise: float, test: int, fit: int, seed: int) -> tuple[Side, Temperature]:
    """A network that is too sure by a factor and errs by noise of its own."""
    found = []
    generator = torch.Generator().manual_seed(seed + 100 * int(10 * noise))
    for images, which in ((test, 2 * seed), (fit, 2 * seed + 1)):
        known, labels = world(images, which)
        off = noise * torch.randn(known.shape, generator=generator, dtype=torch.float64)
        found.append((factor * (known + off)[None], labels))
    temperature = fit_temperature(*found[1])
    scored, fitted = (derivatives(*one, temperature) for one in found)
    return Side([scored], [fitted]), temperature


def test_the_value_is_the_difference_of_the_scores() -> None:
    mine, other = side(3, 0.0, 400, 300, 1)[0], side(1, 0.5, 400, 300, 1)[0]
    found = nll_difference(mine, other, Units.of(400), Units.of(300))
    known, labels = world(400, 2)
    temperature = side(3, 0.0, 400, 300, 1)[1]
    exact = tempered(3 * known[None], temperature).nll(labels).mean()
    assert mine.values.mean() == pytest.approx(float(exact), abs=1e-12)
    assert found.value == pytest.approx(mine.values.mean() - other.values.mean(), abs=1e-12)
    low, high = found.interval
    assert low < found.value < high < 0


def test_a_method_and_itself_have_no_difference() -> None:
    mine = side(2, 0.2, 200, 100, 3)[0]
    found = nll_difference(mine, mine, Units.of(200), Units.of(100))
    assert (found.value, *found.interval) == (0.0, 0.0, 0.0)


def test_the_luck_of_the_fit_is_in_it() -> None:
    """With a handful of validation images the fit is most of what is not known."""
    errors = []
    for fit in (20, 2000):
        mine, other = side(3, 0.0, 2000, fit, 5)[0], side(1, 0.3, 2000, fit, 5)[0]
        errors.append(nll_difference(mine, other, Units.of(2000), Units.of(fit)).images.error)
    assert errors[0] > 1.5 * errors[1]


def test_images_of_one_source_are_one() -> None:
    mine, other = side(3, 0.0, 300, 200, 7)[0], side(1, 0.5, 300, 200, 7)[0]

    def doubled(one: Side) -> Side:
        (found,) = one.scored
        parts = (np.repeat(each, 2) for each in (found.nll, found.slope, found.curvature))
        return Side([Derivatives(*parts)], one.fitted)

    alone = nll_difference(mine, other, Units.of(300), Units.of(200))
    twice = Units.of(600, np.repeat(np.arange(300), 2))
    both = nll_difference(doubled(mine), doubled(other), twice, Units.of(200))
    assert both.value == pytest.approx(alone.value, abs=1e-12)
    assert both.images.error == pytest.approx(alone.images.error, rel=1e-6)


def test_draws_that_differ_as_a_whole_are_luck() -> None:
    (one,) = side(2, 0.2, 500, 300, 9)[0].scored
    fitted = side(2, 0.2, 500, 300, 9)[0].fitted
    moved = [Derivatives(one.nll + by, one.slope, one.curvature) for by in (-0.1, 0.0, 0.1)]
    mine = Side(moved, list(fitted) * 3)
    found = nll_difference(mine, Side([one], fitted), Units.of(500), Units.of(300))
    assert found.luck.error == pytest.approx(
        0.1 * np.sqrt((1 - 1 / 500) / 3), rel=1e-6
    )  # less each image's own
    assert found.luck.freedom == 2


def test_tests_and_interval_agree() -> None:
    found = MethodDifference(0.004, Estimate(0.0, 0.001, 999), Estimate(0.0, 0.0, 1), 1000)
    low, high = found.interval
    assert found.p_above(low) == pytest.approx(0.025, abs=1e-4)
    assert found.p_below(-high) == pytest.approx(0.025, abs=1e-4)
    assert found.p_within(0.01) < 1e-6
    assert found.p_within(0.003) > 0.5
    assert found.p_above(0.0) < 1e-3 < found.p_above(0.003)
    needed = found.deciding(0.005, 0.05)
    assert needed == pytest.approx(1000 * 1.645**2, rel=0.01)
    assert found.deciding(0.004, 0.05) is None


@pytest.mark.thorough
def test_intervals_cover_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over 600 worlds, each of which has its own images, labels and validation images."""
    monkeypatch.setattr(refitted, "RESAMPLES", 200)
    worlds = range(10, 610)
    found = [
        nll_difference(
            side(2.5, 0.0, 600, 300, seed)[0],
            side(1.0, 0.6, 600, 300, seed)[0],
            Units.of(600),
            Units.of(300),
        )
        for seed in worlds
    ]
    truth = np.mean([one.value for one in found])
    inside = [one.interval[0] <= truth <= one.interval[1] for one in found]
    assert 0.93 <= np.mean(inside) <= 0.97
