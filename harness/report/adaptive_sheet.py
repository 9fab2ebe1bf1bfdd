"""The sheets of adaptive T: passes spent, and what stopping early changed."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import words as text
from ..core.sheet import Column, Sheet
from ..metrics.metric import METRICS, shown_metrics
from ..records.run_record import Adaptive
from .rows import RecordRow, Section, unique


def spent(section: Section) -> list[Sheet]:
    """Where images stopped, one row per format and one sheet per limit; none without adaptive T."""
    sheets = []
    for looks, rows in _by_looks(section).items():
        cells = [(row.label, *_spent_cells(found)) for row, found in rows]
        columns = (
            Column("format", numeric=False),
            Column("conf.", "%"),
            Column("T", "mean"),
            Column("T", "median"),
            *(Column(str(look), "%") for look in looks),
            Column("agree", "%"),
        )
        notes = (
            "Conf.: an image stops when its decision is, at this confidence, the one after "
            f"{_passes(looks)}. T: the passes that images had. Under each number: the share of "
            "images that stopped after that many passes. Agree: the share of images whose decision "
            f"is, in fact, the one after {_passes(looks)}. Shares are over all seeds together.",
        )
        sheets.append(Sheet("Adaptive T: passes spent", columns, tuple(cells), {}, 0, notes))
    return sheets


def differences(section: Section) -> list[Sheet]:
    """Scores at adaptive T minus those at full T, one row per format, the main metrics only."""
    sheets = []
    for looks, rows in _by_looks(section).items():
        shown = shown_metrics()
        cells = [(row.label, *(_difference(found, m.name) for m in shown)) for row, found in rows]
        columns = (
            Column("format", numeric=False),
            *(Column(metric.called, metric.unit) for metric in shown),
        )
        notes = (_paired(looks),)
        title = f"Adaptive T: difference to T = {looks[-1]}"
        sheets.append(Sheet(title, columns, tuple(cells), {}, 0, notes))
    return sheets


def document(section: Section) -> list[Sheet]:
    """Passes spent, and the difference in every metric, one row per metric."""
    return [*spent(section), *_every_difference(section)]


def _every_difference(section: Section) -> list[Sheet]:
    sheets = []
    for looks, rows in _by_looks(section).items():
        names = list(dict.fromkeys(name for _, found in rows for name in found.differences))
        cells = []
        for name in names:
            title = " ".join(_called(name)).strip()
            cells.append((title, *(_difference(found, name) for _, found in rows)))
        columns = (Column("metric", numeric=False), *(Column(row.label) for row, _ in rows))
        title = f"Adaptive T: difference to T = {looks[-1]}"
        sheets.append(Sheet(title, columns, tuple(cells), {}, 0, (_paired(looks),)))
    return sheets


def _called(name: str) -> tuple[str, str]:
    """A metric's heading and unit; what is in no short table keeps its name."""
    metric = METRICS.get(name)
    return metric.called if metric.shown else name.replace("_", " "), metric.unit


def _by_looks(section: Section) -> dict[tuple[int, ...], list[tuple[RecordRow, Adaptive]]]:
    """Adaptive rows by when they looked; batches of one label that score alike are one."""
    found: dict[tuple[int, ...], list[tuple[RecordRow, Adaptive]]] = {}
    rows = [row for row in section.rows if row.record.body.adaptive is not None]
    for row in unique(rows, lambda r: (r.label, r.record.subject.mc, _scores(r))):
        if row.record.body.adaptive is not None:
            found.setdefault(row.record.body.adaptive.looks, []).append(
                (row, row.record.body.adaptive)
            )
    return found


def _scores(row: RecordRow) -> tuple[object, ...]:
    adaptive = row.record.body.adaptive
    return () if adaptive is None else (adaptive.images, tuple(adaptive.differences.items()))


def _spent_cells(found: Adaptive) -> tuple[str, ...]:
    totals = [sum(images) for images in zip(*found.images, strict=True)] or [0] * len(found.looks)
    shares = [count / sum(totals) if sum(totals) else None for count in totals]
    return (
        f"{100 * found.confidence:g}",
        text.fixed(text.mean(found.mean_passes), 2),
        text.fixed(text.mean(found.median_passes), 0),
        *(text.percent(share, 1) for share in shares),
        text.percent(text.mean(found.agreement), 2),
    )


def _difference(found: Adaptive, name: str) -> str:
    """Mean over the seeds with its sign, and in brackets the standard deviation."""
    values = found.differences.get(name, ())
    digits = 3 if METRICS.get(name).unit == "%" else 5
    _, bracket, spread = text.concise(values, digits).partition("(")
    return text.signed(text.mean(values), digits) + bracket + spread


def _passes(looks: Sequence[int]) -> str:
    """At most."""
    return text.plural(looks[-1], "pass", "passes")


def _paired(looks: Sequence[int]) -> str:
    return (
        f"The score at adaptive T minus that at T = {looks[-1]}, on the same images and draws: "
        "mean over seeds, with the standard deviation in brackets, in units of the last digit."
    )
