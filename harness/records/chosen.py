"""Which of the stored records are asked for: by fields of their cells, by machine, by date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        found = [one for one in records if self._has_values(one.subject)]
        if self.machine is not None:
            name = _machine(found, self.machine)
            found = [one for one in found if _hash(one) == name]
        if self.since is not None:
            since = self.since
            found = [
                one
                for one in found
                if _moment(one.created, f"Record {one.subject.key}: created") >= since
            ]
        return found

    def _has_values(self, subject: Any) -> bool:
        return all(getattr(subject, name) in values for name, values in self.where.items())


def _where(text: str, subject: type[Any]) -> dict[str, tuple[Any, ...]]:
    types = {f.name: str(f.type) for f in fields(subject) if str(f.type) in _READERS}
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


def _machine(records: Sequence[R], prefix: str) -> str:
    known = sorted({name for name in map(_hash, records) if name})
    if not known:
        raise UserError("--machine: none of these records names its whole machine; leave it out.")
    named = [name for name in known if name.startswith(prefix)]
    if not named:
        raise unknown("machine with such records", prefix, known)
    if len(named) > 1:
        raise UserError(f"--machine {prefix} may be {' or '.join(named)}; give more of its digits.")
    return named[0]


def _hash(record: R) -> str:
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
