"""The columns of exported values: whose record, from where, whether to believe it, the value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from ..core.escape import visible
from ..machine.fingerprint import Fingerprint, Machine
from ..records.envelope import Record
from ..records.kind import Kind
from ..records.verdict import KINDS
from .values import Value

TEXT, WHOLE, NUMBER, TRUTH = "text", "whole number", "number", "true or false"
_MOST = 2**63
_TYPES = {str: TEXT, int: WHOLE, float: NUMBER, bool: TRUTH}

#: Whose record it is: its study, where it lies, and whether no younger one stands for it.
_RECORD = {"study": TEXT, "home": TEXT, "key": TEXT, "record": TEXT, "latest": TRUTH, "task": TEXT}
_MADE = {"created": TEXT, "command": TEXT}
_VERDICT = {
    "verdict_valid": TRUTH,
    **{f"verdict_{kind}": TEXT for kind in KINDS},
    "verdict_audits": TEXT,
    "verdict_findings": TEXT,
}
#: Attribute of a value by its column.
_VALUE = {
    "metric": "metric",
    "part": "part",
    "place": "place",
    "T": "passes",
    "seed": "seed",
    "value": "value",
    "low": "low",
    "high": "high",
    "unit": "unit",
}
VALUE_COLUMNS = {
    **dict.fromkeys(("metric", "part"), TEXT),
    **dict.fromkeys(("place", "T", "seed"), WHOLE),
    **dict.fromkeys(("value", "low", "high"), NUMBER),
    "unit": TEXT,
}


@dataclass(frozen=True)
class Exported:
    """A record that values are exported of.

    Attributes:
        study: the first that has such records.
        place: of the record in the results directory, without its ending.
        latest: whether no younger one of the same subject and machine stands for it.
        record: itself.
    """

    study: str
    place: str
    latest: bool
    record: Record[Any, Any]


def record_columns(kinds: Sequence[Kind[Any]]) -> dict[str, str]:
    """Columns that say whose value one is, with what they hold: the same whatever is stored.

    Fields of subjects, as in `docs/record.md`, have `subject_` before their names. Where two kinds
    of record have one name for different types of things, the column holds text.

    Args:
        kinds: of the records.
    """
    subjects: dict[str, str] = {}
    for kind in kinds:
        for name, holds in _columns(kind.subject, "subject_"):
            subjects[name] = _both(subjects.get(name, holds), holds)
    machine = dict(_columns(Machine, "machine_"))
    made = dict(_columns(Fingerprint, ""))
    made["machine"] = TEXT
    return {**_RECORD, **subjects, **_MADE, **made, **machine, **_VERDICT}


def record_cells(one: Exported, columns: Mapping[str, str]) -> dict[str, Any]:
    """What the columns hold of a record; text shows what would steer a terminal as escapes.

    Raises:
        ValueError: a whole number takes more than 64 bits.
    """
    record, made = one.record, one.record.fingerprint
    cells: dict[str, Any] = {
        "study": one.study,
        "home": record.subject.home,
        "key": record.subject.key,
        "record": one.place,
        "latest": one.latest,
        "task": _task(one),
        "created": record.created,
        "command": record.provenance.command,
        **dict(_cells(record.subject, "subject_")),
        **dict(_cells(made, "")),
        **_verdict(record),
    }
    if made.machine is not None:
        cells["machine"] = made.machine.hash
    return {name: _held(cells.get(name), holds) for name, holds in columns.items()}


def value_cells(value: Value) -> dict[str, Any]:
    """What the columns hold of a value.

    Raises:
        ValueError: as `record_cells`.
    """
    return {
        column: _held(getattr(value, name), VALUE_COLUMNS[column])
        for column, name in _VALUE.items()
    }


def _columns(of: type[Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Of a dataclass; those of one inside stand beside the others."""
    for name, hint in get_type_hints(of).items():
        if is_dataclass(hint):
            assert isinstance(hint, type)
            yield from _columns(hint, f"{prefix}{name}_")
            continue
        either = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = [each for each in either if each is not type(None)]
        yield prefix + name, _TYPES.get(kinds[0], TEXT) if len(kinds) == 1 else TEXT


def _cells(of: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for one in fields(of):
        value = getattr(of, one.name)
        if is_dataclass(value):
            yield from _cells(value, f"{prefix}{one.name}_")
        else:
            yield prefix + one.name, value


def _both(one: str, other: str) -> str:
    if one == other:
        return one
    return NUMBER if {one, other} == {WHOLE, NUMBER} else TEXT


def _held(value: Any, holds: str) -> Any:
    """A cell: of what is neither number nor text JSON."""
    if value is None:
        return None
    if holds == TEXT:
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return visible(words)
    if holds == WHOLE and not -_MOST <= value < _MOST:
        raise ValueError(f"the whole number {value} takes more than 64 bits")
    return float(value) if holds == NUMBER else value


def _task(one: Exported) -> str:
    """What was measured together, the only place where times may be divided: the name of the race,
    or the record's own place."""
    body = one.record.body
    race = getattr(getattr(body, "timing", body), "race", "")
    return race if isinstance(race, str) and race else one.place


def _verdict(record: Record[Any, Any]) -> dict[str, Any]:
    found = record.verdict
    if found is None:
        return {}
    return {
        "verdict_valid": found.valid,
        **{f"verdict_{kind}": found.of(kind) for kind in KINDS},
        "verdict_audits": found.audits,
        "verdict_findings": found.findings,
    }
