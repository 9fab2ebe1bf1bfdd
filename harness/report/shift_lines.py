"""The records of a shift study as the lines of its figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..cell import Cell
from ..formats import FORMATS
from ..shift.record import ShiftRecord
from ..uncertainty.metrics import METRICS
from .rows import Row, format_order
from .style import Look, legend_above, look

CLEAN = ("none", 0)
OOD = "ood:"

#: Fields of a cell that set predictions of one format on the same images apart, but for the seed.
_CHOICES = (
    "workload",
    "workload_version",
    "posterior",
    "split",
    "limit",
    "range",
    "granularity",
    "sigma_offset",
    "observer",
    "calibration",
    "noise",
    "stopping",
)
_DOES_NOT_APPLY = "-"
_NAMES = {"accuracy": "accuracy", "ece": "ECE", "nll": "NLL", "uce": "UCE", "brier": "Brier score"}
#: Lines up to which variants of a format share a figure.
_TOGETHER = 8


@dataclass(frozen=True)
class Line:
    """One format, or one variant of it, in a figure.

    Attributes:
        format: its name.
        label: what the figure calls it: the format, and what sets a variant apart.
        variant: 0 for the first of its format.
        records: at their largest T, one a condition and seed.
    """

    format: str
    label: str
    variant: int
    records: tuple[ShiftRecord, ...]

    @property
    def look(self) -> Look:
        """Colour, marker and line style; the colour is the format's."""
        return format_look(self.format, self.variant)

    @property
    def open(self) -> bool:
        """Whether markers and boxes are empty: of twins and of further variants, whose colour
        another line has too."""
        return self.deterministic or self.variant > 0

    @property
    def style(self) -> dict[str, Any]:
        """The look, as matplotlib's arguments."""
        return {**asdict(self.look), "fillstyle": "none" if self.open else "full"}

    @property
    def deterministic(self) -> bool:
        """Whether it is a twin, which samples nothing."""
        return deterministic(self.format)

    def at(self, corruption: str, severity: int) -> list[ShiftRecord]:
        """Records of one condition with labels, one a seed."""
        return [
            record
            for record in self.records
            if (record.cell.corruption, record.cell.severity) == (corruption, severity)
            and record.labelled
        ]

    def types(self, severity: int) -> list[str]:
        """Types of corruption there are records of at a severity, sorted."""
        return sorted(
            {
                record.cell.corruption
                for record in self.records
                if record.cell.severity == severity
                and record.cell.corruption != CLEAN[0]
                and record.labelled
            }
        )

    def outside(self, name: str) -> list[ShiftRecord]:
        """Records of the out-of-distribution set `name`, one a seed."""
        return [record for record in self.records if record.cell.corruption == OOD + name]

    def means(self, metric: str, severity: int) -> NDArray[np.float64]:
        """[types] the score of each type at a severity, the mean over seeds."""
        scores = (
            known_scores(self.at(type, severity), metric, None) for type in self.types(severity)
        )
        return np.array([np.mean(found) for found in scores if len(found)])


@dataclass(frozen=True)
class Edition:
    """What is drawn together.

    Attributes:
        slug: part of the file name; empty where there is one edition alone.
        lines: in the order of the formats.
    """

    slug: str
    lines: tuple[Line, ...]

    @property
    def bayesian(self) -> list[Line]:
        """Lines of formats that sample weights."""
        return [line for line in self.lines if not line.deterministic]

    @property
    def twins(self) -> list[Line]:
        """Lines of deterministic formats."""
        return [line for line in self.lines if line.deterministic]


def editions(records: Iterable[ShiftRecord]) -> list[Edition]:
    """Put records into figures that can be read.

    Where a format was scored under several choices (ranges of INT8, posteriors), its variants share
    a figure if there are few lines in all. Otherwise each combination of choices is an edition of
    its own, in which a record takes part if it agrees; a choice that does not apply to it (the
    range of FP32) agrees with any.

    Returns:
        One with an empty slug, or one a combination, sorted; none without records.
    """
    kept = _largest_mc(records)
    if not kept:
        return []
    formats = {field: _varying(kept, field) for field in _CHOICES}
    varying = {field: found for field, found in formats.items() if found}
    own = {id(record): _choices(record.cell, varying) for record in kept}
    whole = Edition("", _lines(kept, varying))
    combinations = sorted(set(own.values()))
    if not varying or len(whole.lines) <= _TOGETHER:
        return [whole]
    built = []
    for combination in [c for c in combinations if _DOES_NOT_APPLY not in c] or combinations:
        chosen = [r for r in kept if _agrees(own[id(r)], combination)]
        slug = "-".join(f"{f}-{value}" for f, value in zip(varying, combination, strict=True))
        built.append(Edition(safe(slug), _lines(chosen, {})))
    return built


def format_look(format: str, variant: int = 0) -> Look:
    """The look of a format: the same in every figure of the reports."""
    label = f"{format} {chr(ord('a') + variant)}" if variant else format
    record = SimpleNamespace(cell=SimpleNamespace(format=format))
    return look(cast(Row, SimpleNamespace(label=label, record=record)))


def known_scores(
    records: Sequence[ShiftRecord], metric: str, mc: int | None
) -> NDArray[np.float64]:
    """The score of each record at T = `mc` (its largest if None) that has one."""
    scores = (r.score(metric, mc) for r in records if mc is None or mc in r.mc)
    return np.array([score for score in scores if score is not None], dtype=float)


def spread(values: NDArray[np.float64]) -> float:
    """Standard deviation (n − 1) over seeds; NaN for fewer than two, which tell none."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def legend(drawn: Figure, panel: Axes, lines: Sequence[Line]) -> None:
    """One legend of the lines for the whole figure, above it; `panel` is one of its panels."""
    for line in lines:
        panel.plot([], [], **line.style, label=line.label)
    legend_above(drawn, panel)


def axis_label(metric: str) -> str:
    """A metric with its unit."""
    unit = METRICS.get(metric).unit
    return f"{_NAMES[metric]}, {unit}" if unit else _NAMES[metric]


def safe(text: str) -> str:
    """Fit for a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def deterministic(format: str) -> bool:
    """Whether a format samples nothing."""
    return format in FORMATS.names() and not FORMATS.get(format).bayesian


def _choices(cell: Cell, varying: Mapping[str, set[str]]) -> tuple[str, ...]:
    """Values of the varying fields; a twin has those alone in which its own records differ, because
    it shares neither posterior nor range with the other formats."""
    twin = deterministic(cell.format)
    return tuple(
        _DOES_NOT_APPLY if twin and cell.format not in formats else str(getattr(cell, field))
        for field, formats in varying.items()
    )


def _varying(records: Sequence[ShiftRecord], field: str) -> set[str]:
    """Formats that come with several values of the field."""
    found: dict[str, set[str]] = {}
    for record in records:
        value = str(getattr(record.cell, field))
        if value != _DOES_NOT_APPLY:
            found.setdefault(record.cell.format, set()).add(value)
    return {format for format, values in found.items() if len(values) > 1}


def _agrees(own: Sequence[str], combination: Sequence[str]) -> bool:
    return all(
        value in (asked, _DOES_NOT_APPLY) for value, asked in zip(own, combination, strict=True)
    )


def _largest_mc(records: Iterable[ShiftRecord]) -> list[ShiftRecord]:
    """Of every format, choice, condition and seed, the record with the most passes."""
    best: dict[tuple[object, ...], ShiftRecord] = {}
    for record in records:
        cell = record.cell
        choices = (getattr(cell, field) for field in _CHOICES)
        which = (*choices, cell.format, cell.corruption, cell.severity, cell.seed)
        if which not in best or best[which].cell.mc < cell.mc:
            best[which] = record
    return list(best.values())


def _lines(records: Sequence[ShiftRecord], varying: Mapping[str, set[str]]) -> tuple[Line, ...]:
    """A line a format and variant."""
    found: dict[tuple[str, tuple[str, ...]], list[ShiftRecord]] = {}
    for record in records:
        fields = [f for f, formats in varying.items() if record.cell.format in formats]
        variant = tuple(str(getattr(record.cell, field))[:8] for field in fields)
        found.setdefault((record.cell.format, variant), []).append(record)
    lines: list[Line] = []
    for format, variant in sorted(found, key=lambda key: (format_order(key[0]), key)):
        place = sum(line.format == format for line in lines)
        of = sorted(found[format, variant], key=lambda r: r.cell.seed)
        lines.append(Line(format, " ".join((format, *variant)), place, tuple(of)))
    return tuple(lines)
