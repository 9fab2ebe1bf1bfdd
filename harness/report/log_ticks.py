"""Which numbers stand at a logarithmic axis, however a figure is drawn."""

from __future__ import annotations

import math

#: More of them are thinned out.
_MOST = 6


def log_ticks(reach: tuple[float, float]) -> list[float]:
    """Powers of ten, with their doubles and halves where fewer than three would stand there; empty
    where the axis holds too few of all.

    Args:
        reach: both ends of the axis, positive, the lower one first.
    """
    powers = range(math.floor(math.log10(reach[0])), math.ceil(math.log10(reach[1])) + 1)
    for of_each in ((1.0,), (1.0, 2.0, 5.0)):
        found = [m * 10.0**p for p in powers for m in of_each]
        found = [float(f"{one:.10g}") for one in found if reach[0] <= one <= reach[1]]
        if len(found) > 2:
            return found[:: -(-len(found) // _MOST)]
    return []
