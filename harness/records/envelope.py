"""The one envelope that a result of any study is stored in: what was measured, where and when it
came about, whether it may be believed, what was measured, and one value per image."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..machine.fingerprint import Fingerprint
from .timed_conditions import Conditions
from .verdict import Verdict


class Subject(Protocol):
    """What was asked for; of two records with the same key, machine and code one replaces the
    other. A frozen dataclass of JSON types."""

    @property
    def key(self) -> str:
        """Hex digits of a hash of every choice that can change a result: the record's name."""
        ...

    @property
    def home(self) -> str:
        """Name of the folder that its records share with those of its kind."""
        ...


S_co = TypeVar("S_co", bound=Subject, covariant=True)
B_co = TypeVar("B_co", covariant=True)


@dataclass(frozen=True)
class Provenance:
    """Where, how and when a record was made.

    Attributes:
        fingerprint: machine, software and code.
        command: the command line that made it.
        created: when, UTC, ISO 8601.
        conditions: what the machine did while it was timed; None where nothing was, and in older
            records.
    """

    fingerprint: Fingerprint
    command: str
    created: str
    conditions: Conditions | None = None

    @classmethod
    def now(
        cls, fingerprint: Fingerprint, command: str, conditions: Conditions | None = None
    ) -> Provenance:
        """Of what is made at this moment."""
        return cls(fingerprint, command, datetime.now(timezone.utc).isoformat(), conditions)


class Arrays(Mapping[str, NDArray[Any]]):
    """Arrays by name, read when the first one is asked for.

    Args:
        sha256: of their content (`digest_of`); empty where there are none.
        read: gives them all.
    """

    def __init__(self, sha256: str, read: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        self.sha256 = sha256
        self._read = read
        self._found: Mapping[str, NDArray[Any]] | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
        """Arrays that are there."""
        there = {name: np.ascontiguousarray(one) for name, one in arrays.items()}
        return cls(digest_of(there) if there else "", lambda: there)

    def _there(self) -> Mapping[str, NDArray[Any]]:
        if self._found is None:
            self._found = self._read()
        return self._found

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._there()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._there())

    def __len__(self) -> int:
        return len(self._there())

    def __bool__(self) -> bool:
        return bool(self.sha256)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Arrays) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """64 hex digits of the SHA-256 of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name, one in sorted(arrays.items()):
        little = np.ascontiguousarray(one, one.dtype.newbyteorder("<"))
        digest.update(f"{name}\0{little.dtype.str}{list(one.shape)}\0".encode())
        digest.update(little.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def nothing() -> Arrays:
    """No arrays."""
    return Arrays.of({})


@dataclass(frozen=True)
class Record(Generic[S_co, B_co]):
    """What came of measuring one subject.

    Attributes:
        subject: what was measured.
        provenance: where, how and when.
        verdict: which of its numbers to believe; None where no audit applies to its kind.
        body: the numbers.
        arrays: one value for each image, where the kind keeps some.
    """

    subject: S_co
    provenance: Provenance
    verdict: Verdict | None
    body: B_co
    arrays: Arrays = field(default_factory=nothing)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the machine, software and code that made it."""
        return self.provenance.fingerprint

    @property
    def created(self) -> str:
        """When it was made, UTC, ISO 8601."""
        return self.provenance.created


def flat(record: Record[Any, Any]) -> dict[str, Any]:
    """What was asked, where and when it was made, and the numbers, side by side, for a script."""
    return {**asdict(record.subject), **asdict(record.provenance), **asdict(record.body)}


def file_names(records: Sequence[Record[Any, Any]]) -> list[str]:
    """How files of one record each begin: by its home, and by its key where that has several."""
    homes = [record.subject.home for record in records]
    count = Counter(homes)
    return [
        home if count[home] == 1 else f"{home}-{record.subject.key}"
        for home, record in zip(homes, records, strict=True)
    ]
