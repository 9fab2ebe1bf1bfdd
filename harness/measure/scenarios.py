"""How queries arrive."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.registry import Registry


@dataclass(frozen=True)
class Scenario:
    """A way queries arrive.

    Attributes:
        name: as in cells.
        description: one line.
    """

    name: str
    description: str


CLOSED_LOOP = Scenario("closed-loop", "one query at a time, the next when the last has ended")

SCENARIOS: Registry[Scenario] = Registry("scenario", {"closed-loop": f"{__name__}:CLOSED_LOOP"})
