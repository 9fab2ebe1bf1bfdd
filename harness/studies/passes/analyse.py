"""What a race says: what a pass of each costs; `race.rivals` holds one against another."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.runtime_record import Contender, RaceRecord
from ...stats.latency import median_ci95
from ...stats.samples import median
from .plan import RacePlan


def analyse(
    records: Sequence[RaceRecord], plan: RacePlan | None = None
) -> list[Sequence[RaceRecord]]:
    """The races of each network, to be shown together."""
    networks: dict[str, list[RaceRecord]] = {}
    for record in records:
        networks.setdefault(record.subject.network, []).append(record)
    return list(networks.values())


def pass_ms(contender: Contender) -> tuple[float, float, float]:
    """Median milliseconds a pass, and its 95 % interval."""
    low, high = median_ci95(contender.latency_ns, contender.slices, processes=contender.processes)
    middle = median(contender.latency_ns, contender.slices, contender.processes)
    scale = 1 / (1e6 * contender.mc)
    return middle * scale, low * scale, high * scale
