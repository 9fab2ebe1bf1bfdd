"""Kinds of records: what each is made of, where it lies, and how older layouts of it are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..workload.cell import DETERMINISTIC, MEAN, not_by_default
from .envelope import Provenance, Record
from .verdict import Verdict, upgrade

if TYPE_CHECKING:
    from pydantic import TypeAdapter

R = TypeVar("R", bound=Record[Any, Any])

#: Of the envelope, for all kinds; older layouts had numbers of their own up to 3.
SCHEMA_VERSION = 4
#: By which field older files, which do not name their kind, are told apart.
MARKS = {
    "run": b'"timing":',
    "shift": b'"per_image":',
    "passes": b'"contenders":',
    "memory": b'"program":',
    "sampler": b'"widths":',
    "peers": b'"asked":',
}
_PROVENANCE = ("fingerprint", "command", "created")
#: What every file has beside what was measured.
_ABOUT = (*_PROVENANCE, "verdict", "schema_version", "sha256")


@dataclass(frozen=True)
class Layout:
    """How a kind was stored before all kinds had one envelope.

    Attributes:
        newest: its last version.
        hashed: version from which no file lacks its hash.
        subject: from the JSON of a file to that of its subject.
        rest: from the JSON of the fields that are neither subject nor provenance nor verdict to
            that of the body; None where it is the same.
        arrays: from the JSON of such a file to its arrays, where it held some.
    """

    newest: int
    hashed: int
    subject: Callable[[dict[str, Any]], Any]
    rest: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    arrays: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None

    def envelope(self, kind: str, tree: dict[str, Any]) -> dict[str, Any]:
        """The JSON of a file as one of today has it, without arrays."""
        tree = upgrade(tree)
        body = {name: value for name, value in tree.items() if name not in _ABOUT}
        return {
            "kind": kind,
            "subject": self.subject(tree),
            "provenance": {name: tree[name] for name in _PROVENANCE if name in tree},
            "verdict": tree.get("verdict"),
            "body": body if self.rest is None else self.rest(body),
            "schema_version": SCHEMA_VERSION,
        }


@dataclass(frozen=True)
class Kind(Generic[R]):
    """A kind of record.

    Attributes:
        name: as in files.
        title: what messages call it.
        record: its class.
        subject: the class of its subjects, a frozen dataclass of JSON types.
        body: the class of its bodies, likewise.
        folders: of a results directory that hold such records; new ones go into the first. Empty
            for the directory itself.
        judged: whether its records have a verdict; None where some have.
        check: raises ValueError where the parts of a record do not fit one another.
        before: how it was stored before; None for a kind that is younger than the envelope.
    """

    name: str
    title: str
    record: type[R]
    subject: type[Any]
    body: type[Any]
    folders: tuple[str, ...]
    judged: bool | None = False
    check: Callable[[R], None] | None = None
    before: Layout | None = field(default=None, repr=False)

    @cached_property
    def adapter(self) -> TypeAdapter[Any]:
        """What reads an envelope's JSON and checks it."""
        from pydantic import TypeAdapter

        parts = [
            ("kind", str),
            ("subject", self.subject),
            ("provenance", Provenance),
            ("verdict", {True: Verdict, False: None, None: Verdict | None}[self.judged]),
            ("body", self.body),
            ("schema_version", int),
        ]
        return TypeAdapter(make_dataclass("Envelope", parts, frozen=True))


def digest(asked: object) -> str:
    """16 hex digits of the SHA-256 of JSON types: the key of a subject."""
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class OfWorkload:
    """A subject that is at home with a workload and told apart by all of its fields."""

    workload: str

    @property
    def home(self) -> str:
        """Where its records lie together: the workload's name."""
        return self.workload

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all fields, less what is as it was by default."""
        return digest(not_by_default(self))


def only(of: type[Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """From the JSON of a whole file to that of a subject whose fields stand among the others."""
    names = [one.name for one in fields(of)]
    return lambda tree: {name: tree[name] for name in names if name in tree}


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A body's JSON but for some fields."""
    return lambda body: {name: value for name, value in body.items() if name not in names}


def cell_of(tree: dict[str, Any]) -> Any:
    """The cell of an older file, with the method that its format and workload imply."""
    from ..core.formats import FORMATS
    from ..workload.workload import WORKLOADS

    cell = tree.get("cell")
    if not isinstance(cell, dict) or "method" in cell:
        return cell
    name, workload = str(cell.get("format")), str(cell.get("workload"))
    if name not in FORMATS or FORMATS.get(name).bayesian:
        return cell
    own = workload in WORKLOADS and not WORKLOADS.get(workload).has_twin
    return {**cell, "method": MEAN if own else DETERMINISTIC}
