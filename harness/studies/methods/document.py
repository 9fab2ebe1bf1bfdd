"""What a study of methods shows: scores with and without a temperature, and what T passes buy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.figure import Figure, Panel, Points, Scale
from ...methods.method import MAIN_FORMAT
from ...records.methods_record import MethodRecord
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
from .detection_sheet import detected_outside, detection_sheet
from .detection_sheet import rows as detected
from .methods_sheets import (
    NLL,
    brief_sheet,
    main_sheet,
    missing_sheet,
    named,
    passes_sheet,
    scores_sheet,
    shift_sheet,
)
from .secondary_sheet import Secondary, secondary, secondary_sheet


def document(found: MethodsFindings, *, brief: bool = False) -> Document:
    """All tables, the chart and the conclusions; `brief`: one table and what it says, to stand
    beside something else."""
    said = conclusions(found)
    title = f"Whether T passes pay: {found.workload}"
    if brief:
        blocks = (*with_notes([brief_sheet(found)]), *map(Words, said[:1]))
        values, short = to_dict(found), tuple(said[:1])
        return Document(found.workload, blocks, values, title, conclusions=short)
    outside = detected_outside(found)
    others_than_nll = secondary(found, outside)
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
        detection_sheet(outside),
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
        values={
            **to_dict(found),
            "secondary": _secondary(others_than_nll),
            "outside": detected(outside),
        },
        title=title,
        conclusions=tuple(said),
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        data={"methods": list(_rows(found)), "outside": detected(outside)},
        figures=lambda: _figures(found),
    )


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
            look = at_equal_time.look_of(*named(one))
            values = tuple(one.score(NLL, T, tempered) for T in counts)
            label = "" if tempered else " ".join(named(one))
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
