"""What records say of a claim."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core.words import MISSING
from ..records.envelope import Record
from .papers import Claim

HOLDS = "holds"
CONTRADICTED = "contradicted"
CANNOT = "cannot be shown"
OUTCOMES = (HOLDS, CONTRADICTED, CANNOT)


@dataclass(frozen=True)
class Finding:
    """What the records of one workload say of one claim.

    Attributes:
        claim: that is judged.
        workload: whose records they are.
        about: what of the claim, where it is judged in parts, such as the range of the weights.
        outcome: `holds`, `contradicted` or `cannot be shown`.
        sentence: why, computed from the records.
        machine: that they were made on, in words; – without a record.
        day: or days that they were made on; – without a record.
        record: study and key of the record that decides; None without one.
        command: that measures it, or measures it again.
        numbers: what the sentence says, for a script.
    """

    claim: Claim
    workload: str
    about: str
    outcome: str
    sentence: str
    machine: str = MISSING
    day: str = MISSING
    record: tuple[str, str] | None = None
    command: str = ""
    numbers: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    @property
    def margin(self) -> str:
        """What still counts as the same, fixed beforehand."""
        return self.claim.margin

    @property
    def test(self) -> str:
        """That decides."""
        return self.claim.test


def not_measured(claim: Claim, workload: str, about: str = "", lacking: str = "") -> Finding:
    """Of what no record tells.

    Args:
        claim: that is asked.
        workload: of which nothing is recorded.
        about: as `Finding.about`.
        lacking: what there is no record of, where that is not the claim itself.
    """
    command = command_of(claim, workload)
    told = lacking or "There is no record of this"
    return Finding(
        claim, workload, about, CANNOT, f"{told}; `{command}` measures it.", command=command
    )


def command_of(claim: Claim, workload: str) -> str:
    """The command that measures a claim on a workload."""
    return claim.command.replace("WORKLOAD", workload)


def machines(records: Iterable[Record[Any, Any]]) -> str:
    """Where records were made, each machine once."""
    return "; ".join(dict.fromkeys(one.fingerprint.shown for one in records)) or MISSING


def days(records: Iterable[Record[Any, Any]]) -> str:
    """The day they were made on, or the first and the last."""
    found = sorted({one.created[:10] for one in records})
    if not found:
        return MISSING
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"


def all_or_none(
    verdicts: Sequence[str], good: Iterable[str], bad: Iterable[str], complete: bool = True
) -> str:
    """The outcome of a claim that is made of several comparisons at once.

    Args:
        verdicts: of each, after the correction for all of them.
        good: those that bear it out; it holds where every comparison has one of them.
        bad: those that speak against it; one is enough.
        complete: whether all that the claim is about was compared.
    """
    kept, against = set(good), set(bad)
    if any(one in against for one in verdicts):
        return CONTRADICTED
    if verdicts and complete and all(one in kept for one in verdicts):
        return HOLDS
    return CANNOT
