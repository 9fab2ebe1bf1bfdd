"""Which of several settings serves a goal best: most images per second, or the shortest queries, of
those that meet a bound on the other."""

from __future__ import annotations

from collections.abc import Sequence

from ..records.scaling_record import Scaled
from .throughput import images_per_second, latency_ms, p99_ms

THROUGHPUT = "throughput"


def slowest_ms(one: Scaled) -> float:
    """What a query takes, by the goal: the 99th percentile, and of too few queries twice the
    median, which errs on the side of caution."""
    tail = p99_ms(one)
    return 2 * latency_ms(one) if tail is None else tail


def meets(one: Scaled, goal: str, bound: float) -> bool:
    """Whether a setting meets the bound.

    Args:
        one: a setting with windows.
        goal: `throughput`, and the bound is one of milliseconds; or `latency`, and it is one of
            images per second.
        bound: 0 for none.
    """
    if not bound:
        return True
    if goal == THROUGHPUT:
        return slowest_ms(one) <= bound
    return images_per_second(one).value >= bound


def ranked(settings: Sequence[Scaled], goal: str, bound: float) -> list[Scaled]:
    """Settings that were measured, the best first: those that meet the bound by the goal, then the
    others by how near to the bound they come."""
    measured = [one for one in settings if one.windows]

    def rank(one: Scaled) -> tuple[bool, float]:
        most, least = -images_per_second(one).value, slowest_ms(one)
        missed = not meets(one, goal, bound)
        return missed, (most if (goal == THROUGHPUT) != missed else least)

    return sorted(measured, key=rank)
