"""What each method gives for its time: the settings of one race that no other beats, and the best
of each method within a budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ...core import words as text
from ...core.figure import Figure, Look, Marker, Panel, Points, Rule, Scale, Tone
from ...core.sheet import Column, Sheet
from ...methods.method import FORMATS_OF_METHODS, MAIN_FORMAT, METHODS
from ...metrics.metric import METRICS
from ...records.methods_record import MethodRecord
from ...records.verdict import INVALID, SPEED
from ...workload.cell import MEAN_FIELD
from .analyse import MethodsFindings

#: Budgets, in times of one INT8 pass of the posterior.
BUDGETS = (1, 2, 3, 5, 10, 50)
SCORES = ("nll", "aurc")
_TONES: tuple[Tone, ...] = (
    "blue", "ink", "vermillion", "orange", "purple", "green", "sky", "faint"
)  # fmt: skip
_MARKERS: tuple[Marker, ...] = ("circle", "square", "triangle")


@dataclass(frozen=True, eq=False)
class Costed:
    """A method in one format at one T, with what it costs and what it gives.

    Attributes:
        scored: its record on clean images.
        mc: T.
        milliseconds: of T passes on one batch, the median.
        low: of its 95 % interval.
        high: of its 95 % interval.
        batch: images.
        invalid: an audit of its times failed.
        timed_mc: passes of the timed queries, fewer than T where that would have taken long.
    """

    scored: MethodRecord
    mc: int
    milliseconds: float
    low: float
    high: float
    batch: int
    invalid: bool
    timed_mc: int

    @property
    def method(self) -> str:
        """Its name."""
        return self.scored.subject.method

    @property
    def format(self) -> str:
        """Its name."""
        return self.scored.subject.format

    @property
    def setting(self) -> str:
        """Format and T."""
        return f"{self.format}, T = {self.mc}"

    @property
    def per_image(self) -> float:
        """Milliseconds."""
        return self.milliseconds / self.batch

    @property
    def file_bytes(self) -> int:
        """Of the networks that T passes take; all networks of an ensemble are of one size."""
        body = self.scored.body
        return body.file_bytes * min(self.mc, len(body.artefacts)) // len(body.artefacts)

    @property
    def chosen_by(self) -> float:
        """Validation NLL with the temperature, nats, mean over the draws."""
        return self.scored.fitted_nll(self.mc)

    def score(self, metric: str) -> float | None:
        """On clean images, with the temperature."""
        return self.scored.score(metric, self.mc, True)


def shown_decimals(name: str) -> int:
    """Of a score in these tables; an AURC may be a ten-thousandth."""
    return 6 if name == "aurc" else METRICS.get(name).decimals


def batches(found: MethodsFindings) -> list[int]:
    """Batch sizes that were timed."""
    return sorted({one.subject.batch for one in found.timed})


def costs(found: MethodsFindings, batch: int) -> list[Costed]:
    """Everything of the youngest race at one batch size that was scored too, the fastest first."""
    mine = [one for one in found.timed if one.subject.batch == batch]
    race = max(mine, key=lambda one: one.created).body.race if mine else ""
    made = [
        one
        for record in mine
        if record.body.race == race
        for one in _costs(record, found.of(record.subject.method, record.subject.format))
    ]
    return sorted(made, key=lambda one: one.milliseconds)


def _costs(timed: MethodRecord, scored: MethodRecord | None) -> Iterator[Costed]:
    from ...race.rivals import pass_ms  # loads scipy.stats, for what is not always there

    if scored is None or scored.body.artefacts != timed.body.artefacts:
        return
    invalid = timed.verdict is not None and timed.verdict.of(SPEED) == INVALID
    for mc in scored.subject.mc:
        fit = [one for one in timed.body.timed if one.mc <= mc and one.latency_ns]
        if not fit:
            continue
        queries = max(fit, key=lambda one: one.mc)
        middle, low, high = (each * mc for each in pass_ms(queries))
        batch = timed.subject.batch
        yield Costed(scored, mc, middle, low, high, batch, invalid, queries.mc)


def front(made: Sequence[Costed], metric: str) -> list[Costed]:
    """Those that no other beats in both time and a score that is better when lower, of times that
    passed their audits."""
    best: list[Costed] = []
    for one in made:
        if one.invalid:
            continue
        score, least = one.score(metric), best[-1].score(metric) if best else None
        if score is not None and (least is None or score < least):
            best.append(one)
    return best


def best_within(made: Sequence[Costed], method: str, milliseconds: float) -> Costed | None:
    """The setting of a method that takes no longer and has the lowest validation NLL, of times that
    passed their audits."""
    mine = [one for one in made if one.method == method and not one.invalid]
    fit = [one for one in mine if one.milliseconds <= milliseconds]
    return min(fit, key=lambda one: one.chosen_by, default=None)


def unit(made: Sequence[Costed]) -> float | None:
    """Milliseconds of one INT8 pass of the posterior on one batch; None where it was not timed, or
    an audit of its times failed."""
    wanted = (MEAN_FIELD, MAIN_FORMAT, 1)
    valid = (one for one in made if not one.invalid)
    return next((o.milliseconds for o in valid if (o.method, o.format, o.mc) == wanted), None)


def without_unit(found: MethodsFindings) -> list[str]:
    """A sentence for each batch size at which nothing can be shown at equal time."""
    return [
        f"At batch {batch} nothing is shown at equal time: one {MAIN_FORMAT} pass of the posterior "
        "(T = 1) was not timed, or its times failed an audit."
        for batch in batches(found)
        if unit(costs(found, batch)) is None
    ]


def budget_sheet(found: MethodsFindings, batch: int) -> Sheet:
    """The best of each method within each budget."""
    made = costs(found, batch)
    pass_ = unit(made)
    rows = []
    for times in BUDGETS:
        if pass_ is None:
            break
        for method in dict.fromkeys(one.method for one in sorted(made, key=_place)):
            best = best_within(made, method, times * pass_ * (1 + 1e-9))
            if best is not None:
                rows.append((f"{times}×", method, best.setting, *_cells(best)))
    columns = (
        Column("budget", numeric=False),
        Column("method", numeric=False),
        Column("setting", numeric=False),
        Column("ms"),
        Column("images", "per second"),
        Column("kB"),
        Column("NLL", "with τ"),
        Column("AURC", "with τ"),
    )
    note = (
        "Budget: so many times the time of one INT8 pass of the posterior. Of each method the "
        "setting with the lowest validation NLL that is no slower; ms: median of all its passes on "
        "one batch, all of one race; ≈: T times the time per pass of queries with fewer passes. "
        "Settings whose times failed an audit are left out. kB: its files."
    )
    return Sheet(f"At equal time, batch {batch}", columns, tuple(rows), {}, 1, (note,))


def _cells(one: Costed) -> tuple[str, ...]:
    decimals = [shown_decimals(name) for name in SCORES]
    return (
        ("≈ " if one.timed_mc < one.mc else "") + text.significant(one.milliseconds),
        f"{1000 / one.per_image:,.0f}",
        text.significant(one.file_bytes / 1000),
        *(text.fixed(one.score(name), n) for name, n in zip(SCORES, decimals, strict=True)),
    )


def _place(one: Costed) -> tuple[int, int, int]:
    names = METHODS.names()
    method = names.index(one.method) if one.method in names else len(names)
    return method, FORMATS_OF_METHODS.index(one.format), one.mc


def figure(found: MethodsFindings, batch: int) -> Figure | None:
    """NLL and AURC against milliseconds per image, a point for each method, format and T."""
    made = costs(found, batch)
    if len(made) < 2:
        return None
    panels = []
    for metric in SCORES:
        best = front(made, metric)
        line = Rule(
            tuple(one.per_image for one in best),
            tuple(one.score(metric) for one in best),
            tone="ink",
            line="dotted",
            label="beaten by no other" if best and metric == SCORES[0] else "",
        )
        pairs = dict.fromkeys((one.method, one.format) for one in sorted(made, key=_place))
        marks = [_marks(made, *pair, metric) for pair in pairs]
        what = METRICS.get(metric)
        unit_of = f", {what.unit}" if what.unit else ""
        up = Scale(f"{what.called} with a temperature{unit_of}", about=6)
        ticks = _ticks([one.per_image for one in made])
        names = tuple(f"{tick:g}" for tick in ticks)
        across = Scale("ms per image", log=True, ticks=ticks, names=names)
        panels.append(Panel((line, *marks), across, up))
    return Figure(
        f"methods_time_batch{batch}",
        f"Uncertainty for its time: {found.workload}, batch {batch}",
        "Negative log-likelihood and area under the risk-coverage curve of each method, format and "
        "number of passes, with a temperature, against the milliseconds that an image takes; "
        "a line joins those that no other beats in both.",
        tuple(panels),
        height=3.4,
        columns=2,
    )


def look_of(method: str, format: str) -> Look:
    """A colour for each method, a marker for each format."""
    names = METHODS.names()
    tone = _TONES[names.index(method) % len(_TONES)] if method in names else "faint"
    marker = _MARKERS[FORMATS_OF_METHODS.index(format)]
    return Look(tone=tone, marker=marker, hollow=format != MAIN_FORMAT)


def _ticks(values: Sequence[float]) -> tuple[float, ...]:
    """Powers of ten, and where they are few 3 times them, around the values."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    steps = (1, 3) if high - low <= 2 else (1,)
    every = [step * 10.0**power for power in range(low, high + 1) for step in steps]
    return tuple(one for one in every if 0.7 * min(values) <= one <= 1.4 * max(values))


def _marks(made: Sequence[Costed], method: str, format: str, metric: str) -> Points:
    mine = sorted(
        (one for one in made if (one.method, one.format) == (method, format)),
        key=lambda one: one.mc,
    )
    look = replace(look_of(method, format), invalid=all(one.invalid for one in mine))
    return Points(
        tuple(one.per_image for one in mine),
        tuple(one.score(metric) for one in mine),
        look,
        f"{method} {format}" if metric == SCORES[0] else "",
        left=tuple(one.low / one.batch for one in mine),
        right=tuple(one.high / one.batch for one in mine),
        width=0.8,
    )
