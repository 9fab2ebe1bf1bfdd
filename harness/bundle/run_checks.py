"""What the record of a run says, computed again from its own samples and from those beside it."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from operator import mul
from statistics import fmean

from ..core.formats import FORMATS, reference_of
from ..core.words import known, plural
from ..machine.cores import binding
from ..measure import audits
from ..measure.clock import Samples
from ..measure.saturation import activations_in_range, saturation_findings
from ..measure.timing import timing
from ..measure.traffic import FP32_WEIGHT_BYTES
from ..metrics.metric import METRICS, Metric
from ..records.run_record import Adaptive, Paired, RunRecord, Timing
from ..stats import samples as statistics
from ..stats.latency import median_ci95
from ..stats.significance import Estimate, half_of_both, luck_of
from ..workload.cell import DETERMINISTIC, MEAN, MEAN_FIELD
from .image_scores import check_images, check_labels
from .ledger import IMPOSSIBLE, Ledger, alike
from .rates import HERTZ, most_per_second, multiply_adds, width
from .verdict_checks import check_verdict

_SAMPLES = "its samples"
#: More queries are not taken (`studies.run.measure`), whatever time they were asked for.
_ENOUGH = 2000
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_NUMBER = re.compile(r"\d+(\.\d+)?")


def check_run(record: RunRecord, ledger: Ledger, beside: Sequence[RunRecord]) -> None:
    """All that can be checked without its artefact.

    Args:
        record: of a run.
        ledger: to be filled.
        beside: the other runs of the bundle.
    """
    _cell(record, ledger)
    if _times(record, ledger):
        _rate(record, ledger)
        _bandwidth(record, ledger)
    _spent(record, ledger)
    _race(record, ledger, beside)
    _size(record, ledger, beside)
    _memory(record, ledger)
    _seeds(record, ledger)
    _scored_alike(record, ledger, beside)
    _paired(record, ledger, beside)
    if record.arrays:
        check_images(record, ledger)
    check_labels(record, ledger, beside)
    _verdict(record, ledger)


def _cell(record: RunRecord, ledger: Ledger) -> None:
    """Choices that others leave no choice, and what the body has of them."""
    cell, body = record.subject, record.body
    format = FORMATS.get(cell.format) if cell.format in FORMATS else None
    if format is not None:
        floats = not format.quantized
        for name in ("range", "observer", "calibration"):
            there = getattr(cell, name) == "-"
            ledger.demand(f"subject.{name}", there == floats, f"is not one of {cell.format}")
        ways = (MEAN_FIELD,) if format.bayesian else (MEAN, DETERMINISTIC)
        ledger.demand("subject.method", cell.method in ways, f"is not that of {cell.format}")
        noise = "-" if not format.bayesian else "normal" if floats else "stream-v1"
        ledger.demand("subject.noise", cell.noise == noise, f"is not that of {cell.format}")
        drawn = bool(body.fidelity)
        ledger.demand("body.fidelity", drawn == format.bayesian, f"is not that of {cell.format}")
        mutual = body.quality.scores.get("mutual_information", ())
        defined = any(one is not None for one in mutual)
        wanted = format.bayesian and (cell.mc > 1 or cell.adaptive)
        ledger.demand("subject.mc", defined <= wanted, "has no mutual information, which is told")
    ledger.demand(
        "subject.stopping",
        cell.adaptive == (body.adaptive is not None),
        "is not what the body is of",
    )
    most = cell.limit or math.inf
    ledger.demand(
        "subject.limit", body.quality.images <= most, f"is less than {body.quality.images:,} images"
    )
    cores = record.fingerprint.cores
    ledger.demand(
        "subject.threads", 1 <= cell.threads <= cores, f"is not of {plural(cores, 'core')}"
    )
    told = max(1, len(body.timing.processes))
    ledger.demand("subject.processes", told == cell.processes, f"is not the {told} that timed")


def _times(record: RunRecord, ledger: Ledger) -> bool:
    """Statistics of the raw samples; whether they are samples at all."""
    held, cell = record.body.timing, record.subject
    counted = bool(held.latency_ns) and min((*held.latency_ns, *held.slices, *held.processes)) > 0
    ledger.demand("body.timing.latency_ns", counted, "holds a query of no time", IMPOSSIBLE)
    ledger.demand(
        "body.timing.passes",
        0 <= held.passes <= cell.mc,
        f"is more than T = {cell.mc}",
        IMPOSSIBLE,
    )
    if not counted or len(held.slices) < 1:
        return False
    again = _adaptive(record) if cell.adaptive else fixed_timing(record)
    for name in ("percentiles_ns", "p50_ci95_ns", "images_per_second", "noise"):
        if cell.adaptive and name == "noise":  # of latency per work, which is not kept
            continue
        ledger.same(f"body.timing.{name}", getattr(held, name), getattr(again, name), _SAMPLES)
    spent = sum(held.latency_ns) / 1e9
    asked = cell.seconds * max(1, len(held.processes))
    ledger.demand(
        "subject.seconds",
        spent >= asked * 0.999 or len(held.latency_ns) >= _ENOUGH,
        f"asks for {asked:g} s of timed queries, and the samples take {spent:.3g}",
    )
    return True


def fixed_timing(record: RunRecord) -> Timing:
    """What its samples say, where T is fixed."""
    held = record.body.timing
    return timing(
        Samples(held.latency_ns, held.slices, held.warmup_queries),
        batch=record.subject.batch,
        inputs=held.inputs,
        passes=held.passes,
        mc=record.subject.mc,
        processes=held.processes,
    )


def _adaptive(record: RunRecord) -> Timing:
    """Throughput goes by the mean, for queries do not take the same time."""
    held = record.body.timing
    found = {n: statistics.percentile(held.latency_ns, p) for n, p in _PERCENTILES.items()}
    if found["p50"] is not None:
        found["p50"] = statistics.median(held.latency_ns, held.slices, held.processes)
    return replace(
        held,
        percentiles_ns=found,
        p50_ci95_ns=median_ci95(held.latency_ns, held.slices, processes=held.processes),
        images_per_second=record.subject.batch * 1e9 / fmean(held.latency_ns),
    )


def _spent(record: RunRecord, ledger: Ledger) -> None:
    """Where T is adaptive: passes from how many images stopped when, and latency from samples."""
    spent, cell, quality = record.body.adaptive, record.subject, record.body.quality
    if spent is None:
        return
    name, looks = "body.adaptive", spent.looks
    ledger.same(f"{name}.confidence", spent.confidence, cell.confidence, "its subject")
    ledger.same(f"{name}.limit", spent.limit, cell.mc, "its subject")
    rising = all(a < b for a, b in zip((0, *looks), looks, strict=False))
    holds = bool(looks) and rising and looks[-1] == spent.limit
    ledger.demand(f"{name}.looks", holds, "do not rise to its limit")
    counted = all(
        len(each) == len(looks) and sum(each) == quality.images and min(each) >= 0
        for each in spent.images
    )
    told = f"are not {quality.images:,} for each seed"
    ledger.demand(f"{name}.images", counted and len(spent.images) == len(quality.seeds), told)
    if holds and counted and quality.images:
        _stopped(record, spent, ledger)
    holds = all(0 <= one <= 1 for one in spent.agreement)
    ledger.demand(f"{name}.agreement", holds, "is not a share", IMPOSSIBLE)
    if record.body.timing.latency_ns:
        again = fmean(map(fmean, _processes(record)))
        ledger.same(f"{name}.mean_latency_ns", spent.mean_latency_ns, again, _SAMPLES)


def _stopped(record: RunRecord, spent: Adaptive, ledger: Ledger) -> None:
    """What follows from how many images stopped at each look."""
    name, looks, batch = "body.adaptive", spent.looks, record.subject.batch
    means = [sum(map(mul, looks, each)) / sum(each) for each in spent.images]
    middles = [_middle(looks, each) for each in spent.images]
    of = "the passes of its images"
    ledger.same(f"{name}.mean_passes", spent.mean_passes, means, of)
    ledger.same(f"{name}.median_passes", spent.median_passes, middles, of)
    least, most = looks[0], looks[-1]
    possible = least <= spent.query_passes <= most
    ledger.demand(f"{name}.query_passes", possible, f"is not from {least} to {most}")
    possible = spent.query_passes <= spent.query_image_passes <= most * batch
    told = f"is less than its passes, or more than {most * batch:,}"
    ledger.demand(f"{name}.query_image_passes", possible, told)


def _middle(looks: Sequence[int], counts: Sequence[int]) -> float:
    """Median of values of which there are so many each: a record may speak of more images than can
    be written down."""
    ends = list(accumulate(counts))
    places = ((ends[-1] - 1) // 2, ends[-1] // 2)
    return fmean(looks[bisect_right(ends, place)] for place in places)


def _processes(record: RunRecord) -> Iterator[Sequence[int]]:
    """The samples of each process."""
    held = record.body.timing
    slices = iter(held.slices)
    at = 0
    for count in held.processes or (len(held.slices),):
        end = at + sum(next(slices) for _ in range(count))
        yield held.latency_ns[at:end]
        at = end


def _memory(record: RunRecord, ledger: Ledger) -> None:
    """A process holds its weights, and no more than its machine has."""
    held, made = record.body.peak_memory_bytes, record.fingerprint
    least = record.body.size.weight_bytes
    told = f"is less than the {least:,} bytes of its weights"
    ledger.demand("body.peak_memory_bytes", held >= least, told, IMPOSSIBLE)
    told = f"is more than the {made.memory_bytes:,} bytes of its machine"
    fits = not made.memory_bytes or held <= made.memory_bytes
    ledger.demand("body.peak_memory_bytes", fits, told, IMPOSSIBLE)


def _scored_alike(record: RunRecord, ledger: Ledger, beside: Sequence[RunRecord]) -> None:
    """One artefact scores the same images the same, whatever its batch and threads are; and no two
    seeds draw what gives all images the same predictions."""
    cell, body = record.subject, record.body
    format = FORMATS.get(cell.format) if cell.format in FORMATS else None
    exact = format is not None and format.quantized and body.operations is None
    for one in beside:
        its = one.subject
        if body.fidelity and record.arrays and its.seed != cell.seed:
            told = f"is {cell.seed}, and its images are those of seed {its.seed}"
            twice = one.arrays == record.arrays
            ledger.demand("subject.seed", not twice, f"{told}: a seed was used twice", IMPOSSIBLE)
        same = body.artefact == one.body.artefact != "" and one.fingerprint == record.fingerprint
        if exact and same and all(getattr(cell, n) == getattr(its, n) for n in _SCORED):
            told = f"are not those of {its.key}, which is the same artefact on the same images"
            holds = alike(body.quality.scores, one.body.quality.scores)
            ledger.demand("body.quality.scores", holds, told)


#: Fields of a cell that scores of an artefact depend on.
_SCORED = (
    "workload", "workload_version", "split", "corruption", "severity", "limit", "shifted", "data",
    "mc", "seed", "seeds", "stopping",
)  # fmt: skip


def _rate(record: RunRecord, ledger: Ledger) -> None:
    """No more multiply–adds per second than cores × 5 GHz × the instruction's width; what a record
    itself says of its operations counts where nobody else knows them."""
    cell, made = record.subject, record.fingerprint
    told = record.body.operations
    least = record.body.size.weights  # each is used once at least
    each = multiply_adds(cell.workload) or max(least, told.total_multiply_adds if told else 0)
    passes = 1.0 if cell.adaptive else record.query_passes
    fastest = min(record.body.timing.latency_ns)
    rate, most = each * cell.batch * passes * 1e9 / fastest, most_per_second(cell.format, made)
    ledger.demand(
        "body.timing.latency_ns",
        rate <= most,
        f"holds a query of {rate:.3g} multiply–adds per second, and {plural(made.cores, 'core')} "
        f"at {HERTZ / 1e9:g} GHz with {width(cell.format, made)} per cycle do {most:.3g} at most",
        IMPOSSIBLE,
    )


def _bandwidth(record: RunRecord, ledger: Ledger) -> None:
    moved, cell = record.body.bandwidth, record.subject
    weights = moved.mean_bytes + moved.std_bytes + moved.sampled_bytes
    total, parts = weights + moved.activation_bytes, "its parts"
    ledger.same("body.bandwidth.pass_bytes", moved.pass_bytes, total, parts)
    share = moved.achieved_gb_per_s / moved.copy_gb_per_s if moved.copy_gb_per_s else None
    ledger.same("body.bandwidth.share_of_copy", moved.share_of_copy, share, parts)
    format = FORMATS.get(cell.format) if cell.format in FORMATS else None
    if format is not None:
        ratio = FP32_WEIGHT_BYTES * record.body.size.weights / weights if weights else None
        ratio = ratio if format.bayesian else None
        drawn = format.quantized and format.bayesian and not cell.adaptive
        paper = 4.0 * cell.mc if drawn and record.body.fidelity else None
        ledger.same("body.bandwidth.weight_traffic_ratio", moved.weight_traffic_ratio, ratio, parts)
        ledger.same("body.bandwidth.paper_ratio", moved.paper_ratio, paper, "its T")
    if not cell.adaptive:
        speed = record.body.timing.images_per_second
        achieved = moved.pass_bytes * cell.mc * speed / cell.batch / 1e9
        ledger.same("body.bandwidth.achieved_gb_per_s", moved.achieved_gb_per_s, achieved, _SAMPLES)


def _race(record: RunRecord, ledger: Ledger, beside: Sequence[RunRecord]) -> None:
    """Those that are said to have taken turns name one another, on one machine."""
    held, key = record.body.timing, record.subject.key
    ledger.demand(
        "body.timing.interleaved_with", key in held.interleaved_with, "does not name its own cell"
    )
    mates = [one for one in beside if held.race and one.body.timing.race == held.race]
    for one in mates:
        if one.subject.key not in held.interleaved_with:
            told = f"does not name {one.subject.key}, which names the same race"
            ledger.demand("body.timing.interleaved_with", False, told)
        if one.fingerprint != record.fingerprint:
            told = f"is that of {one.subject.key} too, which was made elsewhere"
            ledger.demand("body.timing.race", False, told, IMPOSSIBLE)
        told = f"are not those of {one.subject.key}, with which they took turns"
        ledger.demand("body.references", one.body.references == record.body.references, told)
    named = {one.subject.key: one for one in beside if one.fingerprint == record.fingerprint}
    for other in held.interleaved_with:
        if other in named and named[other].body.timing.race != held.race:
            told = f"names {other}, which was timed in another race"
            ledger.demand("body.timing.interleaved_with", False, told)
    for one in beside:
        if len(held.latency_ns) > 1 and one.body.timing.latency_ns == held.latency_ns:
            told = f"is that of {one.subject.key} to the nanosecond"
            ledger.demand("body.timing.latency_ns", False, told, IMPOSSIBLE)


def _size(record: RunRecord, ledger: Ledger, beside: Sequence[RunRecord]) -> None:
    size, cell = record.body.size, record.subject
    parts = size.weight_bytes + size.scale_bytes + size.bias_bytes
    parts += size.graph_bytes + size.constant_bytes + size.header_bytes
    ledger.same("body.size.file_bytes", size.file_bytes, parts, "the sum of its parts")
    if cell.format in FORMATS:
        bits = FORMATS.get(cell.format).weight_bits
        ledger.same("body.size.ratio_weights", size.ratio_weights, 64 / bits, "its format")
    base = _alike(record, beside, "FP32", ("posterior",))
    if size.ratio_file is not None and base is not None:
        ratio = base.body.size.file_bytes / size.file_bytes
        ledger.same("body.size.ratio_file", size.ratio_file, ratio, "the file of FP32")
    for layer in record.body.fidelity:
        shares = [layer.clamped_share, layer.immovable_share, layer.zero_sigma_share]
        shares.append(layer.saturation or 0.0)
        holds = all(0 <= one <= 1 for one in shares) and 0 < layer.weights <= size.weights
        told = f"has shares or weights that layer {layer.layer} cannot have"
        ledger.demand("body.fidelity", holds, told, IMPOSSIBLE)


def _alike(
    record: RunRecord, beside: Sequence[RunRecord], format: str, more: Sequence[str] = ()
) -> RunRecord | None:
    """One of another format of the same run, at the same T or, where that draws nothing, at 1."""
    drawn = format in FORMATS and FORMATS.get(format).bayesian
    mine = record.subject
    shared = ("workload", "workload_version", "split", "limit", "batch", "seed", *more)
    passes = mine.mc if drawn and record.body.fidelity else None if drawn else 1
    for one in (record, *beside):
        its = one.subject
        if (
            (its.format, its.stopping) == (format, "fixed")
            and passes in (its.mc, None)
            and one.fingerprint == record.fingerprint
            and all(getattr(mine, name) == getattr(its, name) for name in shared)
        ):
            return one
    return None


def _seeds(record: RunRecord, ledger: Ledger) -> None:
    """Each once, from the cell's on; no two with the same scores to the last digit."""
    cell, quality = record.subject, record.body.quality
    drawn = cell.format in FORMATS and FORMATS.get(cell.format).bayesian
    stated = min(cell.seeds, len(quality.seeds) + 1)  # one too many tells as much as all of them
    expected = tuple(range(cell.seed, cell.seed + stated))
    if len(set(quality.seeds)) < len(quality.seeds):
        ledger.demand("body.quality.seeds", False, "holds a seed twice", IMPOSSIBLE)
    ledger.same("body.quality.seeds", quality.seeds, expected, "the cell's first and their number")
    floors = len(quality.ece_floor_percent)
    ledger.demand(
        "body.quality.ece_floor_percent",
        floors == len(quality.seeds),
        "does not have one of each seed",
    )
    for name, values in quality.scores.items():
        if METRICS.built_in(name) is not None and name in _BOUNDS:
            low, high = _BOUNDS[name]
            holds = all(low <= value <= high for value in known(values))
            told = f"is not from {low:g} to {high:g}"
            ledger.demand(f"body.quality.scores.{name}", holds, told, IMPOSSIBLE)
    right, wrong = (quality.scores.get(name, ()) for name in ("accuracy", "error"))
    if right and len(right) == len(wrong) and None not in right:
        rest = [100.0 - value for value in known(right)]
        ledger.same("body.quality.scores.error", wrong, rest, "its accuracies")
    told_twice = [quality.scores[name] for name in ("nll", "entropy") if name in quality.scores]
    pairs = list(zip(*told_twice, strict=False))
    if drawn and len(set(pairs)) < len(pairs):
        told = "is the same for two seeds to the last digit: a seed was used twice"
        ledger.demand("body.quality.scores.nll", False, told, IMPOSSIBLE)


_BOUNDS = {
    "accuracy": (0.0, 100.0),
    "error": (0.0, 100.0),
    "ece": (0.0, 100.0),
    "uce": (0.0, 100.0),
    "nll": (0.0, 1e9),
    "brier": (0.0, 2.0),
    "entropy": (0.0, 1e3),
    "mutual_information": (0.0, 1e3),
    "aurc": (0.0, 1.0),
    "eaurc": (0.0, 1.0),
}


def _paired(record: RunRecord, ledger: Ledger, beside: Sequence[RunRecord]) -> None:
    """A difference is that of the two formats' scores, seeds averaged, and lies in the middle of
    its interval unless that is cut off."""
    paired = record.body.paired
    if paired is None:
        return
    wanted = reference_of(record.subject.format) if record.subject.format in FORMATS else None
    ledger.same("body.paired.reference", paired.reference, wanted, "its format")
    quality = record.body.quality
    ledger.same("body.paired.units", paired.units, quality.units, "the images scored")
    other = _alike(record, beside, paired.reference)
    seeds = (len(quality.seeds), len(other.body.quality.seeds) if other else paired.seeds[1])
    ledger.same("body.paired.seeds", paired.seeds, seeds, "the seeds of both")
    for name, metric in ((n, METRICS.built_in(n)) for n in METRICS.names()):
        if metric is None or metric.field not in paired.differences:
            continue
        value, ends = paired.differences[metric.field], paired.intervals.get(metric.field)
        if other is not None:
            sides = [one.body.quality.scores.get(name, ()) for one in (record, other)]
            if all(sides) and None not in (*sides[0], *sides[1]):
                again = fmean(known(sides[0])) - fmean(known(sides[1]))
                field = f"body.paired.differences.{metric.field}"
                ledger.same(field, value, again, "both scores", 1e-6)
        if ends is not None:
            _interval(metric, value, ends, paired, ledger)


def _interval(
    metric: Metric, value: float, ends: tuple[float, float], paired: Paired, ledger: Ledger
) -> None:
    """Around its difference, and no narrower than what is said of the draw makes it."""
    most, field = metric.most or math.inf, f"body.paired.intervals.{metric.field}"
    if min(ends) <= -most or max(ends) >= most:  # it is cut off
        return
    middle = math.isclose(sum(ends) / 2, value, rel_tol=1e-6, abs_tol=1e-9)
    ledger.demand(field, middle, "is not around its difference")
    luck = luck_of(paired.luck.get(metric.field, 0.0), paired.seeds)
    least = half_of_both(Estimate(0.0, 0.0, luck.freedom), luck)
    wide = (max(ends) - min(ends)) / 2 >= (1 - 1e-6) * least
    ledger.demand(field, wide, "is narrower than the luck of the draw alone makes it")


def _verdict(record: RunRecord, ledger: Ledger) -> None:
    """Audits that a record allows, judged again, and findings that its numbers owe."""
    stored, body, cell = record.verdict, record.body, record.subject
    found = {"moments": audits.moments(body.fidelity)}
    if not cell.adaptive and body.timing.latency_ns:
        found["noise"] = audits.noise_bounded(body.timing.noise)
    shares = body.saturation
    if shares or not (cell.format in FORMATS and FORMATS.get(cell.format).quantized):
        found["activations in range"] = activations_in_range(shares)
    if not binding(record.fingerprint.environment):
        found["cores free"] = audits.cores_free((), None)
    check_verdict(stored, found, ledger)
    said = set(map(_worded, stored.findings))
    for line in owed(record):
        ledger.demand("verdict.findings", _worded(line) in said, f"do not say “{line}”")


def _worded(finding: str) -> str:
    """Without its numbers, which are rounded."""
    name, _, rest = finding.partition(": ")
    return f"{name}: {_NUMBER.sub('', rest)}"


def owed(record: RunRecord) -> tuple[str, ...]:
    """Findings that follow from a record's own numbers: layers that lost their posterior, and
    activations that their range cuts off."""
    cell, body = record.subject, record.body
    return (
        *audits.posterior_findings(body.fidelity),
        *saturation_findings(body.saturation, cell.calibration, cell.observer),
    )
