"""The verdict: which of a record's numbers may be believed, and by which audits.

Each audit is declared here, once, with what its failure makes false: the scores (quality), the
times (speed) or what is said of the posterior (fidelity). A noisy clock spoils no accuracy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

QUALITY, SPEED, FIDELITY = KINDS = ("quality", "speed", "fidelity")

#: What each audit is about, by its name. Weights that are not the posterior's spoil the scores too;
#: outputs that are timed and not scored spoil both.
ABOUT: dict[str, tuple[str, ...]] = {
    "moments": (QUALITY, FIDELITY),
    "draws differ": (QUALITY, FIDELITY),
    "activations in range": (QUALITY,),
    "scored the timed path": (QUALITY, SPEED),
    "every timed pass drew": (SPEED,),
    "timed passes differ": (SPEED,),
    "inputs not cached": (SPEED,),
    "instruction set": (SPEED,),
    "noise": (SPEED,),
    "processes agree": (QUALITY, SPEED),
    "cores free": (SPEED,),
    "not throttled": (SPEED,),
    "load generator": (SPEED,),
    "same deterministic network": (QUALITY,),
    "same Bayesian network": (QUALITY,),
    "same σ": (QUALITY, FIDELITY),
    "draws": KINDS,  # of peers, whose passes are timed as they are scored
}

Outcome = Literal["valid", "invalid", "not judged"]
VALID: Outcome = "valid"
INVALID: Outcome = "invalid"
NOT_JUDGED: Outcome = "not judged"

PASS = "pass"
#: Of an older record that was stored as invalid and has no audit that failed.
_STORED = "stored verdict"


@dataclass(frozen=True)
class Judgement:
    """Whether numbers of one kind may be believed.

    Attributes:
        outcome: `invalid` if an audit failed, `valid` if none did and one passed; `not judged`
            where none applies.
        audits: the audits about it, by name: `pass`, `not applicable: why` or `fail: why`.
    """

    outcome: Outcome
    audits: dict[str, str]


@dataclass(frozen=True)
class Verdict:
    """Whether the record may be believed.

    Attributes:
        quality: of the scores.
        speed: of times, and of what is computed from them.
        fidelity: of what the sampled weights keep of the posterior.
        findings: what a reader should know that does not make the record invalid.
    """

    quality: Judgement
    speed: Judgement
    fidelity: Judgement
    findings: tuple[str, ...] = ()

    @property
    def audits(self) -> dict[str, str]:
        """Every audit by name, once."""
        return {**self.quality.audits, **self.speed.audits, **self.fidelity.audits}

    @property
    def valid(self) -> bool:
        """None of the three is invalid."""
        return not self.invalid

    @property
    def invalid(self) -> tuple[str, ...]:
        """Which of the three are invalid."""
        return tuple(kind for kind in KINDS if self.of(kind) == INVALID)

    def of(self, kind: str) -> Outcome:
        """The outcome for `quality`, `speed` or `fidelity`."""
        judgement: Judgement = getattr(self, kind)
        return judgement.outcome


def verdict(audits: Mapping[str, str], findings: Sequence[str] = ()) -> Verdict:
    """The verdict that audits give.

    Args:
        audits: results by name; every name is in `ABOUT`.
        findings: what a reader should know besides.

    Raises:
        ValueError: an audit is not declared, or its result is none of the three forms.
    """
    for name, result in audits.items():
        if name not in ABOUT:
            raise ValueError(f"audit {name!r} is not declared in ABOUT")
        if result != PASS and not result.startswith(("not applicable: ", "fail: ")):
            raise ValueError(f"audit {name} returned {result!r}")
    quality, speed, fidelity = (_judgement(kind, audits) for kind in KINDS)
    return Verdict(quality, speed, fidelity, tuple(findings))


def together(parts: Sequence[Verdict], audits: Mapping[str, str]) -> Verdict:
    """The verdict on numbers of several processes: of each audit the first that failed in one of
    them, and of those that are given what they found in all.

    Args:
        parts: of each process, at least one.
        audits: results by name.
    """
    found: dict[str, str] = {}
    for part in parts:
        for name, result in part.audits.items():
            if not _failed(found.setdefault(name, result)) and _failed(result):
                found[name] = result
    findings = dict.fromkeys(finding for part in parts for finding in part.findings)
    return verdict({**found, **audits}, tuple(findings))


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """Of several records: `invalid` if one is, `valid` if all are, else `not judged`."""
    found = set(outcomes)
    if INVALID in found:
        return INVALID
    return VALID if found == {VALID} else NOT_JUDGED


def as_dict(one: Verdict) -> dict[str, Any]:
    """The verdict for scripts, with `valid`."""
    return {"valid": one.valid, **asdict(one)}


def upgrade(record: dict[str, Any]) -> dict[str, Any]:
    """A record of a schema that had one verdict, with that verdict divided in three.

    Its audits go where `ABOUT` says. An unknown one may be about anything: it counts for all three
    where it failed, for quality where it did not. What is not of the old layout is left as it is,
    for the schema to refuse.

    Args:
        record: JSON; its `verdict` has `valid`, `audits` and `findings`.
    """
    old = record.get("verdict")
    audits = old.get("audits") if isinstance(old, dict) else None
    if not isinstance(old, dict) or not isinstance(audits, dict) or "valid" not in old:
        return record
    if not all(isinstance(result, str) for result in audits.values()):
        return record
    failed = any(_failed(result) for result in audits.values())
    if old["valid"] is False and not failed:
        audits = {**audits, _STORED: "fail: it was stored as invalid, without a reason"}
    judged = {kind: asdict(_judgement(kind, audits)) for kind in KINDS}
    return {**record, "verdict": {**judged, "findings": old.get("findings", [])}}


def _judgement(kind: str, audits: Mapping[str, str]) -> Judgement:
    mine = {name: result for name, result in audits.items() if kind in _about(name, result)}
    if any(map(_failed, mine.values())):
        return Judgement(INVALID, mine)
    return Judgement(VALID if PASS in mine.values() else NOT_JUDGED, mine)


def _about(name: str, result: str) -> tuple[str, ...]:
    return ABOUT.get(name, KINDS if _failed(result) else (QUALITY,))


def _failed(result: str) -> bool:
    return result.startswith("fail")
