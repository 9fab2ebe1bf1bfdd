"""What scaling shows: a table for each race, a figure, and what more cores bring in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure, Look, Marker, Panel, Points, Rule, Scale, Tone, numbers
from ...core.sheet import Column, Sheet
from ...machine.topology import Topology
from ...race.instances import in_words
from ...records.envelope import flat
from ...report.timing_notes import sentences
from ...stats.throughput import Rate, times
from .analyse import Row, ScalingFindings, limits

_COLUMNS = (
    "Images/s: of all instances together, in one common stretch of wall time, each image with T "
    "passes; with its 95 % interval, by the spread between rounds. ms: median latency of a query, "
    "and the 99th percentile. ÷ 1 core: images/s over those of one instance with one core; per "
    "core: that over the number of cores."
)


def document(found: Sequence[ScalingFindings]) -> Document:
    """A table for each race."""
    sheets = tuple(map(sheet, found))
    said = (*(line for one in found for line in conclusions(one)), *_limits(found[0]))
    name = found[0].record.subject.home
    title = f"How {name} scales with cores and instances"
    return Document(
        name=name,
        blocks=(Words(title, "bold"), *with_notes(sheets), Words(), *map(Words, said)),
        values=[_to_dict(one) for one in found],
        title=title,
        conclusions=said,
        sheets=sheets,
        data={"scaling": [row for one in found for row in _rows(one)]},
        figures=lambda: [figure(found)],
    )


def sheet(found: ScalingFindings) -> Sheet:
    """One race."""
    columns = (
        Column("instances"),
        Column("cores", "each"),
        Column("images/s"),
        Column("95 %"),
        Column("ms"),
        Column("p99", "ms"),
        Column("÷ 1 core"),
        Column("per core", "%"),
    )
    rows = tuple(_cells(row) for row in found.rows)
    return Sheet(_title(found), columns, rows, {}, notes=tuple(_notes(found)))


def conclusions(found: ScalingFindings) -> list[str]:
    """What threads bring, and which setting is best."""
    return [*_threads(found), *_instances(found)]


def _title(found: ScalingFindings) -> str:
    asked, body = found.record.subject, found.record.body
    return f"{asked.format}, batch {asked.batch}, T = {body.mc}"


def _cells(row: Row) -> tuple[str, ...]:
    over = row.over_one
    return (
        str(row.instances),
        str(row.cores),
        text.significant(row.rate.value),
        _interval(row.rate),
        text.significant(row.latency_ms),
        text.significant(row.p99_ms),
        text.MISSING if over is None else f"{over.value:.2f}",
        text.percent(row.per_core, 0),
    )


def _interval(rate: Rate) -> str:
    if rate.low is None or rate.high is None:
        return text.MISSING
    return f"{text.significant(rate.low)}–{text.significant(rate.high)}"


def _notes(found: ScalingFindings) -> Iterator[str]:
    yield _COLUMNS
    body = found.record.body
    if body.mc < found.record.subject.mc:
        yield f"T is {body.mc}, not {found.record.subject.mc}: more would take above a second."
    if any(row.beyond for row in found.rows):
        yield f"Settings of more than {found.there} threads in all share the cores."
    yield from (line for line in sentences([body.references]) if not line.startswith("Timed in"))
    yield from (f"Mind the cores: {finding}." for finding in body.findings)
    loud = [f"{row.instances} × {row.cores}" for row in found.rows if row.noisy]
    if loud:
        yield (
            "Do not rely on these, whose rounds differ by more than an audit allows: "
            f"{', '.join(loud)}."
        )
    yield from dict.fromkeys(
        f"{in_words(one.setting).capitalize()} could not be measured: {one.unavailable}"
        for one in found.failed
    )


def _threads(found: ScalingFindings) -> Iterator[str]:
    """One instance with all cores against one with one."""
    whole, one = found.whole, found.of(1, 1)
    if whole is None or one is None or whole is one:
        return
    ratio = times(whole.scaled, one.scaled)
    share = text.percent(ratio.value / found.there, 0)
    yield (
        f"{_title(found)}: {text.plural(found.there, 'thread')} of one process answer "
        f"{_times(ratio)} as many images/s as one thread, which is {share} % per core."
    )


def _instances(found: ScalingFindings) -> Iterator[str]:
    """The best setting against one instance with all cores."""
    whole, best = found.whole, found.best
    if whole is None or best is None or len(found.rows) < 2:
        return
    named = in_words(whole.scaled.setting)
    ratio = times(best.scaled, whole.scaled)
    if best is whole or ratio.shown_to_differ <= 0:
        yield f"{_title(found)}: no setting is shown to answer more images/s than {named}."
        return
    yield (
        f"{_title(found)}: {in_words(best.scaled.setting)} answer {_times(ratio)} as many images/s "
        f"as {named}; a query takes {text.times(best.latency_ms / whole.latency_ms)} as long."
    )


def _times(ratio: Rate) -> str:
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f} times"
    return f"{ratio.value:.2f} times (95 % interval {ratio.low:.2f} to {ratio.high:.2f})"


def _limits(found: ScalingFindings) -> Iterator[str]:
    """What the machine cannot show."""
    there = Topology(found.record.body.topology)
    lacking = list(limits(there.cpus))
    if lacking:
        cores, nodes = text.plural(there.cores, "core"), text.plural(there.nodes, "memory node")
        yield (
            f"With {cores} on {nodes}, this machine cannot show {' or '.join(lacking)}; run the "
            "same command on one that has more."
        )


#: Of the races, in order.
_TONES: tuple[Tone, ...] = ("blue", "vermillion", "green", "orange", "purple", "sky")
_MARKERS: dict[str, Marker] = {"one instance": "circle", "one core each": "square"}


def figure(found: Sequence[ScalingFindings]) -> Figure:
    """Images per second against threads, a panel for each race."""
    panels = tuple(_panel(one, not place) for place, one in enumerate(found))
    return Figure(
        "scaling",
        f"How {found[0].record.subject.home} scales with cores and instances",
        "Images per second of all instances together against their threads, with 95 % intervals; "
        "the dashed line is the rate of one thread times their number.",
        panels,
        height=2.8 * -(-len(panels) // 2),
        width=7.0,
        columns=min(2, len(panels)),
    )


def _panel(found: ScalingFindings, named: bool) -> Panel:
    marks: list[Any] = []
    one, last = found.of(1, 1), max((row.threads for row in found.rows), default=1)
    if one is not None:
        ends = numbers((1, last))
        marks.append(Rule(ends, numbers(one.rate.value * n for n in (1, last)), line="dashed"))
    kinds = {
        "one instance": [row for row in found.rows if row.instances == 1],
        "one core each": [row for row in found.rows if row.cores == 1],
        "others": [row for row in found.rows if row.instances > 1 and row.cores > 1],
    }
    for (label, rows), tone in zip(kinds.items(), _TONES, strict=False):
        if rows:
            marks.append(_points(rows, label, tone, named))
    return Panel(
        tuple(marks),
        Scale("threads of all instances"),
        Scale("images/s", low=0.0),
        title=_title(found),
    )


def _points(rows: Sequence[Row], label: str, tone: Tone, named: bool) -> Points:
    ranked = sorted(rows, key=lambda row: row.threads)
    look = Look(tone=tone, marker=_MARKERS.get(label, "triangle"))
    return Points(
        numbers(row.threads for row in ranked),
        numbers(row.rate.value for row in ranked),
        look,
        label if named else "",
        numbers(row.rate.low for row in ranked),
        numbers(row.rate.high for row in ranked),
        joined=label in _MARKERS,
    )


def _to_dict(found: ScalingFindings) -> dict[str, Any]:
    return {
        **flat(found.record),
        "figures": [dict(row) for row in _rows(found)],
        "conclusions": conclusions(found),
    }


def _rows(found: ScalingFindings) -> Iterator[Mapping[str, Any]]:
    """A row for each setting."""
    asked, body = found.record.subject, found.record.body
    for row in found.rows:
        yield {
            "format": asked.format,
            "batch": asked.batch,
            "mc": body.mc,
            "instances": row.instances,
            "cores_each": row.cores,
            "images_per_second": row.rate.value,
            "images_per_second_low": row.rate.low,
            "images_per_second_high": row.rate.high,
            "latency_ms": row.latency_ms,
            "p99_ms": row.p99_ms,
            **({} if row.over_one is None else _prefixed("over_one_core", row.over_one)),
            "noisy": row.noisy,
        }


def _prefixed(name: str, rate: Rate) -> dict[str, float | None]:
    return {f"{name}_{key}": value for key, value in asdict(rate).items()}
