"""Copy bandwidth: the yardstick that bytes moved by a model are held against."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import lru_cache

import psutil
import torch

from ..machine.describe import last_level_cache_bytes

_DEFAULT_CACHE = 64 * 2**20  # where the machine does not tell
_LARGEST = 1 << 30
_SHARE_OF_FREE = 0.25
_REPEATS = 5


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
