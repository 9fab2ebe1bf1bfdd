"""What a reader of times should know of the clock: how many processes, and what took turns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from statistics import median

from ..core.words import significant
from ..records.reference_times import Reference
from ..stats.samples import run_noise

_SAID = {
    "int8 product": "an int8 product of 1024×1024 in",
    "copy": "a copy of 64 MiB in",
    "empty program": "a pass of an empty program in",
}


def sentences(races: Sequence[Sequence[Reference]]) -> list[str]:
    """Two sentences; none for older records, which have no reference.

    Args:
        races: what took turns in each.
    """
    every = list(chain.from_iterable(races))
    if not every:
        return []
    counts = {max(len(one.processes), 1) for one in every}
    if counts == {1}:
        told = "Timed in one process: another may differ by more than an interval says."
    else:
        told = (
            f"Timed in {' or '.join(map(str, sorted(counts)))} fresh processes; intervals and "
            "noise come from the spread between them."
        )
    names = dict.fromkeys(one.name for one in every)
    work = [_one(name, [one for one in every if one.name == name]) for name in names]
    return [told, f"Between turns this machine did {', '.join(work)}."]


def _one(name: str, same: Sequence[Reference]) -> str:
    """Median time of a piece of work, and the largest noise of a race."""
    middle = median(chain.from_iterable(one.latency_ns for one in same)) / 1e6
    noise = max(
        run_noise(one.latency_ns, (1,) * len(one.latency_ns), one.processes) for one in same
    )
    return f"{_SAID.get(name, name)} {significant(middle)} ms (noise {100 * noise:.0f} %)"
