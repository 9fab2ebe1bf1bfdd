"""The sheets of a shift study's equivalence tests."""

from __future__ import annotations

from collections.abc import Sequence

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...data.units import too_few
from ...metrics.metric import METRICS, judged_metrics
from ...report.score_cells import decimals
from ...stats.equivalence import EQUIVALENT, NOT_JUDGED, WORSE, Outcome
from ...stats.pairs import NEAR

SYMBOLS = {
    "equivalent": "=",
    "near": "≈",
    "worse": "!",
    "better": "+",
    "inconclusive": "?",
    "not judged": "·",
}


def grid(outcomes: Sequence[Outcome]) -> Sheet:
    """Verdicts on quantized variants, one row per metric and variant."""
    notes = (
        "Columns: severity. After each metric: its margin. Against: the format it is compared "
        "with. = equivalent: the change is shown to be within the margin (TOST). ! worse: a loss "
        "beyond it is shown. + better: a gain beyond it is shown. ? inconclusive. "
        f"≈ equivalent, but the float format's ECE is less than {NEAR:g} times its noise floor, so "
        "ECE could hardly show a change. Level 5 % after Holm's correction over formats and "
        "severities." + _few_passes(outcomes) + _few_units(outcomes),
    )
    return _grid("Does quantization hurt?", outcomes, notes)


def against_mean(outcomes: Sequence[Outcome]) -> Sheet:
    """Verdicts on methods, one row per metric and method."""
    notes = (
        "Each method with its temperature against one pass of the mean network with its own, in "
        "the same arithmetic and on the same images. Columns and marks are those of the table "
        "above. The temperatures are taken as they were fitted. Level 5 % after Holm's correction "
        "over methods and severities." + _few_passes(outcomes) + _few_units(outcomes),
    )
    return _grid("Against one pass with a temperature", outcomes, notes)


def _grid(title: str, outcomes: Sequence[Outcome], notes: tuple[str, ...]) -> Sheet:
    severities = sorted({o.severity for o in outcomes})
    rows: list[tuple[str, ...]] = []
    headings = {}
    for metric in judged_metrics():
        family = [o for o in outcomes if o.metric == metric]
        if family:
            headings[len(rows)] = _margin(metric)
        for variant in dict.fromkeys(o.variant for o in family):
            of = {o.severity: o for o in family if o.variant == variant}
            marks = (SYMBOLS[kind(of[s])] if s in of else text.MISSING for s in severities)
            rows.append((variant, next(iter(of.values())).reference, *marks))
    columns = (
        Column("format", numeric=False),
        Column("against", numeric=False),
        *(Column("clean" if s == 0 else str(s)) for s in severities),
    )
    return Sheet(title, columns, tuple(rows), headings, 0, notes)


def details(outcomes: Sequence[Outcome]) -> Sheet:
    """Effects, intervals and p-values of the tests of quantized variants, one row per test."""
    return _details("Equivalence tests", outcomes, "quantized − float", "formats")


def details_against_mean(outcomes: Sequence[Outcome]) -> Sheet:
    """The same of methods."""
    title = "Tests against one pass of the mean network"
    return _details(title, outcomes, "method − mean network", "methods")


def _details(title: str, outcomes: Sequence[Outcome], difference: str, over_which: str) -> Sheet:
    rows: list[tuple[str, ...]] = []
    headings = {}
    for metric in judged_metrics():
        family = [o for o in outcomes if o.metric == metric]
        if family:
            headings[len(rows)] = _margin(metric)
        rows += [_detail_cells(outcome) for outcome in family]
    columns = (
        Column("format", numeric=False),
        Column("sev."),
        Column("effect"),
        Column("95 % interval"),
        Column("p", "equiv."),
        Column("p", "worse"),
        Column("verdict", numeric=False),
    )
    types = {len(o.types) for o in outcomes if o.severity}
    over = f"{text.either(types, 'corruption type')}, " if types else ""
    images = text.either({o.images for o in outcomes}, "image")
    units = " or ".join(f"{n:,}" for n in sorted({o.units for o in outcomes}))
    notes = (
        f"Sev.: severity. Effect: mean of ({difference}) over {over}{images}, {units} "
        "independent. p: for equivalence, and for being worse, after Holm's correction over "
        f"{over_which} and severities; the interval is that of one effect."
        + _upper_bound(outcomes),
    )
    return Sheet(title, columns, tuple(rows), headings, 0, notes)


def kind(outcome: Outcome) -> str:
    """Which of `SYMBOLS` an outcome has."""
    if outcome.verdict == EQUIVALENT:
        return "near" if outcome.near_floor else "equivalent"
    if outcome.verdict in (WORSE, NOT_JUDGED):
        return outcome.verdict
    return "better" if outcome.improved else "inconclusive"


def _few_passes(outcomes: Sequence[Outcome]) -> str:
    """What a study of few passes cannot know; empty where all Bayesian formats have enough."""
    few = any(not o.luck and o.drawn for o in outcomes)
    return " Too few passes: how far the draw of the weights moved the change is not counted." * few


def _few_units(outcomes: Sequence[Outcome]) -> str:
    """Why there is no verdict where there is none."""
    few = sorted({o.units for o in outcomes if o.verdict == NOT_JUDGED})
    return "".join(f" · not judged: {too_few(units)}." for units in few)


def _upper_bound(outcomes: Sequence[Outcome]) -> str:
    """Of records that do not tell the images' own part of the draw's luck apart."""
    whole = any(o.luck and not o.apart for o in outcomes)
    return (
        " These records do not separate what the draw does to all images alike: its luck in the "
        "intervals is an upper bound, and they are wider than they need be."
    ) * whole


def _detail_cells(outcome: Outcome) -> tuple[str, ...]:
    digits = decimals(outcome.metric)
    interval = text.MISSING
    if outcome.low is not None and outcome.high is not None:
        interval = f"{text.signed(outcome.low, digits)} … {text.signed(outcome.high, digits)}"
    word = {"near": "equivalent ≈"}.get(kind(outcome), kind(outcome))
    return (
        outcome.variant,
        str(outcome.severity),
        text.signed(outcome.effect, digits),
        interval,
        _p(outcome.p_holm.get("equivalent")),
        _p(outcome.p_holm.get("worse")),
        word,
    )


def _p(value: float | None) -> str:
    if value is None:
        return text.MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _margin(metric: str) -> str:
    """Short: rows' headings stand in the column of the names."""
    found = METRICS.get(metric)
    return f"{found.called} ± {found.margin:g} {found.unit}".rstrip()
