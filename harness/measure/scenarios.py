"""How queries arrive."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.deferred import Deferred
from ..core.registry import Registry


@dataclass(frozen=True)
class Scenario:
    """A way queries arrive.

    Attributes:
        name: as in cells.
        description: one line.
        generator: what sends the queries of `sigmabench scenarios`, see `load_test.Generate`; None
            where nothing does.
        unavailable: says why that cannot be used here, one sentence, or None if it can; None where
            it always can.
    """

    name: str
    description: str
    generator: Deferred | None = None
    unavailable: Deferred | None = None

    @property
    def problem(self) -> str | None:
        """Why no queries of it can be sent here, one sentence; None if they can."""
        if self.generator is None:
            return f"Nothing sends the queries of {self.name}; its package has to name a generator."
        found: str | None = None if self.unavailable is None else self.unavailable()
        return found


def _loadgen(name: str, description: str) -> Scenario:
    here = "sigmabench.harness.measure.loadgen"
    return Scenario(
        name, description, Deferred(f"{here}:generate"), Deferred(f"{here}:unavailable")
    )


CLOSED_LOOP = Scenario(
    "closed-loop",
    "one query at a time, the next when the last has ended",
    Deferred("sigmabench.harness.measure.closed_loop:generate"),
)
SINGLE_STREAM = _loadgen("single-stream", "MLPerf's: one image at a time")
MULTI_STREAM = _loadgen("multi-stream", "MLPerf's: eight images at a time")
SERVER = _loadgen("server", "MLPerf's: images at random times, with a bound on latency")
OFFLINE = _loadgen("offline", "MLPerf's: all images at once")

SCENARIOS: Registry[Scenario] = Registry(
    "scenario",
    {
        "closed-loop": f"{__name__}:CLOSED_LOOP",
        "single-stream": f"{__name__}:SINGLE_STREAM",
        "multi-stream": f"{__name__}:MULTI_STREAM",
        "server": f"{__name__}:SERVER",
        "offline": f"{__name__}:OFFLINE",
    },
)
