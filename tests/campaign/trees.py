"""JSON with something else in one place."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from quantize.test_artefact_check import paths, put, taken

NUMBERS = (0, 1, -1, 2, 3, 7, 8, 127, 128, 255, 256, 2**15, 2**31 - 1, 2**31, 2**62)


def other(tree: Any, rng: np.random.Generator) -> Any:
    """The same JSON with another value in one place: one from elsewhere in it, another number, or
    a list with an entry more, less or elsewhere.

    Raises:
        IndexError: it has no place.
    """
    every = list(paths(tree))
    at = every[rng.integers(len(every))]
    now = taken(tree, at)
    alike = [one for one in every if type(taken(tree, one)) is type(now)]
    there = taken(tree, alike[rng.integers(len(alike))])
    if isinstance(now, list) and now and rng.integers(2):
        return put(tree, at, _shuffled(now, rng))
    if isinstance(now, (int, float)) and not isinstance(now, bool) and rng.integers(2):
        number = int(NUMBERS[rng.integers(len(NUMBERS))])
        return put(tree, at, number if rng.integers(2) else type(now)(now + number))
    return put(tree, at, copy.deepcopy(there))


def _shuffled(values: list[Any], rng: np.random.Generator) -> list[Any]:
    """One entry twice, one less, or all in another order."""
    at = int(rng.integers(len(values)))
    return [
        [*values, copy.deepcopy(values[at])],
        values[:at] + values[at + 1 :],
        [values[i] for i in rng.permutation(len(values))],
    ][rng.integers(3)]
