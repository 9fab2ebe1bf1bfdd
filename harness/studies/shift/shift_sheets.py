"""The sheets of a shift study's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...metrics.metric import shown_metrics
from ...report.quality_sheets import PAPER_COLUMNS, PAPER_NOTE
from ...report.score_cells import Writer, decimals, heading, seeds_note
from ...stats.shifted import Results
from . import numbers

_MI = "mutual_information"
_SHORT = {"entropy": "entropy", _MI: "MI"}


def clean(found: Results, write: Writer = text.concise) -> Sheet:
    """Scores on the clean images at the largest T, one row per variant."""
    digits = {m: decimals(m) for m in numbers.scored()}
    if write is text.concise:
        digits |= {"uce": 1, "nll": 3, "brier": 3}  # the terminal's 80 columns
    rows = []
    for variant in found.formats:
        if found.at(variant):
            cells = [write(numbers.over_seeds(found, variant, m), digits[m]) for m in digits]
            floor = text.mean(numbers.over_seeds(found, variant, "ece_floor"))
            rows.append((variant, *cells[:2], text.fixed(floor, decimals("ece")), *cells[2:]))
    columns = [Column(*_heading(m)) for m in numbers.scored()]
    columns.insert(2, Column("floor", columns[1].unit))
    drawn = [v for v in found.formats if found.at(v) and found.draws(v)]
    seeds = sorted({len(found.at(v)) for v in drawn})
    note = (
        f"{seeds_note(seeds, write)}Floor: the ECE that a perfectly calibrated model would show "
        "on this number of images. MI: mutual information."
    ) + _tempered(found)
    columns_ = (Column("format", numeric=False), *columns)
    return Sheet("Clean images", columns_, tuple(_aligned(rows)), {}, 0, (note,))


def paper(found: Results, reference: Mapping[str, Mapping[str, float]]) -> Sheet:
    """Scores on the clean images beside published ones, one row per metric and variant."""
    variants = [
        v
        for v, format_ in found.formats.items()
        if format_ in reference and found.at(v) and v not in found.methods
    ]
    rows: list[tuple[str, ...]] = []
    headings = {}
    for metric in (one.name for one in shown_metrics()):
        shown = [v for v in variants if metric in reference[found.formats[v]]]
        if shown:
            headings[len(rows)] = " ".join(heading(metric)).strip()
            rows += [_paper_cells(found, v, metric, reference) for v in shown]
    title = "Clean images, beside the paper"
    return Sheet(title, PAPER_COLUMNS, tuple(rows), headings, 0, (PAPER_NOTE,))


def boxes(found: Results, ranges: bool = False) -> Sheet:
    """Median over corruption types, one row per severity and variant.

    Args:
        found: the study.
        ranges: with the least and the largest.
    """
    cells: dict[tuple[int, str], dict[str, str]] = {}
    counts: dict[int, set[int]] = {}
    for row in numbers.boxes(found):
        digits = decimals(row["metric"])
        shown = text.fixed(row["median"], digits)
        if ranges and row["types"] > 1:
            ends = f"{text.fixed(row['min'], digits)}–{text.fixed(row['max'], digits)}"
            shown = f"{shown} ({ends})"
        cells.setdefault((row["severity"], row["variant"]), {})[row["metric"]] = shown
        counts.setdefault(row["severity"], set()).add(row["types"])
    rows = [
        (str(severity), variant, *(got.get(m, text.MISSING) for m in numbers.boxed()))
        for (severity, variant), got in cells.items()
    ]
    columns = (
        Column("severity"),
        Column("format", numeric=False),
        *(Column(*heading(m)) for m in numbers.boxed()),
    )
    types = sorted({n for severity, ns in counts.items() if severity for n in ns})
    over = f" over {text.either(types, 'corruption type')}" if types else ""
    ends = ", with the least and the largest in brackets" if ranges else ""
    note = f"Median{over}{ends}; severity 0: the clean images."
    return Sheet("By severity", columns, tuple(rows), {}, 1, (note,))


def passes(found: Results) -> Sheet:
    """Accuracy and NLL against T on clean images and at the largest severity."""
    counts = numbers.prefixes(found)
    found_at: dict[tuple[str, int, str], dict[int, float | None]] = {}
    for row in numbers.passes(found):
        key = (row["metric"], row["severity"], row["variant"])
        found_at.setdefault(key, {})[row["mc"]] = row["mean"]
    ends = {*found.severities[:1], *found.severities[-1:]}
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    above = ("", -1)
    for (metric, severity, variant), got in found_at.items():
        if severity in ends:
            if (metric, severity) != above:
                above = (metric, severity)
                where = "clean" if severity == 0 else f"severity {severity}"
                headings[len(rows)] = f"{' '.join(heading(metric))}, {where}"
            shown = (text.fixed(got[T], decimals(metric)) if T in got else "" for T in counts)
            rows.append((variant, *shown))
    columns = (Column("format", numeric=False), *(Column(f"T {T}") for T in counts))
    notes = ("T: passes. Means over seeds and, under shift, over corruption types.",)
    return Sheet("Against the number of passes", columns, tuple(rows), headings, 0, notes)


def outside(found: Results, write: Writer = text.concise) -> Sheet:
    """Detection of images from outside the distribution, one row per set and variant."""
    got: dict[tuple[str, str], dict[str, list[float]]] = {}
    prevalence: dict[str, float] = {}
    for row in numbers.outside(found):
        prevalence[row["ood"]] = row["prevalence"]
        cells = got.setdefault((row["ood"], row["variant"]), {})
        for score in ("auroc", "aupr"):
            cells.setdefault(f"{score} {row['by']}", []).append(row[score])
    names = [f"{score} {by}" for score in ("auroc", "aupr") for by in numbers.DETECTORS]
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    for ood in prevalence:
        headings[len(rows)] = f"{ood}, {text.percent(prevalence[ood], 0)} %"
        of = [(variant, cells) for (name, variant), cells in got.items() if name == ood]
        rows += [(v, *(write(cells.get(name), 4) for name in names)) for v, cells in of]
    columns = (
        Column("format", numeric=False),
        Column("AUROC", "entropy"),
        Column("AUROC", "MI"),
        Column("AUPR", "entropy"),
        Column("AUPR", "MI"),
    )
    notes = (
        "Distinguished from the clean images by predictive entropy or by mutual information "
        "(MI; not defined for one pass). %: the share of images from outside. Chance is an AUROC "
        "of 0.5 and an AUPR of that share.",
    )
    title = "Out-of-distribution detection"
    return Sheet(title, columns, tuple(_aligned(rows)), headings, 0, notes)


def ranges(found: Results, every: bool = False) -> Sheet:
    """The two ranges of the weights against the float format; no rows unless both are there.

    Args:
        found: of one study.
        every: all quantized formats, not the widest and the narrowest σ alone.
    """
    alone = {v: f for v, f in found.formats.items() if v not in found.methods}
    quantized = [v for v in alone if " paper" in v]
    if not every:
        quantized = list(dict.fromkeys([*quantized[:1], *quantized[-1:]]))
    formats = {found.formats[v] for v in quantized}
    others = [v for v, f in alone.items() if f in formats and v not in quantized]
    floats = dict.fromkeys(r for v in quantized for r in [found.reference(v)] if r is not None)
    variants = [*floats, *others, *quantized]
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    if quantized and others:
        for name, cells in _range_rows(found, variants).items():
            headings[len(rows)] = name
            rows += cells
    columns = (Column("", numeric=False), *(Column(v) for v in variants))
    notes = (
        "Means over seeds and corruption types. MI: mutual information. AUROC: for distinguishing "
        "images from outside from the clean ones.",
    )
    return Sheet("The range of the weights", columns, tuple(rows), headings, 0, notes)


def _range_rows(found: Results, variants: Sequence[str]) -> dict[str, list[tuple[str, ...]]]:
    table: dict[str, list[tuple[str, ...]]] = {}
    for metric in (_MI, "ece", "nll"):
        name = " ".join(_heading(metric)).strip()
        for severity in found.severities:
            means = [text.mean(numbers.over_types(found, v, metric, severity)) for v in variants]
            where = "clean" if severity == 0 else f"severity {severity}"
            cells = (text.fixed(mean, decimals(metric)) for mean in means)
            table.setdefault(name, []).append((where, *cells))
    got = numbers.outside(found)
    for ood in dict.fromkeys(row["ood"] for row in got):
        for by in numbers.DETECTORS:
            scores = [
                [r["auroc"] for r in got if (r["ood"], r["by"], r["variant"]) == (ood, by, v)]
                for v in variants
            ]
            cells = (text.fixed(text.mean(values), 4) for values in scores)
            row = (f"{ood} by {_SHORT[by]}", *cells)
            table.setdefault("AUROC", []).append(row)
    return table


def _tempered(found: Results) -> str:
    """What sets the rows of methods apart; empty where there are none."""
    return (
        " Rows that begin with a method's name have a temperature, fitted on validation images for "
        "that method, format and T; MI is that of the passes as they are."
    ) * bool(found.methods)


def _heading(metric: str) -> tuple[str, str]:
    return ("MI", "nats") if metric == _MI else heading(metric)


def _paper_cells(
    found: Results, variant: str, metric: str, reference: Mapping[str, Mapping[str, float]]
) -> tuple[str, ...]:
    ours = numbers.over_seeds(found, variant, metric)
    base = found.reference(variant)
    theirs = text.mean(numbers.over_seeds(found, base, metric)) if base else None
    published = reference[found.formats[variant]][metric]
    own = reference.get(found.formats[base], {}).get(metric) if base else None
    digits = decimals(metric)
    return (
        variant,
        text.spread(ours, digits),
        text.fixed(published, 3 if digits > 2 else 2),
        text.signed(_minus(text.mean(ours), published), digits),
        text.signed(_minus(text.mean(ours), theirs), digits),
        text.signed(_minus(published, own), digits),
    )


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    columns = [text.align(column) for column in zip(*rows, strict=True)]
    return list(zip(*columns, strict=True))
