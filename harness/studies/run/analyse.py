"""What the records of a run add up to: what quantization changed in quality, speed and size.

All of it is of the largest T that all images have (adaptive T only where there is no other), and
of the smallest and the largest batch.

Quality: the differences image by image that records hold (`Paired`), over all formats and metrics
together after Holm. Their standard errors are those of the stored intervals, which are Student's.

Speed: the ratio of the median times of a pass, formed within a race and nowhere else, with the
interval of `stats.latency`: that between processes where there are several, else that of turns.
That another format is faster is said where it is shown, after Bonferroni over those that could be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...core.formats import FORMATS
from ...data.units import ALPHA, too_few
from ...metrics.metric import Metric, compared_metrics
from ...quantize.size import Size
from ...records.run_record import Paired, RunRecord
from ...records.verdict import INVALID, QUALITY, SPEED
from ...report.rows import (
    RecordRow,
    Section,
    deterministic,
    format_order,
    sections,
)
from ...stats.latency import Ratio, log_median_ratio
from ...stats.significance import Estimate, half_of_both, holm, luck_of, p_of_both
from ...workload.plan import Plan

FP32, TWIN = "FP32", "DNN_FP32"


@dataclass(frozen=True)
class FormatRows:
    """The records of one format, or one variant of it, that the table shows.

    Attributes:
        label: as in tables.
        rows: one a batch, by its size.
    """

    label: str
    rows: dict[int, RecordRow]

    @property
    def first(self) -> RecordRow:
        """At the smallest batch."""
        return self.rows[min(self.rows)]

    @property
    def format(self) -> str:
        """Its name."""
        return self.first.record.subject.format


@dataclass(frozen=True)
class ScoreDifference:
    """What a format scores more or less than the one it is compared with.

    Attributes:
        label: of the format.
        metric: by which.
        harm: the difference, positive where the format is worse.
        low: end of its 95 % interval.
        high: the other end.
        shown: a difference from 0 is shown, after Holm over all that are compared.
    """

    label: str
    metric: Metric
    harm: float
    low: float
    high: float
    shown: bool = False

    @property
    def excludes_0(self) -> bool:
        """Whether its interval alone would show it."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class QualityFinding:
    """Differences in quality.

    Attributes:
        reference: what formats are compared with.
        images: on how many.
        differences: by format, then metric.
        corrected: whether Holm could be applied; records from before independent images were
            counted do not say how many their intervals come from.
        invalid: formats whose quality is marked invalid and that are left out.
        reason: why nothing is compared; empty where something is.
    """

    reference: str
    images: int = 0
    differences: tuple[ScoreDifference, ...] = ()
    corrected: bool = True
    invalid: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Lead:
    """A format that is shown to be faster than another.

    Attributes:
        label: of the format.
        ratio: how many times as fast as the baseline.
    """

    label: str
    ratio: Ratio


@dataclass(frozen=True)
class SpeedFinding:
    """Speed at one batch.

    Attributes:
        batch: images that a query holds.
        ratio: the baseline's time over the format's; None where none may be formed.
        processes: that both were timed in.
        fastest: another format that is shown to be the faster one.
        reason: why there is no ratio; empty where there is one.
    """

    batch: int
    ratio: Ratio | None = None
    processes: int = 1
    fastest: Lead | None = None
    reason: str = ""


@dataclass(frozen=True)
class SizeFinding:
    """The file of one format.

    Attributes:
        label: of the format.
        file_bytes: of the file.
        ratio: the baseline's file over it; None without one.
        weights_ratio: the same of packed μ and σ alone.
        bits: a weight of the baseline and of the format, if the latter ratio is theirs to the byte.
    """

    label: str
    file_bytes: int
    ratio: float | None
    weights_ratio: float | None
    bits: tuple[int, int] | None = None


@dataclass(frozen=True)
class RunFindings:
    """What is shown of one table's records in one screen.

    Attributes:
        section: of all records.
        mc: T of what is shown.
        adaptive: whether it is the most that an image had.
        batches: the smallest and the largest, or the only one.
        formats: in the order of tables.
        subject: the format that conclusions are about; None where there is none to compare.
        base: the format that it is compared with.
        quality: differences to it.
        speed: at each of the batches; empty without a subject.
        absent: formats and variants without records of that T.
        base_bytes: the baseline's file; None where it was not measured.
        sizes: files of the subject and of the smallest; of any format without a subject.
    """

    section: Section
    mc: int
    adaptive: bool
    batches: tuple[int, ...]
    formats: tuple[FormatRows, ...]
    subject: str | None
    base: str
    quality: QualityFinding
    speed: tuple[SpeedFinding, ...]
    absent: tuple[str, ...]
    base_bytes: int | None
    sizes: tuple[SizeFinding, ...]


def analyse(
    records: Sequence[RunRecord], plan: Plan | None = None
) -> list[tuple[RunFindings, ...]]:
    """The records, from one machine, to be shown in one document: findings for each table."""
    return [tuple(map(_findings, sections(records)))]


def _findings(section: Section) -> RunFindings:
    mc, adaptive, shown = _shown(section)
    batches = sorted({row.record.subject.batch for row in shown})
    formats = _by_format(shown, batches[0], batches[-1])
    subject, base = _compared([one.format for one in formats])
    return RunFindings(
        section,
        mc,
        adaptive,
        tuple(dict.fromkeys((batches[0], batches[-1]))),
        formats,
        subject,
        base,
        quality_of(formats, base),
        tuple(
            speed_of([row for one in formats if (row := one.rows.get(batch))], subject, base, batch)
            for batch in dict.fromkeys((batches[0], batches[-1]))
            if subject is not None
        ),
        tuple(sorted({row.label for row in section.rows} - {one.label for one in formats})),
        *sizes_of(formats, subject, base),
    )


def _shown(section: Section) -> tuple[int, bool, list[RecordRow]]:
    """T, whether it is adaptive, and the rows that have it, with the deterministic ones."""
    drawn = [r.record.subject for r in section.rows if not deterministic(r.record.subject.format)]
    fixed = [cell for cell in drawn if not cell.adaptive]
    adaptive = bool(drawn) and not fixed
    mc = max((cell.mc for cell in fixed or drawn), default=1)
    rows = [
        row
        for row in section.rows
        if deterministic(row.record.subject.format)
        or (row.record.subject.mc, row.record.subject.adaptive) == (mc, adaptive)
    ]
    return mc, adaptive, rows


def _by_format(rows: Iterable[RecordRow], *batches: int) -> tuple[FormatRows, ...]:
    found: dict[str, dict[int, RecordRow]] = {}
    for row in rows:
        if row.record.subject.batch in batches:
            found.setdefault(row.label, {})[row.record.subject.batch] = row
    formats = [FormatRows(label, of) for label, of in found.items()]
    return tuple(sorted(formats, key=lambda one: (format_order(one.format), one.label)))


def _compared(formats: Sequence[str]) -> tuple[str | None, str]:
    """The format that conclusions are about, and its baseline: INT8, else the first quantized one,
    else any other, with FP32; deterministic ones among themselves where there are no others."""
    drawn = [one for one in formats if not deterministic(one) and one != FP32]
    quantized = [one for one in drawn if one in FORMATS and FORMATS.get(one).quantized]
    if drawn:
        return (quantized or drawn)[0], FP32
    twins = [one for one in formats if deterministic(one) and one != TWIN]
    return (twins[0], TWIN) if twins else (None, FP32 if FP32 in formats else TWIN)


def quality_of(formats: Sequence[FormatRows], base: str) -> QualityFinding:
    """Of the formats that are compared with `base`, at the smallest batch."""
    compared = {
        one.label: (one.first.record, paired)
        for one in formats
        if one.format != base
        and (paired := one.first.record.body.paired) is not None
        and paired.reference == base
    }
    if not compared:
        return QualityFinding(base, reason=_why_not_compared(formats, base))
    if any(one.format == base and _invalid(one.first, QUALITY) for one in formats):
        return QualityFinding(base, reason=f"the quality of {base} is marked invalid")
    invalid = tuple(one for one, (r, _) in compared.items() if r.verdict.of(QUALITY) == INVALID)
    valid = {label: both for label, both in compared.items() if label not in invalid}
    images = max((record.body.quality.images for record, _ in valid.values()), default=0)
    units = [images if paired.units is None else paired.units for _, paired in valid.values()]
    reason = too_few(min(units)) if valid else "no other format's quality is valid"
    if reason:
        return QualityFinding(base, images, invalid=invalid, reason=reason)
    found = [each for label, (_, paired) in valid.items() for each in _differences(label, paired)]
    p_values = [p for _, p in found if p is not None]
    corrected = len(p_values) == len(found)
    adjusted = holm(p_values) if corrected else [1.0] * len(found)
    differences = tuple(
        replace(one, shown=p <= ALPHA) for (one, _), p in zip(found, adjusted, strict=True)
    )
    return QualityFinding(base, images, differences, corrected, invalid)


def _why_not_compared(formats: Sequence[FormatRows], base: str) -> str:
    names = {one.format for one in formats if deterministic(one.format) == deterministic(base)}
    if names <= {base}:
        return "there is no other format to compare"
    if base not in names:
        return f"{base} was not measured"
    if any(one.first.record.subject.adaptive for one in formats):
        return "no differences image by image are kept where T is adaptive"
    return (
        "these records are from before differences image by image were kept; --policy always "
        "measures again"
    )


def _differences(label: str, paired: Paired) -> Iterator[tuple[ScoreDifference, float | None]]:
    """Those with an interval, each with the p-value of "there is none" where that is known."""
    for metric in compared_metrics():
        value, interval = paired.differences.get(metric.field), paired.intervals.get(metric.field)
        if value is None or interval is None:  # a record of before, or images of one source
            continue
        low, high = sorted(metric.harm * end for end in interval)
        p = None
        if paired.units is not None:
            luck = luck_of(paired.luck.get(metric.field, 0.0), paired.seeds)
            p = _p_value(value, interval, luck, paired.units - 1)
        yield ScoreDifference(label, metric, metric.harm * value, low, high), p


def _p_value(value: float, interval: tuple[float, float], luck: Estimate, freedom: int) -> float:
    """Of a difference of 0. An end of the interval that lies at the metric's most is cut off."""
    half = max(interval[1] - value, value - interval[0])
    of_images = math.sqrt(max(0.0, half**2 - half_of_both(Estimate(0.0, 0.0, 1), luck) ** 2))
    error = of_images / Estimate(0.0, 1.0, freedom).interval()[1]
    return p_of_both(value, Estimate(0.0, error, freedom), luck)


def speed_of(rows: Sequence[RecordRow], subject: str, base: str, batch: int) -> SpeedFinding:
    """Of one batch's rows."""
    mine, bases = ([r for r in rows if r.record.subject.format == one] for one in (subject, base))
    for name, found in ((base, bases), (subject, mine)):
        if not found:
            return SpeedFinding(batch, reason=f"{name} was not measured")
        if all(_invalid(row, SPEED) for row in found):
            return SpeedFinding(batch, reason=f"the speed of {name} is marked invalid")
    pairs = (
        (a, b)
        for a in bases
        for b in mine
        if not _invalid(a, SPEED) and not _invalid(b, SPEED) and a.record.raced(b.record)
    )
    first = next(pairs, None)
    if first is None:
        return SpeedFinding(batch, reason="the two were not timed in one race")
    reference, own = first
    if own.record.body.adaptive is not None:
        return SpeedFinding(batch, reason="no interval is computed where T is adaptive")
    ratio = log_pass_ratio(reference.record, own.record)
    if ratio is None:
        return SpeedFinding(batch, reason="so few queries have no interval")
    processes = max(1, len(own.record.body.timing.processes))
    return SpeedFinding(batch, _ratio(ratio), processes, _lead(rows, reference, own))


def _lead(rows: Sequence[RecordRow], reference: RecordRow, own: RecordRow) -> Lead | None:
    """The fastest of the race, if it is shown to be faster than `own` and is not the baseline."""
    kind = deterministic(own.record.subject.format)
    others = [
        row
        for row in rows
        if row is not own
        and deterministic(row.record.subject.format) == kind
        and not _invalid(row, SPEED)
        and row.record.raced(reference.record)
    ]
    best = min(others, key=_pass_ns, default=reference)
    same = best.record.subject.format == reference.record.subject.format
    if same or _pass_ns(best) >= _pass_ns(own):
        return None
    ahead = log_pass_ratio(own.record, best.record)
    if ahead is None or ahead.p_value(0.0) * len(others) > ALPHA:
        return None
    over_base = log_pass_ratio(reference.record, best.record)
    return None if over_base is None else Lead(best.label, _ratio(over_base))


def _pass_ns(row: RecordRow) -> float:
    return math.inf if row.pass_ns is None else row.pass_ns


def log_pass_ratio(slow: RunRecord, fast: RunRecord) -> Estimate | None:
    """Logarithm of the ratio of the median times of a pass; None from a single slice, and of times
    that no race gives."""
    a, b = slow.body.timing, fast.body.timing
    counts = (*a.latency_ns, *a.slices, *a.processes, *b.latency_ns, *b.slices, *b.processes)
    if min(counts, default=0) < 1 or len(a.processes) != len(b.processes):
        return None
    found = log_median_ratio(
        (a.latency_ns, b.latency_ns),
        (a.slices, b.slices),
        np.random.default_rng(0),
        processes=(a.processes, b.processes),
    )
    if found is None:
        return None
    passes = math.log(fast.query_passes / slow.query_passes)
    return replace(found, value=found.value + passes)


def _ratio(found: Estimate) -> Ratio:
    return Ratio(math.exp(found.value), *map(math.exp, found.interval()))


def _invalid(row: RecordRow, kind: str) -> bool:
    return row.record.verdict.of(kind) == INVALID


def sizes_of(
    formats: Sequence[FormatRows], subject: str | None, base: str
) -> tuple[int | None, tuple[SizeFinding, ...]]:
    """Bytes of the baseline's file, and the files of the subject and of the smallest of its kind;
    without a subject that of the first format."""
    reference = next((one for one in formats if one.format == base), None)
    own = next((one for one in formats if one.format == subject), formats[0])
    kind = deterministic(own.format)
    alike = [one for one in formats if one.format != base and deterministic(one.format) == kind]
    smallest = min(alike, key=lambda one: _size(one).file_bytes, default=own)
    shown = {one.label: one for one in ([own] if subject is None else [own, smallest])}
    whole = None if reference is None else _size(reference).file_bytes
    return whole, tuple(_size_finding(one, reference, base) for one in shown.values())


def _size(one: FormatRows) -> Size:
    return one.first.record.body.size


def _size_finding(one: FormatRows, reference: FormatRows | None, base: str) -> SizeFinding:
    mine = _size(one)
    if reference is None:
        ratios = (mine.ratio_file, mine.ratio_weights) if base == FP32 else (None, None)
        return SizeFinding(one.label, mine.file_bytes, *ratios)
    whole = _size(reference)
    file = whole.file_bytes / mine.file_bytes
    if whole.weights != mine.weights or not mine.weight_bytes:
        return SizeFinding(one.label, mine.file_bytes, file, None)
    ratio, bits = whole.weight_bytes / mine.weight_bytes, (_bits(base), _bits(one.format))
    exact = bits if all(bits) and ratio == bits[0] / bits[1] else None
    return SizeFinding(one.label, mine.file_bytes, file, ratio, exact)


def _bits(format: str) -> int:
    """A weight; 0 of a format that is not installed here."""
    return FORMATS.get(format).weight_bits if format in FORMATS else 0
