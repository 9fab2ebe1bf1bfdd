"""Every subject: quantized, tested in a process of its own, and judged by its audits."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.formats import FORMATS
from ...measure import audits
from ...measure.host import Model
from ...measure.watch import CoreWatch
from ...quantize.artefact import artefact_hash
from ...records.load_record import (
    PERFORMANCE,
    Generated,
    LoadBody,
    LoadRecord,
    LoadSubject,
)
from ...records.verdict import PASS, together
from ...records.verdict import verdict as verdict_of
from ...workload.prepare import Prepared, prepare
from ..study import Measured, Surroundings, Task
from ..under_load import UnderLoad
from .under_test import ScoredAnswers, SubjectUnderTest, Tested

if TYPE_CHECKING:
    from ...quantize.artefact import Artefact
    from .plan import LoadPlan

#: How far the probability of a label may be from that of scoring, by arithmetic: sums round in
#: another order.
TOLERANCES = {"int8": 1e-5, "fp32": 1e-4, "bf16": 2e-2}


def measurer(
    plan: LoadPlan, tasks: Sequence[Task[LoadSubject]], surroundings: Surroundings
) -> LoadMeasurer:
    """Load networks and images."""
    surroundings.report("Loading data", 0, 1)
    return LoadMeasurer(plan, prepare(plan.base), surroundings, len(tasks))


class LoadMeasurer:
    """Tests one subject after the other.

    Args:
        plan: what is asked.
        prepared: networks and images.
        surroundings: see there.
        tasks: how many.
    """

    def __init__(
        self, plan: LoadPlan, prepared: Prepared, surroundings: Surroundings, tasks: int
    ) -> None:
        self.plan, self.prepared, self.surroundings = plan, prepared, surroundings
        part = prepared.splits.scored(plan.base.split)
        self.split = part.limit(plan.base.limit).readable()
        self.left, self.found = tasks, 0

    def __call__(self, task: Task[LoadSubject]) -> Iterator[Measured[LoadSubject]]:
        """Measure a subject; one that is refused is told, and the others go on.

        Raises:
            UserError: every subject was refused, or this one cannot be measured.
        """
        (subject,) = task.subjects
        self.left -= 1
        artefact = self.prepared.artefact(subject.format)
        model = Model(artefact, subject.backend, subject.threads, self.split, subject.seed)
        logs = self.surroundings.logs(subject)
        shutil.rmtree(logs, ignore_errors=True)
        watch = CoreWatch()
        with UnderLoad(model) as process:
            one = SubjectUnderTest(
                subject, process, self.split, logs, self.plan.seconds, self.surroundings.report
            )
            one.pilot()
            try:
                planned = one.planned()
            except UserError as refused:
                if subject.processes > 1 or not (self.left or self.found):
                    raise
                self.surroundings.report(f"{subject.format}: {refused}", 0, 0)
                return
            one.announce(planned)
            tests = list(one.tests(planned))
            scored = one.accuracy(planned[0])
        self.found += 1
        yield self._measured(one, artefact, tests, scored, watch)

    def close(self) -> None:
        """Nothing is held."""

    def _measured(
        self,
        one: SubjectUnderTest,
        artefact: Artefact,
        tests: Sequence[Tested],
        scored: ScoredAnswers,
        watch: CoreWatch,
    ) -> Measured[LoadSubject]:
        body = LoadBody(
            artefact=artefact_hash(artefact),
            passes=one.passes,
            batch=one.largest,
            batch_seconds={str(size): spent for size, spent in one.spent.items()},
            tests=(*(test.told for test in tests), scored.told),
            accuracy=100.0 * float(scored.correct.mean()),
            nll=float(scored.nll.mean()),
            images=len(scored.nll),
            skipped=self.split.skipped,
        )
        tolerance = TOLERANCES[FORMATS.get(one.subject.format).arithmetic]
        checks = {
            "load generator": accepted(body.tests),
            "every timed pass drew": _all_drew(tests, artefact.sampled_weights),
            "scored the timed path": audits.outputs_match(
                np.exp(-scored.nll), np.exp(-scored.reference), False, tolerance
            ),
            **watch.audits(),
        }
        verdict = verdict_of(checks, watch.findings())
        return Measured(one.subject, body, verdict, _arrays(tests, scored), watch.conditions)


def accepted(tests: Sequence[Generated]) -> str:
    """The audit of the load generator: one of its tests of performance is valid, and no test has an
    error."""
    wrong = [error for test in tests for error in test.errors]
    if wrong:
        return f"fail: the load generator reports an error ({wrong[0]})"
    judged = [test.valid for test in tests if test.purpose == PERFORMANCE]
    if None in judged:
        return "not applicable: the closed loop has no rules"
    return PASS if any(judged) else "fail: the load generator calls no test valid"


def _all_drew(tests: Sequence[Tested], weights: int) -> str:
    """The audit of draws, over all tests of performance."""
    counted = [test for test in tests if test.told.purpose == PERFORMANCE]
    drawn = sum(test.drawn for test in counted)
    return audits.every_pass_drew(0, drawn, sum(test.served.passes for test in counted), weights)


def _arrays(tests: Sequence[Tested], scored: ScoredAnswers) -> Mapping[str, NDArray[np.generic]]:
    found: dict[str, NDArray[np.generic]] = {
        "nll": scored.nll.astype(np.float32),
        "correct": scored.correct.astype(np.uint8),
    }
    for place, test in enumerate(tests):
        if test.told.purpose == PERFORMANCE and test.told.own_percentiles_ns:
            for name in ("service_ns", "mc", "batch"):
                found[f"{place}.{name}"] = getattr(test.served, name)
    return found


def joined(parts: Sequence[LoadRecord]) -> Measured[LoadSubject]:
    """The tests of all processes.

    Args:
        parts: one of each process.
    """
    tests: list[Generated] = []
    arrays: dict[str, NDArray[np.generic]] = {}
    for number, part in enumerate(parts):
        for place, test in enumerate(part.body.tests):
            for name in ("service_ns", "mc", "batch"):
                if f"{place}.{name}" in part.arrays:
                    arrays[f"{len(tests)}.{name}"] = part.arrays[f"{place}.{name}"]
            tests.append(replace(test, process=number, logs=f"{number}/{test.logs}"))
    first = parts[0]
    arrays |= {name: first.arrays[name] for name in ("nll", "correct")}
    verdicts = [part.verdict for part in parts if part.verdict is not None]
    verdict = together(verdicts, {})
    return Measured(first.subject, replace(first.body, tests=tuple(tests)), verdict, arrays)
