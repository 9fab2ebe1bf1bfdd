"""Tables of a study of methods: scores, differences in NLL, shift, what lies outside."""

from __future__ import annotations

from collections.abc import Sequence

from ...core import words as text
from ...core.sheet import Column, Sheet
from ...data.units import ALPHA
from ...methods.method import MAIN_FORMAT
from ...metrics.metric import METRICS
from ...records.methods_record import MethodRecord
from . import at_equal_time
from .analyse import NOT_JUDGED, UNDECIDED, AgainstMean, MethodsFindings

NLL = "nll"
WHICH = (Column("method", numeric=False), Column("format", numeric=False))
_SHOWN = ("ece", "brier", "aurc")


def named(record: MethodRecord) -> tuple[str, str]:
    return record.subject.method, record.subject.format


def scores_sheet(title: str, records: Sequence[MethodRecord]) -> Sheet:
    """Scores on images with labels at the largest T."""
    rows = []
    for one in records:
        T = one.subject.mc[-1]
        cells = [text.fixed(one.score(NLL, T, tempered), 4) for tempered in (False, True)]
        scores = [
            text.fixed(one.score(name, T, True), at_equal_time.shown_decimals(name))
            for name in _SHOWN
        ]
        accuracy = text.fixed(one.score("accuracy", T, False), 2)
        rows.append((*named(one), str(T), accuracy, *cells, *scores))
    note = (
        "With τ: with one temperature, fitted on validation images for that method, format and T; "
        "so are ECE, Brier score and AURC. Means over the draws."
    )
    if any(one.body.crossed for one in records):
        note += " No images are held out: τ of each half of the test images is of the other half."
    chosen = {one.subject.method: one.body.chosen for one in records if one.body.chosen}
    if chosen:
        each = "; ".join(f"{method}: {what}" for method, what in chosen.items())
        note += f" Chosen on validation images: {each}."
    heads = [
        Column(METRICS.get(name).called, METRICS.get(name).unit or "with τ") for name in _SHOWN
    ]
    columns = (
        *WHICH,
        Column("T"),
        Column("accuracy", "%"),
        Column("NLL", "nats"),
        Column("NLL", "with τ"),
        *heads,
    )
    return Sheet(title, columns, tuple(rows), {}, 1, (note,))


def brief_sheet(found: MethodsFindings) -> Sheet:
    """The main format on clean images."""
    rows = []
    for one in found.clean:
        method, format = named(one)
        if format != MAIN_FORMAT:
            continue
        T = one.subject.mc[-1]
        scores = [
            one.score("accuracy", T, False),
            one.score(NLL, T, False),
            one.score(NLL, T, True),
        ]
        cells = [text.fixed(score, n) for score, n in zip(scores, (2, 4, 4), strict=True)]
        rows.append((method, str(T), *cells))
    columns = (
        Column("method", numeric=False),
        Column("T"),
        Column("accuracy", "%"),
        Column("NLL", "nats"),
        Column("NLL", "with τ"),
    )
    note = "τ: a temperature that is fitted on validation images for each method."
    return Sheet(f"What passes buy in {MAIN_FORMAT}", columns, tuple(rows), {}, 0, (note,))


def main_sheet(found: MethodsFindings) -> Sheet:
    """Each method against the mean network's one pass, each with its temperature."""
    rows = []
    for one in found.compared:
        low, high = one.difference.interval
        rows.append(
            (
                *named(one.record),
                str(one.record.subject.mc[-1]),
                text.signed(one.difference.value, 4),
                f"{text.signed(low, 4)} … {text.signed(high, 4)}",
                text.fixed(one.margin, 4),
                _verdict(one),
            )
        )
    note = (
        "Difference: NLL on the same clean images less that of the mean network's one pass in the "
        "same arithmetic, both with a temperature; negative is better. Its interval has the luck "
        f"of the images, of the fit and of the draws. {MAIN_FORMAT} is the main question; other "
        f"formats are secondary. Verdicts after Holm's correction over the comparisons in "
        f"{MAIN_FORMAT}, and over the others, at {100 * ALPHA:g} %. All other tables are secondary."
    )
    columns = (
        *WHICH,
        Column("T"),
        Column("difference", "nats"),
        Column("95 % interval", "nats"),
        Column("margin", "nats"),
        Column("verdict", numeric=False),
    )
    title = "Against one pass of the mean network with a temperature"
    return Sheet(title, columns, tuple(rows), {}, 1, (note,))


def _verdict(one: AgainstMean) -> str:
    if one.why:
        return f"{NOT_JUDGED}: {one.why}"
    if one.verdict == UNDECIDED and one.deciding is not None:
        return f"{UNDECIDED} (about {one.deciding:,} images would)"
    return one.verdict


def passes_sheet(found: MethodsFindings) -> Sheet:
    """NLL with a temperature against T, a heading for each method."""
    counts = sorted({T for one in found.clean for T in one.subject.mc})
    rows: list[tuple[str, ...]] = []
    headings: dict[int, str] = {}
    above = ""
    for one in found.clean:
        method, format = named(one)
        if method != above:
            headings[len(rows)] = above = method
        scores = (one.score(NLL, T, True) if T in one.subject.mc else None for T in counts)
        rows.append((format, *(text.fixed(score, 4) for score in scores)))
    columns = (Column("format", numeric=False), *(Column(f"T = {T}") for T in counts))
    note = "On clean images, nats. A temperature is fitted for each T."
    return Sheet("NLL with a temperature against T", columns, tuple(rows), headings, 0, (note,))


def shift_sheet(found: MethodsFindings) -> Sheet:
    """Means over corruption types by severity."""
    shifted = [one for one in found.records if one.subject.severity]
    groups: dict[tuple[str, str, int], list[MethodRecord]] = {}
    for one in shifted:
        groups.setdefault((*named(one), one.subject.severity), []).append(one)
    order = {named(one): place for place, one in enumerate(found.clean)}
    keys = sorted(groups, key=lambda key: (key[2], order.get(key[:2], len(order))))
    rows = []
    for key in keys:
        mine = groups[key]
        cells = [
            text.fixed(text.mean([one.score(name, one.subject.mc[-1], warm) for one in mine]), n)
            for name, warm, n in (
                ("accuracy", False, 2),
                (NLL, False, 4),
                (NLL, True, 4),
                ("ece", True, 2),
                ("aurc", True, 6),
            )
        ]
        rows.append((str(key[2]), key[0], key[1], str(len(mine)), *cells))
    columns = (
        Column("severity", numeric=False),
        *WHICH,
        Column("types"),
        Column("accuracy", "%"),
        Column("NLL", "nats"),
        Column("NLL", "with τ"),
        Column("ECE", "%"),
        Column("AURC"),
    )
    note = "Means over the types of corruption; the temperature is that of the clean images."
    return Sheet("Under dataset shift", columns, tuple(rows), {}, 1, (note,))


def missing_sheet(found: MethodsFindings) -> Sheet:
    """Why there is none of some methods in some formats."""
    rows = tuple((*key, why) for key, why in found.missing.items())
    columns = (
        *WHICH,
        Column("why there is none", numeric=False),
    )
    return Sheet("What is not compared", columns, rows, {}, 1)
