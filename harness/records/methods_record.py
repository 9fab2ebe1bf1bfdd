"""The record of one method of stating uncertainty, in one format: on one set of images, as it is
and with one temperature that was fitted on validation images; or on the clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..data.units import Units
from .envelope import Record
from .fitted import Fitted
from .kind import Kind, OfWorkload
from .reference_times import Reference, check_references, check_slices
from .runtime_record import Contender

#: Of the images that a temperature was fitted on.
FIT = "fit."
#: With a temperature.
TEMPERED = "tempered."


@dataclass(frozen=True)
class MethodSubject(OfWorkload):
    """One method in one format on one set of images.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        method: name in `METHODS`.
        format: of its arithmetic and weights, `FP32`, `INT8` or `INT8_SIGMA1`.
        networks: first 16 hex digits of the content hash of each network that it uses.
        split: whose images are scored, or whose size those from outside have.
        corruption: type of corruption, `none`, or `ood:NAME`.
        severity: 0 where there is none, else 1 to 5.
        shifted: as `Cell.shifted`.
        limit: images scored; 0 for all.
        fitted: validation images that temperatures are fitted on; 0 for all.
        mc: numbers of passes T, ascending.
        seed: first of the MC draws.
        seeds: how many draws of all passes.
        data: as `Cell.data`.
        network: as `Cell.network`.
        validation: the same as `data`, of the images that temperatures are fitted on.
        batch: images per timed query; 0 where images are scored.
        threads: cores that a call may use, for what PyTorch computes may be summed in another
            order by more of them; 0 in records of scores from before this was part of their key.
        seconds: timed at least, for each T.
        processes: fresh processes that it is timed in.
        beside: method and format of all that take turns with it, itself included.
    """

    workload: str
    workload_version: str
    method: str
    format: str
    networks: tuple[str, ...]
    split: str
    corruption: str
    severity: int
    shifted: str
    limit: int
    fitted: int
    mc: tuple[int, ...]
    seed: int
    seeds: int
    data: str = ""
    network: str = ""
    validation: str = ""
    batch: int = 0
    threads: int = 0
    seconds: float = 0.0
    processes: int = 1
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class MethodBody:
    """What came of one method on one set of images.

    Attributes:
        backend: what computed it.
        artefacts: SHA-256 of each network as it was computed.
        file_bytes: of all of them.
        images: that were scored, or that a timed query holds.
        validation_images: that temperatures were fitted on.
        temperatures: of each draw, one for each T.
        scores: metric to one value for each draw and T; None where it is not defined. Empty without
            labels.
        tempered: the same with the temperature.
        vector: the same of one pass with a scale and a bias for each class, one value per metric;
            empty where they were not fitted, for the reason in `without_vector`.
        without_vector: why there is no vector scaling; empty where there is.
        skipped: files of images that cannot be read and were left out.
        crossed: where images are scored with a temperature that was fitted on their other half,
            those of the second half, as `temperatures`, which are those of the first; else empty.
        timed: queries of each T that was timed, ascending; of what takes long, of fewer passes.
        references: what took turns with them.
        race: name of the one measurement in turns, the same for all methods of it.
        chosen: what was chosen for the method on validation images, in words; empty for nothing.
    """

    backend: str
    artefacts: tuple[str, ...]
    file_bytes: int
    images: int
    validation_images: int
    temperatures: tuple[tuple[Fitted, ...], ...]
    scores: dict[str, tuple[tuple[float | None, ...], ...]]
    tempered: dict[str, tuple[tuple[float | None, ...], ...]]
    vector: dict[str, float | None] = field(default_factory=dict)
    without_vector: str = ""
    skipped: tuple[str, ...] = ()
    crossed: tuple[tuple[Fitted, ...], ...] = ()
    timed: tuple[Contender, ...] = ()
    references: tuple[Reference, ...] = ()
    race: str = ""
    chosen: str = ""


class MethodRecord(Record[MethodSubject, MethodBody]):
    """One method in one format on N images. Its arrays are of the largest T, [K, N] of K draws:

    float32 `nll`, `entropy`, `confidence` and (where defined) `mutual_information` as they are;
    `tempered.nll`, `tempered.entropy`, `tempered.confidence`, `tempered.brier` with the
    temperature; `correct`, uint8 [K, N]; and `source` (`Split.sources`), int32 [N], where that is
    known. NLL, Brier score and `correct` take labels.

    The clean images' record holds how NLL changes with the logarithm of the temperature, its first
    and second derivative: `tempered.slope` and `tempered.curvature`, and of the M images that the
    temperature was fitted on `fit.nll`, `fit.slope` and `fit.curvature`, [K, M], and `fit.source`,
    [M]. Where no images are held out, both are the same images, and `half`, uint8 [N], says which
    half each is in (`predict.crossed`). One that was timed has no arrays.
    """

    @property
    def labelled(self) -> bool:
        """Whether the images had labels."""
        return "correct" in self.arrays

    @property
    def units(self) -> Units:
        """What is independent among the images."""
        return Units.of(self.body.images, self.arrays.get("source"))

    @property
    def fit_units(self) -> Units:
        """What is independent among the images that its temperature was fitted on."""
        return Units.of(self.body.validation_images, self.arrays.get(f"{FIT}source"))

    def each(self, name: str) -> NDArray[np.float64]:
        """[K, N] of the arrays.

        Raises:
            KeyError: it has none of this name.
            UserError: it has another shape.
        """
        found = self.arrays[name].astype(np.float64)
        images = self.body.validation_images if name.startswith(FIT) else self.body.images
        if found.shape != (self.subject.seeds, images):
            raise UserError(
                f"The array {name} of the record {self.subject.key} has the shape {found.shape}, "
                f"not {(self.subject.seeds, images)}; delete the record and run again."
            )
        return found

    def fitted_nll(self, mc: int) -> float:
        """Mean NLL of the images that the temperature of T = `mc` was fitted on, with it, nats;
        over the draws, and over both halves where there are two."""
        place = self.subject.mc.index(mc)
        each = [draw[place].nll for draw in (*self.body.temperatures, *self.body.crossed)]
        return sum(each) / len(each)

    def score(self, metric: str, mc: int, tempered: bool) -> float | None:
        """Mean over the draws at T = `mc`; None where it is not defined."""
        found = (self.body.tempered if tempered else self.body.scores).get(metric)
        if found is None:
            return None
        place = self.subject.mc.index(mc)
        values = [value for each in found if (value := each[place]) is not None]
        return float(np.mean(values)) if values else None


def _check(record: MethodRecord) -> None:
    subject, body = record.subject, record.body
    if bool(subject.batch) != (record.verdict is not None):
        raise ValueError("a verdict is of times, and of nothing else")
    for one in body.timed:
        check_slices(one.name, one.latency_ns, one.slices, one.processes)
    check_references(body.references)
    if subject.batch:
        if not body.timed or body.timed[0].mc > subject.mc[0]:
            raise ValueError("it has no time of the least number of passes")
        return
    shape = (subject.seeds, len(subject.mc))
    rows = [*body.scores.values(), *body.tempered.values(), body.temperatures]
    if any((len(each), *{len(one) for one in each}) != shape for each in rows):
        raise ValueError("it does not have one value for each draw and number of passes")


METHOD_RECORDS: Kind[MethodRecord] = Kind(
    name="methods",
    title="record of a method",
    record=MethodRecord,
    subject=MethodSubject,
    body=MethodBody,
    folders=("methods",),
    judged=None,
    check=_check,
)
