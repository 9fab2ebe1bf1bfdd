"""What it is asked, and its records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sigmabench.harness.records.envelope import Record
from sigmabench.harness.records.kind import Kind, digest
from sigmabench.harness.studies.study import SCORED, Option, Task
from sigmabench.harness.workload.workload import Workload, resolve_workload


@dataclass(frozen=True)
class Parameter:
    workload: str
    name: str

    @property
    def home(self) -> str:
        return self.workload

    @property
    def key(self) -> str:
        return digest([self.workload, self.name])


@dataclass(frozen=True)
class Extreme:
    largest: float


class ExtremeRecord(Record[Parameter, Extreme]):
    """Of one parameter."""


KIND: Kind[ExtremeRecord] = Kind(
    "extremes", "record of extremes", ExtremeRecord, Parameter, Extreme, ("extremes",)
)
ARGUMENT = "workload"
OPTIONS = (Option("--only", "Parameters.", "names"),)
SHOWN = (Option("--loud", "In capitals.", "switch"),)
HELP = "The largest mean of each parameter of WORKLOAD's posterior."


@dataclass(frozen=True)
class ExtremesPlan:
    workload: Workload
    only: tuple[str, ...] | None


def plan(
    workload: str, *, scoring: bool, only: tuple[str, ...] | None
) -> tuple[ExtremesPlan, tuple[str, ...]]:
    return ExtremesPlan(resolve_workload(workload), only), ()


def tasks(plan: ExtremesPlan, measuring: bool) -> list[Task[Any]]:
    posterior, _ = plan.workload.load_posterior()
    names = plan.only or tuple(posterior.mean)
    return [Task((Parameter(plan.workload.name, name),), SCORED) for name in names]
