"""Two sets of records, cell by cell: what differs, and what the data could not have shown.

Latency. The ratio of medians of two records of one race, with its error from a bootstrap over
slices (`stats.latency.log_median_ratio`). What is tested is not "equal" but "within the
smallest effect that matters" (2 % unless told otherwise). Two runs at two times, or on two
machines, are not one race: their medians stand side by side, and no ratio is formed.

Quality. Welch's t-test over the seeds of the MC draw, of the same kind (`Metric.matters`). It says
nothing about other test images, for which each accuracy carries the interval of a difference of two
proportions, of as many as there are independent images; where that covers 0, a verdict is on these
images alone, and where there are fewer than `units.LEAST_UNITS` of them there is no verdict. Scores
of a few seeds that tie give no error to test by, but those of a deterministic twin have none.

All p-values of one comparison are corrected together (Holm, 1979).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from ...core.errors import UserError, unknown
from ...core.formats import FORMATS
from ...core.words import plural, verb
from ...data.units import ALPHA, too_few
from ...machine.fingerprint import IN_PART
from ...metrics.metric import METRICS, shown_metrics
from ...records.run_record import RunRecord
from ...records.verdict import INVALID, KINDS
from ...stats.latency import log_median_ratio
from ...stats.samples import median
from ...stats.significance import Estimate, holm, mean_difference, newcombe
from ...workload.cell import Cell
from .result import HERE, NOT_JUDGED, Bytes, Comparison, Latency, Score

SMALLEST_EFFECT = 0.02
#: Of a cell, what a user may choose differently to see what it changes.
CHOICES = (
    "posterior", "range", "granularity", "sigma_offset", "sigma_grid", "rounding", "observer",
    "calibration", "backend", "isa", "threads", "team", "instances", "seed", "seeds", "seconds",
    "processes", "workload_version", "network", "data", "noise",
)  # fmt: skip


def compare(
    a: Sequence[RunRecord],
    b: Sequence[RunRecord],
    *,
    metrics: Sequence[str] | None = None,
    alpha: float = ALPHA,
    smallest_effect: float = SMALLEST_EFFECT,
    score_effects: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Comparison:
    """Compare two sets of records, cell by cell.

    Args:
        a: one side, the base.
        b: the other side.
        metrics: which scores are tested; by default those that tables show.
        alpha: family-wise error rate.
        smallest_effect: a change of latency that matters, as a share.
        score_effects: a change of each metric that matters, in its unit, 0 where not named; by
            default as the metrics say (`Metric.matters`).
        seed: of the bootstrap.

    Raises:
        UserError: a side is empty, or a metric is unknown.
    """
    _check_sides(a, b)
    names = [one.name for one in shown_metrics()] if metrics is None else metrics
    for metric in names:
        if metric not in METRICS:
            raise unknown("metric", metric, METRICS.names())
    of_a, of_b = _newest(a), _newest(b)
    counterpart, told = _counterparts(of_a, of_b)
    pairs = [_pair(of_a[mine], of_b[its]) for mine, its in counterpart.items()]
    rng = np.random.Generator(np.random.PCG64(seed))
    if score_effects is None:
        score_effects = {name: METRICS.get(name).matters for name in names}
    effects = {name: score_effects.get(name, 0.0) for name in names}
    latency, scores, tests = _judged(pairs, effects, alpha, math.log1p(smallest_effect), rng)
    only_a = tuple(cell for cell in of_a if cell not in counterpart)
    only_b = tuple(cell for cell in of_b if cell not in counterpart.values())
    fingerprints = _fingerprints([x for x, _ in pairs] or a, [y for _, y in pairs] or b)
    notes = [*told, *_notes(pairs, only_a, only_b, bool(fingerprints))]
    notes += _unjudged(scores)
    if len(of_a) < len(a) or len(of_b) < len(b):
        notes.append(
            "A cell measured several times counts by its newest record, of a machine that both "
            "sides have where there is one."
        )
    return Comparison(
        cells=tuple(x.subject for x, _ in pairs),
        only_a=only_a,
        only_b=only_b,
        latency=tuple(latency),
        scores=tuple(scores),
        sizes=tuple(_sizes(pairs)),
        fingerprints=fingerprints,
        tests=tests,
        alpha=alpha,
        smallest_effect=smallest_effect,
        score_effects=effects,
        notes=tuple(notes),
    )


#: The newest record of a cell from each machine.
Newest = dict[tuple[object, ...], RunRecord]


def _newest(records: Iterable[RunRecord]) -> dict[Cell, Newest]:
    found: dict[Cell, Newest] = {}
    for record in sorted(records, key=lambda record: record.created):
        found.setdefault(record.subject, {})[record.fingerprint.place] = record
    return found


def _pair(a: Newest, b: Newest) -> tuple[RunRecord, RunRecord]:
    """One record per side: of a machine that both have, else the newest of each."""
    shared = [place for place in a if place in b]
    if shared:
        place = max(shared, key=lambda place: (a[place].created, b[place].created))
        return a[place], b[place]
    newest_a, newest_b = (max(one.values(), key=lambda record: record.created) for one in (a, b))
    return newest_a, newest_b


def _check_sides(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> None:
    for name, side in (("A", a), ("B", b)):
        if not side:
            raise UserError(
                f"Side {name} of the comparison has no records; name a directory of some."
            )


def _counterparts(
    of_a: Collection[Cell], of_b: Collection[Cell]
) -> tuple[dict[Cell, Cell], list[str]]:
    """Cells of A to those of B that they are compared with, and a sentence on those that are not
    the same."""
    same = {cell: cell for cell in of_a if cell in of_b}
    likened, told = _likened(
        [cell for cell in of_a if cell not in same], [cell for cell in of_b if cell not in same]
    )
    return {**same, **likened}, told


def _likened(only_a: Sequence[Cell], only_b: Sequence[Cell]) -> tuple[dict[Cell, Cell], list[str]]:
    """Cells of A to those of B that differ in nothing but how the sides were asked, and a sentence
    on that: each such choice has one value in all of A's and another in all of B's."""
    apart = {
        name: values
        for name in CHOICES
        for values in [[{getattr(cell, name) for cell in side} for side in (only_a, only_b)]]
        if all(len(one) == 1 for one in values) and values[0] != values[1]
    }
    if not apart:
        return {}, []

    def rest(cell: Cell) -> tuple[object, ...]:
        return tuple(v for name, v in asdict(cell).items() if name not in (*apart, "method"))

    its = {rest(cell): cell for cell in only_b}
    found = {cell: its[rest(cell)] for cell in only_a if rest(cell) in its}
    if len(set(found.values())) < len(found) or not found:
        return {}, []
    ways = [f"{name} ({a.pop()} in A, {b.pop()} in B)" for name, (a, b) in apart.items()]
    return found, [
        f"Where A and B differ in {', '.join(ways)}, cells that are alike in all else are compared."
    ]


def _latency(
    a: RunRecord, b: RunRecord, rng: np.random.Generator
) -> tuple[Latency, Estimate | None]:
    """Both medians and what is known of their ratio, not yet judged."""
    p50_a, p50_b = map(_median_ns, (a, b))
    untested = Latency(a.subject.key, p50_a, p50_b, None, None, None, None, None, "not testable")
    if not a.raced(b):
        return untested, None
    estimate = log_median_ratio(
        (b.body.timing.latency_ns, a.body.timing.latency_ns),
        (b.body.timing.slices, a.body.timing.slices),
        rng,
        processes=(b.body.timing.processes, a.body.timing.processes),
    )
    if estimate is not None:
        estimate = replace(estimate, value=math.log(p50_b / p50_a))
    return replace(untested, ratio=p50_b / p50_a), estimate


def _median_ns(record: RunRecord) -> float:
    """Of T passes."""
    timing = record.body.timing
    return median(timing.latency_ns, timing.slices, timing.processes) * record.of_all_passes


def _scores(
    pairs: Sequence[tuple[RunRecord, RunRecord]], effects: Mapping[str, float]
) -> list[Score]:
    """Every metric of every cell once: batches that score the same are one test, not several."""
    groups: dict[tuple[Cell, str, object], list[tuple[RunRecord, RunRecord]]] = {}
    for a, b in pairs:
        for name in effects:
            values = tuple(r.body.quality.scores.get(name) for r in (a, b))
            if None not in values:
                groups.setdefault((replace(a.subject, batch=1), name, values), []).append((a, b))
    return [
        _score(tuple(a.subject.key for a, _ in members), name, effects[name], *members[0])
        for (_, name, _), members in groups.items()
    ]


def _score(keys: tuple[str, ...], name: str, effect: float, a: RunRecord, b: RunRecord) -> Score:
    sides = [r.body.quality.scores[name] for r in (a, b)]
    x, y = ([v for v in values if v is not None] for values in sides)
    units = _units(a, b)
    base = Score(
        keys, name, sides[0], sides[1], units, None, None, None, None, None, "not testable"
    )
    if not x or not y:
        return base
    base = replace(base, difference=float(np.mean(y) - np.mean(x)))
    if name == "accuracy" and a.body.quality.images == b.body.quality.images and units > 1:
        shares = [min(1.0, float(np.mean(v)) / 100) for v in (x, y)]
        low, high = newcombe(shares[0], shares[1], units)
        base = replace(base, test_set_ci95=(100 * low, 100 * high))
    if sides[0] == sides[1]:
        return replace(base, verdict="identical")
    if too_few(units):
        return replace(base, verdict=NOT_JUDGED)
    twin = a.subject.format in FORMATS and not FORMATS.get(a.subject.format).bayesian
    estimate = mean_difference(x, y, exact=twin)
    if estimate is None:
        return base
    most = 100.0 if name == "accuracy" else math.inf
    low, high = estimate.interval()
    ends = (max(low, -most), min(high, most))
    return replace(base, ci95=ends, p_value=estimate.p_value(effect))


def _units(a: RunRecord, b: RunRecord) -> int:
    """Independent images; in older records each image counts for one."""
    return min(r.body.quality.units or r.body.quality.images for r in (a, b))


def _judged(
    pairs: Sequence[tuple[RunRecord, RunRecord]],
    effects: Mapping[str, float],
    alpha: float,
    margin: float,
    rng: np.random.Generator,
) -> tuple[list[Latency], list[Score], int]:
    """Every test, its verdict after Holm's correction of all, and how many there were."""
    ratios = [_latency(a, b, rng) for a, b in pairs]
    scores = _scores(pairs, effects)
    raw = [e.p_value(margin) if e else None for _, e in ratios] + [s.p_value for s in scores]
    tested = holm([p for p in raw if p is not None])
    adjusted = iter(tested)
    corrected = [None if p is None else next(adjusted) for p in raw]
    latency = [
        _judge_latency(item, estimate, margin, p, alpha, len(tested))
        for (item, estimate), p in zip(ratios, corrected, strict=False)
    ]
    scores = [
        item if p is None else replace(item, p_holm=p, verdict=_score_verdict(item, p <= alpha))
        for item, p in zip(scores, corrected[len(ratios) :], strict=True)
    ]
    return latency, scores, len(tested)


def _judge_latency(
    item: Latency,
    estimate: Estimate | None,
    margin: float,
    p_holm: float | None,
    alpha: float,
    tests: int,
) -> Latency:
    if estimate is None or p_holm is None or item.ratio is None:
        return item
    shown = "slower" if item.ratio > 1 else "faster"
    low, high = map(math.exp, estimate.interval())
    return replace(
        item,
        ci95=(low, high),
        p_value=estimate.p_value(margin),
        p_holm=p_holm,
        detectable=math.expm1(estimate.detectable(margin, alpha / tests)),
        verdict=shown if p_holm <= alpha else "none shown",
    )


def _score_verdict(item: Score, shown: bool) -> str:
    if not shown or not item.difference:
        return "none shown"
    lower = METRICS.get(item.metric).lower_is_better
    if lower is None:
        return "different"
    verdict = "better" if (item.difference < 0) == lower else "worse"
    low, high = item.test_set_ci95 or (item.difference, item.difference)
    return verdict + (HERE if low <= 0 <= high else "")


def _sizes(pairs: Iterable[tuple[RunRecord, RunRecord]]) -> Iterable[Bytes]:
    for a, b in pairs:
        key = a.subject.key
        yield Bytes(key, "file_bytes", a.body.size.file_bytes, b.body.size.file_bytes)
        yield Bytes(key, "pass_bytes", a.body.bandwidth.pass_bytes, b.body.bandwidth.pass_bytes)


def _fingerprints(
    a: Sequence[RunRecord], b: Sequence[RunRecord]
) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The fields of the fingerprints, packages and environment apart, whose values differ."""
    sides = [_values(side) for side in (a, b)]
    fields = dict.fromkeys([*sides[0], *sides[1]])
    found = {field: (sides[0].get(field, ()), sides[1].get(field, ())) for field in fields}
    return {field: values for field, values in found.items() if values[0] != values[1]}


def _values(records: Sequence[RunRecord]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for record in records:
        flat: dict[str, Any] = {"dispatched_isa": record.body.dispatched_isa}
        fingerprint = asdict(record.fingerprint)
        fingerprint["machine"] = fingerprint["machine"] or IN_PART
        for field, value in fingerprint.items():
            inner = value.items() if isinstance(value, Mapping) else None
            flat |= {f"{field}.{k}": v for k, v in inner} if inner is not None else {field: value}
        for field, value in flat.items():
            shown = ", ".join(value) if isinstance(value, (tuple, list)) else str(value)
            found.setdefault(field, set()).add(shown)
    return {field: tuple(sorted(values)) for field, values in found.items()}


def _notes(
    pairs: Sequence[tuple[RunRecord, RunRecord]],
    only_a: Sequence[Cell],
    only_b: Sequence[Cell],
    moved: bool,
) -> list[str]:
    notes = []
    if not pairs:
        fields = _apart(only_a, only_b)
        notes.append(
            "The sides have no cell in common; they differ in "
            + ("; ".join(fields) or "a combination of fields")
            + "."
        )
        return notes
    if any(not a.raced(b) for a, b in pairs):
        notes.append(
            "Times that were not measured in turns, in one race, stand side by side and are not "
            "divided: a drift of the machine between two runs looks like a difference."
        )
    notes.append(
        "Scores are tested over MC draws alone, for these test images; accuracy also carries the "
        "interval over draws of the test set, unpaired and so rather wide. Seeds that all score "
        "the same cannot be tested."
    )
    if moved:
        notes.append("Machine or software differ, so the code is not the only cause there may be.")
    for kind in KINDS:
        invalid = sum(INVALID in (a.verdict.of(kind), b.verdict.of(kind)) for a, b in pairs)
        if invalid:
            cells = plural(len(pairs), "cell")
            notes.append(f"On one side or both, the {kind} of {invalid} of {cells} is invalid.")
    return notes


def _unjudged(scores: Sequence[Score]) -> list[str]:
    """Of scores on too few independent images."""
    few = [score for score in scores if score.verdict == NOT_JUDGED]
    if not few:
        return []
    count = f"{len(few)} of {plural(len(scores), 'score')} {verb(len(few))} not judged"
    return [f"{count}: {too_few(min(score.units for score in few))}."]


def _apart(only_a: Sequence[Cell], only_b: Sequence[Cell]) -> list[str]:
    """The fields in which no cell of A is like any of B, with both sides' values."""
    found = []
    for name in asdict(only_a[0]):
        a, b = (sorted({str(getattr(cell, name)) for cell in side}) for side in (only_a, only_b))
        if not set(a) & set(b):
            found.append(f"{name} ({', '.join(a)} in A, {', '.join(b)} in B)")
    return found
