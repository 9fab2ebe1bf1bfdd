"""Fixed pieces of work that are timed beside what a study compares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..core.checks import LONGEST


@dataclass(frozen=True)
class Reference:
    """Work that is the same in every version, timed once between the turns of a race: its times
    show what the machine and its neighbours did meanwhile.

    Attributes:
        name: `int8 product`, `copy`, or `empty program`, which is a network of one weight behind
            the interface that our formats are timed through.
        work: what it is, in words.
        latency_ns: every timed call, in order.
        processes: how many of them each fresh process had; empty where there was one process.
    """

    name: str
    work: str
    latency_ns: tuple[int, ...]
    processes: tuple[int, ...] = ()


def check_slices(
    name: str, latency_ns: Sequence[int], slices: Sequence[int], processes: Sequence[int]
) -> None:
    """Refuse samples that their slices and processes do not hold, or of no time or over a day.

    Args:
        name: of what was timed.
        latency_ns: every sample.
        slices: how many samples each turn held.
        processes: how many turns each process had; empty where there was one process.

    Raises:
        ValueError: with the name.
    """
    whole = sum(slices) == len(latency_ns) and min(slices, default=0) > 0
    if processes:
        whole = whole and sum(processes) == len(slices) and min(processes) > 0
    if not whole:
        raise ValueError(f"the samples of {name} do not add up")
    if min(latency_ns) < 1:
        raise ValueError(f"a sample of {name} took no time")
    if max(latency_ns) > LONGEST * 1e9:
        raise ValueError(f"a sample of {name} took more than a day")


def check_references(references: Iterable[Reference]) -> None:
    """Refuse references without samples, or with others than their processes had.

    Raises:
        ValueError: with the name of one.
    """
    for one in references:
        check_slices(one.name, one.latency_ns, [1] * len(one.latency_ns), one.processes)
