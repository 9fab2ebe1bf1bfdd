"""Change points: against every way to cut a series, and against series with a known truth."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from sigmabench.harness.history import change_points as module
from sigmabench.harness.history.asv_results import AsvMachine, SeriesPoint, TrackedSeries
from sigmabench.harness.history.change_points import change_points, changes, noise_of

pytest.importorskip("ruptures")


def tracked(values: list[float], exact: bool = False) -> TrackedSeries:
    points = tuple(SeriesPoint(f"{i:08x}", i, value) for i, value in enumerate(values))
    return TrackedSeries(AsvMachine("m", "m"), "", "b", (), "", "lower", exact, points)


def best_cut(values: list[float]) -> list[int]:
    """Of all cuts into pieces of at least two points, the one with the least penalized cost."""
    logs = np.log(values)
    scaled, size = logs / noise_of(list(logs)), len(values)
    penalty = module._PENALTY * math.log(size)

    def cost(places: tuple[int, ...]) -> float:
        ends = [0, *places, size]
        pieces = [scaled[a:b] for a, b in itertools.pairwise(ends)]
        if min(map(len, pieces)) < module.SHORTEST:
            return math.inf
        return sum(float(((p - p.mean()) ** 2).sum()) for p in pieces) + penalty * len(places)

    every = (c for n in range(4) for c in itertools.combinations(range(1, size), n))
    return list(min(every, key=cost))


@pytest.mark.parametrize("seed", range(12))
def test_the_cut_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.choice([1.0, 1.3, 2.0], 3), (3, 3, 4))
    values = list(levels * np.exp(rng.normal(0, 0.05, 10)))
    assert change_points(values) == best_cut(values)


def test_a_step_of_a_tenth_is_found_and_a_flat_series_has_none() -> None:
    rng = np.random.default_rng(0)
    found = false = 0
    for _ in range(20):
        noise = rng.normal(0, 0.05, 30)
        false += bool(change_points(list(1 + noise)))
        places = change_points(list((1 + noise) * np.repeat([1.0, 1.1], 15)))
        found += any(abs(at - 15) <= 3 for at in places)
    assert found >= 14
    assert false <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1.0, 1.0, 1.0, 1.0], 0.0), ([0.0, 1.0, 0.0, 1.0], 1.4826 / math.sqrt(2)), ([3.0], 0.0)],
)
def test_the_noise_of_known_series(values: list[float], expected: float) -> None:
    assert noise_of(values) == pytest.approx(expected)


def test_noise_is_estimated_whatever_levels_there_are() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.03, 400)
    flat, stepped = noise_of(list(noise)), noise_of(list(noise + np.repeat([0, 5, -2, 9], 100)))
    assert flat == pytest.approx(0.03, rel=0.15)
    assert stepped == pytest.approx(flat, rel=0.05)


def test_what_is_exact_changes_wherever_it_differs() -> None:
    (first, second) = changes(tracked([5.0, 5.0, 5.0000001, 5.0000001, 4.0], exact=True))
    assert (first.at, second.at) == (2, 4)
    assert (second.before, second.after) == (pytest.approx(5.0000001), 4.0)
    assert not changes(tracked([0.1 + 0.2, 0.3], exact=True))


def test_a_small_change_of_what_is_measured_is_not_told() -> None:
    rng = np.random.default_rng(2)
    values = np.repeat([1.0, 1.01], 30) * np.exp(rng.normal(0, 0.001, 60))
    assert change_points(list(values)) == [30]
    assert not changes(tracked(list(values)))


def test_levels_are_means_and_shares_of_the_level_before() -> None:
    rng = np.random.default_rng(3)
    values = np.repeat([2.0, 3.0], 10) * np.exp(rng.normal(0, 0.01, 20))
    (step,) = changes(tracked(list(values)))
    assert step.at == 10
    assert step.before == pytest.approx(values[:10].mean())
    assert step.share == pytest.approx(values[10:].mean() / values[:10].mean() - 1)


def test_without_ruptures_nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available", lambda: False)
    values: Any = list(np.repeat([1.0, 9.0], 10) * np.exp(np.linspace(0, 0.01, 20)))
    assert change_points(values) == []
