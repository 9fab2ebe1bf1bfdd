"""Every format: how long batches take, what T passes answer, and runs at rates up to the bounds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.waiting import Report, warn_if_long
from ...measure import audits
from ...measure.batching import PassesRule, shapes, sizes
from ...measure.clock import QUERY_SECONDS
from ...measure.host import REFERENCE_SEED, Model
from ...measure.load_test import CLOSED_LOOP, PERCENTILES, SERVER, LoadTest, least_of
from ...measure.watch import CoreWatch
from ...quantize.artefact import artefact_hash
from ...records.load_record import PERFORMANCE
from ...records.slo_record import ServedRule, SloBody, SloRun, SloSubject
from ...records.verdict import PASS
from ...records.verdict import verdict as verdict_of
from ...stats.served import HOLDS, excess
from ...workload.prepare import Prepared, prepare
from ..study import Measured, Surroundings, Task
from ..under_load import UnderLoad
from .ladder import MOST, Ladder, highest_simulated, simulated_p99
from .plan import BOUNDS, MARGIN

if TYPE_CHECKING:
    from ...data.splits import Split
    from ...measure.system import Served
    from ...quantize.artefact import Artefact
    from .plan import SloPlan

#: Of what the system can answer with all T passes, one by one, and of a run.
LEAST_LOAD, LONGEST_SECONDS = 0.05, 120.0
#: Of a batch of one shape, that is timed before the runs.
_SHAPE_SECONDS = 0.05
_LIMIT_SECONDS = 7200.0  # of what is no run


def measurer(
    plan: SloPlan, tasks: Sequence[Task[SloSubject]], surroundings: Surroundings
) -> SloMeasurer:
    """Load networks and images."""
    surroundings.report("Loading data", 0, 1)
    return SloMeasurer(plan, prepare(plan.base), surroundings)


class SloMeasurer:
    """Measures one format after the other, each in a process of its own.

    Args:
        plan: what is asked.
        prepared: networks and images.
        surroundings: see there.
    """

    def __init__(self, plan: SloPlan, prepared: Prepared, surroundings: Surroundings) -> None:
        self.plan, self.prepared, self.surroundings = plan, prepared, surroundings
        self.split = prepared.splits.validation.limit(plan.base.limit).readable()

    def __call__(self, task: Task[SloSubject]) -> Iterator[Measured[SloSubject]]:
        """Measure a format."""
        (subject,) = task.subjects
        artefact = self.prepared.artefact(subject.format)
        model = Model(artefact, subject.backend, subject.threads, self.split, subject.seed)
        logs = self.surroundings.logs(subject)
        shutil.rmtree(logs, ignore_errors=True)
        watch = CoreWatch()
        with UnderLoad(model) as process:
            service = Service(subject, process, self.split, logs, self.surroundings.report)
            service.pilot()
            runs = service.all_runs()
            after = service.alone()
            conditions = watch.conditions
        body = SloBody(
            artefact=artefact_hash(artefact),
            images=len(self.split),
            alone_ns=(service.alone_ns, after),
            batch=service.largest,
            runs=tuple(run.told for run in runs),
            version=service.version,
            skipped=self.split.skipped,
        )
        checks = {
            "load generator": _accepted(runs),
            "every timed pass drew": _all_drew(runs, artefact),
            **watch.audits(),
        }
        verdict = verdict_of(checks, watch.findings())
        yield Measured(subject, body, verdict, self._arrays(service, runs), conditions)

    def close(self) -> None:
        """Nothing is held."""

    def _arrays(
        self, service: Service, runs: Sequence[AnsweredRun]
    ) -> Mapping[str, NDArray[np.generic]]:
        found: dict[str, NDArray[np.generic]] = {"reference": service.reference.astype(np.float32)}
        if self.split.sources is not None:
            found["source"] = self.split.sources.numpy().astype(np.int32)
        for place, run in enumerate(runs):
            for name in ("image", "mc", "batch", "nll"):
                found[f"{place}.{name}"] = getattr(run.served, name)
        return found


@dataclass(frozen=True, eq=False)
class AnsweredRun:
    """One run.

    Attributes:
        told: what the record says of it.
        served: what was answered.
        drawn: weights.
    """

    told: SloRun
    served: Served
    drawn: int


class Service:
    """What is done in the process of one format.

    Args:
        subject: see there.
        process: that answers.
        split: images.
        logs: folder for LoadGen's.
        report: progress.

    Attributes:
        seconds: how long a batch takes, s, by its images and passes.
        alone_ns: median latency of queries that come alone and have all T passes.
        reference: float64 [K, N], NLL of each image with all T passes.
        largest: images that are answered together at most.
        version: of LoadGen.
    """

    def __init__(
        self, subject: SloSubject, process: UnderLoad, split: Split, logs: Path, report: Report
    ) -> None:
        self.subject, self.process, self.split = subject, process, split
        self.logs, self.report = logs, report
        self.seconds: dict[tuple[int, int], float] = {}
        self.alone_ns, self.largest, self.version = 0.0, subject.batch, ""
        self.reference = np.empty((0, 0))

    def pilot(self) -> None:
        """Time all batches that may come, queries that come alone, and what T passes answer."""
        subject = self.subject
        self._say("Timing batches of")
        for size in sizes(subject.batch):
            shape = (size, subject.most)
            self._time([shape])
            self.largest = size
            if 2 * self.seconds[shape] > QUERY_SECONDS:
                break
        self._time(
            dict.fromkeys(
                shape for rule in subject.rules for shape in shapes(self.largest, passes_rule(rule))
            )
        )
        each = self.seconds[self.largest, subject.most] / self.largest
        scoring = subject.seeds * len(self.split) * each
        run = max(subject.seconds, least_of(SERVER, PERCENTILES[SERVER]) * each)
        expected = len(subject.rules) * MOST * run
        warn_if_long(self.report, f"{subject.format}", scoring + expected)
        self._say("Scoring")
        seeds = tuple(REFERENCE_SEED + seed for seed in range(subject.seeds))
        self.reference = self.process.ask("nlls", subject.most, seeds, limit=_LIMIT_SECONDS)
        self.alone_ns = self.alone()

    def alone(self) -> float:
        """Median latency of queries that come alone and have all T passes, ns."""
        self._say("Timing single queries of")
        test = LoadTest(
            scenario=CLOSED_LOOP,
            purpose=PERFORMANCE,
            seconds=min(1.0, self.subject.seconds),
            queries=20,
            images=len(self.split),
            loaded=len(self.split),
            query_ns=1e9 * self.seconds[1, self.subject.most],
        )
        rule = PassesRule(self.subject.most)
        told, *_ = self.process.ask("run", test, 1, rule, limit=test.limit_seconds)
        return float(told.percentiles_ns["50.00"])

    @property
    def least_rate(self) -> float:
        """Queries per second: lower ones would load the system by less than `LEAST_LOAD`, or a run
        would last too long."""
        least = least_of(SERVER, PERCENTILES[SERVER])
        return max(LEAST_LOAD * 1e9 / self.alone_ns, least / LONGEST_SECONDS)

    def all_runs(self) -> list[AnsweredRun]:
        """Of each rule at the rates that a ladder for each bound asks for."""
        found: list[AnsweredRun] = []
        for place, rule in enumerate(self.subject.rules):
            mine: dict[float, AnsweredRun] = {}
            for bound in BOUNDS:
                limit = bound * self.alone_ns
                start = highest_simulated(passes_rule(rule), self.largest, self.seconds, limit)
                known = {rate: self._good(rule, run, limit) for rate, run in mine.items()}
                ladder = Ladder(start, self.least_rate, known)
                while (rate := ladder.next()) is not None:
                    mine[rate] = self._run(place, rate, len(found) + len(mine))
                    ladder.told(rate, self._good(rule, mine[rate], limit))
            found += mine.values()
        return found

    def _good(self, rule: ServedRule, run: AnsweredRun, limit: float) -> bool:
        """In time; and, where a lower rate would change that, well enough."""
        if run.told.percentiles_ns["99.00"] > limit:
            return False
        if not rule.work:
            return True
        served, sources = run.served, self.split.sources
        found = excess(
            served.nll,
            served.image,
            served.batch,
            self.reference,
            None if sources is None else sources.numpy(),
        )
        hopeless = found.half > MARGIN  # even no difference at all could not be shown
        return hopeless or found.verdict(MARGIN) == HOLDS

    def _run(self, place: int, rate: float, number: int) -> AnsweredRun:
        rule = self.subject.rules[place]
        self._say(f"{rule.name} at {rate:.3g} queries per second:")
        folder = self.logs / f"run-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        test = LoadTest(
            scenario=SERVER,
            purpose=PERFORMANCE,
            seconds=min(self.subject.seconds, self.subject.queries / rate),
            queries=least_of(SERVER, PERCENTILES[SERVER]),
            images=len(self.split),
            loaded=len(self.split),
            percentile=PERCENTILES[SERVER],
            query_ns=1e9 * self.seconds[1, self.subject.most],
            rate=rate,
            latency_ns=round(BOUNDS[-1] * self.alone_ns),
            folder=folder,
        )
        chosen = passes_rule(rule)
        told, served, drawn = self.process.ask(
            "run", test, self.largest, chosen, limit=test.limit_seconds
        )
        self.version = told.version
        return AnsweredRun(
            SloRun(
                rule=place,
                rate=rate,
                sent=told.sent_per_second or rate,
                answered=told.samples_per_second or 0.0,
                queries=told.queries,
                percentiles_ns=told.percentiles_ns,
                simulated_p99_ns=1e9 * simulated_p99(chosen, self.largest, self.seconds, rate),
                errors=told.errors,
                logs=told.logs,
            ),
            served,
            drawn,
        )

    def _time(self, wanted: Sequence[tuple[int, int]] | Mapping[tuple[int, int], None]) -> None:
        missing = [shape for shape in wanted if shape not in self.seconds]
        found = self.process.ask("shape_seconds", missing, _SHAPE_SECONDS, limit=_LIMIT_SECONDS)
        self.seconds |= found

    def _say(self, doing: str) -> None:
        self.report(f"{doing} {self.subject.format}", 0, 1)


def passes_rule(rule: ServedRule) -> PassesRule:
    """As the queue takes it."""
    return PassesRule(rule.most, rule.work)


def _accepted(runs: Sequence[AnsweredRun]) -> str:
    """The audit of the load generator: LoadGen reports no error."""
    errors = [error for run in runs for error in run.told.errors]
    return f"fail: the load generator reports an error ({errors[0]})" if errors else PASS


def _all_drew(runs: Sequence[AnsweredRun], artefact: Artefact) -> str:
    """The audit of draws, over all runs."""
    drawn, passes = sum(run.drawn for run in runs), sum(run.served.passes for run in runs)
    return audits.every_pass_drew(0, drawn, passes, artefact.sampled_weights)
