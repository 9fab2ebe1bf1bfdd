"""From which level of cache the bytes of a pass come, by their number and the caches' sizes."""

from __future__ import annotations

from ..machine.caches import cache_sizes, level_holding
from ..records.run_record import Bandwidth, RunRecord


def level_of(record: RunRecord) -> str | None:
    """The smallest cache of one core that holds what a pass touches: `L1`, `L2`, …, or `memory`.

    None where the machine does not report the sizes of its caches.
    """
    machine = record.fingerprint.machine
    sizes = {} if machine is None else cache_sizes(machine.caches)
    return level_holding(_touched(record.body.bandwidth), sizes) if sizes else None


def _touched(moved: Bandwidth) -> float:
    """Bytes of μ, σ, sampled weights and activations; the last two move twice, written and read."""
    return moved.mean_bytes + moved.std_bytes + (moved.sampled_bytes + moved.activation_bytes) / 2
