"""What a roofline shows: ceilings, layers below them, and what bounds a pass."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...core.document import Document, Words, with_notes
from ...core.words import plural, significant
from ...records.envelope import flat
from .analyse import Found, StepPoint
from .drawing_sheets import drawing_conclusions, drawings_sheet
from .roofline_conclusions import conclusions, reached
from .roofline_figures import roofline_figure
from .roofline_sheets import (
    layers_sheet,
    levels_sheet,
    loops_sheet,
    parts_sheet,
    products_sheet,
)


def document(found: Found, *, every: bool = False) -> Document:
    """Ceilings, what accounts for a pass, layers and conclusions.

    Args:
        found: of `analyse`.
        every: every step stands in the table, not the heaviest alone.
    """
    lines, told = _lines(found), (*conclusions(found), *drawing_conclusions(found))
    ceilings = (loops_sheet(found), levels_sheet(found), products_sheet(found))
    shown = (parts_sheet(found), layers_sheet(found, every), drawings_sheet(found, every))
    full = (layers_sheet(found, every=True), drawings_sheet(found, every=True))
    return Document(
        name=found.name,
        blocks=(
            *map(Words, lines),
            *with_notes((*ceilings, *shown)),
            Words(),
            *map(Words, told),
        ),
        values=to_dict(found),
        title="What bounds a pass",
        lines=tuple(lines),
        conclusions=told,
        sheets=(*ceilings, *(one for one in (parts_sheet(found), *full) if one.rows)),
        data=_data(found),
        figures=lambda: (roofline_figure(found),),
    )


def _lines(found: Found) -> list[str]:
    asked, profile = found.record.subject, found.record.body.profile
    return [
        f"{asked.target}, {asked.format}, batch {asked.batch}, T = {asked.mc}, "
        f"{plural(asked.threads, 'thread')}, {found.record.fingerprint.cpu}; μ and σ: "
        f"{profile.origin}.",
        f"A pass takes {significant(found.wall_us / 1e3)} ms: a query's time over T, median of "
        f"{plural(profile.queries, 'query', 'queries')} of one process. A multiply–add "
        "counts once.",
        _counters(found.record.body.counters),
        *(f"Mind the cores: {one}." for one in found.record.body.findings),
    ]


def _counters(told: dict[str, float | str]) -> str:
    reasons: dict[str, list[str]] = {}
    counted = []
    for name, one in told.items():
        if isinstance(one, str):
            reasons.setdefault(one.removeprefix("unavailable: "), []).append(name)
        else:
            counted.append(f"{significant(one)} {name}")
    parts = [f"{', '.join(counted)} per pass"] if counted else []
    parts += [f"{', '.join(names)} unavailable ({why})" for why, names in reasons.items()]
    return f"Hardware counters: {'; '.join(parts) or 'none were asked for'}."


def point_dict(one: StepPoint) -> dict[str, Any]:
    """All numbers of a step."""
    return {
        "step": one.step.name,
        "operation": one.step.operation,
        "kernel": one.step.kernel,
        **{name: value for name, value in asdict(one.count).items() if name != "name"},
        "time_us": one.taken_us,
        "compute_us": one.compute_us,
        "sampler_us": one.sampler_us,
        "memory_us": one.memory_us,
        "limit_us": one.limit_us,
        "of_limit": one.share,
        "bound_by": one.bound,
        "multiply_adds_per_byte": one.per_byte,
        "multiply_adds_per_weight": one.per_weight,
        "multiply_adds_per_second": one.per_second,
    }


def _data(found: Found) -> dict[str, Any]:
    body = found.record.body
    return {
        "layers": [point_dict(one) for one in found.steps],
        "loops": [{**asdict(one), "per_cycle": one.per_cycle} for one in body.loops],
        "levels": [asdict(one) for one in body.levels],
        "products": [
            {**asdict(one.product), "of_loop": one.share, "why": one.why} for one in reached(found)
        ],
        "drawings": [
            {"layer": layer, "scheme": one.scheme, "bytes": size, "time_us": time}
            for one in found.drawings
            for layer, size, time in zip(one.layers, one.bytes, one.layer_us, strict=True)
        ],
        "parts": [{"bound_by": name, "us": time} for name, time in found.parts.items()],
    }


def to_dict(found: Found) -> dict[str, Any]:
    """The record, and what is computed from it, for a script."""
    return {
        **flat(found.record),
        "figures": {
            "limit_us": found.limit_us,
            "of_limit": found.share,
            "bound_by": found.bound,
            "parts_us": found.parts,
            "steps": [point_dict(one) for one in found.steps],
            "conclusions": [*conclusions(found), *drawing_conclusions(found)],
        },
    }
