"""Coverage and errors of the shift study's intervals and tests, by simulation.

Of n studies, k miss or claim with a binomial probability, and the standard deviation of their
effects, which widths are measured by, has a relative error of 1 / √(2 n). Bounds are those of 93 to
97 % coverage, of a claim in 5 % where it is false, and of the widths that 93 and 97 % ask of a
normal law, 0.92 and 1.11 times that of 95 %; each is passed by chance in one of 20 whole runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
from scipy import stats
from shift.shift_simulation import (
    MORE,
    SETTINGS,
    STUDIES,
    Errors,
    Setting,
    simulated,
    table,
    together,
)

LEAST, MOST, LEVEL = 0.93, 0.97, 0.05


def check(found: Mapping[str, Errors], judged: int, drawn: int, figures: int) -> None:
    """Of metrics.

    Args:
        found: metric to its errors.
        judged: studies whose intervals are counted.
        drawn: studies that the standard deviation is of.
        figures: that are held to a bound in one run.
    """
    chance = 0.05 / figures
    least = stats.binom.ppf(chance, judged, LEAST) / judged
    most = stats.binom.isf(chance, judged, MOST) / judged
    claims = stats.binom.isf(chance, judged, LEVEL) / judged
    error = stats.norm.isf(chance) / math.sqrt(2 * drawn)
    narrow, wide = (stats.norm.isf((1 - c) / 2) / stats.norm.isf(0.025) for c in (LEAST, MOST))
    for name, errors in found.items():
        assert least - 1e-9 <= errors.covered <= most + 1e-9, name
        assert errors.equivalent <= claims + 1e-9, name
        assert errors.worse <= claims + 1e-9, name
        assert narrow * (1 - error) < errors.width < wide * (1 + error), name


def test_a_small_studys_intervals_cover_and_its_tests_err_once_in_twenty() -> None:
    check(simulated(Setting(500, 20), 20, seed=5), 20, 20 + MORE, figures=6 * 3)


@pytest.mark.slow
def test_intervals_cover_and_tests_err_once_in_twenty() -> None:
    """In every setting, and in all of them together, which tell more."""
    found = table()
    figures = 6 * 3 * (len(SETTINGS) + 1)
    for errors in found.values():
        check(errors, STUDIES, STUDIES + MORE, figures)
    whole = len(SETTINGS)
    check(together(found.values()), whole * STUDIES, whole * (STUDIES + MORE), figures)
