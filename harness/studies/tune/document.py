"""What tuning shows: the setting that serves the goal, beside those that came near."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...core import words as text
from ...core.document import Document, Words, with_notes
from ...core.sheet import Column, Sheet
from ...race.instances import in_words
from ...records.envelope import flat
from ...records.scaling_record import Scaled
from ...report.timing_notes import sentences
from ...stats.goal import THROUGHPUT
from ...stats.throughput import Rate, images_per_second, latency_ms, p99_ms
from .analyse import Tuned

_COLUMNS = (
    "Team: threads that share a pass. Batch: images per query. Images/s: of all instances "
    "together, each image with T passes. ms: median latency of a query, and the 99th percentile, "
    "one query at a time in each instance. The best first."
)
_ONCE = "A single window each, by which a setting stayed or left."


def document(found: Sequence[Tuned], *, full: bool = False) -> Document:
    """The best settings of each goal, and with `full` all that were tried."""
    finals = [sheet(one, one.finalists, _title(one)) for one in found]
    tried = [_tried(one) for one in found]
    said = tuple(line for one in found for line in conclusions(one))
    name = found[0].record.subject.home
    title = f"Settings for {name} on this machine"
    shown = [*finals, *(tried if full else [])]
    return Document(
        name=name,
        blocks=(Words(title, "bold"), *with_notes(shown), Words(), *map(Words, said)),
        values=[_to_dict(one) for one in found],
        title=title,
        conclusions=said,
        sheets=(*finals, *tried),
        data={"tune": [row for one in found for row in _rows(one)]},
    )


def sheet(found: Tuned, settings: Sequence[Scaled], title: str) -> Sheet:
    """Settings, one per row."""
    columns = (
        Column("instances"),
        Column("cores", "each"),
        Column("team"),
        Column("batch"),
        Column("images/s"),
        Column("95 %"),
        Column("ms"),
        Column("p99", "ms"),
    )
    rows = tuple(_cells(one) for one in settings if one.windows)
    return Sheet(title, columns, rows, {}, notes=tuple(_notes(found)))


def _tried(found: Tuned) -> Sheet:
    made = sheet(found, found.record.body.tried, "All settings that were tried")
    return Sheet(made.title, made.columns, made.rows, {}, notes=(_ONCE,))


def goal_of(found: Tuned) -> str:
    """In words."""
    subject = found.record.subject
    if subject.goal == THROUGHPUT:
        bound = f" with queries within {subject.bound:g} ms" if subject.bound else ""
        return f"most images per second{bound}"
    bound = f" with at least {subject.bound:g} images per second" if subject.bound else ""
    return f"shortest queries{bound}"


def conclusions(found: Tuned) -> Iterator[str]:
    """One sentence on the setting that serves the goal, and one on those that may serve it too."""
    best, goal = found.best, goal_of(found)
    if best is None:
        first = found.finalists[0]
        yield (
            f"No setting that was tried meets the goal ({goal}); nearest is {_named(first)}, with "
            f"{_figures(first)}."
        )
        return
    pinned = "; ".join(", ".join(map(str, cores)) for cores in best.pinned)
    which = "its instances" if len(best.pinned) > 1 else "it"
    yield f"For the {goal}: {_named(best)}, with {_figures(best)}."
    yield f"Pin {which} to these cores: {pinned}."
    alike = [_named(one) for one in found.alike]
    if alike:
        yield f"Not shown to serve it less well: {text.first(alike)}."


def _named(one: Scaled) -> str:
    setting = one.setting
    return (
        f"{in_words(setting)}, {text.plural(setting.team, 'thread')} per pass, batch "
        f"{setting.batch}"
    )


def _figures(one: Scaled) -> str:
    tail = p99_ms(one)
    ms = f"a median query of {text.significant(latency_ms(one))} ms"
    if tail is not None:
        ms += f" (99th percentile {text.significant(tail)} ms)"
    return f"{text.significant(images_per_second(one).value)} images/s and {ms}"


def _title(found: Tuned) -> str:
    asked = found.record.subject
    return f"{asked.format}, T = {asked.mc}: {goal_of(found)}"


def _cells(one: Scaled) -> tuple[str, ...]:
    setting, rate = one.setting, images_per_second(one)
    return (
        str(setting.instances),
        str(setting.cores),
        str(setting.team),
        str(setting.batch),
        text.significant(rate.value),
        _interval(rate),
        text.significant(latency_ms(one)),
        text.significant(p99_ms(one)),
    )


def _interval(rate: Rate) -> str:
    if rate.low is None or rate.high is None:
        return text.MISSING
    return f"{text.significant(rate.low)}–{text.significant(rate.high)}"


def _notes(found: Tuned) -> Iterator[str]:
    body = found.record.body
    yield _COLUMNS
    tried, rounds = text.plural(len(body.tried), "setting"), found.record.subject.rounds
    yield (
        f"{tried} had one window each; these were the best, and were measured anew in "
        f"{text.plural(rounds, 'round')} of fresh processes."
    )
    yield from (line for line in sentences([body.references]) if not line.startswith("Timed in"))
    yield from (f"Mind the cores: {finding}." for finding in body.findings)
    loud = [_named(one) for one in found.finalists if found.noisy(one)]
    if loud:
        yield (
            "Do not rely on these, whose rounds differ by more than an audit allows: "
            f"{'; '.join(loud)}."
        )
    yield from dict.fromkeys(
        f"{in_words(one.setting).capitalize()} could not be measured: {one.unavailable}"
        for one in (*body.tried, *body.finalists)
        if one.unavailable
    )


def _to_dict(found: Tuned) -> dict[str, Any]:
    best = found.best
    return {
        **flat(found.record),
        "best": None if best is None else vars(best.setting),
        "not_shown_to_be_behind": [vars(one.setting) for one in found.alike],
        "figures": [dict(row) for row in _rows(found)],
        "conclusions": list(conclusions(found)),
    }


def _rows(found: Tuned) -> Iterator[Mapping[str, Any]]:
    """A row for each setting that was tried and, again, for each that was left."""
    asked, body = found.record.subject, found.record.body
    for final, settings in ((False, body.tried), (True, found.finalists)):
        for one in settings:
            if one.windows:
                rate = images_per_second(one)
                yield {
                    "format": asked.format,
                    "mc": asked.mc,
                    "goal": asked.goal,
                    "bound": asked.bound,
                    "final": final,
                    **vars(one.setting),
                    "images_per_second": rate.value,
                    "images_per_second_low": rate.low,
                    "images_per_second_high": rate.high,
                    "latency_ms": latency_ms(one),
                    "p99_ms": p99_ms(one),
                }
