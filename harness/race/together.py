"""What several fresh processes have timed, as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

from ..records.reference_times import Reference
from ..records.runtime_record import Contender


def contender(parts: Sequence[Contender]) -> Contender:
    """A contender of all processes; one that failed in some has no figure.

    Args:
        parts: the same contender in each process, with the same T.
    """
    failed = next((one for one in parts if one.unavailable), None)
    if failed is not None:
        return failed
    return replace(
        parts[0],
        latency_ns=tuple(chain.from_iterable(one.latency_ns for one in parts)),
        slices=tuple(chain.from_iterable(one.slices for one in parts)),
        warmup_queries=sum(one.warmup_queries for one in parts),
        processes=tuple(len(one.slices) for one in parts),
    )


def references(parts: Sequence[Sequence[Reference]]) -> tuple[Reference, ...]:
    """What took turns in all processes.

    Args:
        parts: of each process.
    """
    return tuple(
        replace(
            same[0],
            latency_ns=tuple(chain.from_iterable(one.latency_ns for one in same)),
            processes=tuple(len(one.latency_ns) for one in same),
        )
        for same in zip(*parts, strict=True)
    )
