"""What a long job says of itself where no bar can be drawn, and times in words."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Timer
from types import TracebackType

FIRST_SECONDS = 1.0  # what takes less says nothing
EVERY_SECONDS = 15.0
_MEASURED_SECONDS = 2.0  # of a phase, before what is left of it is told
_UNITS = ((3600, "hour"), (60, "minute"), (1, "second"))
LONG_SECONDS = 20.0  # a job that takes more says so before

#: Told what is being done and how much of it is done, as (phase, done, total).
Report = Callable[[str, int, int], None]


def about(seconds: float) -> str:
    """A time to one unit: `about 20 minutes`. The unit is the largest of which there are two."""
    size, unit = next((pair for pair in _UNITS if seconds >= 1.9 * pair[0]), _UNITS[-1])
    count = max(1, round(seconds / size))
    return f"about {count} {unit}{'' if count == 1 else 's'}"


def warn_if_long(report: Report, what: str, seconds: float) -> None:
    """Say about how long something will take, if that is long."""
    if seconds > LONG_SECONDS:
        report(f"{what} takes {about(seconds)}", 0, 0)


class Pace:
    """What is left of a phase, by how long its part that is done took.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.phase = ""
        self._began = clock()
        self._first = self.done = self.total = 0

    def at(self, phase: str, done: int, total: int) -> bool:
        """Note where a job is; whether that is another phase."""
        changed = phase != self.phase
        if changed:
            self.phase, self._began, self._first = phase, self._clock(), done
        self.done, self.total = done, total
        return changed

    def left(self) -> float | None:
        """Seconds to the end of the phase's total; None where too little was done to tell."""
        took, done = self._clock() - self._began, self.done - self._first
        if done <= 0 or took < _MEASURED_SECONDS:
            return None
        return took / done * (self.total - self.done)


class Lines:
    """Progress in lines: from a second on each phase by name, and every 15 s where it is.

    Args:
        write: a line.
        clock: in seconds.
    """

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._pace = Pace(clock)
        self._began = clock()
        self._told: float | None = None
        self._notes: list[str] = []
        self._late = Timer(FIRST_SECONDS, self.begin)  # a first phase may report once alone
        self._late.daemon = True

    def __enter__(self) -> Lines:
        self._late.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._late.cancel()

    def __call__(self, phase: str, done: int, total: int) -> None:
        """See `Report`."""
        if not total:
            self._notes.append(phase)
        changed, now = total and self._pace.at(phase, done, total), self._clock()
        if now - self._began < FIRST_SECONDS:
            return
        if self._notes or changed or self._told is None or now - self._told >= EVERY_SECONDS:
            self._say()

    def begin(self) -> None:
        """Tell the phase, unless one was told already."""
        if self._told is None and self._pace.phase:
            self._say()

    def _say(self) -> None:
        pace = self._pace
        self._told = self._clock()
        while self._notes:
            self._write(self._notes.pop(0))
        told, left = pace.phase, pace.left()
        if pace.total > 1:
            told += f": {pace.done:,} of {pace.total:,}"
        self._write(told if left is None else f"{told}, {about(left)} left")
