"""Which counters this machine lets a process read, by trying to read them.

Each probe returns `available` or `unavailable: reason`. A counter that opens but does not count
(a virtual machine may show one and never move it) is unavailable.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

AVAILABLE = "available"
_SYSCALLS = {"x86_64": 298, "aarch64": 241}  # perf_event_open
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_DEVICES = Path("/sys/bus/event_source/devices")
_ATTR_BYTES = 128
_EXCLUDE_KERNEL_AND_HYPERVISOR = (1 << 5) | (1 << 6)
_READ_TIMES = 0b11  # for how long a counter was wanted, and for how long it counted
#: Of the processor, as `perf_event_attr` numbers them.
EVENTS = {"cycles": (0, 0), "instructions": (0, 1), "last-level cache misses": (0, 3)}


def hardware() -> str:
    """Whether this process can count its own cycles (Linux perf events)."""
    reason = _count(0, 0, pid=0, cpu=-1, flags=_EXCLUDE_KERNEL_AND_HYPERVISOR)
    return AVAILABLE if reason is None else f"unavailable: {reason}"


def dram() -> str:
    """Whether the memory controllers' read counter can be read (`uncore_imc*`)."""
    controllers = sorted(_DEVICES.glob("uncore_imc*"))
    if not controllers:
        return (
            "unavailable: the kernel shows no memory-controller counters (uncore_imc); "
            "virtual machines usually hide them"
        )
    try:
        kind = int((controllers[0] / "type").read_text())
        config = event((controllers[0] / "events/cas_count_read").read_text())
        cpu = int(re.split("[,-]", (controllers[0] / "cpumask").read_text())[0])
    except (OSError, ValueError) as reason:
        return f"unavailable: {controllers[0].name} does not describe its events ({reason})"
    failed = _count(kind, config, pid=-1, cpu=cpu, flags=0)
    return AVAILABLE if failed is None else f"unavailable: {failed}"


def per_call(
    call: Callable[[], object], events: Mapping[str, tuple[int, int]] = EVENTS
) -> dict[str, float | str]:
    """What all threads of this process count while something is called.

    Args:
        call: what is called; it starts no threads.
        events: name to kind and number, as in `perf_event_attr`.

    Returns:
        Name to count, scaled up where the processor counted other things in between; or to
        `unavailable: reason`.
    """
    threads = [int(one.name) for one in Path("/proc/self/task").glob("*")]
    opened = {name: [_opened(*one, pid) for pid in threads] for name, one in events.items()}
    try:
        before = {name: _values(several) for name, several in opened.items()}
        call()
        return {name: _moved(before[name], _values(several)) for name, several in opened.items()}
    finally:
        for one in (one for several in opened.values() for one in several):
            if isinstance(one, int):
                os.close(one)


def _opened(kind: int, config: int, pid: int) -> int | str:
    return open_counter(kind, config, pid, -1, _EXCLUDE_KERNEL_AND_HYPERVISOR, _READ_TIMES)


def _values(several: Sequence[int | str]) -> list[tuple[int, ...]] | str:
    """Of each thread the count, and the time for which it was wanted and really counted."""
    reasons = [one for one in several if isinstance(one, str)]
    if reasons or not several:
        return reasons[0] if reasons else "the system does not list this process's threads"
    try:
        return [struct.unpack("=QQQ", os.read(one, 24)) for one in several if isinstance(one, int)]
    except OSError as reason:
        return _why(reason.errno or 0)


def _moved(before: list[tuple[int, ...]] | str, after: list[tuple[int, ...]] | str) -> float | str:
    if isinstance(before, str) or isinstance(after, str):
        return f"unavailable: {before if isinstance(before, str) else after}"
    total = 0.0
    for one, other in zip(before, after, strict=True):
        count, wanted, ran = (b - a for a, b in zip(one, other, strict=True))
        total += count * (wanted / ran if ran else 1.0)
    return total if total else "unavailable: the counter opens but does not count"


def event(text: str) -> int:
    """Config word of a sysfs event (`event=0x04,umask=0x03`)."""
    terms = dict(re.findall(r"(event|umask)=(0x[0-9a-fA-F]+)", text))
    if "event" not in terms:
        raise ValueError(f"no event in {text.strip()!r}")
    return int(terms["event"], 16) | int(terms.get("umask", "0"), 16) << 8


def work() -> None:
    """Something that every counter counts, for a few milliseconds."""
    sum(bytearray(4 << 20))


def _count(kind: int, config: int, pid: int, cpu: int, flags: int) -> str | None:
    """Open a perf counter, work, read it: None if it moved, else why not."""
    descriptor = open_counter(kind, config, pid, cpu, flags)
    if isinstance(descriptor, str):
        return descriptor
    try:
        work()
        (value,) = struct.unpack("=Q", os.read(descriptor, 8))
    except OSError as reason:
        return _why(reason.errno or 0)
    finally:
        os.close(descriptor)
    return None if value else "the counter opens but does not count"


def open_counter(
    kind: int, config: int, pid: int, cpu: int, flags: int, read_format: int = 0
) -> int | str:
    """A perf counter, or why there is none."""
    number = _SYSCALLS.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return f"perf events are not known on {platform.system()} {platform.machine()}"
    fields = (kind, _ATTR_BYTES, config, 0, 0, read_format, flags)
    attributes = struct.pack("=IIQQQQQ", *fields)
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_BYTES, b"\0"), _ATTR_BYTES)
    call: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    descriptor = call(number, buffer, pid, cpu, -1, 0)
    return _why(ctypes.get_errno()) if descriptor < 0 else descriptor


def _why(number: int) -> str:
    if number in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return "the processor, or the virtual machine, shows no such counter"
    if number in (errno.EACCES, errno.EPERM):
        level = _PARANOID.read_text().strip() if _PARANOID.exists() else "unknown"
        return f"not permitted (kernel.perf_event_paranoid = {level})"
    return f"perf_event_open failed: {os.strerror(number)}"
