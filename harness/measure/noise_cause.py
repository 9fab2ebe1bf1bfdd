"""What a noisy time is likely due to, by a rule that is stated (`docs/measuring.md`).

Each of what took the cores away is a share of their time: steal as the hypervisor counts it;
involuntary context switches at 3 ms each, about a time slice of Linux's scheduler; page faults at
1 µs if the page was in memory and 5 ms if it had to be read. The clock counts by how much its
largest reading is above its least. What makes 1 % or more is a likely cause, the largest first;
that the processor slowed down for heat is one however often it did.
"""

from __future__ import annotations

from dataclasses import replace

from ..records.timed_conditions import Conditions
from ..records.verdict import Verdict

LIKELY = 0.01
SWITCH_SECONDS, MINOR_SECONDS, MAJOR_SECONDS = 3e-3, 1e-6, 5e-3
#: How the finding begins.
CAUSE = "noise, likely cause: "


def explained(verdict: Verdict | None, conditions: Conditions | None) -> Verdict | None:
    """A verdict in which noise that fails the audit has its likely cause among the findings, of all
    that was timed together: what single processes say of theirs is left out.

    Args:
        verdict: of a record.
        conditions: meanwhile; None where they are not known.
    """
    if verdict is None:
        return None
    findings = tuple(one for one in verdict.findings if not one.startswith(CAUSE))
    if verdict.audits.get("noise", "").startswith("fail: ") and conditions is not None:
        findings += (CAUSE + likely_cause(conditions),)
    return replace(verdict, findings=findings)


def likely_cause(conditions: Conditions) -> str:
    """By the rule above, in words."""
    shares = _shares(conditions)
    likely = sorted((one for one in shares if shares[one] >= LIKELY), key=lambda n: -shares[n])
    told = [f"{name} ({100 * shares[name]:.1f} %)" for name in likely]
    if conditions.throttled_times:
        told.insert(0, "the processor slowed down for heat")
    if told:
        return ", ".join(told)
    seen = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    return f"none is seen ({seen or 'nothing can be read'})"


def _shares(of: Conditions) -> dict[str, float]:
    """What can be read, as shares of the cores' time."""
    whole = of.seconds * of.cores
    spent = {
        "steal": of.steal_seconds,
        "involuntary context switches": _times(of.involuntary_switches, SWITCH_SECONDS),
        "page faults": _times(of.minor_faults, MINOR_SECONDS),
        "pages read from a disk": _times(of.major_faults, MAJOR_SECONDS),
    }
    shares = {n: value / whole for n, value in spent.items() if value is not None and whole > 0}
    if of.clock_least_mhz and of.clock_most_mhz:
        shares["a clock that varied"] = of.clock_most_mhz / of.clock_least_mhz - 1
    return shares


def _times(count: int | None, seconds: float) -> float | None:
    return None if count is None else count * seconds
