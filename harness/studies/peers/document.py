"""What a comparison with peers shows: a table of 80 columns, and numbers for a script."""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import Any

from ...core.contents import superseded
from ...core.document import Document, Words
from ...core.sheet import Column, Sheet
from ...core.words import MISSING, first, fixed, plural, significant
from ...race.rivals import headline, headline_numbers, pass_ms
from ...records.peers_record import PeerRow, PeersRecord
from ...records.runtime_record import OURS, Contender
from ...records.verdict import as_dict
from ...report.conditions_note import meanwhile
from ...report.timing_notes import sentences
from ...report.verdicts import outcomes

COLUMNS = (
    Column("format", numeric=False),
    Column("accuracy", "%"),
    Column("ECE", "%"),
    Column("NLL", "nats"),
    Column("σ", "kept"),
    Column("ms", "per pass"),
    Column("95 %", "ms"),
    Column("file", "MB"),
)


def sheet(comparison: PeersRecord) -> Sheet:
    """One row per contender, below who it is by; why a row is empty is in the notes."""
    asked, rows = comparison.subject, comparison.body.rows
    headings = {
        index: row.contender.by
        for index, row in enumerate(rows)
        if index == 0 or row.contender.by != rows[index - 1].contender.by
    }
    title = (
        f"{asked.workload}, {plural(comparison.body.images, f'{asked.split} image')}, "
        f"T = {asked.mc}, batch {asked.batch}, {plural(asked.threads, 'thread')}"
    )
    cells = tuple((_format(row.contender), *_cells(row)) for row in rows)
    return Sheet(title, COLUMNS, cells, headings, 0, tuple(notes(comparison)))


def notes(comparison: PeersRecord) -> list[str]:
    """What a reader of the table should know, a sentence or two each."""
    told = [
        *headline(row.contender for row in comparison.body.rows),
        "ms per pass: measured in turns, with its 95 % interval. σ kept: standard deviation of the "
        "weights that were drawn over the posterior's, each as rms over a layer, from "
        f"{plural(comparison.body.draws, 'draw')}; the median over layers. DNN_: the deterministic "
        "twin, which has one pass. File: the network as it is saved.",
        *(
            f"{by}: {', '.join(f'{name} {v}' for name, v in versions.items())}."
            for by, versions in comparison.subject.peers.items()
            if versions
        ),
    ]
    told += sentences([comparison.body.references])
    told += meanwhile([comparison.provenance.conditions])
    if lost := comparison.body.skipped:
        told.append(f"{plural(len(lost), 'image')} could not be read: {first(lost)}.")
    told += _reasons(comparison)
    told += comparison.verdict.findings
    if old := superseded(comparison.subject.data, comparison.fingerprint.machine):
        told.append(f"{old}.")
    failed = {n: r for n, r in comparison.verdict.audits.items() if r.startswith("fail")}
    told += [
        f"NOT VALID, {name}: {result.removeprefix('fail: ')}" for name, result in failed.items()
    ]
    return [*told, outcomes(comparison.verdict)]


def _reasons(comparison: PeersRecord) -> list[str]:
    """Why rows are empty, once for all rows of a peer with the same reason."""
    contenders = [row.contender for row in comparison.body.rows]
    absent: dict[tuple[str, str], list[str]] = {}
    for contender in contenders:
        if contender.unavailable:
            reason = contender.unavailable.removeprefix(contender.name).lstrip(": ")
            absent.setdefault((contender.by, reason), []).append(_format(contender))
    told = []
    for (by, reason), formats in absent.items():
        every = len(formats) == sum(contender.by == by for contender in contenders)
        told.append(f"{by}: {reason}" if every else f"{by} {', '.join(formats)}: {reason}")
    return told


def document(found: tuple[str, PeersRecord]) -> Document:
    """Table and notes.

    Args:
        found: how files begin, and the record.
    """
    name, comparison = found
    table = sheet(comparison)
    return Document(
        name=name,
        blocks=(table, *map(Words, table.notes)),
        values=to_dict(comparison),
        sheets=(table,),
        data={"peers": rows(comparison)},
    )


def to_dict(comparison: PeersRecord) -> dict[str, Any]:
    """The record, with what the table shows."""
    return {
        "asked": asdict(comparison.subject),
        **asdict(comparison.body),
        "verdict": as_dict(comparison.verdict),
        **asdict(comparison.provenance),
        "figures": {row.contender.name: _figures(row) for row in comparison.body.rows},
        **headline_numbers(row.contender for row in comparison.body.rows),
    }


def rows(comparison: PeersRecord) -> list[dict[str, Any]]:
    """A row for each contender."""
    return [
        {"by": row.contender.by, "contender": row.contender.name, **_figures(row)}
        for row in comparison.body.rows
    ]


def _figures(row: PeerRow) -> dict[str, Any]:
    found: dict[str, Any] = dict(row.scores)
    if row.std_ratio:
        kept = row.std_ratio.values()
        found |= {"std_ratio_median": median(kept), "std_ratio_least": min(kept)}
        found["std_ratio_most"] = max(kept)
    if row.contender.latency_ns:
        middle, low, high = pass_ms(row.contender)
        found |= {"ms_a_pass": middle, "ci95_low_ms": low, "ci95_high_ms": high}
    found["file_bytes"] = row.file_bytes
    return found


def _format(contender: Contender) -> str:
    """Ours by its name; a peer's as the peer is asked for it."""
    if contender.by == OURS:
        return contender.format
    return contender.name.removeprefix(f"{contender.by} ")


def _cells(row: PeerRow) -> tuple[str, ...]:
    scores = row.scores
    kept = fixed(median(row.std_ratio.values()), 2) if row.std_ratio else MISSING
    pass_time = (MISSING, MISSING)
    if row.contender.latency_ns:
        middle, low, high = pass_ms(row.contender)
        pass_time = significant(middle), f"{significant(low, 2)}–{significant(high, 2)}"
    return (
        fixed(scores.get("accuracy"), 2),
        fixed(scores.get("ece"), 2),
        fixed(scores.get("nll"), 4),
        kept,
        *pass_time,
        significant(None if row.file_bytes is None else row.file_bytes / 1e6),
    )
