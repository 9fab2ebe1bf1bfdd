"""The series of one machine as tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from itertools import groupby
from typing import Any

from ..core import words as text
from ..core.document import Document, Words, with_notes
from ..core.figure import Figure, Look, Panel, Points, Rule, Scale, Tone, numbers
from ..core.formats import FORMATS
from ..core.sheet import Column, Sheet
from .asv_results import SeriesPoint, TrackedSeries
from .change_points import ABSENT, LEAST, LevelChange, available, changes

Changed = list[tuple[TrackedSeries, list[LevelChange]]]

_TONES: tuple[Tone, ...] = ("blue", "vermillion", "green", "orange", "purple", "sky", "ink")
_WIDTH, _ROW = 7.0, 2.0  # inches
_LABELLED = 16  # commits of an axis at most
#: The parameter whose values share a panel.
_SHARED = ("format", "bits", "part")


def document(name: str, found: Sequence[TrackedSeries], unread: Sequence[str] = ()) -> Document:
    """What is shown of one machine and environment.

    Args:
        name: how files of it begin.
        found: its series, at least one.
        unread: sentences on files that could not be read.
    """
    changed = [(one, changes(one)) for one in found]
    machine, environment = found[0].machine, found[0].environment
    title = f"History on {machine.shown}"
    lines = (
        f"{text.plural(len(_commits(found)), 'commit')} with {environment}.",
        *(() if available() else (ABSENT,)),
        *unread,
    )
    conclusions = tuple(_conclusions(changed))
    sheets = (_change_sheet(changed), *_series_sheets(changed))
    head = [Words(title, "bold"), *map(Words, lines), Words(), *map(Words, conclusions)]
    return Document(
        name=name,
        blocks=(*head, *with_notes(sheets)),
        values={
            "machine": machine.name,
            "shown": machine.shown,
            "environment": environment,
            "series": [_told(one, steps) for one, steps in changed],
        },
        title=title,
        lines=lines,
        conclusions=conclusions,
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        data={"series": list(_rows(found))},
        figures=lambda: tuple(_figures(changed)),
    )


def is_worse(one: TrackedSeries, step: LevelChange) -> bool:
    """Whether the new level is the worse one."""
    return (step.after > step.before) == (one.better == "lower")


def _conclusions(changed: Changed) -> Iterator[str]:
    steps = [(one, step) for one, found in changed for step in found]
    total = text.plural(len(changed), "series", "series")
    if not steps:
        if available():
            yield f"None of {total} changed its level."
        return
    worse = sum(is_worse(*pair) for pair in steps)
    many = sum(bool(found) for _, found in changed)
    yield (
        f"{many} of {total} changed {text.verb(many, 'its', 'their')} level: "
        f"{text.plural(worse, 'change')} for the worse and {len(steps) - worse} for the better."
    )
    now = [(one, found[-1]) for one, found in changed if found and is_worse(one, found[-1])]
    for one, step in sorted(now, key=lambda pair: -abs(pair[1].share or 1.0))[:3]:
        yield (
            f"{one.name} is {_change(step)} since {_short(one.points[step.at])}: "
            f"{_number(step.before)} before, {_number(step.after)} after ({_unit(one)})."
        )


def _change_sheet(changed: Changed) -> Sheet:
    """Every change, the youngest first."""
    steps = [(one, step) for one, found in changed for step in found]
    steps.sort(key=lambda pair: (-pair[0].points[pair[1].at].date, pair[0].name))
    rows = tuple(
        (
            _broken(one),
            f"{_short(one.points[step.at])}\n{_day(one.points[step.at])}",
            _number(step.before),
            _number(step.after),
            _change(step),
            "worse" if is_worse(one, step) else "better",
        )
        for one, step in steps
    )
    columns = (
        Column("benchmark", numeric=False, whole=True),
        Column("first commit", "of the level", numeric=False, whole=True),
        Column("before"),
        Column("after"),
        Column("change"),
        Column("for the", numeric=False),
    )
    notes = (
        "Levels are means. A change is at the commit named or after the measured one before it. "
        f"Of measurements, changes below {100 * LEAST:.0f} % are not reported, nor what one commit "
        "alone shows; what is counted or computed from seeds has changed wherever it differs.",
    )
    return Sheet("Changes of level, the youngest first", columns, rows, {}, notes=notes)


def _series_sheets(changed: Changed) -> Iterator[Sheet]:
    """Every series, a table for each benchmark."""
    columns = (
        Column("parameters", numeric=False, whole=True),
        Column("commits"),
        Column("first"),
        Column("latest"),
        Column("latest", "against first"),
        Column("level since", numeric=False, whole=True),
    )
    for benchmark, same in groupby(changed, key=lambda pair: pair[0].benchmark):
        group = list(same)
        one = group[0][0]
        title = f"{benchmark}: {_unit(one)}, {one.better} is better"
        yield Sheet(title, columns, tuple(_series_cells(*pair) for pair in group), {})


def _series_cells(one: TrackedSeries, steps: Sequence[LevelChange]) -> tuple[str, ...]:
    first, latest = one.points[0], one.points[-1]
    whole = LevelChange(len(one.points) - 1, first.value, latest.value)
    return (
        ", ".join(value for _, value in one.parameters) or text.MISSING,
        str(len(one.points)),
        _number(first.value),
        _number(latest.value),
        _change(whole),
        _short(one.points[steps[-1].at if steps else 0]),
    )


def _figures(changed: Changed) -> Iterator[Figure]:
    """One for each benchmark with at least two commits."""
    for benchmark, same in groupby(changed, key=lambda pair: pair[0].benchmark):
        group = [pair for pair in same if len(pair[0].points) > 1]
        if group:
            yield _figure(benchmark, group)


def _figure(benchmark: str, group: Changed) -> Figure:
    commits = _commits([one for one, _ in group])
    places = {point.commit: place for place, point in enumerate(commits)}
    panels: dict[str, Changed] = {}
    for one, steps in group:
        panels.setdefault(_apart(one), []).append((one, steps))
    columns = min(2, len(panels))
    shown = tuple(
        _panel(title or benchmark, lines, places, commits) for title, lines in panels.items()
    )
    one = group[0][0]
    better = f"{one.better} is better"
    return Figure(
        name=benchmark.replace(".", "-").lower(),
        title=f"{benchmark}, {better}",
        description=(
            f"{benchmark} in {_unit(one)} over {len(commits)} commits from the oldest to the "
            f"youngest; {better}. Dotted lines stand where a level changed."
        ),
        panels=shown,
        height=_ROW * -(-len(shown) // columns) + 0.8,
        width=_WIDTH,
        columns=columns,
        label="commit",
        legend=4,
    )


def _panel(
    title: str, lines: Changed, places: dict[str, int], commits: Sequence[SeriesPoint]
) -> Panel:
    step = -(-len(commits) // _LABELLED)
    marks: list[Any] = []
    for number, (one, found) in enumerate(lines):
        label = _together(one)
        marks.append(
            Points(
                numbers(places[point.commit] for point in one.points),
                numbers(point.value for point in one.points),
                _look(label, number),
                label,
            )
        )
        marks += [
            Rule(x=(places[one.points[change.at].commit] - 0.5,), line="dotted") for change in found
        ]
    ticks = tuple(float(place) for place in range(0, len(commits), step))
    names = tuple(_short(commits[int(place)]) for place in ticks)
    axis = Scale("", -0.5, len(commits) - 0.5, ticks=ticks, names=names, turned=60.0, small=True)
    return Panel(tuple(marks), axis, Scale(_unit(lines[0][0]), about=4), title=title)


def _look(label: str, number: int) -> Look:
    if label in FORMATS:
        return Look(format=label)
    return Look(tone=_TONES[number % len(_TONES)], marker="circle")


def _apart(one: TrackedSeries) -> str:
    """What a series does not share a panel across."""
    return ", ".join(
        value if name in ("network", "format") else f"{name} {value}"
        for name, value in one.parameters
        if name not in _SHARED
    )


def _together(one: TrackedSeries) -> str:
    """What tells the lines of a panel apart."""
    shared = [(name, value) for name, value in one.parameters if name in _SHARED]
    return ", ".join(
        f"{value} bit{'' if value == '1' else 's'}" if name == "bits" else value
        for name, value in shared
    )


def _commits(found: Sequence[TrackedSeries]) -> list[SeriesPoint]:
    """A point of each commit, the oldest first."""
    every = {point.commit: point for one in found for point in one.points}
    return sorted(every.values(), key=lambda point: (point.date, point.commit))


def _told(one: TrackedSeries, steps: Sequence[LevelChange]) -> dict[str, Any]:
    return {
        "benchmark": one.benchmark,
        "parameters": dict(one.parameters),
        "unit": one.unit,
        "better": one.better,
        "points": [
            {"commit": point.commit, "date": _day(point), "value": point.value}
            for point in one.points
        ],
        "changes": [
            {
                "commit": one.points[step.at].commit,
                "after_commit": one.points[step.at - 1].commit,
                "before": step.before,
                "after": step.after,
                "worse": is_worse(one, step),
            }
            for step in steps
        ],
    }


def _rows(found: Sequence[TrackedSeries]) -> Iterator[dict[str, Any]]:
    for one in found:
        for point in one.points:
            yield {
                "machine": one.machine.name,
                "environment": one.environment,
                "benchmark": one.name,
                "unit": one.unit,
                "better": one.better,
                "commit": point.commit,
                "date": _day(point),
                "value": point.value,
            }


def _short(point: SeriesPoint) -> str:
    return point.commit[:8]


def _day(point: SeriesPoint) -> str:
    try:
        return datetime.fromtimestamp(point.date / 1000, timezone.utc).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return text.MISSING


def _broken(one: TrackedSeries) -> str:
    """Name and parameters, a line each."""
    name = one.benchmark.rpartition(".")[2]
    values = ", ".join(value for _, value in one.parameters)
    return f"{name}\n{values}" if values else name


def _unit(one: TrackedSeries) -> str:
    return {"": "a number", "×": "times the reference"}.get(one.unit, one.unit)


def _number(value: float) -> str:
    """To four digits, and no exponent where that can be helped."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3e}"
    return f"−{text.significant(-value, 4)}" if value < 0 else text.significant(value, 4)


def _change(step: LevelChange) -> str:
    share = step.share
    if share is None:
        return text.MISSING
    size = text.beyond(100 * abs(share), 0.0, 1)  # a change of a few bytes is none of 0 %
    return f"{'+' if share > 0 else '−' if share < 0 else '±'}{size} %"
