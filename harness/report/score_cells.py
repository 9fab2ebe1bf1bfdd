"""What sheets of runs share: cells and heads of scores, keys of rows, marks of many rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core import words as text
from ..core.sheet import Column
from ..metrics.metric import METRICS, shown_metrics
from ..records.run_record import RunRecord
from ..records.verdict import Outcome, worst
from .rows import RecordRow, passes

Writer = Callable[[Sequence[float | None] | None, int], str]
_SPREADS: dict[Writer, str] = {
    text.concise: "in brackets the standard deviation, in units of the last digit",
    text.spread: "± standard deviation",
}


def heading(metric: str) -> tuple[str, str]:
    """What a metric is called in a table, and its unit."""
    found = METRICS.get(metric)
    return found.called, found.unit


def decimals(metric: str) -> int:
    """How many decimals of a metric are shown."""
    return METRICS.get(metric).decimals


def worst_outcomes(
    rows: Sequence[RecordRow], key: Callable[[RecordRow], object], kind: str
) -> dict[object, Outcome]:
    """The outcome of a kind of numbers over all cells of each key."""
    found: dict[object, set[Outcome]] = {}
    for row in rows:
        found.setdefault(key(row), set()).add(row.record.verdict.of(kind))
    return {which: worst(outcomes) for which, outcomes in found.items()}


def label(row: RecordRow) -> str:
    """Of the format."""
    return row.label


def label_and_count(row: RecordRow) -> tuple[object, ...]:
    """Format and number of passes: what scores depend on."""
    return row.label, *count(row)


def setting(row: RecordRow) -> tuple[str, str]:
    """Number of passes and batch size, as they are shown."""
    return passes(row.record.subject), str(row.record.subject.batch)


def count(row: RecordRow) -> tuple[int, bool]:
    """Passes at most, and whether images may have fewer."""
    return row.record.subject.mc, row.record.subject.adaptive


def scores(record: RunRecord, write: Writer) -> tuple[str, ...]:
    """Every score that is shown, and after ECE its floor."""
    q = record.body.quality
    cells = [write(q.scores.get(m.name), m.decimals) for m in shown_metrics()]
    return (*cells[:2], text.fixed(text.mean(q.ece_floor_percent), decimals("ece")), *cells[2:])


def score_columns() -> tuple[Column, ...]:
    """The heads of `scores`."""
    columns = [Column(metric.called, metric.unit) for metric in shown_metrics()]
    return (*columns[:2], Column("floor", columns[1].unit), *columns[2:])


def seeds_note(counts: Sequence[int], write: Writer) -> str:
    """What scores are means of, and a blank; nothing where nothing is drawn.

    Args:
        counts: of seeds, of the formats that draw their weights.
        write: of the scores.
    """
    if not counts:
        return ""
    if set(counts) == {1}:
        return "One seed of the MC draw, so no standard deviation. "
    return f"Mean over {text.either(counts, 'seed')} of the MC draw; {_SPREADS[write]}. "
