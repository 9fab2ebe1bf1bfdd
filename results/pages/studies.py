"""Records of shift studies, ablations and studies of weights, as the pages speak of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from statistics import median
from typing import Any

from sigmabench.harness.core import words
from sigmabench.harness.data.units import Units
from sigmabench.harness.records.ablation_record import ABLATIONS, AblationRecord
from sigmabench.harness.records.shift_record import SHIFT_RECORDS, ShiftRecord
from sigmabench.harness.records.store import Store
from sigmabench.harness.records.weights_record import WEIGHTS, LayerRange, WeightsRecord
from sigmabench.harness.stats import shifted
from sigmabench.harness.studies.ablation.analyse import AblationRow
from sigmabench.harness.studies.ablation.analyse import analyse as ablated
from sigmabench.harness.studies.shift import numbers
from sigmabench.harness.studies.weights.analyse import SimilarityVerdict
from sigmabench.harness.studies.weights.analyse import analyse as weighed

from ..published import RESULTS
from .chosen import Origin, youngest
from .tables import Row, Table, report_table


class Shift(Origin):
    """A shift study of one split.

    Args:
        records: of it, from one machine and code.
        split: its name.
    """

    def __init__(self, records: Sequence[ShiftRecord], split: str) -> None:
        super().__init__(records)
        self.found = next(one for one in shifted.results(records) if one.split == split)
        self.workload = records[0].subject.workload

    @property
    def images(self) -> int:
        """Clean ones."""
        return self.found.at("FP32")[0].body.images

    @property
    def types(self) -> int:
        """How many types of corruption there are."""
        return len(self.found.types("FP32", max(self.found.severities)))

    @property
    def mc(self) -> int:
        """T."""
        return self.found.at("FP32")[0].subject.mc

    @property
    def severities(self) -> list[int]:
        """Of the images with labels, 0 for the clean ones."""
        return self.found.severities

    @property
    def seeds(self) -> int:
        """Of the Monte Carlo draw."""
        return len(self.found.at("FP32"))

    def clean(self, variant: str, metric: str) -> float:
        """A score on the clean images, mean over seeds."""
        return self.median(variant, metric, 0)

    def median(self, variant: str, metric: str, severity: int) -> float:
        """A score's median over the types of corruption."""
        return median(numbers.over_types(self.found, variant, metric, severity))

    def medians(self, variants: Sequence[str], metric: str, severity: int) -> list[float]:
        """`median` of each variant."""
        return [self.median(one, metric, severity) for one in variants]

    def path(self, variant: str, metric: str) -> list[float]:
        """`median` at each severity above 0."""
        return [self.median(variant, metric, one) for one in self.severities if one]

    def mean(self, variant: str, metric: str, severity: int) -> float:
        """A score's mean over the types of corruption."""
        found = words.mean(numbers.over_types(self.found, variant, metric, severity))
        assert found is not None
        return found

    @cached_property
    def _outside(self) -> list[dict[str, Any]]:
        return numbers.outside(self.found)

    def auroc(self, name: str, variant: str, by: str) -> float:
        """How well a set from outside is told by a score, mean over seeds."""
        found = words.mean(
            row["auroc"]
            for row in self._outside
            if (row["ood"], row["variant"], row["by"]) == (name, variant, by)
        )
        assert found is not None
        return found

    def outside_images(self, name: str) -> int:
        """How many a set from outside has."""
        return self.found.at("FP32", f"ood:{name}")[0].body.images

    @cached_property
    def tests(self) -> Table:
        """Tests of equivalence: a row each of `variant`, `metric` and `severity`."""
        return report_table(self.workload, "equivalence")

    def test(self, variant: str, metric: str, severity: int) -> Row:
        """The test of equivalence of a metric of a variant at a severity."""
        return self.tests.one(variant=variant, metric=metric, severity=severity)

    def lost(self, variant: str, metric: str) -> list[float]:
        """At each severity a variant's mean score over FP32's."""
        return [
            self.mean(variant, metric, severity) / self.mean("FP32", metric, severity)
            for severity in self.severities
        ]

    def shares(self, variant: str, other: str, metric: str) -> list[float]:
        """At each severity above 0 a variant's median over another's."""
        return [
            self.median(variant, metric, severity) / self.median(other, metric, severity)
            for severity in self.severities
            if severity
        ]

    def worse_by(self, detector: str, other: str, variant: str) -> bool:
        """Whether every set from outside is told less well by one score than by another."""
        return all(
            self.auroc(name, variant, detector) < self.auroc(name, variant, other)
            for name in self.found.ood
        )

    def verdicts(self, variant: str, metric: str, verdict: str) -> list[int]:
        """Severities at which a metric of a variant has that verdict."""
        rows = self.tests.where(variant=variant, metric=metric, verdict=verdict)
        return [int(row["severity"]) for row in rows]


def shift(workload: str, split: str = "test") -> Shift:
    """The youngest shift study of a workload.

    Raises:
        UserError: there is none with clean images in FP32.
    """
    found = Store(RESULTS, SHIFT_RECORDS).records(workload, latest=False)

    def complete(group: Sequence[ShiftRecord]) -> bool:
        return any(one.subject.format == "FP32" and one.subject.split == split for one in group)

    return Shift(
        youngest(found, complete, f"the {split} images of {workload} in FP32", fullest=True), split
    )


def selective(workload: str, splits: Sequence[str] = ("test", "validation")) -> Origin:
    """The youngest study of selective prediction of a workload.

    Raises:
        UserError: there is none with these splits in FP32.
    """
    found = Store(RESULTS, SHIFT_RECORDS).records(workload, latest=False)

    def complete(group: Sequence[ShiftRecord]) -> bool:
        fp32 = (one.subject.split for one in group if one.subject.format == "FP32")
        return set(splits) <= set(fp32)

    what = f"{' and '.join(splits)} images of {workload} in FP32"
    chosen: Sequence[Any] = youngest(found, complete, what, fullest=True)
    return Origin(chosen)


def sources(workload: str) -> dict[str, Units]:
    """What is independent among the images of each split, where records of `selective` say what
    each was cut from."""
    records: Sequence[Any] = selective(workload).records
    found = (one for one in records if one.subject.format == "FP32" and one.labelled)
    return {one.subject.split: one.units for one in found if "source" in one.arrays}


class Ablated(Origin):
    """An ablation.

    Args:
        records: of it, from one machine and code.
    """

    def __init__(self, records: Sequence[AblationRecord]) -> None:
        super().__init__(records)
        (findings,) = ablated(records, resamples=1)  # no interval is shown here
        self.found = findings.found

    def one(self, format: str, change: str = "") -> AblationRow:
        """A format with a choice changed, or none.

        Raises:
            LookupError: there is none.
        """
        for row in self.found.rows:
            if (row.choice.format, row.choice.change) == (format, change):
                return row
        raise LookupError(f"no ablation of {format} has {change!r}")

    def less(self, row: AblationRow, images: str, metric: str) -> float:
        """Of FP32's score on `clean` or `shifted` images; paired, mean over the images."""
        return row.differences[images][metric].value


def ablation(workload: str) -> Ablated:
    """The youngest ablation of a workload."""
    found = Store(RESULTS, ABLATIONS).records(workload, latest=False)
    return Ablated(youngest(found, bool, f"an ablation of {workload}", fullest=True))


class Weighed(Origin):
    """A study of sampled weights.

    Args:
        records: of it, from one machine and code.
    """

    def __init__(self, records: Sequence[WeightsRecord]) -> None:
        super().__init__(records)
        (self.found,) = weighed(records)

    def against(self, label: str, base: str = "FP32") -> SimilarityVerdict:
        """How near one format comes to another.

        Raises:
            LookupError: they were not held against each other.
        """
        for one in self.found.verdicts:
            if (one.label, one.base) == (label, base):
                return one
        raise LookupError(f"{label} was not held against {base}")

    def noise(self, label: str) -> list[float]:
        """Noise of each layer over FP32's."""
        base = {one.layer: one.noise_std for one in self._of("FP32")}
        return [one.noise_std / base[one.layer] for one in self._of(label)]

    def _of(self, label: str) -> list[LayerRange]:
        return [one for one in self.found.ranges if one.label == label]


def weights(workload: str) -> Weighed:
    """The youngest study of a workload's sampled weights."""
    found = Store(RESULTS, WEIGHTS).records(workload, latest=False)
    return Weighed(youngest(found, bool, f"sampled weights of {workload}", fullest=True))
