"""One subject in its process: a pilot, which says what to ask a load generator, and the tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core.waiting import Report, warn_if_long
from ...measure.batching import PassesRule, sizes
from ...measure.clock import QUERY_SECONDS, passes_per_query
from ...measure.load_test import (
    MULTI_STREAM,
    OFFLINE,
    SERVER,
    STREAMS,
    LoadTest,
    fewest,
    length_of,
)
from ...measure.loadgen import ACCURACY_LOG, read_answers
from ...records.load_record import ACCURACY, EMPTY, PERFORMANCE, Generated, LoadSubject

if TYPE_CHECKING:
    from ...data.splits import Split
    from ...measure.system import Served
    from ..under_load import UnderLoad

#: Server is tried at these shares of what the system can compute, until it is valid.
SHARES = (0.8, 0.6, 0.4, 0.2, 0.1)
#: Server's bound, where none is given: times a query that comes alone.
TIMES_ALONE = 5.0
#: Of the test of a system that computes nothing.
EMPTY_SECONDS, EMPTY_RATE = 0.5, 2e4
#: Tests of which the last but one ran out of queries serve as pilots; so many at most.
PILOTS = 3
_LIMIT_SECONDS = 600.0  # of what is no test


@dataclass(frozen=True, eq=False)
class Tested:
    """One test.

    Attributes:
        told: what the generator says.
        served: what was answered.
        drawn: weights.
    """

    told: Generated
    served: Served
    drawn: int


@dataclass(frozen=True, eq=False)
class ScoredAnswers:
    """The test of accuracy; all are of N images.

    Attributes:
        told: what the generator says.
        nll: float64 [N], of the answers that it kept, nats.
        correct: bool [N].
        reference: float64 [N], of the same images and seed as they are scored, nats.
    """

    told: Generated
    nll: NDArray[np.float64]
    correct: NDArray[np.bool_]
    reference: NDArray[np.float64]


def faster(test: LoadTest, told: Generated) -> LoadTest:
    """The same of a system that turned out faster than its pilot, for which LoadGen had prepared
    too few queries: the test that ran out is a better pilot."""
    if test.scenario == OFFLINE:
        return replace(test, rate=max(test.rate, 1.5 * (told.samples_per_second or 0.0)))
    return replace(test, query_ns=min(test.query_ns, told.percentiles_ns["50.00"]) / 2)


class SubjectUnderTest:
    """What is done in the process of one subject.

    Args:
        subject: see there.
        process: that answers.
        split: images.
        logs: folder for those of the generator.
        seconds: that each test lasts; None for as long as it has to.
        report: progress.

    Attributes:
        passes: T of the queries, known after the pilot.
        spent: how long a batch takes, s, by its images.
    """

    def __init__(
        self,
        subject: LoadSubject,
        process: UnderLoad,
        split: Split,
        logs: Path,
        seconds: float | None,
        report: Report,
    ) -> None:
        self.subject, self.process, self.split, self.logs = subject, process, split, logs
        self.seconds, self.report = seconds, report
        self.samples = STREAMS if subject.scenario == MULTI_STREAM else 1
        self.passes = subject.mc
        self.spent: dict[int, float] = {}

    @property
    def largest(self) -> int:
        """Images that are answered together at most."""
        return max(self.spent)

    def pilot(self) -> None:
        """Choose T and the largest batch such that neither takes more than about a second, and
        measure how long each batch takes."""
        self._say("Piloting")
        few = min(self.subject.threads, self.subject.mc)
        each = self._seconds(self.samples, few) / few
        self.passes = passes_per_query(each, self.subject.mc, self.subject.threads)
        batched = self.subject.scenario in (SERVER, OFFLINE)
        for size in sizes(self.subject.batch) if batched else (self.samples,):
            if self.spent and 2 * max(self.spent.values()) > QUERY_SECONDS:
                break
            self.spent[size] = self._seconds(size, self.passes)

    def planned(self) -> list[LoadTest]:
        """Tests of performance, of which Server's are tried until one is valid.

        Raises:
            UserError: they cannot last as asked.
        """
        subject, alone = self.subject, self.spent[self.samples]
        most = max(size / spent for size, spent in self.spent.items())  # images per second
        test = LoadTest(
            scenario=subject.scenario,
            purpose=PERFORMANCE,
            seconds=0.0,
            queries=1,
            images=len(self.split),
            loaded=min(len(self.split), subject.limit or len(self.split)),
            query_ns=1e9 * alone,
            samples=self.samples,
        )
        if subject.scenario == SERVER:
            bound = round(1e6 * subject.latency_ms) or round(1e9 * TIMES_ALONE * alone)
            rates = [subject.rate] if subject.rate else [share * most for share in SHARES]
            return [
                self._lasting(replace(test, rate=rate, latency_ns=bound), 1 / rate)
                for rate in rates
            ]
        if subject.scenario == OFFLINE:
            return [self._lasting(replace(test, rate=most), 1 / most)]
        return [self._lasting(test, alone)]

    def announce(self, planned: list[LoadTest]) -> None:
        """Say how long it takes, if that is long: all tests, each image once, and scoring it."""
        each = min(spent / size for size, spent in self.spent.items())
        seconds = sum(test.expected_seconds + EMPTY_SECONDS for test in planned)
        seconds += replace(planned[0], purpose=ACCURACY).expected_seconds
        seconds += len(self.split) * each
        subject = self.subject
        warn_if_long(self.report, f"{subject.format} in {subject.scenario}", seconds)

    def tests(self, planned: list[LoadTest]) -> Iterator[Tested]:
        """Each test, after that of an empty system.

        Args:
            planned: of performance.
        """
        for place, test in enumerate(planned):
            self._say("Testing")
            yield self._made(self._empty(test), f"empty-{place}")
            for again in range(PILOTS):
                tested = self._made(test, f"performance-{place}-{again}")
                yield tested
                if tested.told.duration_met is not False:
                    break
                test = faster(test, tested.told)
            if tested.told.valid:
                break

    def accuracy(self, test: LoadTest) -> ScoredAnswers:
        """Ask for each image once, and hold the answers against what is scored.

        Args:
            test: of performance.
        """
        self._say("Testing accuracy of")
        tested = self._made(replace(test, purpose=ACCURACY), "accuracy")
        labels = self.split.labels.numpy()
        if not (self.logs / "accuracy" / ACCURACY_LOG).exists():
            order = np.argsort(tested.served.image)
            nll = tested.served.nll[order].astype(np.float64)
            correct = tested.served.correct[order].astype(bool)
        else:
            found = read_answers(self.logs / "accuracy", len(labels))
            nll = -found[np.arange(len(labels)), labels].astype(np.float64)
            correct = found.argmax(axis=1) == labels
        (reference,) = self.process.ask(
            "nlls", self.passes, (self.subject.seed,), limit=_LIMIT_SECONDS
        )
        return ScoredAnswers(tested.told, nll, correct, reference)

    def _lasting(self, test: LoadTest, each: float) -> LoadTest:
        length = length_of(test.scenario, each, self.seconds)
        return replace(
            test,
            seconds=length.seconds,
            queries=length.queries,
            percentile=length.percentile,
        )

    def _empty(self, test: LoadTest) -> LoadTest:
        """The same of a system that computes nothing, as short as may be."""
        return replace(
            test,
            purpose=EMPTY,
            seconds=min(test.seconds, EMPTY_SECONDS),
            queries=fewest(test.scenario),
            query_ns=1e5 if test.scenario != SERVER else test.query_ns,
            rate=EMPTY_RATE if test.scenario == OFFLINE else test.rate,
        )

    def _made(self, test: LoadTest, name: str) -> Tested:
        folder = self.logs / name
        folder.mkdir(parents=True, exist_ok=True)
        asked = replace(test, folder=folder)
        rule = PassesRule(self.passes)
        found = self.process.ask("run", asked, self.largest, rule, limit=asked.limit_seconds)
        return Tested(*found)

    def _seconds(self, images: int, mc: int) -> float:
        shape = (images, mc)
        found: dict[tuple[int, int], float] = self.process.ask(
            "shape_seconds", [shape], limit=_LIMIT_SECONDS
        )
        return found[shape]

    def _say(self, doing: str) -> None:
        subject = self.subject
        self.report(f"{doing} {subject.format} in {subject.scenario}", 0, 1)
