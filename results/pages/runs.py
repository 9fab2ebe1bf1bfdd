"""Records of runs, as the pages speak of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from sigmabench.harness.core import words
from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.core.sheet import Sheet, markdown
from sigmabench.harness.data.units import Units
from sigmabench.harness.metrics.metric import METRICS
from sigmabench.harness.quantize.size import Size
from sigmabench.harness.records.run_record import RUN_RECORDS, Fidelity, RunRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.verdict import INVALID, PASS, SPEED
from sigmabench.harness.report import adaptive_sheet, cost_sheets, quality_sheets
from sigmabench.harness.report.rows import RecordRow, place, sections
from sigmabench.harness.workload.cell import MEAN

from ..again.across import widest
from ..published import RESULTS
from .chosen import Origin, published, youngest

QUANTIZED = ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")
TWINS = ("FP32", *QUANTIZED, "DNN_FP32", "DNN_INT8")
#: The formats that the page of a workload is about.
SHOWN = {
    "lenet-digits": ("FP32", "BF16", *QUANTIZED),
    "lenet5-mnist": ("FP32", "BF16", *QUANTIZED),
    "resnet20-cifar10": TWINS,
    "resnet50-imagenet": TWINS,
    "histology-colorectal": TWINS,
}
#: And the sizes of its batches, where they are not 1 and 32.
BATCHES = {"resnet50-imagenet": (1,)}  # T = 50 at batch 32 takes long
#: And the splits, where they are more than the test split.
SPLITS = {"histology-colorectal": ("test", "held-out-slides")}


@dataclass(frozen=True)
class Extremes:
    """Of paired differences of several formats.

    Attributes:
        largest: magnitude of a difference.
        low: the lowest end of an interval.
        high: the highest end.
    """

    largest: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """Of a score to that of another format on the same images.

    Attributes:
        value: this one's less the other's.
        low: of its 95 % interval.
        high: of its 95 % interval.
    """

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of the interval."""
        return (self.high - self.low) / 2


class Run:
    """One record of a run.

    Args:
        row: the record as tables show it.
    """

    def __init__(self, row: RecordRow) -> None:
        self.row, self.record = row, row.record

    def mean(self, metric: str) -> float:
        """A score, mean over the seeds of the MC draw."""
        found = words.mean(self.record.body.quality.scores[metric])
        assert found is not None
        return found

    def shown(self, metric: str, decimals: int | None = None) -> str:
        """A score as tables have it: mean ± standard deviation over the seeds."""
        digits = METRICS.get(metric).decimals if decimals is None else decimals
        return words.spread(self.record.body.quality.scores[metric], digits)

    def std(self, metric: str) -> float:
        """Standard deviation of a score over the seeds."""
        found = words.deviation(self.record.body.quality.scores[metric])
        assert found is not None
        return found

    def less(self, metric: str) -> Difference:
        """Paired difference to the format that the record is compared with, which is FP32 of the
        same kind of network, unless it is FP32 itself."""
        paired = self.record.body.paired
        assert paired is not None
        field = METRICS.get(metric).field
        interval = paired.intervals[field]
        assert interval is not None
        return Difference(paired.differences[field], *interval)

    @property
    def units_known(self) -> bool:
        """Whether the record says how many independent images its intervals are of."""
        paired = self.record.body.paired
        return paired is not None and paired.units is not None

    def half_at_most(self, units: Units) -> list[float]:
        """Half of the interval of the paired difference in accuracy, points. Of a record that does
        not count independent images, also the most that today's interval can be."""
        found = self.less("accuracy")
        if self.units_known:
            return [found.half]
        paired = self.record.body.paired
        assert paired is not None
        low, high = widest(paired, self.images, units)
        return [found.half, (high - low) / 2]

    @property
    def images(self) -> int:
        """How many were scored."""
        return self.record.body.quality.images

    @property
    def seeds(self) -> int:
        """How many draws were scored."""
        return len(self.record.body.quality.seeds)

    @property
    def confidence(self) -> float:
        """Mean confidence of the first seed, in 0 … 1."""
        bins = self.record.body.quality.reliability
        counts = np.array(bins["count"], float)
        means = np.array([one or 0.0 for one in bins["confidence"]])
        return float(counts @ means / counts.sum())

    @property
    def pass_ms(self) -> float:
        """Median time of a query over its passes, milliseconds."""
        middle = self.record.body.timing.percentiles_ns["p50"]
        assert middle is not None
        return middle / 1e6 / self.record.query_passes

    @property
    def speedup(self) -> float:
        """How many times as fast as FP32 of the same race.

        Raises:
            UserError: its speed or FP32's is marked invalid, or they did not take turns.
        """
        if self.noisy or self.row.speedup is None:
            raise UserError(
                f"{self.called} has no ratio to FP32: they did not take turns, or the speed of one "
                "is marked invalid; measure them again, or say so in the template."
            )
        return self.row.speedup

    @property
    def called(self) -> str:
        """By what sets it apart in its table."""
        return place(self.row.label, self.record.subject)

    @property
    def noisy(self) -> bool:
        """Whether its speed is marked invalid."""
        return self.record.verdict.of(SPEED) == INVALID

    @property
    def size(self) -> Size:
        """Of its artefact."""
        return self.record.body.size

    def weights_ratio(self, base: Run) -> float:
        """Bytes of μ and σ of another format over its own."""
        return base.size.weight_bytes / self.size.weight_bytes

    @property
    def layers(self) -> tuple[Fidelity, ...]:
        """What each layer keeps of the posterior."""
        return self.record.body.fidelity

    @property
    def kept(self) -> list[float]:
        """Of each layer with a σ, the standard deviation of what is sampled over the posterior's,
        ascending."""
        return sorted(words.known(layer.std_ratio for layer in self.layers))

    @property
    def median_kept(self) -> float:
        """`kept` of the median layer."""
        return median(self.kept)

    @property
    def immovable(self) -> float:
        """Share of all weights that no draw can move, in 0 … 1."""
        counts = [layer.weights for layer in self.layers]
        shares = [layer.immovable_share for layer in self.layers]
        return float(np.average(shares, weights=counts))

    @property
    def adaptive(self) -> Any:
        """What adaptive T spent and changed (`run_record.Adaptive`)."""
        return self.record.body.adaptive

    def over(self, other: Run) -> float | None:
        """This one's time of a pass over the other's; None where they did not take turns, or the
        speed of one is marked invalid."""
        if self.noisy or other.noisy or not self.record.raced(other.record):
            return None
        return self.pass_ms / other.pass_ms


class Runs(Origin):
    """The records of one workload and split from one machine and code.

    Args:
        records: all of them.
    """

    def __init__(self, records: Sequence[RunRecord]) -> None:
        super().__init__(records)
        found = sections(records)
        self.section = found[0]
        self.rows = [Run(row) for section in found for row in section.rows]

    def table(self, name: str) -> str:
        """A table of `sigmabench report` as Markdown: `quality`, `speed`, `size`, `paired` or
        `adaptive`."""
        made: dict[str, Callable[[], list[Sheet]]] = {
            "quality": lambda: [quality_sheets.quality(self.section, words.spread)],
            "speed": lambda: [cost_sheets.speed(self.section)],
            "size": lambda: [cost_sheets.size(self.section)],
            "paired": lambda: quality_sheets.paired(self.section),
            "adaptive": lambda: adaptive_sheet.spent(self.section),
        }
        return "\n".join(markdown(sheet) for sheet in made[name]())

    def one(self, format: str, mc: int = 50, **where: Any) -> Run:
        """The record of a format with T passes, one where it is deterministic; of several, the one
        of the smallest batch, and of a network that was trained for itself before that of the
        posterior's mean network.

        Raises:
            LookupError: there is none.
        """
        wanted = {"format": format, "mc": mc if FORMATS.get(format).bayesian else 1, **where}
        found = self.where(**wanted)
        if not found:
            raise LookupError(f"no record of {wanted}")
        cells = ((run.record.subject.method == MEAN, run.record.subject.batch) for run in found)
        return min(zip(cells, found, strict=True), key=lambda one: one[0])[1]

    def each(self, formats: Sequence[str], mc: int = 50, **where: Any) -> list[Run]:
        """`one` of each format."""
        return [self.one(name, mc, **where) for name in formats]

    def batch32(self, format: str) -> Run:
        """The record of a format at batch 32, of the most passes that were timed so."""
        return max(self.where(format=format, batch=32), key=lambda run: int(run.record.subject.mc))

    def means(self, metric: str, formats: Sequence[str]) -> list[float]:
        """A mean score of each format."""
        return [self.one(name).mean(metric) for name in formats]

    def shares(self, metric: str, formats: Sequence[str]) -> list[float]:
        """The same over FP32's."""
        return [one / self.one("FP32").mean(metric) for one in self.means(metric, formats)]

    def differences(self, metric: str, formats: Sequence[str]) -> list[Difference]:
        """The paired difference of each format."""
        return [self.one(name).less(metric) for name in formats]

    def halves(self, formats: Sequence[str], units: Units) -> list[float]:
        """`half_at_most` of all these formats."""
        return [half for name in formats for half in self.one(name).half_at_most(units)]

    def extremes(self, metric: str, formats: Sequence[str]) -> Extremes:
        """Paired differences of these formats at T = 50."""
        found = self.differences(metric, formats)
        return Extremes(
            max(abs(one.value) for one in found),
            min(one.low for one in found),
            max(one.high for one in found),
        )

    def shortfall(self, formats: Sequence[str]) -> list[float]:
        """Of each format how much the whole file lacks of the closed form of its weights, in
        0 … 1."""
        sizes = (self.one(name).size for name in formats)
        return [1 - (one.ratio_file or 0.0) / (one.ratio_weights or 1.0) for one in sizes]

    def where(self, **wanted: Any) -> list[Run]:
        """Records whose cells have these values."""
        return [
            run
            for run in self.rows
            if all(getattr(run.record.subject, name) == value for name, value in wanted.items())
        ]

    def largest(self, metric: str, formats: Sequence[str], base: str = "FP32") -> float:
        """The largest difference of a mean score at T = 50 to that of a format, in magnitude."""
        centre = self.one(base).mean(metric)
        return max(abs(self.one(name).mean(metric) - centre) for name in formats)

    def less(self, other: Runs, metric: str, formats: Sequence[str]) -> list[float]:
        """Of each format at T = 50 and batch 32 the mean score here less that of other records,
        ascending."""
        how: dict[str, Any] = {"batch": 32}
        return sorted(
            self.one(name, **how).mean(metric) - other.one(name, **how).mean(metric)
            for name in formats
        )

    def kept(self, formats: Sequence[str], layers: Sequence[str]) -> list[float]:
        """Of these layers in all formats at T = 50, the standard deviation of what is sampled over
        the posterior's, ascending."""
        every = [layer for name in formats for layer in self.one(name).layers]
        return sorted(words.known(one.std_ratio for one in every if one.layer in layers))

    def passed(self, audit: str) -> bool:
        """Whether an audit passed in all records that it applies to, and applies to some."""
        told = {run.record.verdict.audits.get(audit, "not applicable") for run in self.rows}
        return {one for one in told if not one.startswith("not applicable")} == {PASS}

    def spread(self, metric: str) -> float:
        """The largest difference of a mean score among the records of one format."""
        found: dict[str, list[float]] = {}
        for run in self.rows:
            found.setdefault(run.record.subject.format, []).append(run.mean(metric))
        return max(max(scores) - min(scores) for scores in found.values())

    def changed(self, field: str, one: str, other: str, metric: str) -> list[float]:
        """Of each pair of records that differ in a field alone, the mean score with one value less
        that with another, ascending."""
        scores = {run.record.subject: run.mean(metric) for run in self.rows}
        change: dict[str, Any] = {field: other}
        pairs = ((cell, replace(cell, **change)) for cell in scores)
        return sorted(
            scores[cell] - scores[its]
            for cell, its in pairs
            if getattr(cell, field) == one and its in scores
        )

    @property
    def noisy(self) -> list[Run]:
        """Those whose speed is marked invalid."""
        return [run for run in self.rows if run.noisy]


def runs(
    workload: str,
    formats: Sequence[str] | None = None,
    mc: Sequence[int] = (50,),
    batch: Sequence[int] | None = None,
    directory: str = "",
    command: str = "",
    **where: Any,
) -> Runs:
    """The youngest records from one machine and code that hold every format, T and batch.

    Args:
        workload: its name.
        formats: names, by default those of `SHOWN`; deterministic ones have one pass.
        mc: values of T.
        batch: sizes, by default those of `BATCHES`.
        directory: of records, below the results.
        command: a part of the command line that made them.
        where: any other field of the cells with its value; the `test` split by default.

    Raises:
        UserError: no machine and code has them all.
    """
    formats = SHOWN[workload] if formats is None else formats
    batch = BATCHES.get(workload, (1, 32)) if batch is None else batch
    where = {"split": "test", **where}
    stored = Store(RESULTS / Path(directory), RUN_RECORDS).records(workload, latest=False, **where)
    found = published([one for one in stored if command in one.provenance.command])
    wanted = {
        (name, passes if FORMATS.get(name).bayesian else 1, size)
        for name in formats
        for passes in mc
        for size in batch
    }

    def complete(group: Sequence[RunRecord]) -> bool:
        cells = (one.subject for one in group)
        return wanted <= {(cell.format, cell.mc, cell.batch) for cell in cells}

    what = f"{workload} in {', '.join(formats)} at T = {mc} and batch {batch}"
    return Runs(youngest(found, complete, what))
