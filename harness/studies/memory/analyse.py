"""What records of memory say: nothing beyond themselves."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.runtime_record import MemoryRecord
from .plan import Plan


def analyse(
    records: Sequence[MemoryRecord], plan: Plan | None = None
) -> list[Sequence[MemoryRecord]]:
    """The programs of each network, to be shown together."""
    networks: dict[str, list[MemoryRecord]] = {}
    for record in records:
        networks.setdefault(record.subject.network, []).append(record)
    return list(networks.values())
