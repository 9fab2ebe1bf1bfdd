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
from collections.abc import Callable
from pathlib import Path

_AVAILABLE = "available"
_SYSCALLS = {"x86_64": 298, "aarch64": 241}  # perf_event_open
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
_DEVICES = Path("/sys/bus/event_source/devices")
_POWERCAP = Path("/sys/class/powercap")
_ATTR_BYTES = 128
_EXCLUDE_KERNEL_AND_HYPERVISOR = (1 << 5) | (1 << 6)


def hardware() -> str:
    """Whether this process can count its own cycles (Linux perf events)."""
    reason = _count(0, 0, pid=0, cpu=-1, flags=_EXCLUDE_KERNEL_AND_HYPERVISOR)
    return _AVAILABLE if reason is None else f"unavailable: {reason}"


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
        config = _event((controllers[0] / "events/cas_count_read").read_text())
        cpu = int(re.split("[,-]", (controllers[0] / "cpumask").read_text())[0])
    except (OSError, ValueError) as reason:
        return f"unavailable: {controllers[0].name} does not describe its events ({reason})"
    failed = _count(kind, config, pid=-1, cpu=cpu, flags=0)
    return _AVAILABLE if failed is None else f"unavailable: {failed}"


def energy() -> str:
    """Whether the processor's energy counter can be read (RAPL through powercap)."""
    packages = sorted(_POWERCAP.glob("intel-rapl:*/energy_uj"))
    if not packages:
        return (
            "unavailable: the kernel shows no RAPL energy counter (powercap); "
            "virtual machines usually hide it"
        )
    try:
        int(packages[0].read_text())
    except (OSError, ValueError) as reason:
        return f"unavailable: {packages[0]} cannot be read ({reason})"
    return _AVAILABLE


def _event(text: str) -> int:
    """Config word of a sysfs event (`event=0x04,umask=0x03`)."""
    terms = dict(re.findall(r"(event|umask)=(0x[0-9a-fA-F]+)", text))
    if "event" not in terms:
        raise ValueError(f"no event in {text.strip()!r}")
    return int(terms["event"], 16) | int(terms.get("umask", "0"), 16) << 8


def _count(kind: int, config: int, pid: int, cpu: int, flags: int) -> str | None:
    """Open a perf counter, work, read it: None if it moved, else why not."""
    number = _SYSCALLS.get(platform.machine())
    if platform.system() != "Linux" or number is None:
        return f"perf events are not known on {platform.system()} {platform.machine()}"
    attributes = struct.pack("=IIQQQQQ", kind, _ATTR_BYTES, config, 0, 0, 0, flags)
    buffer = ctypes.create_string_buffer(attributes.ljust(_ATTR_BYTES, b"\0"), _ATTR_BYTES)
    call: Callable[..., int] = ctypes.CDLL(None, use_errno=True).syscall
    descriptor = call(number, buffer, pid, cpu, -1, 0)
    if descriptor < 0:
        return _why(ctypes.get_errno())
    try:
        sum(bytearray(4 << 20))
        (value,) = struct.unpack("=Q", os.read(descriptor, 8))
    except OSError as reason:
        return _why(reason.errno or 0)
    finally:
        os.close(descriptor)
    return None if value else "the counter opens but does not count"


def _why(number: int) -> str:
    if number in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP):
        return "the processor, or the virtual machine, shows no such counter"
    if number in (errno.EACCES, errno.EPERM):
        level = _PARANOID.read_text().strip() if _PARANOID.exists() else "unknown"
        return f"not permitted (kernel.perf_event_paranoid = {level})"
    return f"perf_event_open failed: {os.strerror(number)}"
