"""What a study of scenarios is asked: formats, scenarios and T; a task for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.checks import LONGEST, check_counts, check_seconds
from ...core.errors import UserError
from ...measure.load_test import SERVER, fewest
from ...measure.scenarios import SCENARIOS
from ...records.load_record import LOADS as KIND
from ...records.load_record import LoadSubject
from ..flags import BACKEND, DATA, POSTERIOR, PROCESSES, SEED, THREADS
from ..study import FRESH, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = ["ARGUMENT", "HELP", "KIND", "OPTIONS", "SHOWN", "plan", "tasks"]

HELP = """Send queries to WORKLOAD one after the other, and as MLPerf's LoadGen sends them.

single-stream, multi-stream, server and offline need the package mlcommons-loadgen (the extra
`loadgen`); closed-loop needs nothing. What was finished is stored in --results, with LoadGen's logs
beside it, and the same command goes on.
"""
ARGUMENT = "workload"
IMAGES = 1024
OPTIONS = (
    Option("--scenarios", "Names; see `sigmabench list`.", "names", shown="all there are"),
    Option("--formats", "Formats; see `sigmabench list`.", "names", default="FP32,INT8"),
    Option("--mc", "Numbers of MC passes, T.", "numbers", default="10"),
    Option("--batch", "Most images that are answered together.", "whole", default=32),
    Option("--seconds", "Seconds that each test lasts.", "number", shown="as long as it has to"),
    Option(
        "--latency",
        "Milliseconds that a query of server may take.",
        "number",
        shown="5 times one that comes alone",
    ),
    Option("--rate", "Queries per second of server.", "number", shown="what meets --latency"),
    Option("--split", "Images that are queried: validation or test.", default="validation"),
    Option("--limit", "Number of images.", "whole", default=IMAGES),
    SEED,
    THREADS,
    BACKEND,
    PROCESSES,
    DATA,
    POSTERIOR,
)
SHOWN = ()


@dataclass(frozen=True)
class LoadPlan:
    """Formats under scenarios.

    Attributes:
        base: workload, formats, T, images, threads, seed.
        scenarios: names.
        batch: images that the system answers together, at most.
        seconds: that a test lasts; None for as long as it has to.
        latency_ms: that Server's queries may take; None for a multiple of one that comes alone.
        rate: of Server, queries per second; None for what is found.
    """

    base: Plan
    scenarios: tuple[str, ...]
    batch: int
    seconds: float | None = None
    latency_ms: float | None = None
    rate: float | None = None

    def __post_init__(self) -> None:
        check_counts("--batch", (self.batch,))
        if self.seconds is not None:
            check_seconds(self.seconds)
        for flag, value in (("--latency", self.latency_ms), ("--rate", self.rate)):
            if value is not None and not 0 < value <= 1e3 * LONGEST:
                raise UserError(f"{flag} is {value}; give a number above 0.")
        if not self.scenarios:
            raise UserError("--scenarios names nothing; give at least one.")
        least = fewest(SERVER)
        if SERVER in self.scenarios and self.seconds and self.rate:
            count = self.seconds * self.rate
            if count < least:
                raise UserError(
                    f"--seconds {self.seconds:g} at --rate {self.rate:g} hold about {count:.0f} "
                    f"queries, and LoadGen needs {least} to tell a percentile; give --seconds "
                    f"{least / self.rate:.0f} or more."
                )

    def subjects(self) -> Iterator[LoadSubject]:
        """Each format, scenario and T. A deterministic network has one pass.

        Raises:
            UserError: posterior or data cannot be read.
        """
        from ...workload.hashes import fields_of_formats

        base = self.base
        shared: dict[str, Any] = {
            "split": base.split,
            "limit": base.limit or 0,
            "threads": base.threads,
            "seed": base.seed,
            "batch": self.batch,
            "seconds": self.seconds or 0.0,
            "processes": base.processes,
        }
        for format, fields in fields_of_formats(base):
            for mc in base.mc if format.bayesian else (1,):
                for scenario in self.scenarios:
                    server = scenario == SERVER
                    yield LoadSubject(
                        scenario=scenario,
                        mc=mc,
                        latency_ms=self.latency_ms or 0.0 if server else 0.0,
                        rate=self.rate or 0.0 if server else 0.0,
                        **shared,
                        **fields,
                    )


def plan(
    workload: str,
    *,
    scoring: bool,
    scenarios: Sequence[str] | None = None,
    formats: Sequence[str] = ("FP32", "INT8"),
    mc: Sequence[int] = (10,),
    batch: int = 32,
    seconds: float | None = None,
    latency: float | None = None,
    rate: float | None = None,
    split: str = "validation",
    limit: int | None = IMAGES,
    **choices: Any,
) -> tuple[LoadPlan, tuple[str, ...]]:
    """A plan from a user's choices, and what to tell of it.

    Raises:
        UserError: a choice is none, or a scenario cannot be had here.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    base = plan_from(
        resolve_workload(workload),
        formats=tuple(formats),
        mc=tuple(mc),
        batch=(1,),
        split=split,
        limit=limit,
        measuring=scoring,
        **choices,
    )
    names, lines = _scenarios(scenarios, scoring)
    return LoadPlan(base, names, batch, seconds, latency, rate), lines


def _scenarios(
    wanted: Sequence[str] | None, measuring: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names, and a line for each that is left out because nobody asked for it by name.

    Raises:
        UserError: one that was asked for is not known, or cannot be measured here.
    """
    if wanted is not None:
        names = tuple(dict.fromkeys(wanted))
        for name in names:
            problem = SCENARIOS.get(name).problem
            if measuring and problem is not None:
                raise UserError(f"The scenario {name} cannot be measured: {problem}")
        return names, ()
    usable = SCENARIOS.usable()
    known = tuple(name for name, one in usable.items() if one.generator is not None)
    if not measuring:
        return known, ()
    without = {name: why for name in known if (why := usable[name].problem) is not None}
    reasons: dict[str, list[str]] = {}
    for name, why in without.items():
        reasons.setdefault(why, []).append(name)
    lines = tuple(f"Without {', '.join(names)}: {why}" for why, names in reasons.items())
    return tuple(name for name in known if name not in without), lines


def tasks(plan: LoadPlan, measuring: bool) -> list[Task[LoadSubject]]:
    """One for each subject: each is measured in a process of its own."""
    return [Task((subject,), FRESH) for subject in plan.subjects()]
