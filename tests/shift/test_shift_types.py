"""Coverage of accuracy's intervals where the effect is a mean over corruption types.

What two formats disagree on under one type they may agree on under the others, so a unit differs
by a small part of what it could: a pseudo-unit that differed under all types made intervals up to
three times as wide as they need be.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sigmabench.harness.data.units import Units
from sigmabench.harness.stats.bootstrap import Means, pseudo_units, resampled

IMAGES, TYPES, RESAMPLES = 1000, 16, 500


def simulated(rate: float, common: float, studies: int, seed: int) -> tuple[int, float]:
    """How many of the 95 % intervals hold the truth, 0, and their mean width over 3.92 standard
    deviations of the effect.

    Args:
        rate: of images that formats disagree on, under a type.
        common: of the Beta law of an image's own rate: the smaller, the more types it is of.
        studies: how many.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    units = Units.of(IMAGES, None)
    held, widths, effects = 0, [], []
    for study in range(studies):
        own = rng.beta(common, common * (1 / rate - 1), (IMAGES, 1))
        differ = rng.random((IMAGES, TYPES)) < own
        signs = rng.choice((-1.0, 1.0), (IMAGES, TYPES))
        means = Means.of(100.0 * (differ * signs).mean(axis=1, keepdims=True), units)
        draws = np.concatenate([means.draws(c) for c in resampled(IMAGES, RESAMPLES, study)])
        low, high = np.quantile(draws + pseudo_units(means, RESAMPLES, study), [0.025, 0.975])
        held += bool(low <= 0.0 <= high)
        widths.append(high - low)
        effects.append(float(means.centre[0]))
    return held, float(np.mean(widths)) / (2 * 1.96 * float(np.std(effects)))


def check(rate: float, common: float, studies: int, seed: int) -> None:
    """Coverage as the binomial law has it at 93 to 97 %, and no interval wider than it need be but
    for the error of the standard deviation, 1 / √(2 n)."""
    held, width = simulated(rate, common, studies, seed)
    assert stats.binom.isf(0.999, studies, 0.93) <= held
    assert held <= stats.binom.isf(0.001, studies, 0.97)
    assert abs(width - 1.0) < 3.3 / np.sqrt(2 * studies) + 0.05


def test_accuracy_over_types_has_intervals_that_cover_and_are_no_wider() -> None:
    check(0.005, 0.1, 40, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "common"), [(0.02, 0.3), (0.02, 3.0), (0.005, 0.3), (0.002, 0.1)])
def test_accuracy_over_types_covers_whatever_types_share(rate: float, common: float) -> None:
    check(rate, common, 300, seed=2)
