"""The records of a shift study as the lines of its figures."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..core.figure import Look, Points
from ..metrics.metric import METRICS
from ..records.shift_record import ShiftRecord
from ..stats.shifted import CLEAN, OOD, Results, results
from .rows import deterministic, variant_lines

_NAMES = {"accuracy": "accuracy", "ece": "ECE", "nll": "NLL", "uce": "UCE", "brier": "Brier score"}
#: Lines up to which variants of a format share a figure.
_TOGETHER = 8
_NOTE_WIDTH = 60  # characters of a figure's width


@dataclass(frozen=True)
class Line:
    """One format, or one variant of it, in a figure.

    Attributes:
        format: its name.
        label: what the figure calls it: the variant's name, as in tables (`Results`).
        variant: 0 for the first of its format in the figure.
        records: one per condition and seed.
    """

    format: str
    label: str
    variant: int
    records: tuple[ShiftRecord, ...]

    @property
    def look(self) -> Look:
        """Of its format; empty for further variants, whose colour another line has too."""
        return Look(self.format, self.variant, hollow=self.variant > 0)

    @property
    def key(self) -> Points:
        """Its entry in a legend."""
        return Points((), (), self.look, self.label)

    @property
    def deterministic(self) -> bool:
        """Whether it is a twin, which samples nothing."""
        return deterministic(self.format)

    def at(self, corruption: str, severity: int) -> list[ShiftRecord]:
        """Records of one condition with labels, one per seed."""
        return [
            record
            for record in self.records
            if (record.subject.corruption, record.subject.severity) == (corruption, severity)
            and record.labelled
        ]

    def types(self, severity: int) -> list[str]:
        """Types of corruption there are records of at a severity, sorted."""
        return sorted(
            {
                record.subject.corruption
                for record in self.records
                if record.subject.severity == severity
                and record.subject.corruption != CLEAN[0]
                and record.labelled
            }
        )

    def outside(self, name: str) -> list[ShiftRecord]:
        """Records of the out-of-distribution set `name`, one per seed."""
        return [record for record in self.records if record.subject.corruption == OOD + name]

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
        letters: of the study: letter of a variant to what it stands for.
    """

    slug: str
    lines: tuple[Line, ...]
    letters: Mapping[str, str] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """What the letters of these lines stand for; empty where they have none."""
        used = {word for line in self.lines for word in _kind(line).split()}
        shown = {letter: means for letter, means in self.letters.items() if letter in used}
        return "\n".join(
            part for line in variant_lines(shown) for part in textwrap.wrap(line, _NOTE_WIDTH)
        )

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

    Variants of a format (`INT8 paper`, see `Results`) share a figure if there are few lines in all.
    Otherwise each kind of variant is an edition of its own, in which floats and twins that have no
    such variant take part as they are.

    Returns:
        Sorted; one with an empty slug where there is no other, none without records.
    """
    studies = results(records)
    found = []
    for study in studies:
        words = [safe(word).strip("-") for word in study.title.split()]
        name = "-".join(words) if len(studies) > 1 else ""
        for variant, lines in _figures(_lines(study)).items():
            slug = "-".join(part for part in (name, safe(variant)) if part)
            found.append(Edition(slug, tuple(lines), study.letters))
    return sorted(found, key=lambda edition: edition.slug)


def known_scores(
    records: Sequence[ShiftRecord], metric: str, mc: int | None
) -> NDArray[np.float64]:
    """The score of each record at T = `mc` (its largest if None) that has one."""
    scores = (r.score(metric, mc) for r in records if mc is None or mc in r.body.mc)
    return np.array([score for score in scores if score is not None], dtype=float)


def spread(values: NDArray[np.float64]) -> float:
    """Standard deviation (n − 1) over seeds; NaN for fewer than two, which tell none."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def axis_label(metric: str) -> str:
    """A metric with its unit."""
    unit = METRICS.get(metric).unit
    return f"{_NAMES[metric]}, {unit}" if unit else _NAMES[metric]


def safe(text: str) -> str:
    """Fit for a file name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def _lines(study: Results) -> list[Line]:
    lines: list[Line] = []
    for label, format in study.formats.items():
        if study.method(label):
            continue  # figures are those of the paper, of formats as they are
        place = sum(line.format == format for line in lines)
        own = [r for (name, _), found in study.records.items() if name == label for r in found]
        lines.append(Line(format, label, place, tuple(own)))
    return lines


def _figures(lines: list[Line]) -> dict[str, list[Line]]:
    """Kind of variant to the lines of its figure; all under `""` where they fit into one."""
    if len(lines) <= _TOGETHER or not any(line.variant for line in lines):
        return {"": lines}
    kinds = dict.fromkeys(_kind(line) for line in lines if not _anywhere(line))
    shown: dict[str, list[Line]] = {}
    for kind in kinds:
        own = {line.format for line in lines if _kind(line) == kind}
        shown[kind] = [
            replace(line, variant=0)
            for line in lines
            if _kind(line) == kind
            or (_anywhere(line) and line.format not in own and _fits(line, kind, lines))
        ]
    return shown


def _kind(line: Line) -> str:
    """What its label adds to the format."""
    return line.label.removeprefix(line.format).strip()


def _anywhere(line: Line) -> bool:
    """Whether it is a float or a twin, which the choices of quantizing σ do not touch."""
    return line.deterministic or line.records[0].subject.range == "-"


def _fits(line: Line, kind: str, lines: Sequence[Line]) -> bool:
    """Whether it has no variants, or is of the posterior and T of the variants of this kind."""
    of_kind = {_network(other) for other in lines if _kind(other) == kind}
    return not _kind(line) or _network(line) in of_kind


def _network(line: Line) -> tuple[str, int]:
    cell = line.records[0].subject
    return cell.posterior, cell.mc
