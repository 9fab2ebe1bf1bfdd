"""What happened to the cores while a clock ran: the same audits and findings for all records."""

from __future__ import annotations

import time
from dataclasses import fields
from functools import cached_property

from .. import native
from ..core.words import plural
from ..machine.cores import allowed, binding, bound, give_back, quota, throttled
from ..machine.describe import has_avx2
from ..machine.energy import EnergyMeter
from ..machine.usage import HIDDEN, clocks_mhz, temperature_celsius, usage
from ..records.timed_conditions import Conditions
from . import audits

#: A finding; what it says of results is tested by forcing the portable paths.
WITHOUT_AVX2 = (
    "this processor has no AVX2, so int8 layers and draws run in portable C++: the results are the "
    "same, and the times say little about int8"
)

#: Seconds between two looks at clock and heat.
LOOK_SECONDS = 1.0


class CoreWatch:
    """Made before something is timed, on the thread that times it, and asked afterwards.

    The thread gets back the cores that OpenMP's runtime may have taken from it.
    """

    def __init__(self) -> None:
        give_back()
        self._before = throttled()
        self._cores = allowed()
        self._clocks: list[float] = []
        self._heat: list[float] = []
        self._looked = -LOOK_SECONDS
        self._began, self._usage, self._meter = _now(), usage(self._cores), EnergyMeter()

    def look(self) -> None:
        """Read clock and heat, in a pause; soon after it was called last it does nothing."""
        if _now() - self._looked < LOOK_SECONDS:
            return
        self._looked = _now()
        self._clocks += clocks_mhz(self._cores)
        if (heat := temperature_celsius()) is not None:
            self._heat.append(heat)

    @cached_property
    def conditions(self) -> Conditions:
        """What the machine did up to now; first asked as soon as the clock has stopped."""
        self.look()
        seconds = _now() - self._began
        after, joules = usage(self._cores), self._meter.joules()
        found: dict[str, float | int | None] = {
            one.name: _less(getattr(after, one.name), getattr(self._usage, one.name))
            for one in fields(after)
        }
        found |= {
            "clock_least_mhz": min(self._clocks, default=None),
            "clock_most_mhz": max(self._clocks, default=None),
            "temperature_celsius": max(self._heat, default=None),
            "energy_joules": joules,
        }
        reasons = {name: HIDDEN for name, value in found.items() if value is None}
        if joules is None:
            reasons["energy_joules"] = self._meter.reason.removeprefix("unavailable: ")
        return Conditions(seconds, len(self._cores), **found, unavailable=reasons)  # type: ignore[arg-type]

    def audits(self) -> dict[str, str]:
        """Whether the cores were free and no CPU quota stopped the process, by audit."""
        stopped = throttled() - self._before
        return {
            "cores free": audits.cores_free(binding(), bound()),
            "not throttled": audits.not_throttled(stopped, quota()),
        }

    def findings(self) -> tuple[str, ...]:
        """What a reader of the times should know, one line each."""
        limit = quota()
        found = () if limit is None else (f"the CPU quota allows {plural(limit, 'core')}",)
        missing = native.unavailable()
        if missing is not None:
            return (*found, missing.rstrip("."))
        return found if has_avx2() else (*found, WITHOUT_AVX2)

    def told(self) -> tuple[str, ...]:
        """`findings`, and which audits failed, for a record without a verdict."""
        failed = [result for result in self.audits().values() if result.startswith("fail: ")]
        return (*self.findings(), *(result.removeprefix("fail: ") for result in failed))


def _now() -> float:
    return time.monotonic()


def _less(after: float | None, before: float | None) -> float | None:
    return None if after is None or before is None else after - before
