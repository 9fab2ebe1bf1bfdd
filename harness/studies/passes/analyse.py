"""What a race says: what a pass of each costs, and how many of our INT8 passes that is."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.runtime_record import OURS, Contender, RaceBody, RaceRecord
from ...stats.latency import Ratio, median_ci95, ratio_of_medians
from ...stats.samples import median
from .plan import RacePlan

BASE = "INT8"  # the format whose pass is the unit


def analyse(
    records: Sequence[RaceRecord], plan: RacePlan | None = None
) -> list[Sequence[RaceRecord]]:
    """The races of each network, to be shown together."""
    networks: dict[str, list[RaceRecord]] = {}
    for record in records:
        networks.setdefault(record.subject.network, []).append(record)
    return list(networks.values())


def base_of(race: RaceBody) -> Contender | None:
    """Our INT8 Monte Carlo pass, if it was measured."""
    return next(
        (c for c in race.contenders if c.by == OURS and c.format == BASE and c.latency_ns), None
    )


def pass_ms(contender: Contender) -> tuple[float, float, float]:
    """Median milliseconds a pass, and its 95 % interval."""
    low, high = median_ci95(contender.latency_ns, contender.slices, processes=contender.processes)
    middle = median(contender.latency_ns, contender.slices, contender.processes)
    scale = 1 / (1e6 * contender.mc)
    return middle * scale, low * scale, high * scale


def pass_ratio(contender: Contender, base: Contender) -> Ratio:
    """What its pass costs, in passes of `base`, with the 95 % interval."""
    found = ratio_of_medians(
        (contender.latency_ns, base.latency_ns),
        (contender.slices, base.slices),
        processes=(contender.processes, base.processes),
    )
    scale = base.mc / contender.mc
    return Ratio(found.value * scale, found.low * scale, found.high * scale)
