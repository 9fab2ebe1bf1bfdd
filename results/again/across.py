"""What several records say together, by the rules of before and by those of now."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sigmabench.harness.core import words as text
from sigmabench.harness.data.units import Units
from sigmabench.harness.records.run_record import Paired, RunRecord
from sigmabench.harness.report.rows import RecordRow, sections

ACCURACY = "accuracy_percent"


@dataclass(frozen=True)
class Ratio:
    """A speed-up over FP32.

    Attributes:
        row: of the table.
        before: over the fastest valid FP32 record of the table.
        now: over that of the same race; None without one.
    """

    row: RecordRow
    before: float
    now: float | None


def speedups(records: Sequence[RunRecord]) -> Iterator[Ratio]:
    """The speed-ups in the tables of these records that are others now, as they are shown."""
    for section in sections(records):
        for row in section.rows:
            before = fastest(row.record, section.records)
            if before is not None and _shown(before) != _shown(row.speedup):
                yield Ratio(row, before, row.speedup)


def fastest(record: RunRecord, records: Sequence[RunRecord]) -> float | None:
    """Speed-up as it was formed before: over the fastest FP32 record of the table that is valid in
    everything, whichever race it ran in."""
    alike = [
        _typical(one)
        for one in records
        if one.subject.format == "FP32" and one.verdict.valid and _setting(one) == _setting(record)
    ]
    known, own = text.known(alike), _typical(record)
    return min(known) / own if known and own else None


def _setting(record: RunRecord) -> tuple[object, ...]:
    cell = record.subject
    return cell.mc, cell.stopping, cell.batch, cell.threads, cell.instances, cell.scenario


def _typical(record: RunRecord) -> float | None:
    if record.body.adaptive is not None:
        return record.body.adaptive.mean_latency_ns
    return record.body.timing.percentiles_ns.get("p50")


def _shown(ratio: float | None) -> str:
    return text.MISSING if ratio is None else f"{ratio:.2f}"


def widest(held: Paired, images: int, units: Units) -> tuple[float, float]:
    """The widest that today's 95 % interval of a paired difference of accuracy can be, in points.

    The pseudo-unit (`stats.paired`) was one image, and is m ≥ 1 now: the interval is the stored
    one at least. With S_g what unit g of n_g images gains, in images, and δ the difference, a share
    of the images, the stored interval gives C = Σ (S_g − n_g δ)². For m the record lacks the S_g,
    but by Cauchy and Schwarz

        Q = Σ S_g² ≤ C + δ² Σ n_g² + 2 |δ| √(C Σ (n_g − n̄)²),    m² ≤ Q / K,    K ≥ (N δ)² / Q

    of K units that differ. Where no spread was seen, none does, and m is the images of a unit.

    Args:
        held: as stored, with a pseudo-unit of one image.
        images: N.
        units: that they come from.

    Raises:
        ValueError: the interval is narrower than what was added makes it, so it was made otherwise.
    """
    interval, value = held.intervals[ACCURACY], held.differences[ACCURACY]
    assert interval is not None
    t = float(stats.t.ppf(0.975, units.count - 1))
    spread = ((interval[1] - interval[0]) / 200.0 / t * (images + 2)) ** 2 - 1.0
    if spread < -1e-6:
        raise ValueError(f"the interval {interval} is not one of {units.count} units")
    pseudo = _largest(max(spread, 0.0), value / 100.0, units)
    half = 100.0 * t * math.sqrt(max(spread, 0.0) + pseudo**2) / (images + 2 * pseudo)
    return max(value - half, -100.0), min(value + half, 100.0)


def _largest(spread: float, share: float, units: Units) -> float:
    """m at most, images."""
    sizes, centred = units.sizes, spread * (units.count - 1) / units.count
    if centred < 1e-6 and share == 0:
        return float(sizes.mean())
    uneven = float(np.square(sizes - sizes.mean()).sum())
    squares = centred + share**2 * float(np.square(sizes).sum())
    squares += 2 * abs(share) * math.sqrt(centred * uneven)
    least = max(1, math.ceil((share * sizes.sum()) ** 2 / squares - 1e-9))
    return max(1.0, min(math.sqrt(squares / least), float(sizes.max())))


@dataclass(frozen=True)
class Moved:
    """A row of a published table whose verdict is another one now.

    Attributes:
        row: what it is about, in words.
        before: verdict as it was published.
        now: as it is rendered.
    """

    row: str
    before: str
    now: str


def moved(
    before: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]], keys: Sequence[str]
) -> list[Moved]:
    """Rows of a table whose `verdict` differs; a row that is in one of the tables alone has –.

    Args:
        before: rows of the CSV file as it was published.
        now: of the same file as it is rendered now.
        keys: columns that name a row.
    """
    old, new = ({tuple(row[k] for k in keys): row for row in rows} for rows in (before, now))
    return [
        Moved(" ".join(key), *pair)
        for key in dict.fromkeys((*old, *new))
        for pair in [(_verdict(old.get(key)), _verdict(new.get(key)))]
        if pair[0] != pair[1]
    ]


def _verdict(row: Mapping[str, str] | None) -> str:
    return text.MISSING if row is None else row["verdict"] or "not judged"


def widths(
    before: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]], keys: Sequence[str]
) -> dict[str, float]:
    """By metric, the median of the widths of intervals now over those of before."""
    old = {tuple(row[k] for k in keys): row for row in before}
    found: dict[str, list[float]] = {}
    for row in now:
        was = old.get(tuple(row[k] for k in keys))
        if was is not None and was["low"] and row["low"]:
            width = float(was["high"]) - float(was["low"])
            ratio = (float(row["high"]) - float(row["low"])) / width
            found.setdefault(row["metric"], []).append(ratio)
    return {metric: sorted(ratios)[len(ratios) // 2] for metric, ratios in found.items()}
