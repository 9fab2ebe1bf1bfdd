"""Ratios of times of a bundle, each formed within one race."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..race.rivals import base_of, pass_ratio
from ..records.envelope import Record
from ..records.peers_record import PeersRecord
from ..records.run_record import RunRecord
from ..records.runtime_record import RaceRecord
from ..records.verdict import SPEED
from ..stats.latency import Ratio
from ..studies.run.analyse import log_pass_ratio

_BASE = "FP32"


@dataclass(frozen=True)
class Speed:
    """How many times as fast a pass of one contender is as another's in the same race.

    Attributes:
        home: workload or network.
        batch: images per query.
        mc: passes T that were asked for.
        name: of the one.
        base: of the other.
        ratio: with its 95 % interval, from the raw samples.
        judged: outcome of the verdict on speed, as stored; empty for records without one.
    """

    home: str
    batch: int
    mc: int
    name: str
    base: str
    ratio: Ratio
    judged: str


def speeds(records: Sequence[Record[Any, Any]]) -> Iterator[Speed]:
    """Of runs each format beside FP32, of races each contender beside our INT8."""
    runs = [one for one in records if isinstance(one, RunRecord)]
    for base in runs:
        if base.subject.format == _BASE and base.body.adaptive is None:
            for one in runs:
                if one is not base and one.body.adaptive is None and one.raced(base):
                    yield from _of_run(base, one)
    for record in records:
        if isinstance(record, RaceRecord):
            subject = record.subject
            yield from _of_race(
                subject.network, subject.batch, subject.mc, record.body.contenders, ""
            )
        elif isinstance(record, PeersRecord):
            asked, contenders = record.subject, [row.contender for row in record.body.rows]
            outcome = record.verdict.of(SPEED)
            yield from _of_race(asked.workload, asked.batch, asked.mc, contenders, outcome)


def _of_run(base: RunRecord, one: RunRecord) -> Iterator[Speed]:
    if min((*one.body.timing.latency_ns, *base.body.timing.latency_ns), default=0) < 1:
        return
    found = log_pass_ratio(base, one)
    if found is not None:
        ratio = Ratio(math.exp(found.value), *map(math.exp, found.interval()))
        cell = one.subject
        yield Speed(
            cell.workload, cell.batch, cell.mc, cell.format, _BASE, ratio, one.verdict.of(SPEED)
        )


def _of_race(
    home: str, batch: int, mc: int, contenders: Sequence[Any], judged: str
) -> Iterator[Speed]:
    timed = [one for one in contenders if one.latency_ns and min(one.latency_ns) > 0]
    base = base_of(timed)
    for one in timed if base is not None else ():
        if one is not base and base is not None:
            yield Speed(home, batch, mc, one.name, base.name, pass_ratio(base, one), judged)
