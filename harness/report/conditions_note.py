"""What the machine did while times were taken, in words for people."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.words import significant
from ..records.timed_conditions import Conditions, of_all_processes

#: What a field that cannot be read is called.
_CALLED = {
    "steal_seconds": "steal time",
    "voluntary_switches": "context switches",
    "involuntary_switches": "context switches",
    "minor_faults": "page faults",
    "major_faults": "page faults",
    "clock_least_mhz": "clock",
    "clock_most_mhz": "clock",
    "temperature_celsius": "temperature",
    "throttled_times": "throttling for heat",
    "energy_joules": "energy",
}


def meanwhile(races: Sequence[Conditions | None]) -> list[str]:
    """A sentence on what could be read; none for older records.

    Args:
        races: of each race that is shown.
    """
    whole = of_all_processes(races) if races else None
    if whole is None or not (whole.seconds > 0 and whole.cores > 0):
        return []
    told = []
    if whole.steal_seconds is not None:
        share = 100 * whole.steal_seconds / (whole.seconds * whole.cores)
        told.append(f"the hypervisor gave {share:.1f} % of the cores' time to others")
    counts = {
        "voluntary context switches": whole.voluntary_switches,
        "involuntary ones": whole.involuntary_switches,
        "minor page faults": whole.minor_faults,
        "major ones": whole.major_faults,
    }
    rates = [
        f"{significant(count / whole.seconds)} {name}"
        for name, count in counts.items()
        if count is not None
    ]
    if rates:
        told.append(f"per second this process had {', '.join(rates)}")
    if whole.clock_least_mhz is not None and whole.clock_most_mhz is not None:
        told.append(
            f"the clock was {whole.clock_least_mhz:,.0f} to {whole.clock_most_mhz:,.0f} MHz"
        )
    if whole.temperature_celsius is not None:
        told.append(f"the hottest sensor had {whole.temperature_celsius:.0f} °C")
    if whole.energy_joules is not None:
        watts = whole.energy_joules / whole.seconds
        told.append(f"the processors took {significant(watts)} W")
    return [f"Meanwhile {'; '.join(told)}."] if told else []


def unreadable(conditions: Conditions | None) -> dict[str, str]:
    """What could not be read, by the reason: names, and why."""
    by_reason: dict[str, dict[str, None]] = {}
    for name, why in ({} if conditions is None else conditions.unavailable).items():
        by_reason.setdefault(why, {})[_CALLED.get(name, name)] = None
    return {", ".join(names): why for why, names in by_reason.items()}
