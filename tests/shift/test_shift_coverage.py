"""Coverage and errors of the shift study's intervals and tests, by simulation.

Of n studies, a share p of which errs, k err with a binomial probability. Bounds are such that one
of the 126 figures of the slow test fails once in 20 runs if coverage is 95 % and a wrong claim is
made in 5 %.
"""

from __future__ import annotations

import pytest
from scipy import stats
from shift.shift_simulation import SETTINGS, Errors, Setting, simulated

FIGURES = 3 * 3 * len(SETTINGS)


def check(found: dict[str, Errors], studies: int, figures: int) -> None:
    """Neither more misses nor more false claims than the binomial law allows at 5 %."""
    most = stats.binom.isf(0.05 / figures, studies, 0.05) / studies
    for name, errors in found.items():
        assert 1 - errors.covered <= most + 1e-9, name
        assert errors.equivalent <= most + 1e-9, name
        assert errors.worse <= most + 1e-9, name
        assert errors.width < 1.3, name


def test_a_small_studys_intervals_cover_and_its_tests_err_once_in_twenty() -> None:
    check(simulated(Setting(500, 20), 20, seed=5), 20, 9)


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_intervals_cover_and_tests_err_once_in_twenty(setting: Setting) -> None:
    check(simulated(setting, 60, seed=2000), 60, FIGURES)
