"""What the machine and this process have used up to a moment, and how its cores are doing."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_STAT = Path("/proc/stat")
_CPUS = Path("/sys/devices/system/cpu")
_THERMAL = Path("/sys/class/thermal")
_STEAL = 8  # field of a line of /proc/stat, after the name
#: Cores whose clock is read: on some processors each reading waits for the core.
_READ = 8

HIDDEN = "the kernel shows no such file; virtual machines usually hide it"


@dataclass(frozen=True)
class Usage:
    """Counts since some moment; None where they cannot be read.

    Attributes:
        steal_seconds: that the hypervisor gave to others, of some cores.
        voluntary_switches: of this process.
        involuntary_switches: of this process.
        minor_faults: of this process.
        major_faults: of this process.
        throttled_times: of some cores, for heat.
    """

    steal_seconds: float | None
    voluntary_switches: int | None
    involuntary_switches: int | None
    minor_faults: int | None
    major_faults: int | None
    throttled_times: int | None


def usage(cores: Collection[int]) -> Usage:
    """Up to now.

    Args:
        cores: whose steal time and throttling are counted.
    """
    return Usage(_steal_seconds(cores), *_of_process(), _throttled_times(cores))


def clocks_mhz(cores: Collection[int]) -> list[float]:
    """The clock of each of the first few cores; empty where it cannot be read."""
    paths = (_CPUS / f"cpu{core}/cpufreq/scaling_cur_freq" for core in list(cores)[:_READ])
    return [value / 1e3 for path in paths if (value := _number(path)) is not None]


def temperature_celsius() -> float | None:
    """Of the hottest sensor; None where there is none."""
    found = [_number(path) for path in _THERMAL.glob("thermal_zone*/temp")]
    return max((value / 1e3 for value in found if value is not None), default=None)


def _steal_seconds(cores: Collection[int]) -> float | None:
    try:
        text = _STAT.read_text()
    except OSError:
        return None
    found = {}
    for core, line in re.findall(r"^cpu(\d+) (.*)$", text, re.MULTILINE):
        words = line.split()
        if int(core) in cores and len(words) >= _STEAL:
            found[core] = int(words[_STEAL - 1])
    return sum(found.values()) / os.sysconf("SC_CLK_TCK") if found else None


def _of_process() -> tuple[int | None, int | None, int | None, int | None]:
    """Switches, voluntary and not, and faults, minor and major."""
    try:
        import resource
    except ImportError:  # not on every system
        return None, None, None, None
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_nvcsw, used.ru_nivcsw, used.ru_minflt, used.ru_majflt


def _throttled_times(cores: Collection[int]) -> int | None:
    """Of cores, and once of each processor that they are of."""
    found, packages = [], {}
    for core in cores:
        folder = _CPUS / f"cpu{core}"
        found.append(_number(folder / "thermal_throttle/core_throttle_count"))
        package = _number(folder / "topology/physical_package_id")
        packages[package] = _number(folder / "thermal_throttle/package_throttle_count")
    known = [value for value in (*found, *packages.values()) if value is not None]
    return sum(known) if known else None


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
