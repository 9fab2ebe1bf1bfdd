"""Figures of a study of selective prediction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from ...core.figure import Band, Figure, Look, Mark, Numbers, Panel, Points, Rule, Scale, numbers
from ...stats.bootstrap import Array
from ...stats.bound import balanced_curve
from ...stats.ranking import once
from .analyse import SelectiveFindings
from .referral import Referral
from .sample import Interval, Outputs

_COVERAGES = np.linspace(0.1, 1.0, 91)
_LEGEND = 0.55  # inches
_NAMED = 40  # classes whose names fit below an axis


def selective_figures(found: SelectiveFindings) -> list[Figure]:
    """Every figure of a study."""
    made = (risk_coverage(found), referred(found), classes(found))
    return [figure for figure in made if figure is not None]


def risk_coverage(found: SelectiveFindings) -> Figure:
    """Error and balanced error of what is kept against coverage, one row of panels per split. Means
    over seeds. Bars are 95 % intervals: left at the chosen coverage, right of coverage and balanced
    error at the threshold that the validation split chose; the bound is a line."""
    across = Scale("coverage, %", 10.0, 102.0)
    panels = []
    for split in found.splits:
        shown = [
            (one, found.samples[split].outputs[one.variant]) for one in found.as_they_are(split)
        ]
        by = found.choices.by
        left: list[Mark] = []
        right: list[Mark] = []
        for one, runs in shown:
            left += [_curve([_errors(run, by) for run in runs], found, one), _chosen(found, one)]
            right += [
                _curve([_balanced(run, by) for run in runs], found, one),
                *_bounded(found, one),
            ]
        right.append(Rule(y=(100 * found.choices.bound,)))
        panels += [
            Panel(tuple(left), across, Scale(f"{split}\nerror, %", 0.0)),
            Panel(tuple(right), across, Scale("balanced error, %", 0.0)),
        ]
    return Figure(
        "risk-coverage",
        "Risk against coverage",
        "Error and balanced error of the images that are kept against the share of images kept, "
        "for each format and split, with 95 percent intervals at the chosen coverage and at the "
        "threshold that the validation split chose.",
        _keyed(panels, [Points((), (), _look(found, v), v) for v in _variants(found)]),
        height=_LEGEND + 1.6 * len(found.splits),
        columns=2,
        shared="x",
    )


def referred(found: SelectiveFindings) -> Figure | None:
    """Images that change sides between a format and its float one, in % of those referred, a panel
    a split, with 95 % intervals. The band is the luck of the draw: the float format with other
    noise."""
    splits = [split for split in found.splits if found.compared(split)]
    if not splits:
        return None
    names = list(dict.fromkeys(c.found.variant for c in found.comparisons))
    across = Scale(
        low=-0.6,
        high=len(names) - 0.4,
        ticks=tuple(map(float, range(len(names)))),
        names=tuple(name.replace("_", "\n", 1) for name in names),
        grid=False,
    )
    panels = []
    for split in splits:
        compared = found.compared(split)
        marks: list[Mark] = [
            _bar(
                names.index(one.found.variant), one.found.switched, 100 / one.found.referred,
                _look(found, one.found.variant),
            )
            for one in compared
        ]  # fmt: skip
        lucks = {c.luck.variant: c.luck for c in compared if c.luck is not None}
        for luck in lucks.values():
            marks += _luck(luck.switched, 100 / luck.referred)
        panels.append(Panel(tuple(marks), across, Scale(f"{split}\nswitch, % of referred", 0.0)))
    key = Rule(tone="ink", line="dashed", label="FP32 against itself with other noise")
    lucky = any(c.luck is not None for c in found.comparisons)
    return Figure(
        "referred",
        "Images that change sides",
        "Of the images that a format refers, the share that its float format keeps, for each "
        "split, with 95 percent intervals; the band is that of the float format with other noise.",
        _keyed(panels, [key] if lucky else []),
        height=0.6 + 1.35 * len(splits),
        shared="x",
    )


def classes(found: SelectiveFindings) -> Figure:
    """Share of each class that is referred at the chosen coverage, one panel per split; means over
    seeds. The line is the share of all images."""
    labels = sorted({c.label for one in found.selections for c in one.classes})
    across = Scale("class", grid=False)
    if len(labels) <= _NAMED:
        across = Scale(
            ticks=tuple(map(float, range(len(labels)))),
            names=tuple(map(found.class_name, labels)),
            grid=False,
            turned=35.0 if found.class_names else 0.0,
        )
    panels = []
    for split in found.splits:
        shown = found.as_they_are(split)
        marks = [
            Points(
                numbers(labels.index(c.label) + offset for c in one.classes),
                numbers(c.referred for c in one.classes),
                _look(found, one.variant),
                joined=False, size=3.0, over=True,
            )
            for place, one in enumerate(shown)
            for offset in [0.7 * ((place + 0.5) / len(shown) - 0.5)]
        ]  # fmt: skip
        whole = Rule(y=(100 - 100 * found.choices.coverage,))
        panels.append(Panel((*marks, whole), across, Scale(f"{split}\nreferred, %", 0.0, 100.0)))
    keys = [Points((), (), _look(found, v), v, joined=False) for v in _variants(found)]
    return Figure(
        "referred-classes",
        "Referred images by class",
        "Share of the images of each class that are referred at the chosen coverage, for each "
        "format and split; the line is the share of all images.",
        _keyed(panels, keys),
        height=_LEGEND + 1.35 * len(found.splits),
        shared="x",
    )


def _errors(run: Outputs, by: str) -> Array:
    """Error at each of `_COVERAGES`."""
    ranked, counts = run.ranked(by), once(len(run.labels))
    kept = np.concatenate([ranked.kept(counts, share) for share in _COVERAGES])
    return ranked.error(kept)


def _balanced(run: Outputs, by: str) -> Array:
    """Balanced error at each of `_COVERAGES`."""
    _, coverage, error = balanced_curve(run.uncertainties[by], run.wrong, run.labels)
    curve: Array = np.interp(_COVERAGES, coverage, error)
    return curve


def _curve(curves: list[Array], found: SelectiveFindings, one: Referral) -> Points:
    return Points(
        numbers(100 * _COVERAGES),
        numbers(100 * np.mean(curves, axis=0)),
        _look(found, one.variant),
        marked=False,
    )


def _chosen(found: SelectiveFindings, one: Referral) -> Points:
    names = list(found.formats)
    dodge = 1.2 * (names.index(one.variant) - (len(names) - 1) / 2)
    at = 100 * found.choices.coverage + dodge
    return replace(_bar(at, one.error_kept, 1.0, _look(found, one.variant)), size=3.0)


def _bounded(found: SelectiveFindings, one: Referral) -> Iterator[Points]:
    if one.bounded is not None and one.bounded.balanced_error is not None:
        at = one.bounded.coverage
        left, right = _ends(at, 1.0)
        bar = _bar(at.value, one.bounded.balanced_error, 1.0, _look(found, one.variant))
        yield replace(bar, left=left, right=right, size=3.0)


def _bar(at: float, found: Interval, scale: float, look: Look) -> Points:
    low, high = _ends(found, scale)
    return Points((float(at),), numbers([scale * found.value]), look, "", low, high, joined=False)


def _ends(found: Interval, scale: float) -> tuple[Numbers, Numbers]:
    """Of the bar of an estimate; none where it has no interval."""
    if found.low is None or found.high is None:
        return (), ()
    low, high = min(found.low, found.value), max(found.high, found.value)
    return numbers([scale * low]), numbers([scale * high])


def _luck(luck: Interval, scale: float) -> Iterator[Mark]:
    if luck.low is not None and luck.high is not None:
        yield Band(float(scale * luck.low), float(scale * luck.high), strength=0.15)
    yield Rule(y=numbers([scale * luck.value]), tone="ink", line="dashed")


def _keyed(panels: list[Panel], keys: Sequence[Mark]) -> tuple[Panel, ...]:
    """The panels; entries of the legend are in the first."""
    return replace(panels[0], marks=(*panels[0].marks, *keys)), *panels[1:]


def _variants(found: SelectiveFindings) -> list[str]:
    return [one.variant for one in found.as_they_are(found.splits[0])]


def _look(found: SelectiveFindings, variant: str) -> Look:
    """That of the variant's format; a deterministic one's is hollow."""
    name = found.formats[variant]
    same = [v for v, f in found.formats.items() if f == name]
    return Look(name, same.index(variant))
