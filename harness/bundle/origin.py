"""Where a record says it was made: whether its parts fit one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import Any

from ..records.envelope import Record
from ..records.timed_conditions import Conditions
from .ledger import IMPOSSIBLE, Ledger

#: What a processor has to have for what ran on it, by the beginning of a dispatched set's name.
_NEEDS = {
    "avx512_core_amx": "amx_int8",
    "avx512_core_vnni": "avx512_vnni",
    "avx512": "avx512f",
    "avx2_vnni": "avx_vnni",
    "avx2": "avx2",
}
_TICK_SECONDS = 0.02  # of a core, that steal time is counted in
_CLOCKS_DIFFER = timedelta(days=1)


def check_origin(record: Record[Any, Any], ledger: Ledger) -> None:
    """Fields of the fingerprint that follow from the machine, and the date."""
    made = record.fingerprint
    where = "provenance.fingerprint"
    if made.machine is not None:
        machine = made.machine
        ledger.same(f"{where}.cpu", made.cpu, machine.name, "its machine")
        ledger.same(f"{where}.isa", list(made.isa), list(machine.isa), "its machine")
        if machine.threads:
            told = f"is more than the {machine.threads} of its machine"
            ledger.demand(f"{where}.cores", made.cores <= machine.threads, told, IMPOSSIBLE)
    ledger.demand(f"{where}.cores", made.cores >= 1, "is none", IMPOSSIBLE)
    _check_date(record.created, ledger)
    _check_conditions(record.provenance.conditions, ledger)
    for name, isa in _dispatched(record).items():
        needed = next((flag for start, flag in _NEEDS.items() if isa.startswith(start)), None)
        told = f"is {isa}, and the processor has no {needed}"
        ledger.demand(name, needed is None or needed in made.isa, told, IMPOSSIBLE)


def _dispatched(record: Record[Any, Any]) -> Mapping[str, str]:
    isa = getattr(record.body, "dispatched_isa", None)
    return {} if not isinstance(isa, str) else {"body.dispatched_isa": isa}


def _check_conditions(conditions: Conditions | None, ledger: Ledger) -> None:
    """Nothing took less than no time, and others no more of the cores than there was."""
    if conditions is None:
        return
    where = "provenance.conditions"
    for one in fields(conditions):
        value = getattr(conditions, one.name)
        if isinstance(value, (int, float)) and one.name != "temperature_celsius":
            ledger.demand(f"{where}.{one.name}", value >= 0, "is below 0", IMPOSSIBLE)
    most = conditions.seconds * conditions.cores
    fits = (conditions.steal_seconds or 0.0) <= most + _TICK_SECONDS * conditions.cores
    told = f"is more than the {most:,.1f} s of its cores"
    ledger.demand(f"{where}.steal_seconds", fits, told, IMPOSSIBLE)


def _check_date(created: str, ledger: Ledger) -> None:
    name = "provenance.created"
    try:
        when = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        ledger.demand(name, False, f"is {created!r}, which is not a time")
        return
    when = when if when.tzinfo is not None else when.replace(tzinfo=timezone.utc)
    future = when > datetime.now(timezone.utc) + _CLOCKS_DIFFER
    ledger.demand(name, not future, f"is {created[:10]}, which has not come yet", IMPOSSIBLE)
