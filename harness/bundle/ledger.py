"""What was computed again of one record, and what of it that contradicts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any

from ..core.words import MISSING

CONTRADICTED, IMPOSSIBLE = "contradicted", "impossible"
#: Relative, of a number that is computed again from the same numbers.
TOLERANCE = 1e-9
#: Objects that have a name for each layer, package or variable: one field, whatever the names are.
_NAMED = {
    "environment", "packages", "kernels", "unavailable", "caches", "details", "audits",
    "saturation", "std_ratio", "peers", "percentiles_ns",
}  # fmt: skip


@dataclass(frozen=True)
class Fault:
    """A number that cannot be what the record says.

    Attributes:
        field: of the record, such as `body.timing.noise`.
        kind: `contradicted` by other fields of the bundle, or `impossible` by itself.
        told: why, in words.
    """

    field: str
    kind: str
    told: str


@dataclass
class Ledger:
    """Filled while a record is checked.

    Attributes:
        again: fields that were computed again from others, and agree unless a fault names them.
        faults: what does not.
    """

    again: dict[str, None] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def same(
        self, name: str, stored: Any, again: Any, of: str, tolerance: float = TOLERANCE
    ) -> None:
        """Hold a field against what it follows from.

        Args:
            name: of the field.
            stored: its value.
            again: what was computed.
            of: from what, in words.
            tolerance: relative, of numbers.
        """
        self.again[name] = None
        if not alike(stored, again, tolerance):
            told = f"is {shown(stored)}, and {of} {_gives(of)} {shown(again)}"
            self.faults.append(Fault(name, CONTRADICTED, told))

    def demand(self, name: str, holds: bool, told: str, kind: str = CONTRADICTED) -> None:
        """Refuse what does not hold, in words that follow the field's name."""
        if not holds:
            self.faults.append(Fault(name, kind, told))


def _gives(of: str) -> str:
    return "give" if of.endswith("s") else "gives"


def alike(one: Any, other: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two values of JSON's types are equal, numbers up to a relative tolerance."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(
            alike(one[name], other[name], tolerance) for name in one
        )
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(
            alike(a, b, tolerance) for a, b in zip(one, other, strict=True)
        )
    if is_dataclass(one) and is_dataclass(other):
        return alike(asdict(one), asdict(other), tolerance)  # type: ignore[arg-type]
    if _number(one) and _number(other):
        return math.isclose(one, other, rel_tol=tolerance, abs_tol=1e-12)
    return bool(one == other)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value in a sentence."""
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        first = ", ".join(map(shown, value[:3]))
        return f"[{first}{', …' if len(value) > 3 else ''}]"
    if isinstance(value, Mapping):
        return f"of {len(value)} entries"
    return f"{value:,}" if _number(value) else repr(value) if isinstance(value, str) else str(value)


def fields_of(tree: Any, start: str = "") -> Iterator[str]:
    """Fields of a JSON tree: a list of numbers is one, and so is an object whose names are data; of
    a list of objects those of the first. What is null or empty is no field."""
    if isinstance(tree, Mapping):
        if start.rpartition(".")[2] in _NAMED:
            if tree:
                yield start
            return
        for name, value in tree.items():
            yield from fields_of(value, f"{start}.{name}" if start else str(name))
    elif isinstance(tree, (list, tuple)):
        if tree and isinstance(tree[0], Mapping):
            yield from dict.fromkeys(name for one in tree for name in fields_of(one, f"{start}[]"))
        elif tree:
            yield start
    elif tree is not None:
        yield start


def stated(tree: Any, again: Sequence[str]) -> list[str]:
    """Fields of a record's JSON that nothing was computed of.

    Args:
        tree: of the record.
        again: fields that were, or what they stand in.
    """
    return [
        name
        for name in fields_of(tree)
        if not any(name == one or name.startswith((f"{one}.", f"{one}[")) for one in again)
    ]
