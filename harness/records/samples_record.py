"""The record of how many Monte Carlo passes are enough: one format on validation images, at every
number of passes T, beside so many passes that they stand for infinitely many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..data.units import Units
from .envelope import Record
from .kind import Kind, OfWorkload

#: Of the passes that stand for infinitely many.
REFERENCE = "reference."


@dataclass(frozen=True)
class SamplesSubject(OfWorkload):
    """One format of a workload on its validation images.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        format: of its arithmetic and weights.
        backend: what computes it.
        limit: images; 0 for all.
        mc: numbers of passes T, ascending.
        reference: passes that stand for infinitely many.
        draws: independent draws of the largest T, and of the reference.
        seed: of the run that is cut into stretches of each T; the reference has the next one.
        data: as `Cell.data`.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    format: str
    backend: str
    limit: int
    mc: tuple[int, ...]
    reference: int
    draws: int
    seed: int
    data: str = ""
    network: str = ""


@dataclass(frozen=True)
class DrawLuck:
    """What draws of the weights do to a mean over images and draws.

    Attributes:
        draws: how many show it, at least 2.
        variance: of the mean, by the spread from draw to draw.
        shared: the part of it that all images have in common; below 0 where chance has it so.
    """

    draws: int
    variance: float
    shared: float


@dataclass(frozen=True)
class AtCount:
    """What T passes give.

    Attributes:
        mc: T.
        stretches: independent draws of T passes.
        nll_nats: mean negative log-likelihood, over draws and images.
        nll_spread_nats: standard deviation of the mean over images from draw to draw.
        nll_luck: of `nll_nats`, nats²; of many passes by shorter stretches, which are more draws.
        agreeing: share of images that a draw decides as one of the reference does, mean over all
            pairs; of the reference itself that of different draws.
        agreeing_luck: of `agreeing`, what the draws of T passes do and what those of the reference.
    """

    mc: int
    stretches: int
    nll_nats: float
    nll_spread_nats: float
    nll_luck: DrawLuck
    agreeing: float
    agreeing_luck: tuple[DrawLuck, DrawLuck]


@dataclass(frozen=True)
class SamplesBody:
    """What came of one format.

    Attributes:
        artefact: SHA-256 of the network as it was computed.
        images: how many.
        counts: of each T, ascending.
        reference: of the passes that stand for infinitely many.
        skipped: files of images that cannot be read and were left out.
    """

    artefact: str
    images: int
    counts: tuple[AtCount, ...]
    reference: AtCount
    skipped: tuple[str, ...] = ()


class SamplesRecord(Record[SamplesSubject, SamplesBody]):
    """One format on N images at P numbers of passes T. Its arrays are means over the draws:

    float32 `nll` [P, N], negative log-likelihood in nats, and `agreeing` [P, N], the share of pairs
    of a draw of T and one of the reference that decide the image alike; float32 `reference.nll`
    [N]; and `source` (`Split.sources`), int32 [N], where that is known.
    """

    @property
    def units(self) -> Units:
        """What is independent among the images."""
        return Units.of(self.body.images, self.arrays.get("source"))

    def each(self, name: str) -> NDArray[np.float64]:
        """[P, N] of the arrays; [N] of the reference's.

        Raises:
            KeyError: it has none of this name.
            UserError: it has another shape.
        """
        found: NDArray[np.float64] = self.arrays[name].astype(np.float64)
        images = (self.body.images,)
        wanted = images if name.startswith(REFERENCE) else (len(self.subject.mc), *images)
        if found.shape != wanted:
            raise UserError(
                f"The array {name} of the record {self.subject.key} has the shape {found.shape}, "
                f"not {wanted}; delete the record and run again."
            )
        return found


def _check(record: SamplesRecord) -> None:
    counts = (*(one.mc for one in record.body.counts), record.body.reference.mc)
    if counts != (*record.subject.mc, record.subject.reference):
        raise ValueError("it does not have one entry for each number of passes")


SAMPLES: Kind[SamplesRecord] = Kind(
    name="samples",
    title="record of how many samples are enough",
    record=SamplesRecord,
    subject=SamplesSubject,
    body=SamplesBody,
    folders=("samples",),
    check=_check,
)
