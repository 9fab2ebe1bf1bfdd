"""What verifying a bundle shows: what contradicts, what was computed again, what is only stated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ..core import words as text
from ..core.document import Document, Words, with_notes
from ..core.sheet import Column, Sheet
from .verify import Verified, VerifiedRecord


def document(found: Verified) -> Document:
    """Of one bundle."""
    conclusion = _conclusion(found)
    sheets = (_faults(found), _records(found), _speeds(found))
    lines = (*_about(found), *found.problems)
    return Document(
        name="bundle",
        blocks=(
            Words(found.source, "bold"),
            *map(Words, lines),
            *with_notes(sheets),
            Words(),
            Words(conclusion),
            *(Words(line, "dim") for line in _stated(found)),
        ),
        values=to_dict(found),
        title=found.source,
        lines=(*lines, *_stated(found)),
        conclusions=(conclusion,),
        sheets=tuple(sheet for sheet in sheets if sheet.rows),
        data={"faults": _fault_rows(found), "speeds": _speed_rows(found)},
    )


def to_dict(found: Verified) -> dict[str, Any]:
    """All of it, of JSON's types."""
    return {
        "bundle": found.source,
        "by": found.by,
        "made_by": found.made_by,
        "sound": found.sound,
        "division": "closed" if found.closed else "open",
        "artefacts": found.artefacts,
        "problems": list(found.problems),
        "records": [_record(one) for one in found.records],
        "speeds": _speed_rows(found),
    }


def _record(one: VerifiedRecord) -> dict[str, Any]:
    verdict = one.record.verdict
    return {
        "kind": one.kind,
        "home": one.record.subject.home,
        "key": one.record.subject.key,
        "machine": one.record.fingerprint.shown,
        "created": one.record.created,
        "valid": None if verdict is None else verdict.valid,
        "faults": [
            {"field": fault.field, "kind": fault.kind, "told": fault.told} for fault in one.faults
        ],
        "computed_again": list(one.again),
        "stated": list(one.stated),
        "open": list(one.open),
    }


def _about(found: Verified) -> Iterator[str]:
    by = f", submitted by {found.by}" if found.by else ""
    machines = dict.fromkeys(one.record.fingerprint.shown for one in found.records)
    yield (
        f"{text.plural(len(found.records), 'record')} and "
        f"{text.plural(found.artefacts, 'artefact')}, packed by SigmaBench {found.made_by}{by}."
    )
    yield f"Machine, as stated: {'; '.join(machines)}."
    if found.closed:
        yield "Division: closed."
    else:
        reasons = Counter(reason for one in found.records for reason in one.open)
        told = [f"{reason.rstrip('.')} ({count:,})" for reason, count in reasons.most_common()]
        yield f"Division: open. {text.first(told)}."


def _conclusion(found: Verified) -> str:
    if found.faults:
        hit = len({id(one) for one, _ in found.faults})
        return (
            f"{text.plural(len(found.faults), 'number')} of {text.plural(hit, 'record')} cannot be "
            "what is stated."
        )
    again = sum(len(one.again) for one in found.records)
    left = f" {text.plural(len(found.problems), 'file')} could not be read." * bool(found.problems)
    return (
        f"Nothing contradicts: {text.plural(again, 'field')} {text.verb(again, 'was', 'were')} "
        f"computed again and {text.verb(again, 'agrees', 'agree')}.{left}"
    )


def _stated(found: Verified) -> list[str]:
    """By kind of record, what has to be believed."""
    kinds: dict[str, dict[str, None]] = {}
    for one in found.records:
        kinds.setdefault(one.kind, {}).update(dict.fromkeys(one.stated))
    return [
        f"Stated by the submitter, in records of {kind}: {', '.join(fields)}."
        for kind, fields in kinds.items()
        if fields
    ]


def _faults(found: Verified) -> Sheet:
    columns = tuple(Column(name, numeric=False) for name in ("record", "field", "", "why"))
    rows = tuple((one.name, f.field, f.kind, f.told) for one, f in found.faults)
    return Sheet("What cannot be as stated", columns, rows, {}, 1)


def _records(found: Verified) -> Sheet:
    """A row for all records of a study and home; JSON has one for each."""
    groups: dict[tuple[str, str], list[VerifiedRecord]] = {}
    for one in found.records:
        groups.setdefault((one.kind, one.record.subject.home), []).append(one)
    columns = (
        Column("kind", "of record", numeric=False),
        Column("workload", "or network", numeric=False),
        Column("records"),
        Column("closed", "division"),
        Column("verdict", "invalid"),
        Column("fields", "faulty"),
        Column("computed", "again"),
        Column("stated"),
    )
    rows = tuple(
        (
            *group,
            f"{len(mine):,}",
            f"{sum(not one.open for one in mine):,}",
            f"{sum(_invalid(one) for one in mine):,}",
            f"{sum(len(one.faults) for one in mine):,}",
            _most(len(one.again) for one in mine),
            _most(len(one.stated) for one in mine),
        )
        for group, mine in groups.items()
    )
    notes = (
        "Closed division: the records in it. Verdict invalid: records with some number that is not "
        "valid. Fields faulty: fields that cannot be as stated. Computed again, stated: fields of "
        "one record; a list of numbers is one field.",
    )
    return Sheet("Records", columns, rows, {}, 0, notes)


def _invalid(one: VerifiedRecord) -> bool:
    return one.record.verdict is not None and not one.record.verdict.valid


def _most(counts: Iterable[int]) -> str:
    """A number, or the least and the most."""
    found = sorted(set(counts))
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def _speeds(found: Verified) -> Sheet:
    columns = (
        Column("workload", "or network", numeric=False, whole=True),
        Column("batch"),
        Column("T"),
        Column("contender", numeric=False),
        Column("times", "as fast"),
        Column("as", numeric=False),
        Column("95 % interval"),
    )
    ranked = sorted(found.speeds, key=lambda one: (one.home, one.batch, one.mc))
    rows = tuple(
        (
            one.home,
            str(one.batch),
            str(one.mc),
            one.name,
            text.fixed(one.ratio.value, 2),
            one.base,
            f"{text.fixed(one.ratio.low, 2)}–{text.fixed(one.ratio.high, 2)}",
        )
        for one in ranked
    )
    notes = (
        'How many times as fast a pass of the contender is as a pass of the format under "as", '
        "computed again from raw samples, each ratio within one race.",
    )
    return Sheet("Times, computed again", columns, rows, {}, 1, notes)


def _fault_rows(found: Verified) -> list[dict[str, Any]]:
    return [
        {"record": one.name, "field": f.field, "kind": f.kind, "told": f.told}
        for one, f in found.faults
    ]


def _speed_rows(found: Verified) -> list[dict[str, Any]]:
    return [
        {"of": one.home, "batch": one.batch, "mc": one.mc, "contender": one.name}
        | {"base": one.base, "ratio": one.ratio.value, "low": one.ratio.low}
        | {"high": one.ratio.high, "speed": one.judged}
        for one in found.speeds
    ]
