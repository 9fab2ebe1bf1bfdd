"""The one table of a run's screen: one row per format, within 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...records.verdict import INVALID, SPEED
from ...report.rows import RecordRow, deterministic
from ...report.score_cells import decimals, heading
from ...report.verdicts import mark, overall
from .analyse import FormatRows, RunFindings

_SCORES = ("accuracy", "nll", "ece")


def summary(found: RunFindings) -> Sheet:
    """Scores, time per pass at the smallest and the largest batch, and size of each format."""
    unit, scale = text.byte_unit(_file_bytes(one) for one in found.formats)
    rows = tuple(
        (
            one.label,
            *_scores(one),
            *(cell for batch in found.batches for cell in _speed(one.rows.get(batch), found.mc)),
            text.significant(_file_bytes(one) / scale),
            text.times(one.first.record.body.size.ratio_file),
            mark(overall([row.record for row in one.rows.values()])),
        )
        for one in found.formats
    )
    columns = (
        Column("format", numeric=False),
        *(Column(*heading(name)) for name in _SCORES),
        *(
            column
            for batch in found.batches
            for column in (Column(f"batch {batch}", "ms"), Column("speed", "×FP32"))
        ),
        Column("file", unit),
        Column("times", "smaller"),
        Column(""),
    )
    return Sheet(_title(found), columns, rows, {}, 0, (_note(found, rows),))


def _title(found: RunFindings) -> str:
    passes = text.plural(found.mc, "pass", "passes")
    most = "at most " if found.adaptive else ""
    return f"T = {most}{passes}: scores, milliseconds per pass, file"


def _file_bytes(one: FormatRows) -> int:
    return one.first.record.body.size.file_bytes


def _scores(one: FormatRows) -> Iterable[str]:
    scores = one.first.record.body.quality.scores
    return (text.fixed(text.mean(scores.get(name)), decimals(name)) for name in _SCORES)


def _speed(row: RecordRow | None, mc: int) -> tuple[str, str]:
    """Time of a pass, and how many times as fast as the FP32 that the table shows."""
    if row is None:
        return text.MISSING, text.MISSING
    if row.record.verdict.of(SPEED) == INVALID:
        return text.milliseconds(row.pass_ns), "✗"
    same = row.record.subject.mc == mc
    return text.milliseconds(row.pass_ns), text.times(row.speedup if same else None)


def _absent(found: RunFindings) -> str:
    return f" Not measured at this T and batch: {', '.join(found.absent)}." if found.absent else ""


def _note(found: RunFindings, rows: Iterable[tuple[str, ...]]) -> str:
    drawn = [one for one in found.formats if not deterministic(one.format)]
    counts = {len(one.first.record.body.quality.seeds) for one in drawn}
    means = f"Scores: means over {text.either(counts, 'seed')} of the MC draw. " if drawn else ""
    query = "mean" if found.adaptive else "median"
    once = ", one where nothing is drawn" if drawn and len(drawn) < len(found.formats) else ""
    crossed = ", ✗ where the speed is invalid" if any("✗" in row[:-1] for row in rows) else ""
    return (
        f"{means}ms: time per pass, the {query} query's over its passes{once}. ×FP32: how many "
        f"times as fast as FP32 in the same race (– where it has no valid FP32{crossed})."
        f"{_absent(found)}"
    )
