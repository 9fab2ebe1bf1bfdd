"""Races as tables of 80 columns, and as JSON for a script."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...core.sheet import Column, RichSheet, Sheet
from ...core.words import plural
from ...records.runtime_record import Contender, Race
from ...stats.latency import Ratio, median_ci95, ratio_of_medians

BASE = "INT8"  # the format whose pass is the unit


def base_of(race: Race) -> Contender | None:
    """Our INT8 Monte Carlo pass, if it was measured."""
    return next(
        (c for c in race.contenders if c.by == "sigmabench" and c.format == BASE and c.latency_ns),
        None,
    )


def pass_ms(contender: Contender) -> tuple[float, float, float]:
    """Median milliseconds a pass, and its 95 % interval."""
    low, high = median_ci95(contender.latency_ns, contender.slices)
    middle = ratio_of_medians((contender.latency_ns, (1,)), (contender.slices, (1,))).value
    scale = 1 / (1e6 * contender.mc)
    return middle * scale, low * scale, high * scale


def pass_ratio(contender: Contender, base: Contender) -> Ratio:
    """What its pass costs, in passes of `base`, with the 95 % interval."""
    found = ratio_of_medians(
        (contender.latency_ns, base.latency_ns), (contender.slices, base.slices)
    )
    scale = base.mc / contender.mc
    return Ratio(found.value * scale, found.low * scale, found.high * scale)


def table(race: Race) -> Sheet:
    """One race; what could not be measured is in the notes below it."""
    shape = "×".join(map(str, race.input_shape))
    title = f"{race.network} {shape}, batch {race.batch}, {plural(race.threads, 'thread')}"
    headings = ("T", "ms a pass", "95 %", f"÷ {BASE} pass", "95 %")
    base = base_of(race)
    rows = tuple((one.name, *_cells(one, base)) for one in race.contenders)
    return Sheet(title, (Column("contender", numeric=False), *map(Column, headings)), rows, {})


def notes(race: Race) -> list[str]:
    """What a reader of the table should know, a sentence each."""
    told = [f"μ and σ are {race.posterior}; a query is T passes, float32 images to float32 logits."]
    layouts = [
        f"{c.name} {c.details['input']} ({c.details['tried']})"
        for c in race.contenders
        if ", " in c.details.get("tried", "")
    ]
    if layouts:
        told.append(f"Input in the faster of the memory formats tried: {'; '.join(layouts)}.")
    told += [f"Mind the cores: {finding}." for finding in race.findings]
    for contender in race.contenders:
        reason = contender.unavailable
        if reason:
            told.append(reason if contender.name in reason else f"{contender.by}: {reason}")
    return list(dict.fromkeys(told))


def renderables(race: Race) -> list[RichSheet | str]:
    """Table and notes, for a person."""
    return [RichSheet(table(race)), *notes(race)]


def to_dict(race: Race) -> dict[str, Any]:
    """The record, with what the table shows."""
    base = base_of(race)
    figures = {}
    for contender in race.contenders:
        if contender.latency_ns:
            middle, low, high = pass_ms(contender)
            figures[contender.name] = {"ms_a_pass": middle, "ci95_ms": [low, high]}
            if base is not None:
                figures[contender.name]["over_int8"] = asdict(pass_ratio(contender, base))
    return {**asdict(race), "figures": figures}


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
    return (*cells, f"{ratio.value:.3g}", f"{ratio.low:.3g}–{ratio.high:.3g}")
