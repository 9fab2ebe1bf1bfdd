"""Which of the stored records a page is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sigmabench.harness.core.errors import UserError
from sigmabench.harness.core.words import plural
from sigmabench.harness.records.envelope import Record
from sigmabench.harness.records.store import fingerprint_hash

R = TypeVar("R", bound=Record[Any, Any])


def youngest(
    records: Sequence[R], complete: Callable[[Sequence[R]], bool], what: str, fullest: bool = False
) -> tuple[R, ...]:
    """The youngest complete set of records from one machine, its software and computing code.

    Args:
        records: of any machines and code.
        complete: whether such a set holds all that is asked for.
        what: is asked for, in words.
        fullest: of complete sets, only those of the most subjects; else a part of a study that was
            scored again would stand for all of it.

    Raises:
        UserError: no set is complete.
    """
    groups: dict[str, list[R]] = {}
    for record in sorted(records, key=lambda one: one.created):
        groups.setdefault(fingerprint_hash(record.fingerprint), []).append(record)
    whole = [group for group in groups.values() if complete(group)]
    if not whole:
        raise UserError(
            f"None of {plural(len(groups), 'set')} of records from one machine and code holds "
            f"{what}; measure it, or ask for less in the template."
        )
    if fullest:
        sizes = [len({one.subject.key for one in group}) for group in whole]
        whole = [group for group, size in zip(whole, sizes, strict=True) if size == max(sizes)]
    made = [group[-1].created for group in whole]
    return tuple(whole[made.index(max(made))])


def published(records: Sequence[R]) -> list[R]:
    """Those that may be published: timed in several fresh processes, or from before that was asked.

    A quick run in one process that lies beside is no part of a page.
    """
    many = {_place(one) for one in records if one.subject.processes > 1}
    return [one for one in records if one.subject.processes > 1 or _place(one) not in many]


def _place(record: R) -> tuple[str, str]:
    return record.subject.home, fingerprint_hash(record.fingerprint)


class Origin:
    """Where and when records were made, in words.

    Args:
        records: of one machine and code.
    """

    def __init__(self, records: Sequence[Record[Any, Any]]) -> None:
        self.records = records
        self._made = records[0].fingerprint

    @property
    def machine(self) -> str:
        """The processor and what sets it apart."""
        return self._made.shown.partition(" (machine")[0]

    @property
    def day(self) -> str:
        """The day, or the first and the last."""
        days = sorted({record.created[:10] for record in self.records})
        return days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"

    @property
    def commit(self) -> str:
        """First digits of the commit whose code made them."""
        return (self._made.commit or "unknown")[:12]

    @property
    def commands(self) -> list[str]:
        """The command lines that made them."""
        return list(dict.fromkeys(record.provenance.command for record in self.records))

    @property
    def amx(self) -> bool:
        """Whether the processor has AMX."""
        return "amx_int8" in self._made.isa

    def package(self, name: str) -> str:
        """Version of a package."""
        return self._made.packages[name]
