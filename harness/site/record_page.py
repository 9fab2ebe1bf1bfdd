"""The page of one record: what was asked, by what command, what audits found, numbers, samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from ..core.escape import visible
from ..records.verdict import KINDS, Verdict
from .stored import StoredRecord

#: Bytes of a record's page that its numbers take, and of these what is no list of samples.
BUDGET, FACTS = 3000, 1500
_TIMED = 0.85  # share of the room for lists that times take
_CURVES = 3  # lists of other numbers, which charts show
_SHORT = 8  # numbers up to which a list stands among the facts
_LISTS = 16  # long ones that a page shows
_ENOUGH = 20  # samples from which their distribution is drawn
_BINS, _WIDE, _HIGH = 40, 320, 40  # of it, and pixels

Leaf = tuple[str, Any]


@dataclass(frozen=True, eq=False)
class SampleList:
    """A list of numbers of a record.

    Attributes:
        name: where it stands in the record.
        count: of all.
        shown: as text, rounded to whole ones where they are times in nanoseconds.
        step: every how manieth is shown.
        bars: of their distribution, an SVG path in a box of 320 × 40; empty where there are few.
        least: of all, as text.
        greatest: of all, as text.
    """

    name: str
    count: int
    shown: str
    step: int
    bars: str
    least: str
    greatest: str


@dataclass(frozen=True, eq=False)
class RecordPage:
    """What is said of a record.

    Attributes:
        stored: itself, and where its page is.
        title: of the page.
        subject: what was asked, by field.
        outcomes: quality, speed and fidelity with their outcomes; empty of what no audit judges.
        audits: each by name, and what it found.
        findings: sentences.
        facts: numbers and words by where they stand in the record.
        more: how many of these there is no room for.
        samples: long lists.
        lists: how many more of these there are.
    """

    stored: StoredRecord
    title: str
    subject: tuple[Leaf, ...]
    outcomes: tuple[tuple[str, str], ...]
    audits: tuple[tuple[str, str], ...]
    findings: tuple[str, ...]
    facts: tuple[Leaf, ...]
    more: int
    samples: tuple[SampleList, ...]
    lists: int


def record_page(stored: StoredRecord) -> RecordPage:
    """All that a page says of a record."""
    record = stored.record
    leaves = list(_leaves(record.body, ""))
    if (conditions := record.provenance.conditions) is not None:
        leaves += _leaves(conditions, "conditions")
    short = [(name, value) for name, value in leaves if not _long(value)]
    short.sort(key=lambda leaf: isinstance(leaf[1], str))  # numbers first
    short = [(name, _word(value)) for name, value in short]
    facts, used = [], 0
    for name, word in short:
        if used + len(name) + len(word) > FACTS:
            break
        used += len(name) + len(word) + 30
        facts.append((name, word))
    lists = [(name, value) for name, value in leaves if _long(value)]
    timed = [one for one in lists if _timed(one[0])][:_LISTS]
    others = [one for one in lists if not _timed(one[0])][: min(_LISTS - len(timed), _CURVES)]
    share = _TIMED if others else 1.0
    room = int((BUDGET - used) * share) // max(len(timed), 1)
    rest = int((BUDGET - used) * (1 - share)) // max(len(others), 1)
    return RecordPage(
        stored,
        visible(title_of(stored)),
        tuple((name, _word(v)) for name, v in _leaves(record.subject, "") if v not in ("", None)),
        tuple(_outcomes(record.verdict)),
        tuple(record.verdict.audits.items()) if record.verdict is not None else (),
        record.verdict.findings if record.verdict is not None else (),
        tuple(facts),
        len(short) - len(facts),
        tuple(_samples(*one, room) for one in timed)
        + tuple(_samples(*one, rest) for one in others),
        len(lists) - len(timed) - len(others),
    )


def title_of(stored: StoredRecord) -> str:
    """Study, home, and what tells the record from others there."""
    subject = stored.record.subject
    return ", ".join([f"{subject.home}: {stored.study.name}", *brief(subject)])


def brief(subject: Any) -> list[str]:
    """The fields that most often tell subjects of a home apart, in words."""
    told = []
    for name in ("format", "choice", "network", "corruption", "severity", "mc", "batch", "threads"):
        value = getattr(subject, name, None)
        if value in (None, "", 0, "none") or not isinstance(value, (str, int)):
            continue
        if isinstance(value, str):
            told.append(value if len(value) < 40 else f"{value[:39]}…")
        else:
            told.append(f"{'T' if name == 'mc' else name} {value}")
    return told


def _outcomes(verdict: Verdict | None) -> Iterator[tuple[str, str]]:
    if verdict is not None:
        yield from ((kind, verdict.of(kind)) for kind in KINDS)


def _leaves(value: Any, name: str) -> Iterator[Leaf]:
    """Values with where they stand; lists of numbers or words are one."""
    if is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            yield from _leaves(getattr(value, one.name), _joined(name, one.name))
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _leaves(each, _joined(name, str(key)))
    elif isinstance(value, (list, tuple)) and any(map(_compound, value[:_SHORT])):
        for place, each in enumerate(value):
            label = getattr(each, "name", None) or getattr(each, "layer", None) or place
            yield from _leaves(each, f"{name}[{label}]")
    else:
        yield name, value


def _joined(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _compound(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) or is_dataclass(value)


def _long(value: Any) -> bool:
    """Whether it is a list of numbers that has no room among the facts."""
    return (
        isinstance(value, (list, tuple))
        and len(value) > _SHORT
        and set(map(type, value)) <= {int, float, type(None)}
    )


def _word(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_word, value)) or "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not defined" if value is None else visible(str(value))


def _samples(name: str, values: Sequence[Any], room: int) -> SampleList:
    """Every so manieth sample, so that they fit into so many bytes."""
    few = [_number(value, name) for value in values[:: -(-len(values) // 50)]]
    size = len(values) * (sum(map(len, few)) + len(few)) // len(few)
    step = max(1, -(-size // max(room, 40)))
    words = [_number(value, name) for value in values[::step]]
    known = [v for v in values if v is not None]
    ends = [_number(end, name) for end in (min(known), max(known))] if known else ["", ""]
    bars = _distribution(known) if len(known) >= _ENOUGH and _timed(name) else ""
    return SampleList(name, len(values), " ".join(words), step, bars, *ends)


def _timed(name: str) -> bool:
    """Whether a list holds times, nanoseconds each."""
    return name.endswith("_ns")


def _number(value: Any, name: str) -> str:
    if value is None:
        return "–"
    if _timed(name):
        return str(round(value))
    return f"{value:.5g}"


def _distribution(values: Sequence[float]) -> str:
    """The outline of a histogram from the least to the greatest value."""
    low, high = min(values), max(values)
    counts = [0] * _BINS
    for value in values:
        place = int((value - low) / (high - low) * _BINS) if high > low else 0
        counts[min(place, _BINS - 1)] += 1
    wide, most = _WIDE // _BINS, max(counts)
    tops = [_HIGH + (-count * _HIGH // most) for count in counts]
    steps = "".join(f"V{top}h{wide}" for top in tops)
    return f"M0 {_HIGH}{steps}V{_HIGH}z"
