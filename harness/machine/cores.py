"""The processor time that this process may use: its cores, and the control groups' CPU quota.

With `OMP_PROC_BIND` and its like set, OpenMP's runtime binds the main thread to one core as torch
is imported, and what threads it makes afterwards inherit that core. So the cores are noted when
`sigmabench.harness` is imported, before torch is, and `give_back` returns them to a thread that
measures.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..core.checks import check_counts
from ..core.errors import UserError
from ..core.words import plural
from .control_groups import groups

#: Variables that bind threads to cores, and the values with which they do not.
_BINDING = {
    "OMP_PROC_BIND": ("false",),
    "OMP_PLACES": (),
    "GOMP_CPU_AFFINITY": (),
    "KMP_AFFINITY": ("none", "disabled"),
}
#: Without effect where OMP_PROC_BIND is false.
_PLACES = ("OMP_PLACES", "GOMP_CPU_AFFINITY")
_RUNTIMES = re.compile(r"/lib(gomp|iomp5|omp)\b")
_PROC = Path("/proc/self")
_QUOTA = "cpu.cfs_quota_us"  # of version 1; version 2 has cpu.max


def _affinity() -> list[int]:
    """Cores the calling thread may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _runtime_is_loaded() -> bool:
    """Whether an OpenMP runtime is in this process, and so has bound what it binds."""
    try:
        return bool(_RUNTIMES.search((_PROC / "maps").read_text()))
    except OSError:
        return False


_STARTED = _affinity()
_TOO_LATE = _runtime_is_loaded()


def binding(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables that are set such that OpenMP's runtime binds threads to cores."""
    given = {name: value for name in _BINDING if (value := environment.get(name, "").strip())}
    ignored = _PLACES if given.get("OMP_PROC_BIND", "").lower() == "false" else ()
    return {
        name: value
        for name, value in given.items()
        if name not in ignored and value.lower().split(",")[-1] not in _BINDING[name]
    }


def allowed() -> list[int]:
    """Cores this process may run on: those it was started with where OpenMP may have bound it."""
    return list(_STARTED) if binding() else _affinity()


def usable_cores() -> int:
    """How many cores this process can keep busy: those it may run on, and no more than whole cores
    of the CPU quota, but at least 1."""
    limit = quota()
    paid = math.inf if limit is None else max(1, math.floor(limit))
    return int(min(len(allowed()), paid))


def give_back() -> None:
    """Let the calling thread, and those it makes, run on all cores that the process was started
    with, whatever OpenMP's runtime has bound it to."""
    if binding() and hasattr(os, "sched_setaffinity") and _affinity() != _STARTED:
        os.sched_setaffinity(0, _STARTED)


@contextmanager
def born_on(numbers: Collection[int] | None) -> Iterator[None]:
    """What the calling thread starts meanwhile is pinned to these logical cores, from its first
    instruction on; to all that this process was started with if None.

    Raises:
        UserError: the system pins no processes, or has no such core for this one.
    """
    give_back()
    if numbers is None:
        yield
        return
    if not hasattr(os, "sched_setaffinity"):
        raise UserError("This system cannot pin processes to cores; measure on Linux.")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, numbers)
    except OSError as reason:
        named = ", ".join(map(str, sorted(numbers)))
        raise UserError(f"No process can be pinned to the cores {named}: {reason}.") from reason
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def bound() -> str | None:
    """Why the cores may not be those that the process was started with, without the full stop; None
    if they are."""
    found = " ".join(f"{name}={value}" for name, value in binding().items())
    if not found or not _TOO_LATE or len(_STARTED) == os.cpu_count():
        return None
    cores = plural(len(_STARTED), "core")
    return (
        f"{found} bound this process to {cores} when an OpenMP library (torch has one) was loaded; "
        "import sigmabench before it, or unset the variable"
    )


def quota(proc: Path = _PROC) -> float | None:
    """Processor time that the control groups allow, in cores: the least of the process's group and
    all above it; None without a limit.

    Args:
        proc: of the process; its `cgroup` and `mountinfo` are read.
    """
    found = [limit for group in groups("cpu", proc) if (limit := _limit(group)) is not None]
    return min(found, default=None)


def throttled(proc: Path = _PROC) -> int:
    """In how many periods so far a CPU quota has stopped the process's group, or one above it."""
    return sum(_throttled_periods(group) for group in groups("cpu", proc))


def _limit(group: Path) -> float | None:
    try:
        if (group / _QUOTA).exists():
            given, period = ((group / name).read_text() for name in (_QUOTA, "cpu.cfs_period_us"))
        else:
            given, period = (group / "cpu.max").read_text().split()
        return int(given) / int(period) if int(given) > 0 else None
    except (OSError, ValueError):  # not told, or `max`
        return None


def _throttled_periods(group: Path) -> int:
    try:
        match = re.search(r"^nr_throttled (\d+)$", (group / "cpu.stat").read_text(), re.M)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def cores_for(threads: int | None, measuring: bool = True) -> int:
    """How many cores a measurement may use: `threads`, or all there are where that is None.

    Args:
        threads: asked for.
        measuring: here; what was measured elsewhere may have had more.

    Raises:
        UserError: it is not counted from 1, or there are fewer cores, or a quota of fewer, which
            would time waiting.
    """
    cores = usable_cores()
    if threads is None:
        return cores
    check_counts("--threads", (threads,))
    if measuring and threads > cores:
        there, limit = plural(cores, "core"), quota()
        why = ""
        if limit is not None:
            why = f" (the CPU quota of its control group is {plural(limit, 'core')})"
        raise UserError(f"--threads is {threads}, but this process may use {there}{why}.")
    return threads
