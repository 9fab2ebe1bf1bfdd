"""Energy of the processors, where the machine tells it (RAPL): by powercap, or by perf events."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import counters

_POWERCAP = Path("/sys/class/powercap")
_POWER = Path("/sys/bus/event_source/devices/power")
_EVENT = "energy-pkg"
_NOTHING = "unavailable: the machine's energy counter reads 0.00 J, so it counts nothing"
_NONE = (
    "unavailable: the kernel shows no RAPL energy counter (powercap, or the perf event "
    "power/energy-pkg); virtual machines usually hide it"
)


@dataclass(frozen=True)
class _Counter:
    """One processor's. `read` gives joules since some moment; `range` is where it begins anew, 0
    for never."""

    read: Callable[[], float]
    range: float = 0.0


class EnergyMeter:
    """Counts from when it is made.

    Attributes:
        reason: why nothing can be read, as counters say it; empty if something can.
    """

    def __init__(self) -> None:
        self.reason, self._counters = "", []
        self._files: list[int] = []
        try:
            self._counters = _of_powercap() or self._of_perf()
            self._before = [one.read() for one in self._counters]
        except (OSError, ValueError) as reason:
            self.reason = f"unavailable: the energy counter cannot be read ({reason})"
        if not self._counters and not self.reason:
            self.reason = _NONE

    def joules(self) -> float | None:
        """That all processors took since, to be asked once; None where that cannot be told, for
        `reason`. What reads 0 counts nothing."""
        try:
            if self.reason:
                return None
            spent = [
                _between(then, one.read(), one.range)
                for then, one in zip(self._before, self._counters, strict=True)
            ]
        except (OSError, ValueError) as reason:
            self.reason = f"unavailable: the energy counter cannot be read ({reason})"
            return None
        finally:
            for file in self._files:
                os.close(file)
            self._files.clear()
        if not sum(spent) > 0:
            self.reason = _NOTHING
            return None
        return sum(spent)

    def _of_perf(self) -> list[_Counter]:
        """One counter per processor, on the core that the kernel names for it."""
        described = _POWER / "events" / _EVENT
        if not described.is_file():
            return []
        kind, config = int((_POWER / "type").read_text()), counters.event(described.read_text())
        joules = float(described.with_name(f"{_EVENT}.scale").read_text())
        cores = (_POWER / "cpumask").read_text().strip().split(",")
        for core in (int(one.split("-")[0]) for one in cores):
            opened = counters.open_counter(kind, config, pid=-1, cpu=core, flags=0)
            if isinstance(opened, str):
                self.reason = f"unavailable: {opened}"
                return []
            self._files.append(opened)
        return [_Counter(partial(_scaled, joules, file)) for file in self._files]


def energy() -> str:
    """Whether the processors' energy can be read, by reading what a little work takes."""
    meter = EnergyMeter()
    counters.work()
    return meter.reason if meter.joules() is None else counters.AVAILABLE


def _of_powercap() -> list[_Counter]:
    packages = sorted(_POWERCAP.glob("intel-rapl:*/energy_uj"))
    whole = [one for one in packages if re.fullmatch(r"intel-rapl:\d+", one.parent.name)]
    return [
        _Counter(partial(_microjoules, path), _range(path.with_name("max_energy_range_uj")))
        for path in whole
    ]


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _range(path: Path) -> float:
    return _microjoules(path) if path.is_file() else 0.0


def _scaled(joules: float, file: int) -> float:
    (count,) = struct.unpack("=Q", os.read(file, 8))
    return joules * float(count)


def _between(then: float, now: float, range: float) -> float:
    """It may have begun anew, once."""
    return now - then if now >= then else now - then + range
