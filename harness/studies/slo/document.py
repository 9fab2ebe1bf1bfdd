"""What a study of SLOs shows: the highest rates, the curves behind them, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure, Look, Panel, Points, Rule, Scale, Tone
from ...core.sheet import Column, Sheet
from ...records.envelope import flat
from ...stats.served import EXCEEDS, NOT_JUDGED, UNDECIDED
from .analyse import DRIFT, Best, JudgedRun, SloFindings
from .plan import BOUNDS, MARGIN

_RULE = Column("rule", numeric=False, whole=True)
_TONES: tuple[Tone, ...] = ("ink", "blue", "sky", "green", "vermillion", "orange", "purple")


def document(found: SloFindings) -> Document:
    """Two tables, three curves and the conclusions."""
    subject = found.record.subject
    title = f"An SLO on uncertainty: {subject.workload}, {subject.format}"
    sheets = [best_sheet(found), curve_sheet(found)]
    said = tuple(conclusions(found))
    return Document(
        name=f"{subject.workload}-{subject.format}",
        blocks=(
            Words(title, "bold"),
            *with_notes(sheets),
            Words(),
            Words("Conclusions", "bold"),
            *map(Words, said),
        ),
        values={
            **flat(found.record),
            "margin_nats": MARGIN,
            "judged": list(_rows(found)),
            "best": list(map(_best_values, found.best)),
            "conclusions": said,
        },
        title=title,
        conclusions=said,
        sheets=tuple(sheets),
        data={"runs": list(_rows(found))},
        figures=lambda: [_figure(found, title)],
    )


def best_sheet(found: SloFindings) -> Sheet:
    """The highest rate of each rule within each bound."""
    rows, headings = [], {}
    for place, one in enumerate(found.best):
        if not place or one.bound != found.best[place - 1].bound:
            headings[place] = f"99 % within {one.bound} × {_alone(found)} ms"
        cells = [text.MISSING] * 5
        if one.good is not None:
            cells = [
                text.significant(one.good.run.answered),
                text.milliseconds(one.good.run.percentiles_ns["99.00"]),
                text.fixed(one.good.mean_mc, 1),
                text.signed(one.good.excess.value, 4),
                text.signed(one.good.excess.upper, 4),
            ]
        in_time = None if one.in_time is None else one.in_time.run.answered
        rows.append((one.rule.name, *cells, text.significant(in_time)))
    columns = (
        _RULE,
        Column("answered", "/s"),
        Column("p99", "ms"),
        Column("mean T"),
        Column("NLL", "differs"),
        Column("bound", "95 %"),
        Column("in time", "/s"),
    )
    note = (
        "The highest rate tried at which 99 % of the queries are answered within the bound and the "
        f"NLL of these very answers is at most {MARGIN} nats above that of T = "
        f"{found.record.subject.most} on the same images: by its one-sided 95 % bound. –: none. In "
        "time: the highest rate within the bound on latency, however it answers. Adaptive: T is "
        "the work over the number of images that wait. Each run is judged alone, in one process."
    )
    return Sheet("The highest rates", columns, tuple(rows), headings, 0, (note,))


def _alone(found: SloFindings) -> str:
    return text.milliseconds(found.record.body.alone_ns[0])


def curve_sheet(found: SloFindings) -> Sheet:
    """Every run."""
    rows = [
        (
            one.rule.name,
            text.significant(one.run.sent),
            *(text.milliseconds(one.run.percentiles_ns[p]) for p in ("50.00", "99.00")),
            text.milliseconds(one.run.simulated_p99_ns),
            text.fixed(one.mean_mc, 1),
            text.fixed(one.excess.nll, 4),
            text.signed(one.excess.value, 4),
            text.signed(one.excess.upper, 4),
            _MARKS.get(one.verdict, "✓"),
        )
        for one in found.runs
    ]
    columns = (
        _RULE,
        Column("sent", "/s"),
        Column("p50", "ms"),
        Column("p99", "ms"),
        Column("simul.", "p99"),
        Column("mean", "T"),
        Column("NLL", "nats"),
        Column("differs", "nats"),
        Column("bound", "95 %"),
        Column("ok", numeric=False),
    )
    note = (
        "Simul. p99: of the same queue on a simulated clock, ms, with batches that take as long as "
        "they did alone. Differs: from T passes on the same images. OK: whether the answers are "
        f"well enough; ?: these images cannot decide it. {found.record.body.images:,} images."
    )
    return Sheet("Every run", columns, tuple(rows), {}, 1, (note,))


_MARKS = {EXCEEDS: "✗", UNDECIDED: "?", NOT_JUDGED: text.MISSING}


def conclusions(found: SloFindings) -> Iterator[str]:
    """What adaptive T reaches beside the best fixed one, what the images leave open, and what is
    wrong with the times."""
    for bound in BOUNDS:
        mine = [one for one in found.best if one.bound == bound]
        yield _compared(bound, mine)
        yield from _left_open(bound, mine)
    if any(one.verdict == NOT_JUDGED for one in found.runs):
        units = min(one.excess.units for one in found.runs)
        yield f"{text.plural(units, 'independent image')} were answered in a run: too few to judge."
    if abs(found.drift) > DRIFT:
        yield (
            f"A query that comes alone took {text.signed(100 * found.drift, 0)} % longer after the "
            "runs than before them: the machine has changed, or something else ran."
        )


def _compared(bound: int, mine: Sequence[Best]) -> str:
    start = f"With 99 % of the queries within {bound} times one that comes alone"
    kinds = {
        name: _highest([one for one in mine if bool(one.rule.work) == adaptive])
        for name, adaptive in (("adaptive T", True), ("a fixed T", False))
    }
    told = [
        f"{name} answers up to {text.significant(one.good.run.answered)} queries per second well "
        f"enough ({one.rule.name}, mean T {one.good.mean_mc:.1f})"
        for name, one in kinds.items()
        if one is not None and one.good is not None
    ]
    told += [
        f"no rate was found at which {name} answers well enough"
        for name, one in kinds.items()
        if one is None
    ]
    return f"{start}, {', and '.join(told)}."


def _highest(mine: Sequence[Best]) -> Best | None:
    good = [(one.good.run.answered, place) for place, one in enumerate(mine) if one.good]
    return mine[max(good)[1]] if good else None


def _left_open(bound: int, mine: Sequence[Best]) -> Iterator[str]:
    for one in mine:
        if one.open is None:
            continue
        needed = one.open.excess.deciding(MARGIN)
        way = (
            f"about {needed:,} images would"
            if needed is not None
            else "more draws of what they are held against (`--seeds`) would, not more images"
        )
        yield (
            f"Within {bound} times, {one.rule.name} at "
            f"{text.significant(one.open.run.answered)} queries per second: "
            f"{text.plural(one.open.excess.units, 'image')} cannot decide whether its answers are "
            f"at most {MARGIN} nats worse; {way}."
        )


def _figure(found: SloFindings, title: str) -> Figure:
    """p99, mean T and the difference in NLL against the rate."""
    alone = found.record.body.alone_ns[0]
    rates = [one.run.sent for one in found.runs]
    ends = (min(rates), max(rates))
    bounds = tuple(Rule(x=ends, y=(bound * alone / 1e6,) * 2, line="dashed") for bound in BOUNDS)
    margin = (Rule(x=ends, y=(MARGIN,) * 2, line="dashed"),)
    x = Scale("queries per second", log=True)
    panels = (
        Panel((*bounds, *_curves(found, _p99)), x=x, y=Scale("p99 (ms)", log=True)),
        Panel(_curves(found, lambda one: one.mean_mc), x=x, y=Scale("mean T")),
        Panel(
            (*margin, *_curves(found, lambda one: one.excess.value, bars=True)),
            x=x,
            y=Scale("NLL above that of T passes (nats)"),
        ),
    )
    description = "Latency, mean T and NLL of the answers against the rate of queries, by rule."
    return Figure(
        "slo", title, description, panels, height=7.5, heights=(1, 1, 1), shared="x",
        caption=f"Dashed: {' and '.join(map(str, BOUNDS))} × one that comes alone; {MARGIN} nats",
    )  # fmt: skip


def _p99(one: JudgedRun) -> float:
    return one.run.percentiles_ns["99.00"] / 1e6


def _curves(found: SloFindings, value: Any, bars: bool = False) -> tuple[Points, ...]:
    return tuple(
        Points(
            tuple(one.run.sent for one in mine),
            tuple(float(value(one)) for one in mine),
            Look(tone=_TONES[place % len(_TONES)], marker="diamond" if rule.work else "circle"),
            rule.name,
            low=tuple(one.excess.lower for one in mine) if bars else (),
            high=tuple(one.excess.upper for one in mine) if bars else (),
        )
        for place, rule in enumerate(found.record.subject.rules)
        if (mine := found.of(rule))
    )


def _best_values(one: Best) -> dict[str, Any]:
    return {
        "rule": one.rule.name,
        "bound": one.bound,
        "answered_per_second": None if one.good is None else one.good.run.answered,
        "in_time_per_second": None if one.in_time is None else one.in_time.run.answered,
        "undecided_per_second": None if one.open is None else one.open.run.answered,
        "deciding_images": None if one.open is None else one.open.excess.deciding(MARGIN),
    }


def _rows(found: SloFindings) -> Iterator[Mapping[str, Any]]:
    """A row for each run."""
    for one in found.runs:
        yield {
            "rule": one.rule.name,
            "most": one.rule.most,
            "work": one.rule.work,
            "sent_per_second": one.run.sent,
            "answered_per_second": one.run.answered,
            "queries": one.run.queries,
            "p50_ns": one.run.percentiles_ns["50.00"],
            "p99_ns": one.run.percentiles_ns["99.00"],
            "simulated_p99_ns": one.run.simulated_p99_ns,
            "times_alone": one.times_alone,
            "mean_mc": one.mean_mc,
            "nll": one.excess.nll,
            "difference": one.excess.value,
            "upper": one.excess.upper,
            "lower": one.excess.lower,
            "images": one.excess.units,
            "verdict": one.verdict,
        }
