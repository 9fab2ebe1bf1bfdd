"""The sheets of a study of selective prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...data.units import ALPHA, LEAST_UNITS
from ...report.score_cells import Writer
from ...stats.significance import holm
from .agreement import LESS, MORE, SEEDS, UNDECIDED, Agreement, FormatAgreement
from .analyse import DETECTORS, SelectiveFindings, Told
from .referral import Referral
from .sample import SCORES, Interval

BY = {"confidence": "confidence", "entropy": "entropy", "mutual_information": "MI"}
_SHORT = {"confidence": "conf.", "entropy": "entr.", "mutual_information": "MI"}
FORMAT = Column("format", numeric=False)
_MOST = 20  # classes in a terminal


def kept(found: SelectiveFindings, *, intervals: bool = False) -> Sheet:
    """Error at full and at chosen coverage, and the areas, one row per split and format."""
    coverage = f"{100 * found.choices.coverage:g} %"
    rows, headings = _by_split(
        found, lambda split: [_kept_cells(one, intervals) for one in found.of(split)]
    )
    columns = (
        FORMAT,
        Column("error", "%"),
        Column("error %", f"at {coverage}"),
        Column("ratio"),
        Column("half", numeric=False),
        *(Column("AURC", _SHORT[name]) for name in SCORES),
        Column("AURC", "− float"),
    )
    notes = (
        f"At {coverage} coverage the images that are least sure by {_by(found)} are referred; "
        "ratio: the error of the others over the error of all; half: whether it is at most a half. "
        "AURC: 1000 times the area under the risk–coverage curve, by three scores (confidence, "
        f"entropy, and MI: mutual information); − float: that by {_by(found)} minus the float "
        f"format's, over the seeds of both. {_seeds(found)} {_interval(intervals)}"
        f"{_upper_bound(found)}{_tempered(found)}",
    )
    return Sheet("Risk and coverage", columns, rows, headings, 0, notes)


def bounded(found: SelectiveFindings, *, intervals: bool = False) -> Sheet:
    """What can be kept within the bound, one row per split and format."""
    bound = f"{100 * found.choices.bound:g} %"
    rows, headings = _by_split(
        found,
        lambda split: [_bounded_cells(found, one, intervals) for one in found.of(split)],
    )
    columns = (
        FORMAT,
        Column("balanced", "error, %"),
        Column("oracle", "kept, %"),
        Column("threshold", "kept, %"),
        Column("its balanced", "error, %"),
        Column("classes", "kept"),
        Column("within", "bound", numeric=False),
    )
    notes = (
        f"Balanced error: the mean over classes, of all images. Bound: {bound} among what is kept. "
        "Oracle: the most that could be kept within it, computed with the labels of these images. "
        "Threshold: what one that was chosen on the validation split keeps here; its balanced "
        "error, over the classes of which it keeps something. "
        f"{_interval(intervals)}",
    )
    return Sheet(f"Within a bound of {bound}", columns, rows, headings, 0, notes)


def against_mean(found: SelectiveFindings, *, intervals: bool = False) -> Sheet:
    """Areas of methods less that of one pass of the mean network, one row per split and method."""
    judged = [
        ((one.split, one.variant), one.against_mean.p)
        for one in found.selections
        if one.against_mean is not None and not found.samples[one.split].too_few
    ]
    adjusted = holm([p for _, p in judged])
    p_holm = {which: p for (which, _), p in zip(judged, adjusted, strict=True)}

    def cells(split: str) -> Iterator[tuple[str, ...]]:
        for one in found.of(split):
            if (compared := one.against_mean) is None:
                continue
            p = p_holm.get((split, one.variant))
            shown = text.MISSING if p is None else "yes" if p < ALPHA else "no"
            change = _change(compared.change, 2, intervals, 1000)
            yield one.variant, compared.other, change, text.fixed(p, 3), shown

    rows, headings = _by_split(found, cells)
    columns = (
        FORMAT,
        Column("against", numeric=False),
        Column("AURC", "difference"),
        Column("p", "Holm"),
        Column("shown", numeric=False),
    )
    notes = (
        f"1000 times the area under the risk–coverage curve by {_by(found)}, less that of one pass "
        "of the mean network in the same arithmetic, each with a temperature; negative is better. "
        "p after Holm's correction over methods and splits; shown: a difference at "
        f"{100 * ALPHA:g} %. The temperatures are taken as they were fitted. "
        f"{_interval(intervals)}",
    )
    title = "Against one pass with a temperature"
    return Sheet(title, columns, rows, headings, 0, notes)


def referred(found: SelectiveFindings, *, intervals: bool = False) -> Sheet:
    """Whom a format refers against whom its float one does, one row per split and format."""
    rows, headings = _by_split(
        found,
        lambda split: _referred_rows(found.compared(split), intervals),
    )
    columns = (
        FORMAT,
        Column("overlap", "%"),
        Column("Jaccard"),
        Column("κ"),
        Column("switch", "images"),
        Column("of these", "wrong"),
        Column("− luck", "images"),
        Column("than", "luck", numeric=False),
    )
    rate = f"{100 - 100 * found.choices.coverage:g} %"
    notes = (
        f"The {rate} that are least sure by {_by(found)} are referred; each format is held against "
        "the float format with the same noise. Overlap: share of the images that one refers which "
        "the other refers too. Jaccard: images that both refer over those that either does. κ: "
        "Cohen's. Switch: images that are newly kept (as many are newly referred), and those of "
        "these that are predicted wrongly. The row of the float format holds it against itself "
        "with other noise, which shows the luck of the draw. − luck: switched images minus those "
        "of that row; its interval includes the variation of seeds. More, fewer than luck: shown "
        "at 5 % after Holm's correction over both, formats and splits; ?: no difference is shown; "
        f"–: not judged, which takes {SEEDS} seeds and {LEAST_UNITS} independent images. "
        f"{_interval(intervals)}",
    )
    return Sheet("Who is referred", columns, rows, headings, 0, notes)


def classes(found: SelectiveFindings, split: str, *, every: bool = False) -> Sheet:
    """Recall and share referred of every class, one column per format.

    Args:
        found: of a study.
        split: which.
        every: all classes, with the recall of what is kept; else the `_MOST` of which most is
            referred, where there are more.
    """
    shown = found.of(split) if every else found.as_they_are(split)
    everyone = shown[0].classes
    places = list(range(len(everyone)))
    if not every and len(places) > _MOST:
        places = sorted(places, key=lambda i: -max(one.classes[i].referred for one in shown))[
            :_MOST
        ]
    rows: list[tuple[str, ...]] = []
    headings = {}
    kinds = {"referred, %": "referred", "recall, %": "recall"}
    if every:
        kinds["recall of kept, %"] = "recall_kept"
    for title, name in kinds.items():
        headings[len(rows)] = title
        for place in places:
            values = [getattr(one.classes[place], name) for one in shown]
            cells = [text.fixed(value, 1) for value in values]
            own = everyone[place]
            rows.append((found.class_name(own.label), str(own.images), *cells))
    left = ""
    if len(places) < len(everyone):
        left = (
            f" The {len(places)} of {len(everyone)} classes with most referred images; the files "
            "of --out have all."
        )
    columns = (
        Column("class", numeric=False),
        Column("images"),
        *(Column(*_two_lines(one.variant)) for one in shown),
    )
    notes = (
        f"Means over seeds; {text.plural(found.samples[split].images, 'image')}. Referred: share "
        f"of a class among the least sure.{left}",
    )
    return Sheet(f"By class: {split}", columns, tuple(rows), headings, 0, notes)


def outside(found: SelectiveFindings, write: Writer = text.concise) -> Sheet:
    """Detection of images from outside, one row per set, split and format."""
    groups: dict[tuple[str, str, str], list[Told]] = {}
    for one in found.outside:
        groups.setdefault((one.outside, one.split, one.variant), []).append(one)
    rows: list[tuple[str, ...]] = []
    headings = {}
    for name, (which, told) in zip(_new([key[0] for key in groups]), groups.items(), strict=True):
        if name:
            headings[len(rows)] = name
        _, split, variant = which
        cells = (
            write([getattr(t, score) for t in told if t.by == by], 3)
            for score in ("auroc", "aupr")
            for by in DETECTORS
        )
        rows.append((split, text.percent(told[0].prevalence, 1), variant, *cells))
    columns = (
        Column("told from", numeric=False),
        Column("outside", "%"),
        FORMAT,
        *(Column(score, BY[by]) for score in ("AUROC", "AUPR") for by in DETECTORS),
    )
    notes = (
        "Images of no known class distinguished from those of a split by predictive entropy or "
        "mutual information (MI). Outside: share of the images that are from outside. Chance is an "
        "AUROC of 0.5 and an AUPR of that share. The spread is the standard deviation over seeds "
        f"of the draw{'' if write is text.spread else ', in units of the last digit'}.",
    )
    title = "Out-of-distribution detection"
    return Sheet(title, columns, tuple(rows), headings, 2, notes)


def _new(names: Sequence[str]) -> list[str]:
    """Each name where it is not the one before, else nothing."""
    return [n if i == 0 or n != names[i - 1] else "" for i, n in enumerate(names)]


def _by_split(
    found: SelectiveFindings, rows_of: Callable[[str], Iterable[tuple[str, ...]]]
) -> tuple[tuple[tuple[str, ...], ...], dict[int, str]]:
    """Rows, and a heading above those of each split that has some."""
    rows: list[tuple[str, ...]] = []
    headings = {}
    for split in found.splits:
        own = list(rows_of(split))
        if own:
            headings[len(rows)] = split  # short: it stands in the column of the names
            rows += own
    return tuple(rows), headings


def _kept_cells(one: Referral, intervals: bool) -> tuple[str, ...]:
    areas = [one.aurc.get(name) for name in SCORES]
    change = one.aurc_change
    half = text.MISSING if one.halved is None else "✓" if one.halved else "✗"
    return (
        one.variant,
        _with(one.error, 2, intervals),
        _with(one.error_kept, 2, intervals),
        _with(one.ratio, 2, intervals),
        half,
        *(_with(area, 2, intervals, 1000) for area in areas),
        text.MISSING if change is None else _change(change, 2, intervals, 1000),
    )


def _bounded_cells(found: SelectiveFindings, one: Referral, intervals: bool) -> tuple[str, ...]:
    got = one.bounded
    if got is None:
        return (one.variant, text.fixed(one.balanced.value, 2), *[text.MISSING] * 5)
    error = got.balanced_error
    within = error is not None and error.value <= 100 * found.choices.bound
    return (
        one.variant,
        text.fixed(one.balanced.value, 2),
        text.fixed(got.oracle, 1),
        _spread(got.coverage, 1, intervals),
        _spread(error, 2, intervals),
        f"{got.classes} of {len(one.classes)}",
        text.MISSING if error is None else "✓" if within else "✗",
    )


def _referred_rows(shown: Sequence[FormatAgreement], intervals: bool) -> Iterator[tuple[str, ...]]:
    """Of the float formats the luck, then of every other the format."""
    for luck in {c.luck.variant: c.luck for c in shown if c.luck is not None}.values():
        yield (luck.variant, *_agreement_cells(luck, intervals), text.MISSING, "luck")
    for one in shown:
        words = {MORE: "more", LESS: "fewer", UNDECIDED: "?"}.get(one.verdict, text.MISSING)
        excess = one.excess
        beyond = text.MISSING if excess is None else _change(excess, 1, intervals)
        yield (one.found.variant, *_agreement_cells(one.found, intervals), beyond, words)


def _agreement_cells(one: Agreement, intervals: bool) -> tuple[str, ...]:
    return (
        _with(one.overlap, 1, intervals),
        _with(one.jaccard, 3, intervals),
        _with(one.kappa, 3, intervals),
        _spread(one.switched, 1, intervals),
        _spread(one.wrong, 1, intervals),
    )


def _with(found: Interval | None, digits: int, interval: bool, scale: float = 1.0) -> str:
    """The value, with its interval where that is wanted."""
    if found is None:
        return text.MISSING
    if interval:
        return _spread(found, digits, True, scale)
    return text.fixed(scale * found.value, digits)


def _spread(found: Interval | None, digits: int, interval: bool, scale: float = 1.0) -> str:
    """The value with its interval, or shorter with half of its width."""
    if found is None:
        return text.MISSING
    return _bounded_by(found, text.fixed, "–", digits, interval, scale)


def _change(found: Interval, digits: int, interval: bool, scale: float = 1.0) -> str:
    """A difference with its interval, or shorter with half of its width."""
    return _bounded_by(found, text.signed, " … ", digits, interval, scale)


def _bounded_by(
    found: Interval,
    write: Callable[[float, int], str],
    to: str,
    digits: int,
    interval: bool,
    scale: float,
) -> str:
    value = write(scale * found.value, digits)
    if found.low is None or found.high is None:
        return f"{value} ({text.MISSING})" if interval else f"{value} ±{text.MISSING}"
    if interval:
        return (
            f"{value} ({write(scale * found.low, digits)}{to}{write(scale * found.high, digits)})"
        )
    return f"{value} ±{text.fixed(scale * (found.high - found.low) / 2, digits)}"


def _two_lines(variant: str) -> tuple[str, str]:
    """`INT8_SIGMA4` as `INT8` above `SIGMA4`."""
    first, _, second = variant.partition("_")
    return first, second


def _by(found: SelectiveFindings) -> str:
    return found.choices.by.replace("_", " ")


def _interval(whole: bool) -> str:
    return "In brackets: 95 % interval." if whole else "±: half of the 95 % interval."


def _upper_bound(found: SelectiveFindings) -> str:
    """Of records that do not tell the images' own part of the draw's luck apart."""
    whole = any(one.luck and not one.apart for one in found.selections)
    return (
        " Records from before the luck of the draw was separated: in the interval of − float "
        "it is an upper bound."
    ) * whole


def _tempered(found: SelectiveFindings) -> str:
    return (
        " Rows that begin with a method's name have a temperature, fitted on validation images for "
        "that method, format and T; MI is that of the passes as they are."
    ) * bool(found.methods)


def _seeds(found: SelectiveFindings) -> str:
    """Of the Bayesian formats: twins draw nothing."""
    bayesian = [one for one in found.selections if found.draws(one.variant)]
    counts = {one.seeds for one in bayesian}
    if not counts:
        return "Nothing is drawn."
    low, high = min(counts), max(counts)
    if high == 1:
        return "One seed of the draw."
    return f"Means over {high if low == high else f'{low} to {high}'} seeds of the draw."
