"""What records of scenarios say: which test counts, what the generator itself costs, whether two
clocks agree, and why a test is not valid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...core.words import beyond, plural
from ...measure.load_test import OFFLINE, SERVER, least_of
from ...records.load_record import EMPTY, PERFORMANCE, Generated, LoadRecord

if TYPE_CHECKING:
    from .plan import LoadPlan

#: Of a query, that the generator and the queue may take.
COST = 0.05
#: By which two clocks of one run may differ, for queries of at least so long.
AGREEMENT, LONG_NS = 0.05, 5e6


@dataclass(frozen=True, eq=False)
class LoadFindings:
    """The records of one workload."""

    workload: str
    records: Sequence[LoadRecord]

    def of(self, *scenarios: str) -> list[LoadRecord]:
        """Those of some scenarios."""
        return [one for one in self.records if one.subject.scenario in scenarios]

    @property
    def streams(self) -> list[LoadRecord]:
        """Those in which a query follows another."""
        return [one for one in self.records if one.subject.scenario not in (SERVER, OFFLINE)]


@dataclass(frozen=True)
class Cost:
    """What a load generator costs by itself, beside what it measures.

    Attributes:
        scenario: name.
        format: numeric format.
        mc: T.
        query_ns: of the system: median latency of a query; of Offline and Server the time per image
            at the rate that was answered.
        empty_ns: the same of a system that computes nothing; of Server the median latency.
        p90_ns: latency by the generator's clock; None where a query waits for others.
        own_p90_ns: the same by ours, of the very queries.
    """

    scenario: str
    format: str
    mc: int
    query_ns: float
    empty_ns: float
    p90_ns: float | None
    own_p90_ns: float | None

    @property
    def share(self) -> float:
        """Of the query, that the generator takes."""
        return self.empty_ns / self.query_ns

    @property
    def differs(self) -> float | None:
        """By how much the generator's 90th percentile is above ours; None where queries are too
        short for that to be asked, or there are no two."""
        if self.p90_ns is None or self.own_p90_ns is None or self.query_ns < LONG_NS:
            return None
        return self.p90_ns / self.own_p90_ns - 1


def analyse(records: Sequence[LoadRecord], plan: LoadPlan | None = None) -> list[LoadFindings]:
    """The records of each workload."""
    homes: dict[str, list[LoadRecord]] = {}
    for record in records:
        homes.setdefault(record.subject.home, []).append(record)
    return [LoadFindings(home, mine) for home, mine in homes.items()]


def counted(record: LoadRecord) -> list[Generated]:
    """Of each process the test of performance that counts: the first that is valid, else the last
    that was tried."""
    found: dict[int, Generated] = {}
    for test in record.body.tests:
        if test.purpose == PERFORMANCE and not (
            test.process in found and found[test.process].valid
        ):
            found[test.process] = test
    return list(found.values())


def tried(record: LoadRecord) -> list[Generated]:
    """All tests of performance."""
    return [test for test in record.body.tests if test.purpose == PERFORMANCE]


def middle(values: Sequence[float | None]) -> float | None:
    """Geometric mean over processes; None where one has no value."""
    found = [value for value in values if value is not None]
    if not found or len(found) < len(values):
        return None
    return math.exp(sum(map(math.log, found)) / len(found))


def percentile(record: LoadRecord, name: str) -> float | None:
    """Latency of the tests that count, ns."""
    return middle([test.percentiles_ns.get(name) for test in counted(record)])


def per_second(record: LoadRecord) -> float | None:
    """Images that were answered per second in the tests that count."""
    return middle([test.samples_per_second for test in counted(record)])


def cost(record: LoadRecord) -> Cost | None:
    """What the generator costs beside a record's tests; None where that is not known."""
    subject = record.subject
    empty = [test for test in record.body.tests if test.purpose == EMPTY]
    whole, streams = counted(record), subject.scenario not in (SERVER, OFFLINE)
    if subject.scenario == OFFLINE:
        pair = [_each(tests) for tests in (whole, empty)]
    else:
        query = whole if streams else []
        pair = [middle([t.percentiles_ns.get("50.00") for t in tests]) for tests in (query, empty)]
        if not streams:
            pair[0] = 1e9 * record.body.batch_seconds["1"]
    if pair[0] is None or pair[1] is None:
        return None
    p90 = [percentile(record, "90.00"), middle([t.own_percentiles_ns.get("90.00") for t in whole])]
    return Cost(
        subject.scenario,
        subject.format,
        record.body.passes,
        pair[0],
        pair[1],
        *(p90 if streams else (None, None)),
    )


def _each(tests: Sequence[Generated]) -> float | None:
    """Time per image, ns."""
    rate = middle([test.samples_per_second for test in tests])
    return None if rate is None else 1e9 / rate


def findings(found: LoadFindings) -> Iterator[str]:
    """What a reader of the figures should know, one sentence each."""
    for record in found.records:
        one, subject = cost(record), record.subject
        if one is not None and one.share > COST:
            yield (
                f"{subject.format} in {subject.scenario}: sending queries and queueing them takes "
                f"{beyond(100 * one.share, 100 * COST, 0)} % of what a query takes, more than "
                f"{100 * COST:.0f} %; the figures are the generator's as much as the system's."
            )
        if one is not None and one.differs is not None and abs(one.differs) > AGREEMENT:
            yield (
                f"{subject.format} in {subject.scenario}: the generator's 90th percentile differs "
                f"from ours of the same queries by "
                f"{beyond(100 * abs(one.differs), 100 * AGREEMENT, 0)} %, more than "
                f"{100 * AGREEMENT:.0f} %; something else ran, or queries waited."
            )
        for test in counted(record):
            if test.valid is False:
                said = "; ".join(explained(test, subject.scenario))
                yield f"{subject.format} in {subject.scenario} is INVALID: {said}."


def explained(test: Generated, scenario: str) -> Iterator[str]:
    """Why a test is not valid, in plain words."""
    share = f"{100 * test.percentile:g} %"
    if test.duration_met is False:
        seconds = test.settings["min_duration_ms"] / 1e3
        yield (
            f"it ended before its {seconds:.3g} s were over, since the system was faster than its "
            "pilot and LoadGen had prepared too few queries; measure again"
        )
    if test.queries_met is False:
        least = int(test.settings["min_query_count"])
        yield f"it had {plural(test.queries, 'query', 'queries')}, and needs {least:,}"
    bound = f"{test.settings.get('server_target_latency_ns', 0) / 1e6:.3g} ms"
    if test.latency_met is False:
        yield f"fewer than {share} of the queries were answered within {bound}"
    elif test.early_stopping_met is False and scenario == SERVER:
        yield (
            f"{plural(test.late or 0, 'query', 'queries')} of {test.queries:,} took longer than "
            f"{bound}: with so few queries that does not show, at 99 % confidence, that {share} of "
            "all take no longer"
        )
    elif test.early_stopping_met is False:
        least = least_of(scenario, test.percentile)
        yield (
            f"{plural(test.queries, 'query', 'queries')} do not tell at 99 % confidence what "
            f"{share} of all take at most; that needs {least:,}"
        )
    for error in test.errors:
        yield f"LoadGen reports: {error.rstrip('.')}"
