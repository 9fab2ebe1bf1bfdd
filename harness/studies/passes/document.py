"""What races show: tables of 80 columns, and numbers for a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...core.document import Document, Words
from ...core.sheet import Column, Sheet
from ...core.words import apart, plural
from ...measure.noise_cause import likely_cause
from ...race.rivals import (
    BASE,
    base_of,
    headline,
    headline_numbers,
    noisy,
    pass_ms,
    pass_ratio,
)
from ...records.envelope import flat
from ...records.runtime_record import Contender, RaceRecord
from ...report.conditions_note import meanwhile
from ...report.timing_notes import sentences


def document(races: Sequence[RaceRecord]) -> Document:
    """A table for each race, with its notes."""
    sheets = tuple(map(table, races))
    blocks: list[Any] = []
    for sheet in sheets:
        blocks += [*([Words()] if blocks else []), sheet, *map(Words, sheet.notes)]
    return Document(
        name=races[0].subject.network,
        blocks=tuple(blocks),
        values=[to_dict(race) for race in races],
        sheets=sheets,
        data={"passes": [row for race in races for row in rows(race)]},
    )


def table(race: RaceRecord) -> Sheet:
    """One race; what could not be measured is in the notes."""
    asked, body = race.subject, race.body
    shape = "×".join(map(str, body.input_shape))
    title = f"{asked.network} {shape}, batch {asked.batch}, {plural(asked.threads, 'thread')}"
    headings = ("T", "ms per pass", "95 %", f"÷ {BASE} pass", "95 %")
    base = base_of(body.contenders)
    cells = tuple((one.name, *_cells(one, base)) for one in body.contenders)
    columns = (Column("contender", numeric=False), *map(Column, headings))
    return Sheet(title, columns, cells, {}, notes=tuple(notes(race)))


def notes(race: RaceRecord) -> list[str]:
    """What a reader of the table should know, one sentence each."""
    contenders = race.body.contenders
    posterior = race.subject.posterior
    told = headline(contenders)
    told += [
        f"μ and σ are {posterior}; a query is T passes, from float32 images to float32 logits.",
        f"ms per pass: the median time of a query over T; ÷ {BASE} pass: that over the time of our "
        f"{BASE} pass in this race. Each is followed by its 95 % interval.",
    ]
    layouts = [
        f"{c.name} {c.details['input']} ({c.details['tried']})"
        for c in contenders
        if ", " in c.details.get("tried", "")
    ]
    if layouts:
        told.append(f"Run in the fastest of the ways that were tried: {'; '.join(layouts)}.")
    told += sentences([race.body.references])
    told += meanwhile([race.provenance.conditions])
    told += [f"Mind the cores: {finding}." for finding in race.body.findings]
    loud = [one.name for one in contenders if noisy(one)]
    if loud:
        told.append(
            f"Do not rely on these, which had more noise than an audit allows: {', '.join(loud)}."
        )
        if race.provenance.conditions is not None:
            told.append(f"Likely cause of the noise: {likely_cause(race.provenance.conditions)}.")
    for contender in contenders:
        reason = contender.unavailable
        if reason:
            told.append(reason if contender.name in reason else f"{contender.by}: {reason}")
    return list(dict.fromkeys(told))


def to_dict(race: RaceRecord) -> dict[str, Any]:
    """The record, with what the table shows."""
    base = base_of(race.body.contenders)
    figures = {}
    for contender in race.body.contenders:
        if contender.latency_ns:
            middle, low, high = pass_ms(contender)
            figures[contender.name] = {
                "ms_a_pass": middle,
                "ci95_ms": [low, high],
                "noisy": noisy(contender),
            }
            if base is not None:
                figures[contender.name]["over_int8"] = asdict(pass_ratio(contender, base))
    return {**flat(race), "figures": figures, **headline_numbers(race.body.contenders)}


def rows(race: RaceRecord) -> list[dict[str, Any]]:
    """A row for each contender that was timed."""
    asked, base = race.subject, base_of(race.body.contenders)
    found = []
    for one in race.body.contenders:
        if not one.latency_ns:
            continue
        middle, low, high = pass_ms(one)
        row = {"network": asked.network, "batch": asked.batch, "threads": asked.threads}
        row |= {"contender": one.name, "by": one.by, "format": one.format, "mc": one.mc}
        row |= {"ms_a_pass": middle, "ci95_low_ms": low, "ci95_high_ms": high}
        if base is not None:
            ratio = pass_ratio(one, base)
            row |= {"over_int8": ratio.value}
            row |= {"over_int8_low": ratio.low, "over_int8_high": ratio.high}
        found.append(row)
    return found


def _cells(contender: Contender, base: Contender | None) -> tuple[str, ...]:
    if not contender.latency_ns:
        return ("–",) * 5
    middle, low, high = pass_ms(contender)
    cells = (str(contender.mc), f"{middle:.3g}", f"{low:.3g}–{high:.3g}")
    if base is None:
        return (*cells, "–", "–")
    if contender is base:
        return (*cells, "1", "")
    ratio = pass_ratio(contender, base)
    return (*cells, apart(ratio.value, 1.0), f"{apart(ratio.low, 1.0)}–{apart(ratio.high, 1.0)}")
