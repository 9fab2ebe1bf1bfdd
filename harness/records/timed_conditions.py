"""What the machine did while a race was on the clock, beside its times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Conditions:
    """From before the first query was warmed up to after the last: what took turns, and the pauses
    between turns, are in it. Of several processes, all of them together.

    Switches and faults are those of our own process with all its threads; what another process of a
    race had, such as a peer's, is not among them. None means that it cannot be read here, for the
    reason in `unavailable`.

    Attributes:
        seconds: how long it was.
        cores: that the process may use.
        steal_seconds: of these cores' time, that the hypervisor gave to others.
        voluntary_switches: times a thread gave up its core, to wait for something.
        involuntary_switches: times a thread's core was taken from it.
        minor_faults: pages that had to be mapped, and were in memory.
        major_faults: pages that had to be read from a disk.
        clock_least_mhz: least clock of one of the cores, in the pauses between turns.
        clock_most_mhz: largest clock, likewise.
        temperature_celsius: of the hottest sensor, at its hottest in the pauses.
        throttled_times: how often the processor slowed these cores down for heat.
        energy_joules: that all processors of the machine took, whoever used them.
        unavailable: what cannot be read here, by field, with the reason.
    """

    seconds: float
    cores: int
    steal_seconds: float | None = None
    voluntary_switches: int | None = None
    involuntary_switches: int | None = None
    minor_faults: int | None = None
    major_faults: int | None = None
    clock_least_mhz: float | None = None
    clock_most_mhz: float | None = None
    temperature_celsius: float | None = None
    throttled_times: int | None = None
    energy_joules: float | None = None
    unavailable: dict[str, str] = field(default_factory=dict)


#: Fields of which several processes have the least or the most; of the others, the sum.
_EXTREMES = {
    "cores": max,
    "clock_least_mhz": min,
    "clock_most_mhz": max,
    "temperature_celsius": max,
}


def of_all_processes(parts: Sequence[Conditions | None]) -> Conditions | None:
    """Those of several processes together; None where one does not tell.

    Args:
        parts: of each process, at least one.
    """
    told = [one for one in parts if one is not None]
    if len(told) < len(parts):
        return None
    found: dict[str, Any] = {}
    for name in (one.name for one in fields(Conditions) if one.name != "unavailable"):
        values = [getattr(one, name) for one in told]
        known = [value for value in values if value is not None]
        whole = len(known) == len(values)
        found[name] = _EXTREMES.get(name, sum)(known) if whole else None
    reasons = {name: why for one in told for name, why in one.unavailable.items()}
    return Conditions(**found, unavailable=reasons)
