"""Copy bandwidth, the yardstick that bytes moved by a model are held against, and what each level
of the memory hierarchy delivers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import psutil
import torch

from .. import native
from ..machine import memory_limit
from ..machine.caches import MEMORY, cache_sizes
from ..machine.describe import last_level_cache_bytes, this_machine
from ..records.roofline_record import LevelRate
from .clock import fastest

_DEFAULT_CACHE = 64 * 2**20  # where the machine does not tell
_LARGEST = 1 << 30
_SHARE_OF_FREE = 0.25
_REPEATS = 5
_BEYOND = 4  # times the last cache
_SHARE_OF_LIMIT = 0.5
_CALL_BYTES = 32 << 20  # of a timed call at least, that its start may not count


@dataclass(frozen=True)
class CopyBandwidth:
    """What a large plain copy moves.

    Attributes:
        gb_per_s: bytes read plus bytes written a second, 10^9 bytes; median of five copies.
        buffer_bytes: size of source and of destination, each.
        threads: cores that copied.
        beyond_cache: whether the two buffers are together larger than the last-level cache; if not,
            memory was short and the figure is partly the cache's.
    """

    gb_per_s: float
    buffer_bytes: int
    threads: int
    beyond_cache: bool


@lru_cache(maxsize=8)
def copy_bandwidth(threads: int) -> CopyBandwidth:
    """Measure the copy bandwidth at `threads` cores; once per process, then remembered.

    A float32 tensor is copied to another. Lines the processor reads before it overwrites them are
    not counted. Each buffer is the size of the last-level cache or more, at most 1 GiB, and the two
    take at most a quarter of the free memory.
    """
    cache = last_level_cache_bytes() or _DEFAULT_CACHE
    size = buffer_bytes(cache, psutil.virtual_memory().available)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        source = torch.ones(size // 4)
        target = torch.zeros(size // 4)
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter_ns()
            target.copy_(source)
            seconds.append((time.perf_counter_ns() - start) / 1e9)
    finally:
        torch.set_num_threads(before)
    rate = 2 * size / statistics.median(seconds) / 1e9
    return CopyBandwidth(rate, size, threads, beyond_cache=2 * size > cache)


def buffer_bytes(cache: int, available: int) -> int:
    """Size of one buffer: 1.5 times the cache, 64 MiB to 1 GiB, two in a quarter of free memory."""
    wanted = min(max(cache + cache // 2, 64 * 2**20), _LARGEST)
    page = 4096
    return max(min(wanted, int(available * _SHARE_OF_FREE / 2)) // page, 1) * page


def level_rates(threads: int, seconds: float) -> Iterator[LevelRate]:
    """What the levels deliver to `threads` cores, each with a part of its own.

    Args:
        threads: at the same time.
        seconds: of each reading, and of each copying.

    Raises:
        NativeUnavailableError: nothing is compiled here.
    """
    caches = cache_sizes(this_machine().caches)
    last = max(caches.values(), default=_DEFAULT_CACHE)
    wanted = _BEYOND * last
    size = min(wanted, int(_SHARE_OF_LIMIT * memory_limit.limit()))
    sizes = {**within(caches, threads), MEMORY: size}
    for level, size in sizes.items():
        buffers = native.load().Buffers(size // 2, threads)
        times = max(1, _CALL_BYTES // size)
        moved = times * size
        yield LevelRate(
            level=level,
            bytes=size,
            threads=threads,
            read_per_second=moved / fastest(lambda: buffers.read(times), seconds),  # noqa: B023
            copy_per_second=moved / fastest(lambda: buffers.copy(times), seconds),  # noqa: B023
            partly_cache=level == MEMORY and size < wanted,
        )


def within(caches: Mapping[int, int], threads: int) -> dict[str, int]:
    """Bytes that several cores touch together to stay in each level and not in the one before it:
    half of a core's own cache each; of a third level, which they share, the middle between it and
    all that lies before it. A level that is no larger than what lies before it is left out.

    Args:
        caches: bytes of each level.
        threads: cores.
    """
    sizes, before = {}, 0
    for level, room in sorted(caches.items()):
        shared = level >= 3
        whole = room if shared else threads * room
        size = (before + whole) // 2 if shared else whole // 2
        if whole > before:
            sizes[f"L{level}"] = size
        before = max(before, whole)
    return sizes
