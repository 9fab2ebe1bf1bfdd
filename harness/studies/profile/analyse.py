"""What a profile says: nothing beyond itself."""

from __future__ import annotations

from collections.abc import Sequence

from ...race.target import TargetPlan
from ...records.envelope import file_names
from ...records.profile_record import ProfileRecord


def analyse(
    records: Sequence[ProfileRecord], plan: TargetPlan | None = None
) -> list[tuple[str, ProfileRecord]]:
    """Each profile, with how its files begin."""
    return list(zip(file_names(records), records, strict=True))
