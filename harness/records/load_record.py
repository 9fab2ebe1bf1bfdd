"""The record of a workload under load: what sent queries, how, and what it said of the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .envelope import Record
from .kind import Kind, OfWorkload

#: Why a test was made.
PERFORMANCE, ACCURACY, EMPTY = "performance", "accuracy", "empty system"


@dataclass(frozen=True)
class LoadSubject(OfWorkload):
    """One format under one scenario.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the content hash of what the format is made of.
        scenario: name in `SCENARIOS`.
        format: numeric format.
        backend: what computes it.
        mc: passes per image, T; fewer where a query would take more than about a second.
        batch: images that the system answers together, at most.
        split: whose images are queried.
        limit: images of it; 0 for all.
        threads: cores that the system may use.
        seed: of the noise; each batch draws with the next.
        seconds: how long a test lasts; 0 for as long as it has to.
        latency_ms: that Server's queries may take; 0 for five times one that comes alone.
        rate: queries per second of Server; 0 for what is found.
        data: as `Cell.data`.
        network: as `Cell.network`.
        processes: fresh processes that it is measured in.
    """

    workload: str
    workload_version: str
    posterior: str
    scenario: str
    format: str
    backend: str
    mc: int
    batch: int
    split: str
    limit: int
    threads: int
    seed: int
    seconds: float = 0.0
    latency_ms: float = 0.0
    rate: float = 0.0
    data: str = ""
    network: str = ""
    processes: int = 1


@dataclass(frozen=True)
class Generated:
    """What one test of a load generator said; values that its scenario does not have are None.

    Attributes:
        purpose: `performance`, `accuracy`, or `empty system`: the same test of a system that
            computes nothing.
        rate: queries per second that were asked for, of Offline samples; 0 where none were.
        valid: whether the generator counts its test as valid; None where it does not judge.
        duration_met: the test lasted as long as it had to.
        queries_met: it had as many queries as it had to.
        early_stopping_met: it had enough queries to tell the percentile.
        latency_met: the percentile is within the bound.
        early_stopping: what the generator says of it, in its own words.
        queries: how many were sent.
        samples: images in them.
        late: how many took longer than the bound.
        percentiles_ns: latency by percentile, from `50.00` to `99.90`, of queries.
        own_percentiles_ns: the same of our clock: how long their batches were computed.
        samples_per_second: of Server and of Offline, answered.
        sent_per_second: of Server.
        errors: that the generator tells of.
        settings: that the test was made with, by the generator's names.
        mlperf: of those that MLPerf sets otherwise, MLPerf's.
        percentile: that validity goes by, 0 … 1; 0 where it goes by none.
        version: of the generator; empty for ours.
        logs: name of the folder of its logs, beside the record; empty where it keeps none.
        process: in which of the fresh processes it was, from 0.
    """

    purpose: str
    rate: float
    valid: bool | None
    duration_met: bool | None
    queries_met: bool | None
    early_stopping_met: bool | None
    latency_met: bool | None
    early_stopping: str
    queries: int
    samples: int
    late: int | None
    percentiles_ns: dict[str, float]
    own_percentiles_ns: dict[str, float]
    samples_per_second: float | None
    sent_per_second: float | None
    errors: tuple[str, ...]
    settings: dict[str, float | int]
    mlperf: dict[str, float | int]
    percentile: float
    version: str = ""
    logs: str = ""
    process: int = 0


@dataclass(frozen=True)
class LoadBody:
    """What came of one format under one scenario.

    Attributes:
        artefact: SHA-256 of the network as it was computed.
        passes: T of the queries.
        batch: images that were answered together, at most.
        batch_seconds: how long a batch took before any test, s, by its images.
        tests: in the order in which they were made.
        accuracy: share of right answers in the test of accuracy, %; None where there was none.
        nll: mean negative log-likelihood of its answers, nats.
        images: that were answered in it.
        skipped: files of images that cannot be read and were left out.
    """

    artefact: str
    passes: int
    batch: int
    batch_seconds: dict[str, float]
    tests: tuple[Generated, ...]
    accuracy: float | None = None
    nll: float | None = None
    images: int = 0
    skipped: tuple[str, ...] = ()


class LoadRecord(Record[LoadSubject, LoadBody]):
    """One format under one scenario. Its arrays are of its tests of performance, by their place
    among the tests: `0.service_ns`, int64, how long the batch of each query was computed, and
    `0.mc` and `0.batch`, int32, its passes and the number of its batch, in the order in which they
    were answered. Offline's single query has none. Of the test of accuracy there are `nll`,
    float32, in nats, and `correct`, uint8, by image."""

    def service_ns(self, place: int) -> NDArray[np.int64] | None:
        """How long the batch of each query of a test was computed, ns; None where it has none."""
        found = self.arrays.get(f"{place}.service_ns")
        return None if found is None else np.asarray(found, np.int64)


def _check(record: LoadRecord) -> None:
    counted = [one for one in record.body.tests if one.purpose == PERFORMANCE]
    if not counted or record.body.passes > record.subject.mc:
        raise ValueError("it has no test of performance, or more passes than were asked for")
    for place, one in enumerate(record.body.tests):
        each = record.service_ns(place)
        if each is not None and len(each) != one.samples:
            raise ValueError("it does not have one time for each image")


LOADS: Kind[LoadRecord] = Kind(
    name="scenarios",
    title="record of a scenario",
    record=LoadRecord,
    subject=LoadSubject,
    body=LoadBody,
    folders=("scenarios",),
    judged=True,
    check=_check,
)
