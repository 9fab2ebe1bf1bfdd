"""The rooflines: multiply–adds per second against multiply–adds per byte, and per weight drawn."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.figure import Figure, Look, Mark, Panel, Points, Rule, Scale, Tone
from ...core.words import plural
from .analyse import Found

_TONES: tuple[Tone, ...] = ("sky", "green", "orange", "purple", "faint")
_ROOM = 2.0  # times, beside the outermost points
_LAYER, _PASS = Look(tone="blue", marker="circle"), Look(tone="vermillion", marker="diamond")


def roofline_figure(found: Found) -> Figure:
    """Bytes on the left; on the right, where weights are drawn, the draws."""
    asked = found.record.subject
    panels = [_memory(found)]
    if found.ceilings.weights_per_second:
        panels.append(_sampler(found))
    return Figure(
        "roofline",
        "Layers below the machine's ceilings",
        "Multiply–adds per second of each layer and of a whole pass against multiply–adds per byte "
        "that it moves, below the bandwidth of each level of memory and the fastest loop; and "
        "against multiply–adds per weight that is drawn, below the sampler's rate.",
        tuple(panels),
        height=3.4,
        width=3.5 * len(panels),
        columns=len(panels),
        legend=6,
        caption=(
            f"{asked.target}, {asked.format}, batch {asked.batch}, "
            f"{plural(asked.threads, 'thread')}, {found.record.fingerprint.cpu}"
        ),
    )


def _memory(found: Found) -> Panel:
    loop = found.ceilings.loop.per_second
    moved = found.total("moved_bytes")
    whole = found.total("multiply_adds") / moved if moved else None
    points = _points(found, [one.per_byte for one in found.layers], whole)
    ends = _ends(points, [loop / one.per_second for one in found.ceilings.levels.values()])
    roofs = tuple(
        _roof(ends, one.per_second, loop, tone, level)
        for tone, (level, one) in zip(_TONES, found.ceilings.levels.items(), strict=False)
    )
    return _panel((*roofs, *points), "multiply–adds per byte moved", ends, found)


def _sampler(found: Found) -> Panel:
    loop, rate = found.ceilings.loop.per_second, found.ceilings.weights_per_second or 0.0
    drawn = found.total("weights")
    layers = [one.per_weight for one in found.layers]
    points = _points(found, layers, found.total("multiply_adds") / drawn if drawn else None)
    ends = _ends(points, [loop / rate])
    roof = _roof(ends, rate, loop, "ink", "sampler")
    return _panel((roof, *points), "multiply–adds per weight drawn", ends, found)


def _points(found: Found, places: Sequence[float | None], whole: float | None) -> list[Points]:
    """The layers, and the pass."""
    layers = [
        (x, one.per_second / 1e9)
        for x, one in zip(places, found.layers, strict=True)
        if x is not None and one.per_second is not None
    ]
    at = found.total("multiply_adds") / found.wall_us / 1e3
    passes = [] if whole is None else [(whole, at)]
    return [
        Points(
            tuple(x for x, _ in several),
            tuple(y for _, y in several),
            look,
            label,
            joined=False,
            size=size,
        )
        for several, look, label, size in (
            (layers, _LAYER, "layer", 3.5),
            (passes, _PASS, "a pass", 6.0),
        )
    ]


def _ends(points: Sequence[Points], ridges: Sequence[float]) -> tuple[float, float]:
    """Of the horizontal axis: all points and ridges are inside."""
    found = [x for one in points for x in one.x if x is not None] + list(ridges)
    return min(found) / _ROOM, max(found) * _ROOM


def _roof(ends: tuple[float, float], slope: float, top: float, tone: Tone, label: str) -> Rule:
    """Up to where the loop takes over, then level; 10⁹ per second."""
    ridge = min(max(top / slope, ends[0]), ends[1])
    x = tuple(dict.fromkeys((ends[0], ridge, ends[1])))
    return Rule(x, tuple(min(one * slope, top) / 1e9 for one in x), tone, label=label)


def _panel(marks: tuple[Mark, ...], label: str, ends: tuple[float, float], found: Found) -> Panel:
    loop = found.ceilings.loop
    up = Scale("10⁹ multiply–adds per second", log=True, high=1.5 * loop.per_second / 1e9)
    across = Scale(label, low=ends[0], high=ends[1], log=True)
    return Panel(marks, across, up, right=f"{loop.numbers.upper()} {loop.isa}")
