"""The record: what came out of measuring one cell, with all it takes to doubt or repeat it.

These classes are the schema of its body; a file read back is validated against them. Units are in
the field names. `None` means not defined or not measurable here; the reason, where one is needed,
is in `unavailable`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..quantize.size import Size
from ..workload.cell import Cell
from .envelope import Record
from .kind import Kind, Layout, cell_of, without
from .reference_times import Reference
from .verdict import Verdict

#: One value per image, at the largest T and of the first seed; entropy, mutual information (where
#: it is defined) and NLL in nats. Every score of that seed can be computed again from them.
ARRAYS = {
    "label": np.int32,
    "prediction": np.int32,
    "confidence": np.float64,
    "entropy": np.float64,
    "mutual_information": np.float64,
    "nll": np.float64,
    "brier": np.float64,
}


@dataclass(frozen=True)
class Quality:
    """Scores of the mean prediction on the cell's split; one value per seed, in order of the seeds.

    Attributes:
        images: how many were scored.
        seeds: seeds of the MC draw.
        scores: metric name to values, one per seed; None where a metric is not defined (mutual
            information at T = 1).
        ece_floor_percent: ECE that a perfectly calibrated model with these confidences and this
            number of images would show, per seed.
        reliability: of the first seed: for each confidence bin its `count`, mean `confidence` and
            `accuracy`, both in [0, 1], None where the bin is empty.
        accuracy_vs_confidence: of the first seed: `threshold`, `accuracy` of the examples at least
            that confident (None where there are none), and their `share`, all in [0, 1].
        risk_coverage: of the first seed, at up to 101 coverages: `coverage` and `risk`, in [0, 1].
        skipped: files of images that cannot be read and were left out.
        units: independent images among them (`Paired.units`); None in older records.
    """

    images: int
    seeds: tuple[int, ...]
    scores: dict[str, tuple[float | None, ...]]
    ece_floor_percent: tuple[float, ...]
    reliability: dict[str, tuple[float | None, ...]]
    accuracy_vs_confidence: dict[str, tuple[float | None, ...]]
    risk_coverage: dict[str, tuple[float, ...]]
    skipped: tuple[str, ...] = ()
    units: int | None = None


@dataclass(frozen=True)
class Paired:
    """The format against another one of the same run, on the same images and at the same T (1 where
    the other is deterministic); both are averaged over their seeds image by image.

    Attributes:
        reference: the other format.
        seeds: how many seeds of this format, and of the other.
        differences: `accuracy_percent` and `nll_nats`, this one's less the other's: mean over the
            images.
        intervals: 95 % confidence intervals of the differences: what other images of the same kind
            and, where there are several seeds, other draws might have shown. None where all images
            have one source.
        units: independent images: sources, where what the images were cut from is known. None in
            older records.
        luck: standard error of each difference from what a draw of the weights does to all images
            alike, by the same names, which the intervals count; empty from one seed and in
            older records, whose intervals are of the images alone.
    """

    reference: str
    seeds: tuple[int, int]
    differences: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    units: int | None = None
    luck: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """Latency of queries. A query is one batch: float32 images in, T passes with fresh weights
    (quantizing the input, sampling, computing), float32 logits of all passes out. Loading images
    and reducing logits to scores is outside. A query of adaptive T ends in decisions and mean
    probabilities, and finding out when to stop is inside.

    Attributes:
        latency_ns: every timed query, in order, process after process.
        slices: how many queries each slice held; slices of the cells named in `interleaved_with`
            took turns.
        warmup_queries: queries run before and not counted.
        inputs: different input batches the queries went round.
        interleaved_with: keys of the cells measured in turns with this one, in order.
        percentiles_ns: p50, p90, p99; None from fewer than 10 / (1 - p) samples.
        p50_ci95_ns: 95 % confidence interval of the median, by bootstrap over slices; of several
            processes, by the spread between their medians.
        images_per_second: batch over the median latency of T passes; over mean latency where T is
            adaptive.
        noise: run-to-run noise: robust standard deviation of the slices' medians over their median;
            of several processes, standard deviation of the logarithms of their medians. Where T is
            adaptive, of latency per pass and image.
        race: name of the one measurement in turns, the same for all its cells and no other's;
            empty in records made before it had one.
        passes: of a timed query, where T would take longer than a query may; 0 where it had all T.
        processes: how many slices each fresh process had; empty where there was one process. Then
            the interval of the median and the noise are of slices, else of processes.
    """

    latency_ns: tuple[int, ...]
    slices: tuple[int, ...]
    warmup_queries: int
    inputs: int
    interleaved_with: tuple[str, ...]
    percentiles_ns: dict[str, float | None]
    p50_ci95_ns: tuple[float, float]
    images_per_second: float
    noise: float
    race: str = ""
    passes: int = 0
    processes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bandwidth:
    """Bytes moved, counted from what runs (not measured), against what the machine can copy.

    Attributes:
        mean_bytes: μ read in a pass.
        std_bytes: σ read in a pass, as it lies in memory.
        sampled_bytes: sampled weights written and read in a pass.
        activation_bytes: activations written and read in a pass, whole batch.
        pass_bytes: all of it.
        achieved_gb_per_s: pass_bytes x T over the median latency of T passes (10^9 bytes); where T
            is adaptive, what the timed queries moved over what they took.
        copy_gb_per_s: bandwidth of a large plain copy on this machine, read plus written, at the
            cell's threads (10^9 bytes).
        share_of_copy: achieved over copy.
        weight_traffic_ratio: weight bytes an FP32 sampler would move in T passes (μ, σ and w in
            float32) over this format's.
        paper_ratio: at fixed T, the 2021 paper's own figure for the same thing, 4T for INT8: T
            float32 sampled sets against one INT8 model that stays in cache.
    """

    mean_bytes: int
    std_bytes: int
    sampled_bytes: int
    activation_bytes: int
    pass_bytes: int
    achieved_gb_per_s: float
    copy_gb_per_s: float
    share_of_copy: float
    weight_traffic_ratio: float | None
    paper_ratio: float | None


@dataclass(frozen=True)
class Operations:
    """How much of a divided network runs in the format's own arithmetic; absent where all does.

    An operation is a layer with the norm, sum and ReLU that are part of it, a pool, a function or
    any other operator; what only moves numbers does not count, nor do layers that int8 adds for
    its own ends. Multiply–adds are those of convolutions, linear layers and products of matrices,
    on one image in one pass.

    Attributes:
        segments: parts that run in the format's arithmetic, with float32 between them.
        inside: operations in segments.
        total: all operations.
        inside_multiply_adds: multiply–adds in segments.
        total_multiply_adds: all multiply–adds.
        float_layers: weights of convolutions and linear layers that stay float32.
    """

    segments: int
    inside: int
    total: int
    inside_multiply_adds: int
    total_multiply_adds: int
    float_layers: tuple[str, ...]


@dataclass(frozen=True)
class Fidelity:
    """How much of the posterior one layer's sampled weights keep.

    Attributes:
        layer: name.
        weights: how many.
        std_ratio: rms standard deviation of the sampled weights over rms of the original FP32 σ,
            from the exact law of the integers; None where no weight of the layer has a σ.
        clamped_share: share of draws that end on ±127 by saturation.
        immovable_share: share of weights no draw can move.
        zero_sigma_share: share of weights with quantized σ = 0.
        w2: 2-Wasserstein distance between the quantized Gaussian N(μ̂, σ̂²) and N(μ, σ²), per
            weight, rms, in units of the layer's rms σ; None where no weight has one.
        moment_mean_z: z-score of the empirical mean of the draws against the exact law.
        moment_var_z: z-score of their second moment.
        moment_draws: how many draws the two come from.
        saturation: share of the layer's sampled output activations beyond their range, on
            calibration images; None for logits and floats.
    """

    layer: str
    weights: int
    std_ratio: float | None
    clamped_share: float
    immovable_share: float
    zero_sigma_share: float
    w2: float | None
    moment_mean_z: float
    moment_var_z: float
    moment_draws: int
    saturation: float | None


@dataclass(frozen=True)
class Adaptive:
    """What a cell of adaptive T spent and what that changed; absent from all other cells.

    Values of several seeds are in the order of `quality.seeds`. Both sides of every difference come
    from the same images and the same draws.

    Attributes:
        confidence: at which a prediction counted as settled.
        limit: passes T at most.
        looks: passes after which images could stop, the limit last.
        images: per seed, how many images stopped at each of `looks`.
        mean_passes: per seed, mean over images.
        median_passes: per seed, median over images.
        agreement: per seed, share of images with the decision that they have after `limit` passes.
        differences: metric name to the score at adaptive T less that at T = `limit`, one per seed,
            in the metric's unit; None where it is not defined.
        query_passes: mean of the passes that a timed query computed; a batch goes on until its last
            image is settled, in smaller and smaller batches.
        query_image_passes: mean of the sum of their batch sizes.
        mean_latency_ns: of the timed queries.
    """

    confidence: float
    limit: int
    looks: tuple[int, ...]
    images: tuple[tuple[int, ...], ...]
    mean_passes: tuple[float, ...]
    median_passes: tuple[float, ...]
    agreement: tuple[float, ...]
    differences: dict[str, tuple[float | None, ...]]
    query_passes: float
    query_image_passes: float
    mean_latency_ns: float


@dataclass(frozen=True)
class RunBody:
    """What came out of measuring one cell.

    Attributes:
        dispatched_isa: instruction set the kernels really ran.
        kernels: what computed each layer.
        quality: scores.
        timing: latencies.
        bandwidth: bytes moved.
        size: bytes on disk.
        peak_memory_bytes: largest resident set of the process while the cell's queries ran; torch
            and the other formats of the run are loaded, so formats differ by what they allocate.
        fidelity: per layer; empty for a deterministic twin.
        unavailable: what could not be measured here, by name, with the reason.
        adaptive: passes spent and their effect; None where every image has T passes.
        operations: what of a divided network stays float; None where nothing does.
        paired: the differences to another format; None where the plan did not name that one, and
            where T is adaptive.
        saturation: share of values beyond their range, in [0, 1], by activation that is quantized:
            the input, layers with their sums, pools and joins, on calibration images, in sampled
            passes of the float network, or in its one pass where it is deterministic; empty for
            floats.
        artefact: SHA-256 of the artefact's content; empty in older records.
        references: what took turns with the cell; empty in older records.
    """

    dispatched_isa: str
    kernels: dict[str, str]
    quality: Quality
    timing: Timing
    bandwidth: Bandwidth
    size: Size
    peak_memory_bytes: int
    fidelity: tuple[Fidelity, ...]
    unavailable: dict[str, str] = field(default_factory=dict)
    adaptive: Adaptive | None = None
    operations: Operations | None = None
    paired: Paired | None = None
    saturation: dict[str, float] = field(default_factory=dict)
    artefact: str = ""
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class RunRecord(Record[Cell, RunBody]):
    """One measured cell. Its verdict is never None. Of the largest T it has `ARRAYS` of the first
    seed."""

    verdict: Verdict

    @property
    def query_passes(self) -> float:
        """Passes that a timed query computed; their mean where T is adaptive."""
        spent = self.body.adaptive
        if spent is not None:
            return spent.query_passes
        return self.body.timing.passes or self.subject.mc

    @property
    def of_all_passes(self) -> float:
        """What a timed query's latency is multiplied by to be that of T passes; 1 where it had
        them."""
        timed = self.body.timing.passes
        return self.subject.mc / timed if timed else 1.0

    def raced(self, other: RunRecord) -> bool:
        """Whether the two took turns in one measurement, the only case in which their times may be
        divided: each names the other, under one name of the race. Where a race had none, both must
        be of one machine and code, and of two cells: one cell measured twice is two races."""
        mine, its = self.body.timing, other.body.timing
        together = bool(mine.race) or (
            self.fingerprint == other.fingerprint and self.subject != other.subject
        )
        return (
            together
            and mine.race == its.race
            and other.subject.key in mine.interleaved_with
            and self.subject.key in its.interleaved_with
        )


def for_tables(record: RunRecord) -> RunRecord:
    """The record without what no table shows: samples and curves, nearly all of its size."""
    body = record.body
    timing = replace(body.timing, latency_ns=())
    curves: dict[str, Any] = {"reliability": {}, "accuracy_vs_confidence": {}, "risk_coverage": {}}
    quality = replace(body.quality, **curves)
    return replace(record, body=replace(body, timing=timing, quality=quality))


def check_run(record: RunRecord) -> None:
    """See `run_record_check`, which is not needed to write records."""
    from .run_record_check import check_record

    check_record(record)


RUN_RECORDS: Kind[RunRecord] = Kind(
    name="run",
    title="record",
    record=RunRecord,
    subject=Cell,
    body=RunBody,
    folders=("",),
    judged=True,
    check=check_run,
    before=Layout(newest=3, hashed=3, subject=cell_of, rest=without("cell")),
)
