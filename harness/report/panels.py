"""Panels and scales that several figures have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..core.figure import Bars, Look, Panel, Points, Rule, Scale, numbers
from ..stats.significance import wilson


def calibration(
    look: Look,
    count: Sequence[float],
    confidence: ArrayLike,
    accuracy: ArrayLike,
    independent: ArrayLike,
    room: tuple[float, float] = (2.0, 2.0),
    headroom: float = 2.0,
) -> tuple[Panel, Panel]:
    """A reliability diagram, and below it how many images each bin holds (logarithmic).

    Args:
        look: of the points.
        count: [bins] images in each bin.
        confidence: mean, 0 … 1, of each bin that holds any.
        accuracy: 0 … 1, of these.
        independent: images in these that the 95 % Wilson intervals count.
        room: beyond 0 and 100 %, on the horizontal and the vertical axis.
        headroom: times the largest count at which the lower vertical axis ends.
    """
    right = np.asarray(accuracy, dtype=float)
    low, high = wilson(right, np.asarray(independent, dtype=float))
    points = Points(
        numbers(100 * np.asarray(confidence, dtype=float)),
        numbers(100 * right),
        look,
        low=numbers(100 * np.minimum(low, right)),
        high=numbers(100 * np.maximum(high, right)),
        size=3.0,
        width=0.9,
    )
    across, up = (Scale("", -more, 100 + more, ticks=(0.0, 50.0, 100.0)) for more in room)
    bins = len(count)
    centres = numbers(100 * (np.arange(bins) + 0.5) / bins)
    bars = Bars(centres, numbers(count), look, thickness=85 / bins)
    images = Scale("", 0.5, headroom * float(max(count)), log=True)
    top = Panel((Rule((0.0, 100.0), (0.0, 100.0)), points), across, up)
    return top, Panel((bars,), across, images)


def passes_scale(passes: Iterable[int]) -> Scale:
    """A logarithmic axis of T."""
    shown = sorted(set(passes))
    return Scale(
        "Monte Carlo passes T",
        log=True,
        ticks=tuple(map(float, shown)),
        names=tuple(map(str, shown)),
    )
