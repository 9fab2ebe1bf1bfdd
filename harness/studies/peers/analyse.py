"""What a comparison with peers says: nothing beyond itself."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.envelope import file_names
from ...records.peers_record import PeersRecord
from .plan import PeersPlan


def analyse(
    records: Sequence[PeersRecord], plan: PeersPlan | None = None
) -> list[tuple[str, PeersRecord]]:
    """Each comparison, with how its files begin."""
    return list(zip(file_names(records), records, strict=True))
