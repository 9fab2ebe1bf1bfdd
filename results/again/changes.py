"""Every change as a line: of a record, or of a table that several make together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from sigmabench.harness.data.units import Units
from sigmabench.harness.measure.audits import noise_bounded
from sigmabench.harness.records.verdict import PASS, SPEED
from sigmabench.harness.report.rows import place
from sigmabench.harness.stats.samples import run_noise

from .across import ACCURACY, Moved, moved, speedups, widest
from .published import Published, rows_before, rows_now
from .records import Judged, judged, judged_peers

DIVIDED = "one verdict became three"
AUDITED = "judged by today's audits"
RACED = "times are divided within one race alone"
UNITS = "half a pseudo-unit is added on either side, not half an image"
AT_MOST = "at most "
STUDIED = "intervals of studies, after the results were seen"
#: Tables with a verdict a row, and the columns that name a row.
TABLES = {
    Path("report/resnet20-cifar10/resnet20-cifar10-equivalence.csv"): (
        "variant",
        "metric",
        "severity",
    ),
    Path("report/resnet50-imagenet/resnet50-imagenet-equivalence.csv"): (
        "variant",
        "metric",
        "severity",
    ),
    Path("report/histology-colorectal/histology-colorectal-referred.csv"): ("split", "variant"),
}


@dataclass(frozen=True)
class Line:
    """One change.

    Attributes:
        record: path below the results, of a record or of a table.
        what: changed.
        stored: before, in words.
        again: now, in words.
        why: one of the reasons above.
    """

    record: str
    what: str
    stored: str
    again: str
    why: str


@dataclass(frozen=True)
class Superseded:
    """What can be read and shown, and is not to be taken for today's.

    Attributes:
        record: path below the results.
        what: of it.
        why: in words.
        command: that measures it again.
    """

    record: str
    what: str
    why: str
    command: str


def judge(found: Iterable[Published]) -> dict[Published, Judged]:
    """Every record that has a verdict, judged again."""
    how = {"run": judged, "peers": judged_peers}
    return {one: how[one.study](one.record) for one in found if one.study in how}


def of_records(again: Mapping[Published, Judged]) -> Iterator[Line]:
    """What a record says by itself."""
    for one, verdicts in again.items():
        path = one.path.as_posix()
        if verdicts.stored.invalid == (SPEED,):
            yield Line(path, "verdict", "invalid", "invalid in speed alone", DIVIDED)
        for change in verdicts.changed:
            yield Line(path, change.what, change.stored, change.again, AUDITED)


def of_races(found: Iterable[Published]) -> Iterator[Line]:
    """Speed-ups over FP32 in the tables of runs."""
    runs = [one for one in found if one.study == "run"]
    for folder, group in groupby(runs, lambda one: one.folder):
        paths = {one.record.subject.key: one.path.as_posix() for one in group}
        records = [one.record for one in runs if one.folder == folder]
        for ratio in speedups(records):
            cell = ratio.row.record.subject
            what = f"÷ FP32 of {place(ratio.row.label, cell)}"
            now = "–" if ratio.now is None else f"{ratio.now:.2f}×"
            yield Line(paths[cell.key], what, f"{ratio.before:.2f}×", now, RACED)


def of_pairs(found: Iterable[Published], units: Mapping[tuple[str, str], Units]) -> Iterator[Line]:
    """Intervals of accuracy against FP32, where images come from fewer sources than there are."""
    for one in found:
        held = getattr(one.record.body, "paired", None)
        if one.study != "run" or held is None or held.intervals[ACCURACY] is None:
            continue
        cell = one.record.subject
        of = units.get((cell.workload, cell.split))
        if of is None or held.units is not None:
            continue
        what = f"accuracy less that of {held.reference}, points: {place(cell.format, cell)}"
        now = widest(held, one.record.body.quality.images, of)
        stored = _interval(held.intervals[ACCURACY])
        yield Line(one.path.as_posix(), what, stored, f"{AT_MOST}{_interval(now)}", UNITS)


def superseded(found: Sequence[Published], lines: Iterable[Line]) -> Iterator[Superseded]:
    """Records that are current nowhere, and intervals that are too narrow."""
    commands = {one.path.as_posix(): one.record.provenance.command for one in found}
    for one in found:
        if one.superseded:
            path = one.path.as_posix()
            yield Superseded(path, "the record", one.superseded, commands[path])
    for line in lines:
        if line.why == UNITS:
            what = "intervals of accuracy in `paired`"
            yield Superseded(line.record, what, f"{UNITS}: {line.again}", commands[line.record])


def _interval(ends: tuple[float, float] | None) -> str:
    return "–" if ends is None else " to ".join(f"{end:+.2f}".replace("-", "−") for end in ends)


def of_tables() -> dict[Path, tuple[int, list[Moved]]]:
    """Of each of `TABLES`, how many rows it has, and those whose verdict moved."""
    return {
        path: (len(rows_now(path)), moved(rows_before(path), rows_now(path), keys))
        for path, keys in TABLES.items()
    }


def lines_of(tables: Mapping[Path, tuple[int, Sequence[Moved]]]) -> Iterator[Line]:
    """The same as lines."""
    for path, (_, rows) in tables.items():
        for one in rows:
            yield Line(path.as_posix(), f"verdict on {one.row}", one.before, one.now, STUDIED)


def noisy(found: Iterable[Published]) -> list[tuple[str, str, str]]:
    """Contenders of races without a verdict whose noise today's audit would not pass: record,
    contender and result."""
    return [
        (one.path.as_posix(), contender.name, result.removeprefix("fail: "))
        for one in found
        if one.study == "runtime"
        for contender in getattr(one.record.body, "contenders", ())
        if contender.latency_ns
        for result in [
            noise_bounded(run_noise(contender.latency_ns, contender.slices, contender.processes))
        ]
        if result != PASS
    ]
