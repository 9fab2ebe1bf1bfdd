"""What a shift study shows: tables, tests, figures, and conclusions that are computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure
from ...core.sheet import Sheet
from ...data.units import ALPHA
from ...metrics.metric import judged_metrics
from ...report.rows import variant_lines
from ...stats.equivalence import Outcome
from . import numbers
from . import shift_sheets as sheets
from . import verdict_sheets as verdicts
from .analyse import ShiftFindings, claims, sentences


def document(found: ShiftFindings, *, detailed: bool = False) -> Document:
    """All tables and conclusions.

    Args:
        found: of one study.
        detailed: with every test's effect, interval and p-values on the terminal too.
    """
    results, outcomes = found.results, found.outcomes
    lines = [*variant_lines(results.letters), *results.missing()]
    said, claimed = conclusions(found), claims(outcomes)
    blocks = [
        Words(results.title, "bold"),
        *with_notes(_brief(found, detailed)),
        *([Words(), *map(Words, lines)] if lines else []),
        Words(),
        Words("Conclusions", "bold"),
        *map(Words, (*said, *claimed)),
    ]
    return Document(
        name=found.workload,
        blocks=tuple(blocks),
        values=to_dict(found),
        title=results.title,
        lines=tuple(lines),
        conclusions=(*claimed, *said),
        sheets=tuple(sheet for sheet in _whole(found) if sheet.rows),
        data=rows(found),
        figures=lambda: _figures(found),
    )


def _brief(found: ShiftFindings, detailed: bool) -> list[Sheet]:
    results, outcomes = found.results, found.outcomes
    return [
        sheets.clean(results),
        *([sheets.paper(results, found.paper)] if found.paper else []),
        sheets.boxes(results),
        sheets.passes(results),
        sheets.outside(results),
        sheets.ranges(results),
        verdicts.grid(outcomes),
        verdicts.against_mean(found.rivals),
        *([verdicts.details(outcomes)] if detailed else []),
        *([verdicts.details_against_mean(found.rivals)] if detailed else []),
    ]


def _whole(found: ShiftFindings) -> list[Sheet]:
    """With standard deviations, ranges over types and every test."""
    results, outcomes = found.results, found.outcomes
    return [
        sheets.clean(results, text.spread),
        *([sheets.paper(results, found.paper)] if found.paper else []),
        sheets.boxes(results, ranges=True),
        sheets.passes(results),
        sheets.outside(results, text.spread),
        sheets.ranges(results, every=True),
        verdicts.grid(outcomes),
        verdicts.details(outcomes),
        verdicts.against_mean(found.rivals),
        verdicts.details_against_mean(found.rivals),
    ]


def conclusions(found: ShiftFindings) -> list[str]:
    """Of quantization, and of what methods buy in NLL over one pass of the mean network."""
    return [*sentences(found.outcomes), *sentences([o for o in found.rivals if o.metric == "nll"])]


def _figures(found: ShiftFindings) -> Sequence[Figure]:
    from .shift_figures import shift_figures

    return shift_figures(found.records)


def rows(found: ShiftFindings) -> Mapping[str, list[dict[str, Any]]]:
    """Every score, ranges over types, detection, every test; units as JSON's."""
    return {
        "scores": numbers.each(found.results),
        "severities": numbers.boxes(found.results),
        "ood": numbers.outside(found.results),
        "equivalence": _flat(found.outcomes),
        "against_mean": _flat(found.rivals),
    }


def _flat(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    flat = []
    for outcome in map(asdict, outcomes):
        p, p_holm = outcome.pop("p"), outcome.pop("p_holm")
        outcome["types"] = len(outcome["types"])
        outcome |= {f"p_{name}": value for name, value in p.items()}
        flat.append(outcome | {f"p_holm_{name}": value for name, value in p_holm.items()})
    return flat


def to_dict(found: ShiftFindings) -> dict[str, Any]:
    """All numbers and conclusions, of JSON's types.

    Accuracy, error, ECE and UCE are percentages, NLL, entropy and mutual information in nats.
    """
    results, outcomes = found.results, found.outcomes
    return {
        "title": results.title,
        "variants": dict(results.formats),
        "methods": results.methods,
        "letters": dict(results.letters),
        "missing": results.missing(),
        "clean": numbers.clean(results),
        "paper": {name: dict(values) for name, values in (found.paper or {}).items()},
        "severities": numbers.boxes(results),
        "passes": numbers.passes(results),
        "ood": numbers.outside(results),
        "margins": {name: metric.margin for name, metric in judged_metrics().items()},
        "alpha": ALPHA,
        "equivalence": [asdict(outcome) for outcome in outcomes],
        "against_mean": [asdict(outcome) for outcome in found.rivals],
        "conclusions": conclusions(found),
        "claims": claims(outcomes),
    }
