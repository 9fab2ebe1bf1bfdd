"""The record of one layer's sampled weights in several formats: their range, and their noise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .envelope import Record
from .kind import Kind, OfWorkload

#: What the other formats are held against.
REFERENCE = "FP32"


@dataclass(frozen=True)
class WeightCounts:
    """Counts between edges; what lies beyond the outer ones is counted in the outer bins.

    Attributes:
        edges: ascending, one more than bins.
        counts: of each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class LayerRange:
    """Sampled weights of one layer in one format, over all passes; real units.

    Attributes:
        layer: its name.
        label: what the caller calls the format and its variant.
        format: numeric format.
        weights: how many there are.
        passes: over which they were sampled.
        low: least.
        high: greatest.
        p001: 0.1 % quantile.
        p999: 99.9 % quantile.
        std: standard deviation of all of them.
        noise_std: root mean square of w − μ, μ the format's own.
        noise_ratio: `noise_std` over the root mean square of FP32's σ.
        at_mean: share of the draws that are μ itself: the noise was rounded away.
        still: share of weights that had the same value in every pass.
        wasserstein: 1-Wasserstein distance to FP32's sampled weights; for FP32 itself, that between
            its passes and as many others: what sampling alone makes of it.
        weights_histogram: of the sampled weights; the edges are the same for every format.
        noise_histogram: of w − μ over the weight's σ in FP32; weights without σ are left out.
    """

    layer: str
    label: str
    format: str
    weights: int
    passes: int
    low: float
    high: float
    p001: float
    p999: float
    std: float
    noise_std: float
    noise_ratio: float
    at_mean: float
    still: float
    wasserstein: float
    weights_histogram: WeightCounts
    noise_histogram: WeightCounts

    @property
    def mean_share(self) -> float:
        """Share of the sampled weights' variance that is not noise but differences of μ, 0 … 1."""
        return max(0.0, 1.0 - (self.noise_std / self.std) ** 2) if self.std else 0.0

    def to_dict(self) -> dict[str, Any]:
        """All of it, for a script."""
        return {**asdict(self), "mean_share": self.mean_share}


@dataclass(frozen=True)
class WeightsSubject(OfWorkload):
    """One layer, sampled in several formats.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        formats: names in `FORMATS`; FP32 is among them.
        ranges: of the weight grids, `headroom` or `paper`.
        passes: sampled.
        seed: of the draws.
        layer: its name.
        data: as `Cell.data`.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    formats: tuple[str, ...]
    ranges: tuple[str, ...]
    passes: int
    seed: int
    layer: str
    data: str = ""
    network: str = ""


@dataclass(frozen=True)
class WeightsBody:
    """What came of one layer.

    Attributes:
        place: of the layer in the network, from 0.
        ranges: by format and range of the weight grid.
    """

    place: int
    ranges: tuple[LayerRange, ...]


class WeightsRecord(Record[WeightsSubject, WeightsBody]):
    """Sampled weights of one layer in several formats, FP32 first."""


def _check(record: WeightsRecord) -> None:
    if any(one.layer != record.subject.layer for one in record.body.ranges):
        raise ValueError("it describes another layer than its own")


WEIGHTS: Kind[WeightsRecord] = Kind(
    name="weights",
    title="record of sampled weights",
    record=WeightsRecord,
    subject=WeightsSubject,
    body=WeightsBody,
    folders=("weights",),
    check=_check,
)
