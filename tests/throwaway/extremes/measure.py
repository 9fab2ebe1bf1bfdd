"""One parameter after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sigmabench.harness.studies.study import Measured, Surroundings, Task

from .plan import Extreme, ExtremesPlan, Parameter


def measurer(plan: ExtremesPlan, tasks: Sequence[Task[Any]], surroundings: Surroundings) -> Any:
    posterior, _ = plan.workload.load_posterior()
    return Extremes({name: float(mean.abs().max()) for name, mean in posterior.mean.items()})


class Extremes:
    def __init__(self, found: dict[str, float]) -> None:
        self.found = found

    def __call__(self, task: Task[Parameter]) -> Iterator[Measured[Parameter]]:
        for one in task.subjects:
            yield Measured(one, Extreme(self.found[one.name]))

    def close(self) -> None:
        self.found.clear()
