"""What the sampler's record says: how near the draws come to a copy of the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...records.runtime_record import SamplerRecord, SamplerSubject, Width
from ...stats.latency import Ratio, ratio_of_medians
from ...stats.samples import median


def analyse(
    records: Sequence[SamplerRecord], plan: SamplerSubject | None = None
) -> list[Sequence[SamplerRecord]]:
    """All of them, to be shown together."""
    return [records]


@dataclass(frozen=True)
class Rates:
    """How fast a width of σ is drawn.

    Attributes:
        weights_per_second: by the median draw.
        gb_per_s: bytes moved by the median draw, 10^9 per second.
        copy_gb_per_s: the same of the median copy.
    """

    weights_per_second: float
    gb_per_s: float
    copy_gb_per_s: float


def rates(width: Width) -> Rates:
    """By medians, of several processes the geometric mean of theirs."""
    draws, copies = width.processes
    draw = median(width.draw_ns, width.draw_slices, draws)
    copy = median(width.copy_ns, width.copy_slices, copies)
    return Rates(width.weights / draw * 1e9, width.moved_bytes / draw, width.moved_bytes / copy)


def share(width: Width) -> Ratio:
    """Bandwidth of the draws over that of the copies, with the 95 % interval."""
    draws, copies = width.processes
    return ratio_of_medians(
        (width.copy_ns, width.draw_ns),
        (width.copy_slices, width.draw_slices),
        processes=(copies, draws),
    )
