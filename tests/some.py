"""Some of many values in the default suite, all of them in the thorough one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def first_alone(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Parameters, of which the first so many are tried by default."""
    every = list(values)
    return [*every[:count], *later(every[count:])]


def later(values: Iterable[Any]) -> list[Any]:
    """Parameters that are tried with `-m thorough`."""
    return [pytest.param(value, marks=pytest.mark.thorough) for value in values]
