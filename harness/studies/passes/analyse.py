"""What belongs together of races; `race.rivals` says what a pass of each costs."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.runtime_record import RaceRecord
from .plan import RacePlan


def analyse(
    records: Sequence[RaceRecord], plan: RacePlan | None = None
) -> list[Sequence[RaceRecord]]:
    """The races of each network, to be shown together."""
    networks: dict[str, list[RaceRecord]] = {}
    for record in records:
        networks.setdefault(record.subject.network, []).append(record)
    return list(networks.values())
