"""Tables of shift studies for a terminal, and as Markdown, CSV and JSON.

Everything takes `results(records)`; tests are made once, by `equivalence`, and given along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType

from ...core import words as text
from ...core.sheet import RichSheet, Sheet, escape, prose
from ...core.sheet import markdown as markdown_sheet
from ...report.rows import variant_lines
from ...stats.equivalence import ALPHA, MARGINS, Outcome
from ...stats.shifted import Results
from . import numbers
from . import shift_sheets as sheets
from . import verdict_sheets as verdicts
from .analyse import claims, sentences

Reference = Mapping[str, Mapping[str, float]]


def tables(
    found: Results,
    outcomes: Sequence[Outcome],
    reference: Reference | None = None,
    *,
    detailed: bool = False,
) -> RenderableType:
    """All tables and conclusions within 80 columns.

    Args:
        found: of one study.
        outcomes: of `equivalence`.
        reference: format to metric to the paper's figure (`Workload.paper`).
        detailed: with every test's effect, interval and p-values.
    """
    shown = [
        sheets.clean(found),
        *([sheets.paper(found, reference)] if reference else []),
        sheets.boxes(found),
        sheets.passes(found),
        sheets.outside(found),
        sheets.ranges(found),
        verdicts.grid(outcomes),
        *([verdicts.details(outcomes)] if detailed else []),
    ]
    parts: list[RenderableType] = [prose(found.title, style="bold")]
    for sheet in shown:
        if sheet.rows:
            parts += [prose(""), RichSheet(sheet)]
            parts += [prose(" ".join(sheet.notes), style="dim")] if sheet.notes else []
    lines = [*variant_lines(found.letters), *found.missing()]
    if lines:
        parts += [prose(""), *map(prose, lines)]
    concluded = [*sentences(outcomes), *claims(outcomes)]
    return Group(*parts, prose(""), prose("Conclusions", style="bold"), *map(prose, concluded))


def markdown(
    found: Results, outcomes: Sequence[Outcome], reference: Reference | None = None
) -> str:
    """The same with standard deviations, ranges over types and every test."""
    shown: list[Sheet] = [
        sheets.clean(found, text.spread),
        *([sheets.paper(found, reference)] if reference else []),
        sheets.boxes(found, ranges=True),
        sheets.passes(found),
        sheets.outside(found, text.spread),
        sheets.ranges(found, every=True),
        verdicts.grid(outcomes),
        verdicts.details(outcomes),
    ]
    lines = [*variant_lines(found.letters), *found.missing()]
    return "\n".join(
        [f"## {escape(found.title)}", ""]
        + [f"- {escape(line)}" for line in lines]
        + [""] * bool(lines)
        + ["**Conclusions**", ""]
        + [f"- {escape(line)}" for line in (*claims(outcomes), *sentences(outcomes))]
        + [""]
        + [markdown_sheet(sheet) for sheet in shown if sheet.rows]
    )


def csv(found: Results, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """Files by name: every score, ranges over types, detection, every test; units as JSON's. What
    has no row has no file."""
    flat = []
    for outcome in to_dict(found, outcomes)["equivalence"]:
        p, p_holm = outcome.pop("p"), outcome.pop("p_holm")
        outcome["types"] = len(outcome["types"])
        outcome |= {f"p_{name}": value for name, value in p.items()}
        flat.append(outcome | {f"p_holm_{name}": value for name, value in p_holm.items()})
    rows = {
        "scores": numbers.each(found),
        "severities": numbers.boxes(found),
        "ood": numbers.outside(found),
        "equivalence": flat,
    }
    return text.csv_files(rows)


def to_dict(
    found: Results, outcomes: Sequence[Outcome], reference: Reference | None = None
) -> dict[str, Any]:
    """All numbers and conclusions, of JSON's types.

    Accuracy, error, ECE and UCE are percentages, NLL, entropy and mutual information in nats.
    """
    return {
        "title": found.title,
        "variants": dict(found.formats),
        "letters": dict(found.letters),
        "missing": found.missing(),
        "clean": numbers.clean(found),
        "paper": {name: dict(values) for name, values in (reference or {}).items()},
        "severities": numbers.boxes(found),
        "passes": numbers.passes(found),
        "ood": numbers.outside(found),
        "margins": dict(MARGINS),
        "alpha": ALPHA,
        "equivalence": [asdict(outcome) for outcome in outcomes],
        "conclusions": sentences(outcomes),
        "claims": claims(outcomes),
    }
