"""What the records of a study say: its findings as documents, one machine at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.document import Document
    from ..core.waiting import Report
    from ..records.envelope import Record
    from .study import Study


def documents(
    study: Study,
    records: Sequence[Record[Any, Any]],
    plan: Any,
    shown: Mapping[str, Any],
    report: Report | None = None,
) -> Iterator[Document]:
    """What the records of one machine say.

    Args:
        study: whose they are.
        records: at least one.
        plan: that they are of; None where that is not known.
        shown: what the document is asked beside.
        report: progress.

    Raises:
        UserError: they do not make what the study shows.
    """
    part = study.part("analyse")
    more = {"report": report} if getattr(part, "SLOW", False) and report is not None else {}
    for found in part.analyse(records, plan, **more):
        yield study.part("document").document(found, **shown)


def everything(study: Study) -> dict[str, bool]:
    """What a document is asked for all that it can show: every switch of the study's is on."""
    return {one.called: True for one in study.plan.SHOWN if one.type == "switch"}


def by_machine(records: Sequence[Record[Any, Any]]) -> list[list[Record[Any, Any]]]:
    """The records of each machine, in order of first appearance."""
    groups: dict[tuple[object, ...], list[Record[Any, Any]]] = {}
    for record in records:
        groups.setdefault(record.fingerprint.place, []).append(record)
    return list(groups.values())
