"""One record judged again: what its fields allow, beside what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.machine.cores import binding
from sigmabench.harness.machine.fingerprint import Fingerprint
from sigmabench.harness.measure import audits
from sigmabench.harness.measure.clock import Samples
from sigmabench.harness.measure.saturation import activations_in_range, saturation_findings
from sigmabench.harness.measure.timing import timing
from sigmabench.harness.metrics.metric import NO_INFORMATION
from sigmabench.harness.records.peers_record import PeersRecord
from sigmabench.harness.records.run_record import RunRecord
from sigmabench.harness.records.verdict import ABOUT, KINDS, PASS, Verdict, verdict
from sigmabench.harness.stats import samples as statistics
from sigmabench.harness.studies.peers.peer_audits import findings, quiet, same_std

TOLERANCE = 1e-9  # relative, of a number that is computed again


@dataclass(frozen=True)
class Change:
    """What a record holds and what its fields give now.

    Attributes:
        what: of the record.
        stored: in words; empty where it holds nothing of the kind.
        again: in words.
    """

    what: str
    stored: str
    again: str


@dataclass(frozen=True)
class Judged:
    """One record, judged again.

    Attributes:
        stored: its verdict, divided in three where it was one.
        again: with every audit that could be judged again; the others as they are stored.
        audits: those that were judged again, by name.
        unjudged: of the others, why not, by name.
        changes: of findings and numbers.
    """

    stored: Verdict
    again: Verdict
    audits: Mapping[str, str]
    unjudged: Mapping[str, str]
    changes: Sequence[Change] = field(default_factory=tuple)

    @property
    def changed(self) -> list[Change]:
        """Every outcome, audit, finding and number that is another one now."""
        outcomes = [
            Change(kind, self.stored.of(kind), self.again.of(kind))
            for kind in KINDS
            if self.stored.of(kind) != self.again.of(kind)
        ]
        of_audits = [
            Change(f"audit {name}", self.stored.audits[name], result)
            for name, result in self.audits.items()
            if name in self.stored.audits and word(self.stored.audits[name]) != word(result)
        ]
        return [*outcomes, *of_audits, *self.changes]


def word(result: str) -> str:
    """`pass`, `fail` or `not applicable`."""
    return result.partition(":")[0]


NOT_HELD = {
    "draws differ": "needs the sampled weights",
    "every timed pass drew": "needs the sampler's counter",
    "timed passes differ": "needs outputs of timed queries",
    "scored the timed path": "needs outputs of timed queries",
    "inputs not cached": "needs the times of one repeated input",
    "instruction set": "needs what the backend claimed",
    "not throttled": "needs the control group's counter",
    "same deterministic network": "needs probabilities of each image",
    "same Bayesian network": "needs probabilities of each image",
}


def judged(record: RunRecord) -> Judged:
    """A record of a run."""
    found = {
        "moments": audits.moments(record.body.fidelity),
        "noise": audits.noise_bounded(_noise(record)),
        **_cores(record.fingerprint),
    }
    unjudged = dict(NOT_HELD)
    shares = saturation(record)
    if shares is None:
        unjudged["activations in range"] = "a deterministic format of before holds no shares"
    else:
        found["activations in range"] = activations_in_range(shares)
    cell = record.subject
    told = [
        *audits.skipped_findings(record.body.quality.skipped),
        *saturation_findings(shares or {}, cell.calibration, cell.observer),
        *audits.posterior_findings(record.body.fidelity),
    ]
    layers = {one.layer for one in record.body.fidelity}
    changes = [*_findings(record.verdict, told, layers), *_numbers(record)]
    return _judged(record.verdict, found, unjudged, changes)


def judged_peers(comparison: PeersRecord) -> Judged:
    """A comparison with peers. σ is judged without the number of weights of each layer, which it
    does not hold: the median layer by the audit's own bound, single layers by that of one weight.
    """
    rows = comparison.body.rows
    floats = [row for row in rows if row.contender.format == "FP32"]
    found = {
        "same σ": same_std(floats, {}, comparison.body.draws),
        "noise": quiet(rows),
        **_cores(comparison.fingerprint),
    }
    mutual = [
        row.scores.get("mutual_information")
        for row in rows
        if row.scores and not row.contender.format.startswith("DNN_")
    ]
    unjudged = dict(NOT_HELD)
    told = all(one is not None and one > NO_INFORMATION for one in mutual)
    if comparison.subject.mc > 1 and told:
        found["draws"] = PASS
    else:
        unjudged["draws"] = "needs the mutual information of each image"
    names = {row.contender.name for row in rows}
    return _judged(
        comparison.verdict,
        found,
        unjudged,
        list(_findings(comparison.verdict, findings(rows), names)),
    )


def saturation(record: RunRecord) -> dict[str, float] | None:
    """Shares beyond their range by activation, in [0, 1]. Older records hold those of the sampled
    layers alone, and none of deterministic formats: None there."""
    if record.body.saturation:
        return record.body.saturation
    if FORMATS.get(record.subject.format).quantized and not record.body.fidelity:
        return None
    return {one.layer: one.saturation for one in record.body.fidelity if one.saturation is not None}


def _noise(record: RunRecord) -> float:
    """From the raw samples; where T is adaptive it goes by passes that the record does not hold."""
    if record.subject.adaptive:
        return record.body.timing.noise
    held = record.body.timing
    return statistics.run_noise(held.latency_ns, held.slices, held.processes)


def _cores(fingerprint: Fingerprint) -> dict[str, str]:
    """Whether something bound threads, where no variable did."""
    if binding(fingerprint.environment):
        return {}
    return {"cores free": audits.cores_free((), None)}


def _judged(
    stored: Verdict,
    found: Mapping[str, str],
    unjudged: Mapping[str, str],
    changes: Sequence[Change],
) -> Judged:
    known = {name: result for name, result in stored.audits.items() if name in ABOUT}
    again = verdict({**known, **found}, stored.findings)
    relevant = {
        name: why
        for name, why in unjudged.items()
        if name in stored.audits or name in ("not throttled", "activations in range")
    }
    return Judged(stored, again, found, relevant, changes)


def _findings(stored: Verdict, again: Sequence[str], subjects: set[str]) -> Iterator[Change]:
    """Findings that are new, and those on a layer or a contender that are gone."""
    for line in again:
        if line not in stored.findings:
            yield Change("finding", "", line)
    for line in stored.findings:
        if line.partition(": ")[0] in subjects and line not in again:
            yield Change("finding", line, "")


def _numbers(record: RunRecord) -> Iterator[Change]:
    """Statistics of the raw samples that are not those that are stored."""
    if record.subject.adaptive:
        return
    held = record.body.timing
    samples = Samples(held.latency_ns, held.slices, held.warmup_queries)
    again = timing(
        samples,
        batch=record.subject.batch,
        inputs=held.inputs,
        passes=held.passes,
        mc=record.subject.mc,
        processes=held.processes,
    )
    pairs: list[tuple[str, float | None, float | None]] = [
        (name, held.percentiles_ns.get(name), value) for name, value in again.percentiles_ns.items()
    ]
    pairs += [
        ("p50 from", held.p50_ci95_ns[0], again.p50_ci95_ns[0]),
        ("p50 to", held.p50_ci95_ns[1], again.p50_ci95_ns[1]),
        ("images per second", held.images_per_second, again.images_per_second),
        ("noise", held.noise, again.noise),
    ]
    for name, before, now in pairs:
        if not _same(before, now):
            yield Change(name, _text(before), _text(now))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE * max(abs(one), abs(other))


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"
