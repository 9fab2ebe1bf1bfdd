"""What a study of scenarios shows: latencies, rates, answers, costs, and what is unofficial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.sheet import Column, Sheet
from ...measure.load_test import MULTI_STREAM, OFFLINE, SERVER
from ...records.envelope import flat
from ...records.load_record import Generated, LoadRecord
from .analyse import (
    AGREEMENT,
    COST,
    LONG_NS,
    LoadFindings,
    cost,
    counted,
    findings,
    per_second,
    percentile,
    tried,
)

_WHICH = (Column("scenario", numeric=False, whole=True), Column("format", numeric=False))
_T = Column("T")


def document(found: LoadFindings) -> Document:
    """All tables, and what they say."""
    title = f"Under load: {found.workload}"
    sheets = [
        stream_sheet(found),
        server_sheet(found),
        offline_sheet(found),
        answers_sheet(found),
        cost_sheet(found),
        unofficial_sheet(found),
    ]
    said = tuple(findings(found))
    blocks: list[Any] = [Words(title, "bold"), *with_notes(sheets)]
    if said:
        blocks += [Words(), Words("Findings", "bold"), *map(Words, said)]
    return Document(
        name=found.workload,
        blocks=tuple(blocks),
        values={
            "workload": found.workload,
            "records": [flat(record) for record in found.records],
            "costs": list(_costs(found)),
            "findings": said,
        },
        title=title,
        conclusions=said,
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        data={"tests": list(_rows(found))},
    )


def stream_sheet(found: LoadFindings) -> Sheet:
    """Queries that follow one another."""
    rows = [
        (
            *_named(record),
            f"{sum(test.queries for test in counted(record)):,}",
            *(text.milliseconds(percentile(record, p)) for p in ("50.00", "90.00", "99.00")),
            _validity(counted(record)),
        )
        for record in found.streams
    ]
    columns = (
        *_WHICH,
        _T,
        Column("queries"),
        *(Column(name, "ms") for name in ("p50", "p90", "p99")),
        Column("valid", numeric=False),
    )
    note = (
        "Latency of a query, from when it is sent to when it is answered by the mean of T passes. "
        f"{_streams(found)}{_processes(found)}"
    )
    return Sheet("One query at a time", columns, tuple(rows), {}, 0, (note,))


def _streams(found: LoadFindings) -> str:
    own = found.of(MULTI_STREAM)
    sizes = [test.samples // max(1, test.queries) for one in own for test in tried(one)]
    return f"A query of multi-stream has {max(sizes)} images. " if sizes else ""


def _processes(found: LoadFindings) -> str:
    most = max(one.subject.processes for one in found.records)
    if most == 1:
        return "One process: how the next would fare is not known."
    return f"Geometric means of {most} processes."


def server_sheet(found: LoadFindings) -> Sheet:
    """Queries at random times, each rate that was tried."""
    rows = [
        (
            record.subject.format,
            str(record.body.passes),
            str(record.body.batch),
            text.significant(test.sent_per_second),
            text.significant(test.samples_per_second),
            *(text.milliseconds(test.percentiles_ns.get(p)) for p in ("50.00", "99.00")),
            text.milliseconds(test.settings["server_target_latency_ns"]),
            f"{test.late or 0:,}/{test.queries:,}",
            _validity([test]),
        )
        for record in found.of(SERVER)
        for test in tried(record)
    ]
    columns = (
        Column("format", numeric=False),
        _T,
        Column("largest", "batch"),
        Column("sent", "/s"),
        Column("answered", "/s"),
        Column("p50", "ms"),
        Column("p99", "ms"),
        Column("bound", "ms"),
        Column("late"),
        Column("valid", numeric=False),
    )
    note = (
        "Images come one by one at the times of a Poisson process, and those that wait are "
        "answered together. Late: queries that took longer than the bound, of all. Rates are tried "
        "from high to low until one is valid."
    )
    return Sheet("Server", columns, tuple(rows), {}, 1, (note,))


def offline_sheet(found: LoadFindings) -> Sheet:
    """All images at once."""
    rows = [
        (
            record.subject.format,
            str(record.body.passes),
            str(record.body.batch),
            f"{sum(test.samples for test in counted(record)):,}",
            text.significant(per_second(record)),
            _validity(counted(record)),
        )
        for record in found.of(OFFLINE)
    ]
    columns = (
        Column("format", numeric=False),
        _T,
        Column("batch"),
        Column("images"),
        Column("images/s"),
        Column("valid", numeric=False),
    )
    return Sheet("Offline", columns, tuple(rows), {})


def answers_sheet(found: LoadFindings) -> Sheet:
    """What each image was answered, once."""
    rows = [
        (
            *_named(record),
            f"{record.body.images:,}",
            text.fixed(record.body.accuracy, 2),
            text.fixed(record.body.nll, 4),
        )
        for record in found.records
    ]
    columns = (*_WHICH, _T, Column("images"), Column("accuracy", "%"), Column("NLL", "nats"))
    splits = " and ".join(dict.fromkeys(one.subject.split for one in found.records))
    note = (
        f"Each {splits} image was asked for once, in the generator's test of accuracy, and scored "
        "by the answer that it kept."
    )
    return Sheet("Answers", columns, tuple(rows), {}, 0, (note,))


def cost_sheet(found: LoadFindings) -> Sheet:
    """What the generator costs by itself, and two clocks on the same queries."""
    rows = [
        (
            one.scenario,
            one.format,
            text.milliseconds(one.query_ns),
            text.milliseconds(one.empty_ns),
            text.percent(one.share),
            text.milliseconds(one.p90_ns),
            text.milliseconds(one.own_p90_ns),
            text.percent(one.differs),
        )
        for record in found.records
        if (one := cost(record)) is not None
    ]
    columns = (
        *_WHICH,
        Column("query", "ms"),
        Column("empty", "ms"),
        Column("share", "%"),
        Column("p90", "ms"),
        Column("our p90", "ms"),
        Column("differs", "%"),
    )
    note = (
        "Empty: the same test of a system that computes nothing, with the same queue: what sending "
        "costs. Query and empty are median latencies; in server the query is one that comes alone, "
        "and in offline both are times per image. Share: empty over query; above "
        f"{100 * COST:.0f} % it is a finding. Our p90: of how long the same queries were computed, "
        f"by our clock; of queries of {LONG_NS / 1e6:g} ms and more, p90 may differ by "
        f"{100 * AGREEMENT:.0f} %."
    )
    return Sheet("What sending queries costs", columns, tuple(rows), {}, 0, (note,))


def unofficial_sheet(found: LoadFindings) -> Sheet:
    """Settings that MLPerf has otherwise."""
    here: dict[tuple[str, str, float], list[float]] = {}
    for record in found.records:
        for test in counted(record):
            for name, value in test.mlperf.items():
                kind = (record.subject.scenario, name, value)
                here.setdefault(kind, []).append(test.settings[name])
    rows = [
        (scenario, name, _number(value), _between(values))
        for (scenario, name, value), values in here.items()
    ]
    columns = (
        Column("scenario", numeric=False, whole=True),
        Column("setting", numeric=False, whole=True),
        Column("MLPerf's"),
        Column("here"),
    )
    note = (
        "Unofficial: none of these is a result of MLPerf. The networks are none of MLPerf's, and "
        "LoadGen's settings are MLPerf's but for those above."
    )
    return Sheet("Settings that MLPerf has otherwise", columns, tuple(rows), {}, 1, (note,))


def _number(value: float) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def _between(values: list[float]) -> str:
    low, high = min(values), max(values)
    return _number(low) if low == high else f"{_number(low)}–{_number(high)}"


def _named(record: LoadRecord) -> tuple[str, str, str]:
    return record.subject.scenario, record.subject.format, str(record.body.passes)


def _validity(tests: list[Generated]) -> str:
    found = {test.valid for test in tests}
    if None in found:
        return text.MISSING
    return "VALID" if found == {True} else "INVALID"


def _costs(found: LoadFindings) -> Iterator[Mapping[str, Any]]:
    for record in found.records:
        if (one := cost(record)) is not None:
            yield {
                "scenario": one.scenario,
                "format": one.format,
                "mc": one.mc,
                "query_ns": one.query_ns,
                "empty_ns": one.empty_ns,
                "share": one.share,
                "p90_ns": one.p90_ns,
                "own_p90_ns": one.own_p90_ns,
                "p90_differs": one.differs,
            }


def _rows(found: LoadFindings) -> Iterator[Mapping[str, Any]]:
    """A row for each test."""
    for record in found.records:
        subject = record.subject
        for test in record.body.tests:
            yield {
                "scenario": subject.scenario,
                "format": subject.format,
                "mc": record.body.passes,
                "purpose": test.purpose,
                "process": test.process,
                "queries": test.queries,
                "samples": test.samples,
                "rate": test.rate,
                "samples_per_second": test.samples_per_second,
                "valid": test.valid,
                "percentile": test.percentile,
                "late": test.late,
                **{f"p{name}_ns": value for name, value in test.percentiles_ns.items()},
                **{f"own_p{name}_ns": value for name, value in test.own_percentiles_ns.items()},
            }
