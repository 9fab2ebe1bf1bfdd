"""The part of the claim on 1-bit σ that is about the range of sampled weights."""

from __future__ import annotations

from collections.abc import Sequence

from ..core import words as text
from ..records.weights_record import WEIGHTS, WeightsRecord
from ..studies.weights.analyse import SimilarityVerdict, WeightsFindings, analyse
from .evidence import Evidence, workloads
from .findings import CONTRADICTED, HOLDS, Finding, command_of, days, machines, not_measured
from .papers import ONE_BIT

_FORMAT, _BASE = "INT8_SIGMA1", "INT8"
_ABOUT = {
    "": "range of sampled weights",
    " paper": "range of sampled weights, the paper's own range",
}


def ranges(evidence: Evidence) -> list[Finding]:
    """Of every workload with records, in both ranges of the weight grid where they are there."""
    groups = evidence.by_machine(WEIGHTS)
    every = [found for group in groups for found in analyse(_whole(group))]
    names = (one.records[0].subject.workload for one in every)
    return [
        finding
        for name in workloads(ONE_BIT.workloads, names)
        for finding in _of_workload(name, every)
    ]


def _whole(records: Sequence[WeightsRecord]) -> list[WeightsRecord]:
    """Those that hold what the claim compares."""
    return [
        one for one in records if {_FORMAT, _BASE} <= {range_.format for range_ in one.body.ranges}
    ]


def _of_workload(workload: str, every: Sequence[WeightsFindings]) -> list[Finding]:
    mine = [one for one in every if one.records[0].subject.workload == workload]
    if not mine:
        return [not_measured(ONE_BIT, workload, _ABOUT[""])]
    found = max(mine, key=lambda one: (len(one.records), max(r.created for r in one.records)))
    return [
        _finding(workload, _ABOUT[kind], found, one)
        for kind in _ABOUT
        for one in found.verdicts
        if (one.label, one.base) == (f"{_FORMAT}{kind}", f"{_BASE}{kind}")
    ]


def _finding(
    workload: str, about: str, found: WeightsFindings, verdict: SimilarityVerdict
) -> Finding:
    layers = len(verdict.layers)
    near = sum(one.range_error <= verdict.tolerance for one in verdict.layers)
    noisy = sum(one.noise_error > verdict.tolerance for one in verdict.layers)
    worst, noise = verdict.worst_range, verdict.worst_noise
    least = text.percent(verdict.tolerance, 0)
    told = (
        f"of {text.plural(layers, 'layer')} {near} {text.verb(near, 'has', 'have')} a "
        f"range within {least} % of that with 8 bits; the worst, {worst.layer}, is off by "
        f"{text.percent(worst.range_error)} %. The noise itself differs by more than {least} % in "
        f"{noisy}, by {text.percent(noise.noise_error)} % in {noise.layer}"
    )
    told += ": a similar range says nothing of it." if verdict.misleading else "."
    passes = found.records[0].subject.passes
    key = next(
        one.subject.key for one in found.records if one.subject.layer == verdict.worst_range.layer
    )
    return Finding(
        ONE_BIT,
        workload,
        about,
        HOLDS if verdict.similar_range else CONTRADICTED,
        f"In {text.plural(passes, 'sampled pass', 'sampled passes')}, {told}",
        machines(found.records),
        days(found.records),
        ("weights", key),
        command_of(ONE_BIT, workload),
        tuple(
            {"layer": one.layer, "range_error": one.range_error, "noise_error": one.noise_error}
            for one in verdict.layers
        ),
    )
