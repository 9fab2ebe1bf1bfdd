"""What the sampler's record says: how near the draws come to a copy of the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.runtime_record import SamplerRecord, SamplerSubject, Width
from ...stats.latency import Ratio, ratio_of_medians


def analyse(
    records: Sequence[SamplerRecord], plan: SamplerSubject | None = None
) -> list[Sequence[SamplerRecord]]:
    """All of them, to be shown together."""
    return [records]


def share(width: Width) -> Ratio:
    """Bandwidth of the draws over that of the copies, with the 95 % interval."""
    draws, copies = width.processes
    return ratio_of_medians(
        (width.copy_ns, width.draw_ns),
        (width.copy_slices, width.draw_slices),
        processes=(copies, draws),
    )
