"""The record: what came out of measuring one cell, with all it takes to doubt or repeat it.

A record is one JSON file. These classes are its schema: `docs/record.md` is generated from the
docstrings below (`python -m sigmabench.harness.records.run_record > docs/record.md`), and a file
read back is validated against them. Units are in the field names. `None` means not defined or not
measurable here; the reason, where one is needed, is in `unavailable`.
"""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import MISSING, dataclass, field, fields

from ..machine.fingerprint import Fingerprint, Machine
from ..quantize.size import Size
from ..workload.cell import Cell
from .verdict import Judgement, Verdict

#: 2: cells of adaptive T, which a reader of 1 would take for fixed ones. 3: a verdict in three.
SCHEMA_VERSION = 3


@dataclass(frozen=True)
class Quality:
    """Scores of the mean prediction on the cell's split; one value a seed, in order of the seeds.

    Attributes:
        images: how many were scored.
        seeds: seeds of the MC draw.
        scores: metric name to values, one a seed; None where a metric is not defined (mutual
            information at T = 1).
        ece_floor_percent: ECE that a perfectly calibrated model with these confidences and this
            number of images would show, per seed.
        reliability: of the first seed: for each confidence bin its `count`, mean `confidence` and
            `accuracy`, both in [0, 1], None where the bin is empty.
        accuracy_vs_confidence: of the first seed: `threshold`, `accuracy` of the examples at least
            that confident (None where there are none), and their `share`, all in [0, 1].
        risk_coverage: of the first seed, at up to 101 coverages: `coverage` and `risk`, in [0, 1].
        skipped: files of images that cannot be read and were left out.
        units: independent images among them (`Paired.units`); None in records of before.
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
        intervals: 95 % confidence intervals of the differences, of the images: what other images of
            the same kind might have shown. None where all images have one source.
        units: independent images: sources, where what the images were cut from is known. None in
            records of before.
    """

    reference: str
    seeds: tuple[int, int]
    differences: dict[str, float]
    intervals: dict[str, tuple[float, float] | None]
    units: int | None = None


@dataclass(frozen=True)
class Timing:
    """Latency of queries. A query is one batch: float32 images in, T passes with fresh weights
    (quantizing the input, sampling, computing), float32 logits of all passes out. Loading images
    and reducing logits to scores is outside. A query of adaptive T ends in decisions and mean
    probabilities, and finding out when to stop is inside.

    Attributes:
        latency_ns: every timed query, in order.
        slices: how many queries each slice held; slices of the cells named in `interleaved_with`
            took turns.
        warmup_queries: queries run before and not counted.
        inputs: different input batches the queries went round.
        interleaved_with: keys of the cells measured in turns with this one, in order.
        percentiles_ns: p50, p90, p99; None from fewer than 10 / (1 - p) samples.
        p50_ci95_ns: 95 % confidence interval of the median, by bootstrap over slices.
        images_per_second: batch over median latency; over mean latency where T is adaptive.
        noise: run-to-run noise: robust standard deviation of the slices' medians over their median;
            where T is adaptive, of latency per pass and image.
        race: name of the one measurement in turns, the same for all its cells and no other's;
            empty in records made before it had one.
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


@dataclass(frozen=True)
class Bandwidth:
    """Bytes moved, counted from what runs (not measured), against what the machine can copy.

    Attributes:
        mean_bytes: μ read in a pass.
        std_bytes: σ read in a pass, as it lies in memory.
        sampled_bytes: sampled weights written and read in a pass.
        activation_bytes: activations written and read in a pass, whole batch.
        pass_bytes: all of it.
        achieved_gb_per_s: pass_bytes x T over the median latency (10^9 bytes); where T is adaptive,
            what the timed queries moved over what they took.
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
        differences: metric name to the score at adaptive T less that at T = `limit`, one a seed,
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
class Record:
    """One measured cell.

    Attributes:
        schema_version: of this layout; a reader refuses newer ones.
        cell: what was measured.
        fingerprint: where.
        command: the command line that made it.
        created: when, UTC, ISO 8601.
        dispatched_isa: instruction set the kernels really ran.
        kernels: what computed each layer.
        quality: scores.
        timing: latencies.
        bandwidth: bytes moved.
        size: bytes on disk.
        peak_memory_bytes: largest resident set of the process while the cell's queries ran; torch
            and the other formats of the run are loaded, so formats differ by what they allocate.
        fidelity: per layer; empty for a deterministic twin.
        verdict: which of its numbers to believe.
        unavailable: what could not be measured here, by name, with the reason.
        adaptive: passes spent and their effect; None where every image has T passes.
        operations: what of a divided network stays float; None where nothing does.
        paired: the differences to another format; None where the plan did not name that one, and
            where T is adaptive.
        saturation: share of values beyond their range, in [0, 1], by activation that is quantized:
            the input, layers with their sums, pools and joins, on calibration images, in sampled
            passes of the float network, or in its one pass where it is deterministic; empty for
            floats.
    """

    cell: Cell
    fingerprint: Fingerprint
    command: str
    created: str
    dispatched_isa: str
    kernels: dict[str, str]
    quality: Quality
    timing: Timing
    bandwidth: Bandwidth
    size: Size
    peak_memory_bytes: int
    fidelity: tuple[Fidelity, ...]
    verdict: Verdict
    unavailable: dict[str, str] = field(default_factory=dict)
    adaptive: Adaptive | None = None
    operations: Operations | None = None
    paired: Paired | None = None
    saturation: dict[str, float] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def raced(self, other: Record) -> bool:
        """Whether the two took turns in one measurement, the only case in which their times may be
        divided: each names the other, under one name of the race. Where a race had none, both must
        be of one machine and code, and of two cells: one cell measured twice is two races."""
        mine, its = self.timing, other.timing
        together = bool(mine.race) or (
            self.fingerprint == other.fingerprint and self.cell != other.cell
        )
        return (
            together
            and mine.race == its.race
            and other.cell.key in mine.interleaved_with
            and self.cell.key in its.interleaved_with
        )


def to_markdown() -> str:
    """`docs/record.md`: each class of the schema as a table, from its docstring and annotations."""
    later = (item for item in fields(Cell) if item.default is not MISSING)
    defaults = ", ".join(f"`{item.name}` {json.dumps(item.default)}" for item in later)
    sections = [_PREAMBLE.format(version=SCHEMA_VERSION, later=defaults)]
    for schema in _SCHEMA:
        summary, documented = _documentation(schema)
        rows = [
            f"| `{item.name}` | `{_type(item.type)}` | {documented[item.name]} |"
            for item in fields(schema)
        ]
        table = "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])
        sections.append(f"## {schema.__name__}\n\n{summary}\n\n{table}")
    return "\n\n".join(sections) + "\n"


_SCHEMA = (
    Record,
    Cell,
    Fingerprint,
    Machine,
    Quality,
    Paired,
    Timing,
    Bandwidth,
    Size,
    Operations,
    Fidelity,
    Adaptive,
    Verdict,
    Judgement,
)

_PREAMBLE = """# The record, field by field

Made by `python -m sigmabench.harness.records.run_record > docs/record.md`; schema version
{version}. One JSON file a cell: `<results>/<workload>/<fingerprint hash>/<cell key>.json`. The
fingerprint hash is the first 8 hex digits of the SHA-256 of what decides whether a record is
current: machine, cores and quota, packages but sigmabench, environment, `computing` (of records
without that field, of all fields that are not as by default); the cell key the first 16 of that of
all fields of `cell` that are not as by default:
{later}.
Units are in the field names. `null` (None in Python) means not defined or not measurable here; the
reason, where one is needed, is in `unavailable`. NaN and infinity do not occur, nor does a number
too large for a float64.

Last in a file stands `sha256`, the hash of all else in it as JSON without spaces, keys sorted. A
file that was changed since, or that stands under another record's name, is refused; files from
before have no hash and are believed as they are; one of version 3 without it is refused."""


def _documentation(schema: type) -> tuple[str, dict[str, str]]:
    """A class docstring as its text and the entries of its `Attributes`."""
    text, _, attributes = inspect.cleandoc(schema.__doc__ or "").partition("\n\nAttributes:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", attributes, re.M)
    return " ".join(text.split()), {name: " ".join(words.split()) for name, words in entries}


def _type(annotation: object) -> str:
    """An annotation as it stands in JSON."""
    text = str(annotation).replace("None", "null").replace(", ...", "").replace("|", r"\|")
    return re.sub(r"tuple\[", "list[", text)


if __name__ == "__main__":
    print(to_markdown(), end="")
