"""Verdicts: outcomes are what all audits give, and no audit says what the numbers contradict."""

from __future__ import annotations

from collections.abc import Mapping

from ..records.verdict import ABOUT, KINDS, Verdict, verdict
from .ledger import Ledger


def check_verdict(stored: Verdict, found: Mapping[str, str], ledger: Ledger) -> None:
    """Hold a verdict against its own audits, and these against what the record's numbers give.

    Args:
        stored: the record's.
        found: audits that could be made again, by name.
        ledger: to be filled.
    """
    kept = {name: result for name, result in stored.audits.items() if name in ABOUT}
    try:
        again = verdict({**kept, **found}, stored.findings)
    except ValueError as reason:
        ledger.demand("verdict", False, f"holds what no audit says ({reason})")
        return
    for name, result in found.items():
        was = stored.audits.get(name, result)
        told = f"is {was!r}, and the record gives {result!r}"
        ledger.demand(f"verdict audit {name}", _word(was) == _word(result), told)
    for kind in KINDS:
        ledger.same(f"verdict.{kind}.outcome", stored.of(kind), again.of(kind), "its audits")
        mine = set(getattr(stored, kind).audits)
        wanted = {n for n in stored.audits if kind in ABOUT.get(n, KINDS)}
        ledger.demand(f"verdict.{kind}.audits", mine == wanted, "lacks an audit that is about it")


def _word(result: str) -> str:
    return result.partition(":")[0]
