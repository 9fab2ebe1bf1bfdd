"""What a comparison with peers says: nothing beyond itself."""

from __future__ import annotations

from collections.abc import Sequence

from ...records.peers_record import PeersRecord
from .plan import PeersPlan


def analyse(records: Sequence[PeersRecord], plan: PeersPlan | None = None) -> Sequence[PeersRecord]:
    """Each comparison, to be shown by itself."""
    return records
