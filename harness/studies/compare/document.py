"""A comparison of two sets of records for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from rich.console import Group, RenderableType

from ...core import words as text
from ...core.labels import label
from ...core.sheet import Column, RichSheet, Sheet, prose
from ...report.rows import SHOWN, format_order, passes, place, variant_lines
from ...report.score_cells import decimals, heading
from ...workload.cell import Cell
from .result import HERE, Comparison, Latency, Score


def comparison(found: Comparison) -> RenderableType:
    """Latency, scores, sizes and the machines' differences, within 80 columns."""
    order = sorted(found.cells, key=lambda c: (c.mc, c.stopping, c.batch, format_order(c.format)))
    fields = [{k: v for k, v in asdict(c).items() if k not in SHOWN} for c in order]
    labels, variants = label([c.format for c in order], fields)
    names = {cell.key: name for cell, name in zip(order, labels, strict=True)}
    places = {cell.key: (rank, cell) for rank, cell in enumerate(order)}
    sheets = [latency_sheet(found, names, places), score_sheet(found, names, places)]
    parts: list[RenderableType] = [prose(_headline(found), style="bold")]
    for sheet in sheets:
        if sheet.rows:
            notes = prose(" ".join(sheet.notes), style="dim")
            parts += [prose(""), RichSheet(sheet), notes]
    lines = variant_lines(variants)
    lines += [_size_line(found)] if found.cells else []
    lines += _only_lines(found)
    lines += [f"{name}: {_values(a)} → {_values(b)}" for name, (a, b) in found.fingerprints.items()]
    return Group(*parts, prose(""), *(prose(line) for line in (*lines, *found.notes)))


def latency_sheet(
    found: Comparison, names: Mapping[str, str], places: Mapping[str, tuple[int, Cell]]
) -> Sheet:
    """Median latencies of both sides and their ratio, one row per cell."""
    rows = sorted(found.latency, key=lambda item: places[item.key][0])
    cells = [
        (passes(places[r.key][1]), str(places[r.key][1].batch), names[r.key], *_latency_cells(r))
        for r in rows
    ]
    columns = (
        Column("T"),
        Column("batch"),
        Column("format", numeric=False),
        Column("A p50", "ms"),
        Column("B p50", "ms"),
        Column("B ÷ A"),
        Column("95 % CI"),
        Column("shown", "from"),
        Column("B is", numeric=False),
    )
    notes = (
        "p50: median latency of a query. 95 % CI: of B ÷ A. B is slower or faster "
        f"where a change of more than {100 * found.smallest_effect:g} % is shown at the "
        f"{_level(found)}. – means that no change is shown, not that the sides are equal: a "
        'measured change of "shown from" or more would have been shown. Untested: the sides share '
        "no race, or have too few slices.",
    )
    return Sheet("Latency, B against A", columns, tuple(cells), {}, 2, notes)


def score_sheet(
    found: Comparison, names: Mapping[str, str], places: Mapping[str, tuple[int, Cell]]
) -> Sheet:
    """Differences of the scores, B − A, one row per format and T; only rows that differ at all."""
    rows: dict[tuple[str, ...], dict[str, Score]] = {}
    for score in found.scores:
        rows.setdefault(score.keys, {})[score.metric] = score
    metrics = list(dict.fromkeys(score.metric for score in found.scores))
    differing = [
        (keys, scores)
        for keys, scores in rows.items()
        if any(score.verdict != "identical" for score in scores.values())
    ]
    differing.sort(key=lambda pair: places[pair[0][0]][0])
    cells = [
        (
            passes(places[keys[0]][1]),
            names[keys[0]],
            *(_score_cell(scores.get(metric)) for metric in metrics),
            _test_set(scores.get("accuracy")),
        )
        for keys, scores in differing
    ]
    columns = (
        Column("T"),
        Column("format", numeric=False),
        *(Column(*heading(metric)) for metric in metrics),
        Column("accuracy", "test set CI"),
    )
    same = sum(score.verdict == "identical" for score in found.scores)
    units = text.either((score.units for score in found.scores), "independent image")
    effects = [_effect(metric, size) for metric, size in found.score_effects.items() if size]
    beyond = f" of more than {', '.join(effects)} (others: any)" if effects else ""
    notes = (
        f"+ better, ! worse, * different: a change{beyond} is shown at the {_level(found)}; the "
        "sign is in brackets where it may not hold for other test images, because the test set CI, "
        "the 95 % interval of the accuracy's difference over those, covers 0. =: identical. "
        f"{same} of {text.plural(len(found.scores), 'score')} {text.verb(same)} identical. "
        f"On {units}.",
    )
    return Sheet("Scores, B − A", columns, tuple(cells), {}, 1, notes)


_SIGNS = {"better": "+", "worse": "!", "different": "*"}


def _level(found: Comparison) -> str:
    """At which a change is shown."""
    over = f" over all {found.tests:,} tests (Holm)" if found.tests > 1 else ""
    return f"{100 * found.alpha:g} % level{over}"


def _effect(metric: str, smallest: float) -> str:
    name, unit = heading(metric)
    return f"{smallest:g} {unit}".strip() + f" {name}"


def _headline(found: Comparison) -> str:
    verdicts = [item.verdict for item in found.latency]
    slower, faster = verdicts.count("slower"), verdicts.count("faster")
    timed = f"B slower in {slower}, faster in {faster}"
    if untested := verdicts.count("not testable"):
        timed += f", untested in {untested}"
    if all(item.ratio is None for item in found.latency):
        timed = "times not compared, for they are of no common race"
    scores = [score.verdict.removesuffix(HERE) for score in found.scores]
    here = sum(score.verdict.endswith(HERE) for score in found.scores)
    which = f" ({here} of them on these images)" if here else ""
    better = text.plural(scores.count("better"), "score")
    return (
        f"{text.plural(len(found.cells), 'cell')} on both sides: {timed}; {better} better, "
        f"{scores.count('worse')} worse{which}."
    )


def _latency_cells(item: Latency) -> tuple[str, ...]:
    interval = text.MISSING if item.ci95 is None else "{:.3f} … {:.3f}".format(*item.ci95)
    words = {"none shown": text.MISSING, "not testable": "untested"}
    return (
        text.milliseconds(item.a_p50_ns),
        text.milliseconds(item.b_p50_ns),
        text.fixed(item.ratio, 3),
        interval,
        text.MISSING if item.detectable is None else f"{text.percent(item.detectable)} %",
        words.get(item.verdict, item.verdict),
    )


def _score_cell(score: Score | None) -> str:
    if score is None or score.difference is None:
        return text.MISSING
    if score.verdict == "identical":
        return "="
    sign = _SIGNS.get(score.verdict.removesuffix(HERE), "")
    sign = f"({sign})" if score.verdict.endswith(HERE) else sign
    return f"{text.signed(score.difference, decimals(score.metric))} {sign}".rstrip()


def _test_set(accuracy: Score | None) -> str:
    if accuracy is None or accuracy.test_set_ci95 is None:
        return text.MISSING
    return " … ".join(text.signed(end, 2) for end in accuracy.test_set_ci95)


def _size_line(found: Comparison) -> str:
    changed = [item for item in found.sizes if item.a != item.b]
    if not changed:
        return "Bytes on disk and bytes moved per pass are the same in every cell."
    worst = max(changed, key=lambda item: abs(item.b - item.a) / max(item.a, 1))
    return (
        f"Bytes differ in {len(changed)} of {text.plural(len(found.sizes), 'count')}; most in "
        f"{worst.quantity.replace('_', ' ')} of {worst.key}: {worst.a:,} → {worst.b:,}."
    )


def _only_lines(found: Comparison) -> list[str]:
    lines = []
    for side, cells in (("A", found.only_a), ("B", found.only_b)):
        if cells:
            named = text.first([place(cell.format, cell) for cell in cells])
            lines.append(f"Only in {side}, {text.plural(len(cells), 'cell')}: {named}.")
    return lines


def _values(values: tuple[str, ...]) -> str:
    return " | ".join(values) or text.MISSING
