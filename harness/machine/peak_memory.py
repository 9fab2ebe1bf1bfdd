"""Peak memory of a block of code."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

import psutil

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_INTERVAL_SECONDS = 0.01


class PeakMemory:
    """Largest resident set of this process inside a `with` block.

    Linux keeps the mark itself and lets it be reset, which costs the measured code nothing;
    elsewhere a thread samples every 10 ms and may miss a shorter peak.

    Attributes:
        peak_bytes: the peak, once the block has ended.
        method: `high-water mark` or `sampled`.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.method = "high-water mark"
        self._done = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> PeakMemory:
        if not _reset_mark():
            self.method = "sampled"
            self._sampler = threading.Thread(target=self._sample, daemon=True)
            self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sampler is None:
            self.peak_bytes = _mark() or 0
            return
        self._done.set()
        self._sampler.join()

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)
            if self._done.wait(_INTERVAL_SECONDS):
                break
        self.peak_bytes = max(self.peak_bytes, process.memory_info().rss)


def _reset_mark() -> bool:
    """Set the high-water mark to the present (proc(5), clear_refs); False where that is refused."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return False
    return _mark() is not None


def _mark() -> int | None:
    """The high-water mark (bytes)."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.M)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
