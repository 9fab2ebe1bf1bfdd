"""Which method gives the best uncertainty for its time: NLL against milliseconds per image.

Of one race alone: its contenders took turns on one machine, and times of others are not comparable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..core import words as text
from ..core.figure import Figure, Look, Panel, Points, Rule, Scale
from ..core.sheet import Column, Sheet
from ..records.verdict import INVALID, QUALITY, SPEED
from .figures import row_look
from .rows import RecordRow, Section, format_order
from .score_cells import decimals, heading

_SCORES = ("accuracy", "ece")


@dataclass(frozen=True, eq=False)
class Setting:
    """A cell with what it costs and what it gives.

    Attributes:
        row: the cell.
        milliseconds: per image.
        nll: in nats, the mean over seeds.
    """

    row: RecordRow
    milliseconds: float
    nll: float

    @property
    def name(self) -> str:
        """Its format, T and batch."""
        cell = self.row.record.subject
        return f"{self.row.label}, T = {self.row.passes}, batch {cell.batch}"


@dataclass(frozen=True, eq=False)
class Frontier:
    """The cells of one race.

    Attributes:
        section: that they are of.
        methods: all that are valid in quality and speed, the fastest first.
        best: those that no other beats in both, the fastest first.
    """

    section: Section
    methods: tuple[Setting, ...]
    best: tuple[Setting, ...]


def frontier(section: Section) -> Frontier | None:
    """Of the race with the most valid cells, the youngest of several; None where none has two."""
    races: dict[object, list[Setting]] = {}
    for row in section.rows:
        timing = row.record.body.timing
        if (found := _method(row)) is not None:
            name = timing.race or (timing.interleaved_with, row.record.fingerprint.code)
            races.setdefault(name, []).append(found)
    if not races:
        return None
    largest = max(races.values(), key=lambda r: (len(r), max(m.row.record.created for m in r)))
    if len(largest) < 2:
        return None
    methods = sorted(largest, key=lambda one: (one.milliseconds, one.nll))
    best: list[Setting] = []
    for one in methods:
        if not best or one.nll < best[-1].nll:
            best.append(one)
    return Frontier(section, tuple(methods), tuple(best))


def _method(row: RecordRow) -> Setting | None:
    verdict, record = row.record.verdict, row.record
    nll = text.mean(record.body.quality.scores.get("nll"))
    if INVALID in (verdict.of(QUALITY), verdict.of(SPEED)) or nll is None:
        return None
    spent = record.body.adaptive
    if spent is not None:
        query: float | None = spent.mean_latency_ns
    else:
        median = record.body.timing.percentiles_ns.get("p50")
        query = None if median is None else median * record.of_all_passes
    return None if not query else Setting(row, query / record.subject.batch / 1e6, nll)


def frontier_lines(found: Frontier) -> list[str]:
    """What a race says, one sentence each."""
    fastest, lowest = found.best[0], found.best[-1]
    told = [
        f"{text.plural(len(found.methods), 'cell')} of one race; "
        f"{text.plural(len(found.best), 'cell')} {text.verb(len(found.best))} beaten by no other "
        "in both time and NLL."
    ]
    if fastest is lowest:
        return [*told, f"{fastest.name} is the fastest and has the lowest NLL: {_cost(fastest)}."]
    told.append(f"The fastest is {fastest.name}: {_cost(fastest)}.")
    return [*told, f"{lowest.name} has the lowest NLL: {_cost(lowest)}."]


def _cost(one: Setting) -> str:
    nll = text.fixed(one.nll, decimals("nll"))
    return f"NLL {nll} nats at {text.significant(one.milliseconds)} ms per image"


def frontier_sheet(found: Frontier) -> Sheet:
    """The cells that no other beats, the fastest first."""
    rows = tuple(
        (
            one.row.label,
            one.row.passes,
            str(one.row.record.subject.batch),
            text.significant(one.milliseconds),
            text.fixed(one.nll, decimals("nll")),
            *(
                text.fixed(text.mean(one.row.record.body.quality.scores.get(name)), decimals(name))
                for name in _SCORES
            ),
        )
        for one in found.best
    )
    columns = (
        Column("format", numeric=False),
        Column("T"),
        Column("batch"),
        Column("ms", "per image"),
        Column(*heading("nll")),
        *(Column(*heading(name)) for name in _SCORES),
    )
    notes = ("Each takes longer than the one above it and has a lower NLL.",)
    return Sheet("Best uncertainty for its time", columns, rows, {}, 0, notes)


def frontier_figure(found: Frontier) -> Figure:
    """NLL against milliseconds per image, a point for each cell; a line joins the unbeaten."""
    labels = list(dict.fromkeys(one.row.label for one in found.methods))
    points = [
        _points(label, [one for one in found.methods if one.row.label == label])
        for label in sorted(labels, key=lambda label: (format_order(label.split()[0]), label))
    ]
    line = Rule(
        tuple(one.milliseconds for one in found.best),
        tuple(one.nll for one in found.best),
        tone="ink",
        line="dotted",
        label="beaten by no other",
    )
    up = Scale("NLL, nats (lower is better)", about=6)
    across = Scale("milliseconds per image", log=True)
    return Figure(
        "frontier",
        "NLL against time",
        "Negative log-likelihood of each cell of one race against the milliseconds that an image "
        "takes; a line joins the cells that no other beats in both.",
        (Panel((line, *points), across, up),),
        height=3.0,
    )


def _points(label: str, methods: Sequence[Setting]) -> Points:
    look: Look = row_look(methods[0].row)
    return Points(
        tuple(one.milliseconds for one in methods),
        tuple(one.nll for one in methods),
        look,
        label,
        joined=False,
        size=5.0,
    )
