"""What the records of a run say: nothing beyond themselves."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.run_record import RunRecord
from ...workload.plan import Plan


def analyse(records: Sequence[RunRecord], plan: Plan | None = None) -> list[Sequence[RunRecord]]:
    """The records, from one machine, to be shown in one document."""
    return [records]
