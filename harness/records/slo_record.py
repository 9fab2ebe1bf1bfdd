"""The record of an SLO on uncertainty: queries at many rates, with the answers of every run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from .envelope import Record
from .kind import Kind, OfWorkload

_OF_ANSWERS = ("image", "mc", "batch", "nll")


@dataclass(frozen=True)
class ServedRule:
    """How many passes a batch has; see `batching.PassesRule`.

    Attributes:
        most: T where nothing else waits.
        work: passes times images that what waits may take together; 0 where T is fixed.
    """

    most: int
    work: int = 0

    @property
    def name(self) -> str:
        """In tables."""
        return f"adaptive, work {self.work}" if self.work else f"T = {self.most}"


@dataclass(frozen=True)
class SloSubject(OfWorkload):
    """One format of one workload, answering at several rates by several rules.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the content hash of what the format is made of.
        format: numeric format.
        backend: what computes it.
        mc: fixed T, descending; the first is the most, and what answers are held against.
        work: of adaptive T, passes times images that what waits may take together.
        batch: images that the system answers together, at most.
        limit: validation images; 0 for all.
        threads: cores that the system may use.
        seed: of the noise of the answers.
        seeds: of what they are held against.
        seconds: how long a run lasts, where that is not too many queries.
        queries: of a run, about, at most.
        data: as `Cell.data`.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    format: str
    backend: str
    mc: tuple[int, ...]
    work: tuple[int, ...]
    batch: int
    limit: int
    threads: int
    seed: int
    seeds: int
    seconds: float
    queries: int
    data: str = ""
    network: str = ""

    @property
    def most(self) -> int:
        """Passes."""
        return self.mc[0]

    @property
    def rules(self) -> tuple[ServedRule, ...]:
        """By which T is chosen: fixed ones, then adaptive ones."""
        fixed = (ServedRule(count) for count in self.mc)
        return (*fixed, *(ServedRule(self.most, work) for work in self.work))


@dataclass(frozen=True)
class SloRun:
    """One run of LoadGen's Server.

    Attributes:
        rule: place of its rule among the subject's.
        rate: queries per second that were asked for.
        sent: queries per second that were sent.
        answered: queries per second that were answered.
        queries: how many were sent.
        percentiles_ns: latency by percentile, from `50.00` to `99.90`.
        simulated_p99_ns: what the same queue has on a simulated clock, with batches that take as
            long as they did alone.
        errors: that LoadGen tells of.
        logs: name of the folder of its logs, beside the record.
    """

    rule: int
    rate: float
    sent: float
    answered: float
    queries: int
    percentiles_ns: dict[str, float]
    simulated_p99_ns: float
    errors: tuple[str, ...]
    logs: str


@dataclass(frozen=True)
class SloBody:
    """What came of one format.

    Attributes:
        artefact: SHA-256 of the network as it was computed.
        images: that queries were of.
        alone_ns: median latency of queries that come alone and have all T passes, before the runs
            and after them.
        batch: images that were answered together, at most.
        runs: in the order in which they were made.
        version: of LoadGen.
        skipped: files of images that cannot be read and were left out.
    """

    artefact: str
    images: int
    alone_ns: tuple[float, float]
    batch: int
    runs: tuple[SloRun, ...]
    version: str
    skipped: tuple[str, ...] = ()


class SloRecord(Record[SloSubject, SloBody]):
    """One format at several rates. Its arrays hold every answer: for run n, in the order in which
    they were given, `n.image` (which image), `n.mc` (its passes) and `n.batch` (the number of its
    batch), int32, and `n.nll`, float32, in nats. `reference`, float32 [K, N], is the NLL of each of
    N images with T passes, in K seeds; `source` (`Split.sources`), int32 [N], stands where that is
    known."""

    def answers(self, run: int) -> tuple[NDArray[np.int32], ...]:
        """Image, passes, number of the batch and NLL of each answer of a run, [Q] each.

        Raises:
            UserError: they are not there, or are of different sizes or other images.
        """
        found = tuple(self.arrays.get(f"{run}.{name}") for name in _OF_ANSWERS)
        given = [one for one in found if one is not None]
        sizes = {one.shape for one in given}
        if len(given) < len(found) or sizes != {(self.body.runs[run].queries,)}:
            raise UserError(
                f"The record {self.subject.key} does not hold the answers of its run {run}; delete "
                "it and run again."
            )
        image = given[0]
        if len(image) and not 0 <= int(image.min()) <= int(image.max()) < self.body.images:
            raise UserError(
                f"The record {self.subject.key} answers images that it does not have; delete it "
                "and run again."
            )
        return tuple(given)

    @property
    def reference(self) -> NDArray[np.float32]:
        """[K, N] NLL of each image, nats.

        Raises:
            UserError: it is not there, or is of another size.
        """
        found = self.arrays.get("reference")
        if found is None or found.shape != (self.subject.seeds, self.body.images):
            raise UserError(
                f"The record {self.subject.key} does not hold what its answers are held against; "
                "delete it and run again."
            )
        return np.asarray(found, np.float32)


def _check(record: SloRecord) -> None:
    subject = record.subject
    if not subject.mc or max(subject.mc) != subject.most:
        raise ValueError("its numbers of passes do not begin with the most")
    if not record.body.runs or min(record.body.alone_ns) <= 0:
        raise ValueError("it has no run, or no time of a query that comes alone")
    if any(not 0 <= run.rule < len(subject.rules) for run in record.body.runs):
        raise ValueError("a run is of no rule that was asked for")


SLOS: Kind[SloRecord] = Kind(
    name="slo",
    title="record of an SLO",
    record=SloRecord,
    subject=SloSubject,
    body=SloBody,
    folders=("slo",),
    judged=True,
    check=_check,
)
