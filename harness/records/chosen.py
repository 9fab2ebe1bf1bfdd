"""Which of the stored records are asked for: by fields of their cells, by machine, by date."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any, TypeVar

from ..core.errors import UserError, unknown
from .envelope import Record

R = TypeVar("R", bound=Record[Any, Any])

_READERS: dict[str, Callable[[str], Any]] = {"str": str, "int": int, "float": float}
_NUMBERS = {"int": "a whole number", "float": "a number"}


@dataclass(frozen=True)
class Chosen:
    """What records have to be.

    Attributes:
        where: field of the cell to the values it may have.
        machine: how its hash begins.
        since: when they were made, or later.
    """

    where: dict[str, tuple[Any, ...]]
    machine: str | None
    since: datetime | None

    @classmethod
    def from_options(
        cls, subject: type[Any], where: str | None, machine: str | None, since: str | None
    ) -> Chosen:
        """From the texts of the options.

        Args:
            subject: class of the records' subjects, whose fields `where` names.
            where: `FIELD=VALUE,…`.
            machine: how its hash begins.
            since: a date or time.

        Raises:
            UserError: with the option's name, what is wrong with it.
        """
        told = None if machine is None else machine.strip().lower()
        if told == "":
            raise UserError("--machine names nothing; give the first digits of a machine's hash.")
        return cls(
            {} if where is None else _where(where, subject),
            told,
            None if since is None else _moment(since, "--since"),
        )

    def of(self, records: Sequence[R]) -> list[R]:
        """Those records that are asked for, in their order.

        Raises:
            UserError: no machine's hash, or those of several, begin so.
        """
        found = [one for one in records if self.has_values(one.subject)]
        if self.machine is not None:
            one_machine(map(hash_of, found), self.machine)
        return [one for one in found if self.is_there_and_then(one)]

    def has_values(self, subject: Any) -> bool:
        """Whether the fields are as they are asked for."""
        return all(getattr(subject, name) in values for name, values in self.where.items())

    def is_there_and_then(self, record: Record[Any, Any]) -> bool:
        """Whether the hash of the record's machine begins so, and it is as young as is asked for.

        Raises:
            UserError: the record does not say when it was made.
        """
        if self.machine is not None and not hash_of(record).startswith(self.machine):
            return False
        if self.since is None:
            return True
        return _moment(record.created, f"Record {record.subject.key}: created") >= self.since


def chosen_by_kind(
    subjects: Mapping[str, type[Any]], where: str | None, machine: str | None, since: str | None
) -> dict[str, Chosen]:
    """What records of several kinds have to be; those kinds are left out whose subjects lack a
    field that is asked for.

    Args:
        subjects: class of the subjects of each kind.
        where: as `Chosen.from_options`, with what follows.
        machine: how its hash begins.
        since: a date or time.

    Raises:
        UserError: as there; or no kind has all the fields.
    """
    asked = {part.partition("=")[0].strip() for part in (where or "").split(",") if where}
    fit = {name: one for name, one in subjects.items() if asked <= set(_types(one))}
    if not fit:
        every = sorted({field for one in subjects.values() for field in _types(one)})
        if lacking := sorted(asked - set(every)):
            raise unknown("cell field", lacking[0], every)
        raise UserError(f"--where: no study has all of the fields {' and '.join(sorted(asked))}.")
    return {name: Chosen.from_options(one, where, machine, since) for name, one in fit.items()}


def _types(subject: type[Any]) -> dict[str, str]:
    return {f.name: str(f.type) for f in fields(subject) if str(f.type) in _READERS}


def _where(text: str, subject: type[Any]) -> dict[str, tuple[Any, ...]]:
    types = _types(subject)
    found: dict[str, tuple[Any, ...]] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not (name and equals):
            raise UserError(
                f"--where {text!r} is not FIELD=VALUE,…; write, for example, format=INT8,mc=50."
            )
        if name not in types:
            raise unknown("cell field", name, types)
        found[name] = (*found.get(name, ()), _value(name, value, types[name]))
    return found


def _value(name: str, value: str, kind: str) -> Any:
    try:
        return _READERS[kind](value)
    except ValueError:
        raise UserError(f"--where has {name}={value}; {name} is {_NUMBERS[kind]}.") from None


def one_machine(hashes: Iterable[str], prefix: str) -> None:
    """Refuse a beginning that is not that of one machine's hash.

    Args:
        hashes: of the machines there are; empty ones are none.
        prefix: how one of them begins.

    Raises:
        UserError: none, or several begin so.
    """
    known = sorted({name for name in hashes if name})
    if not known:
        raise UserError("--machine: none of these records names its whole machine; leave it out.")
    named = [name for name in known if name.startswith(prefix)]
    if not named:
        raise unknown("machine with such records", prefix, known)
    if len(named) > 1:
        raise UserError(f"--machine {prefix} may be {' or '.join(named)}; give more of its digits.")


def hash_of(record: Record[Any, Any]) -> str:
    """Of the record's machine; empty where that is recorded in part."""
    machine = record.fingerprint.machine
    return "" if machine is None else machine.hash


def _moment(text: str, source: str) -> datetime:
    """A date or time; where it names no zone, UTC, as in records.

    Raises:
        UserError: it is neither.
    """
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise UserError(
            f"{source} {text!r} is not a date or a time; write it as 2026-01-31 or "
            "2026-01-31T18:00."
        ) from None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.utc)
