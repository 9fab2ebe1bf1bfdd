"""What a study of methods shows: scores with and without a temperature, and what T passes buy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure, Panel, Points, Scale
from ...core.sheet import Column, Sheet
from ...data.known_sets import OOD
from ...data.units import ALPHA
from ...methods.method import MAIN_FORMAT
from ...metrics.metric import METRICS
from ...records.methods_record import TEMPERED, MethodRecord
from ...workload.cell import MEAN, MEAN_FIELD
from . import at_equal_time
from .analyse import (
    BETTER,
    NOT_JUDGED,
    SAME,
    UNDECIDED,
    WORSE,
    AgainstMean,
    MethodsFindings,
)
from .at_equal_time import batches, budget_sheet, costs
from .secondary_sheet import Secondary, secondary, secondary_sheet

NLL = "nll"
_SHOWN = ("ece", "brier", "aurc")


def document(found: MethodsFindings, *, brief: bool = False) -> Document:
    """All tables, the chart and the conclusions; `brief`: one table and what it says, to stand
    beside something else."""
    said = conclusions(found)
    title = f"Whether T passes pay: {found.workload}"
    if brief:
        blocks = (*with_notes([brief_sheet(found)]), *map(Words, said[:1]))
        return Document(found.workload, blocks, to_dict(found), title)
    others_than_nll = secondary(found)
    others = [
        scores_sheet(name, [one for one in found.records if one.subject.split == name])
        for name in dict.fromkeys(one.subject.split for one in found.records)
        if name != "test"
    ]
    sheets = [
        scores_sheet("Clean images", found.clean),
        main_sheet(found),
        secondary_sheet(others_than_nll),
        passes_sheet(found),
        *(budget_sheet(found, batch) for batch in batches(found)),
        shift_sheet(found),
        *others,
        outside_sheet(found),
        missing_sheet(found),
    ]
    return Document(
        name=found.workload,
        blocks=(
            Words(title, "bold"),
            *with_notes(sheets),
            Words(),
            Words("Conclusions", "bold"),
            *map(Words, said),
        ),
        values={**to_dict(found), "secondary": _secondary(others_than_nll)},
        title=title,
        conclusions=tuple(said),
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        data={"methods": list(_rows(found))},
        figures=lambda: _figures(found),
    )


def _named(record: MethodRecord) -> tuple[str, str]:
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
        rows.append((*_named(one), str(T), accuracy, *cells, *scores))
    note = (
        "With τ: with one temperature, fitted on validation images for that method, format and T; "
        "so are ECE, Brier score and AURC. Means over the draws."
    )
    if any(one.body.crossed for one in records):
        note += " No images are held out: τ of each half of the test images is of the other half."
    heads = [
        Column(METRICS.get(name).called, METRICS.get(name).unit or "with τ") for name in _SHOWN
    ]
    columns = (
        Column("method", numeric=False),
        Column("format", numeric=False),
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
        method, format = _named(one)
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
    title = f"What passes buy in {MAIN_FORMAT}, each with a temperature τ of validation images"
    return Sheet(title, columns, tuple(rows), {}, 1)


def main_sheet(found: MethodsFindings) -> Sheet:
    """Each method against the mean network's one pass, each with its temperature."""
    rows = []
    for one in found.compared:
        low, high = one.difference.interval
        rows.append(
            (
                *_named(one.record),
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
        f"{MAIN_FORMAT}, and over the others, at {ALPHA:.0%}. All other tables are secondary."
    )
    columns = (
        Column("method", numeric=False),
        Column("format", numeric=False),
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
    """NLL with a temperature against T."""
    counts = sorted({T for one in found.clean for T in one.subject.mc})
    rows = [
        (
            *_named(one),
            *(
                text.fixed(one.score(NLL, T, True), 4) if T in one.subject.mc else text.MISSING
                for T in counts
            ),
        )
        for one in found.clean
    ]
    columns = (
        Column("method", numeric=False),
        Column("format", numeric=False),
        *(Column(f"T = {T}") for T in counts),
    )
    note = "On clean images, nats. A temperature is fitted for each T."
    return Sheet("NLL with a temperature against T", columns, tuple(rows), {}, 1, (note,))


def shift_sheet(found: MethodsFindings) -> Sheet:
    """Means over corruption types by severity."""
    shifted = [one for one in found.records if one.subject.severity]
    groups: dict[tuple[str, str, int], list[MethodRecord]] = {}
    for one in shifted:
        groups.setdefault((*_named(one), one.subject.severity), []).append(one)
    order = {_named(one): place for place, one in enumerate(found.clean)}
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
        Column("method", numeric=False),
        Column("format", numeric=False),
        Column("types"),
        Column("accuracy", "%"),
        Column("NLL", "nats"),
        Column("NLL", "with τ"),
        Column("ECE", "%"),
        Column("AURC"),
    )
    note = "Means over the types of corruption; the temperature is that of the clean images."
    return Sheet("Under dataset shift", columns, tuple(rows), {}, 1, (note,))


def outside_sheet(found: MethodsFindings) -> Sheet:
    """How well entropy and mutual information tell images from outside."""
    rows = []
    for one in found.records:
        name = one.subject.corruption
        inside = found.of(*_named(one))
        if not name.startswith(OOD) or inside is None:
            continue
        cells = [
            _auroc(inside, one, measure)
            for measure in ("entropy", f"{TEMPERED}entropy", "mutual_information")
        ]
        rows.append((name.removeprefix(OOD), *_named(one), *cells))
    columns = (
        Column("set", numeric=False),
        Column("method", numeric=False),
        Column("format", numeric=False),
        Column("entropy"),
        Column("entropy", "with τ"),
        Column("MI"),
    )
    note = "AUROC, clean test images against those of the set. MI: mutual information."
    return Sheet("Images from outside", columns, tuple(rows), {}, 1, (note,))


def _auroc(inside: MethodRecord, outside: MethodRecord, measure: str) -> str:
    import torch

    from ...metrics.detection import detection

    if measure not in inside.arrays or measure not in outside.arrays:
        return text.MISSING
    sides = [torch.from_numpy(one.each(measure)[0]) for one in (inside, outside)]
    return text.fixed(detection(*sides).auroc, 4)


def missing_sheet(found: MethodsFindings) -> Sheet:
    """Why there is none of some methods in some formats."""
    rows = tuple((*key, why) for key, why in found.missing.items())
    columns = (
        Column("method", numeric=False),
        Column("format", numeric=False),
        Column("why there is none", numeric=False),
    )
    return Sheet("What is not compared", columns, rows, {}, 1)


def conclusions(found: MethodsFindings) -> list[str]:
    """What T passes of the posterior buy over one pass and a temperature, and the other methods."""
    main = [one for one in found.compared if one.record.subject.format == MAIN_FORMAT]
    said = [_sentence(one) for one in main]
    if not any(one.record.subject.method == MEAN_FIELD for one in main):
        said.insert(0, _not_compared(found))
    return [*said, *_vector_line(found), *at_equal_time.without_unit(found)]


def _not_compared(found: MethodsFindings) -> str:
    there = {one.subject.method for one in found.clean if one.subject.format == MAIN_FORMAT}
    lacking = [name for name in (MEAN_FIELD, MEAN) if name not in there]
    if lacking:
        return (
            f"What T passes buy in {MAIN_FORMAT} cannot be said: {' and '.join(lacking)} "
            f"{text.verb(len(lacking), 'was', 'were')} not scored on clean images."
        )
    return f"What T passes buy in {MAIN_FORMAT} cannot be said of a single independent image."


def _sentence(one: AgainstMean) -> str:
    """The NLL of a method against that of one pass of the mean network."""
    difference, low_high = one.difference, one.difference.interval
    nll = f"The NLL of {_who(one.record)}"
    rival = "that of one pass of the mean network, each with a temperature"
    told = {
        BETTER: f"{nll} is lower than {rival}, by more than the margin",
        WORSE: f"{nll} is higher than {rival}, by more than the margin",
        SAME: f"{nll} does not differ by more than the margin from {rival}",
        UNDECIDED: f"It cannot be shown whether {nll[0].lower()}{nll[1:]} differs by more than the "
        f"margin from {rival}",
        NOT_JUDGED: f"{nll} is not judged against {rival} ({one.why})",
    }[one.verdict]
    low, high = (text.signed(end, 4) for end in low_high)
    figures = (
        f"{text.signed(difference.value, 4)} nats, 95 % interval {low} to {high}, margin "
        f"{text.fixed(one.margin, 4)}, {text.plural(difference.count, 'image')}"
    )
    if one.verdict != NOT_JUDGED and one.family > 1:
        figures += f", {one.family} comparisons"
    more = ""
    if one.verdict == UNDECIDED:
        if one.deciding is not None:
            more = f" About {one.deciding:,} images would decide it."
        elif one.difference.luck.error > 0:
            more = " More draws (`--seeds`) would decide it, not more images."
    return f"{told} ({figures}).{more}"


def _who(record: MethodRecord) -> str:
    subject = record.subject
    T = subject.mc[-1]
    if subject.method == MEAN_FIELD:
        return f"{text.plural(T, 'pass', 'passes')} of the posterior in {subject.format}"
    named = f"`{subject.method}` in {subject.format}"
    return f"{named} at T = {T}" if T > 1 else named


def _vector_line(found: MethodsFindings) -> Iterator[str]:
    """What more than one scalar changes for the mean network."""
    record = found.of(MEAN, MAIN_FORMAT)
    nll = None if record is None else record.body.vector.get(NLL)
    if record is not None and nll is not None:
        yield (
            "With a scale and a bias for each class (vector scaling) in place of one temperature, "
            f"one pass of the mean network has an NLL of {text.fixed(nll, 4)} nats instead of "
            f"{text.fixed(record.score(NLL, 1, True), 4)}."
        )


def to_dict(found: MethodsFindings) -> dict[str, Any]:
    """All of it for JSON."""
    return {
        "workload": found.workload,
        "rows": list(_rows(found)),
        "compared": [
            {
                "method": one.record.subject.method,
                "format": one.record.subject.format,
                "mc": one.record.subject.mc[-1],
                "difference_nats": one.difference.value,
                "interval": one.difference.interval,
                "margin_nats": one.margin,
                "main": one.main,
                "comparisons_in_family": one.family,
                "why_not_judged": one.why,
                "verdict": one.verdict,
                "deciding_images": one.deciding,
            }
            for one in found.compared
        ],
        "costs": [
            {
                "method": one.method,
                "format": one.format,
                "mc": one.mc,
                "batch": one.batch,
                "milliseconds": one.milliseconds,
                "interval": (one.low, one.high),
                "images_per_second": 1000 / one.per_image,
                "valid": not one.invalid,
                **{name: one.score(name) for name in at_equal_time.SCORES},
            }
            for batch in batches(found)
            for one in costs(found, batch)
        ],
        "missing": [
            {"method": key[0], "format": key[1], "why": why} for key, why in found.missing.items()
        ],
        "conclusions": conclusions(found),
    }


def _secondary(rows: Sequence[Secondary]) -> list[dict[str, Any]]:
    return [
        {
            "method": one.compared.record.subject.method,
            "metric": name,
            "difference": difference.value,
            "interval": (difference.low, difference.high),
            "p": difference.p,
            "p_holm": one.p_holm[name],
        }
        for one in rows
        for name, difference in one.differences.items()
    ]


def _rows(found: MethodsFindings) -> Iterator[Mapping[str, Any]]:
    """A row for each subject and T."""
    for record in found.records:
        subject, body = record.subject, record.body
        for place, T in enumerate(subject.mc):
            temperature = body.temperatures[0][place]
            yield {
                "method": subject.method,
                "format": subject.format,
                "split": subject.split,
                "corruption": subject.corruption,
                "severity": subject.severity,
                "mc": T,
                "images": body.images,
                "tau": temperature.tau,
                "form": temperature.form,
                **{name: record.score(name, T, False) for name in body.scores},
                **{f"{name}_tempered": record.score(name, T, True) for name in body.tempered},
                **{f"{name}_vector": value for name, value in body.vector.items()},
            }


def _figures(found: MethodsFindings) -> Sequence[Figure | str]:
    """NLL with and without a temperature against T."""
    panels = []
    for tempered, title in ((False, "as it is"), (True, "with a temperature")):
        marks = []
        for one in found.clean:
            counts = one.subject.mc
            look = at_equal_time.look_of(*_named(one))
            values = tuple(one.score(NLL, T, tempered) for T in counts)
            label = "" if tempered else " ".join(_named(one))
            marks.append(Points(tuple(map(float, counts)), values, look, label))
        panels.append(
            Panel(tuple(marks), x=Scale("passes T", log=True), y=Scale(f"NLL {title} (nats)"))
        )
    if not found.clean:
        return ["There is no figure: no clean images were scored."]
    description = "Negative log-likelihood on clean images against the number of passes."
    title = f"What passes buy: {found.workload}"
    times = [at_equal_time.figure(found, batch) for batch in batches(found)]
    return [
        *(one for one in times if one is not None),
        Figure("methods", title, description, tuple(panels), height=3.2, columns=2),
    ]
