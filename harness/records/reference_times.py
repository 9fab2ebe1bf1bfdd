"""Fixed pieces of work that are timed beside what a study compares."""

from __future__ import annotations

from dataclasses import dataclass


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
