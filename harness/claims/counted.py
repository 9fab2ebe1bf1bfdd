"""Claims on bytes, which are counted: how much smaller models are, and what their weights move."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..core import words as text
from ..records.roofline_record import NAIVE, ROOFLINES, RooflineRecord
from ..records.run_record import RUN_RECORDS, RunRecord
from ..stats.shifted import PAPER_FORMATS
from ..studies.roofline.analyse import analyse, ratio
from .evidence import Evidence, workloads
from .findings import (
    CONTRADICTED,
    HOLDS,
    Finding,
    all_or_none,
    command_of,
    days,
    machines,
    not_measured,
)
from .papers import BANDWIDTH, PRINTED, PRINTED_TRAFFIC, SIZE, SMALLER

FP32 = "FP32"
WEIGHTS_ALONE, WHOLE_FILE = "μ and σ alone", "whole file"


def sizes(evidence: Evidence) -> list[Finding]:
    """`SIZE`, of every workload with records: of packed μ and σ, and of the file."""
    found = _by_workload(evidence, lambda one: True, (FP32, *PAPER_FORMATS))
    return [
        finding
        for name in workloads(SIZE.workloads, found)
        for finding in _sizes(name, found.get(name, []))
    ]


def _sizes(workload: str, records: Sequence[RunRecord]) -> list[Finding]:
    """By files of one posterior, of which the youngest of each format counts; sizes depend on no
    machine."""
    posteriors: dict[tuple[str, str], dict[str, RunRecord]] = {}
    for one in sorted(records, key=lambda one: one.created):
        key = one.subject.workload_version, one.subject.posterior
        posteriors.setdefault(key, {})[one.subject.format] = one
    known = max(posteriors.values(), key=_many, default={})
    base = known.get(FP32)
    formats = [known[name] for name in PAPER_FORMATS if name in known]
    if base is None or not formats:
        return [not_measured(SIZE, workload, about) for about in (WEIGHTS_ALONE, WHOLE_FILE)]
    return [_size(workload, about, base, formats) for about in (WEIGHTS_ALONE, WHOLE_FILE)]


def _many(known: dict[str, RunRecord]) -> tuple[object, ...]:
    return FP32 in known, len(known), max(one.created for one in known.values())


def _bytes(about: str, one: RunRecord) -> int:
    size = one.body.size
    return size.weight_bytes if about == WEIGHTS_ALONE else size.file_bytes


def _size(workload: str, about: str, base: RunRecord, records: Sequence[RunRecord]) -> Finding:
    found = {one.subject.format: _bytes(about, base) / _bytes(about, one) for one in records}
    off = {name for name, value in found.items() if value < SMALLER[name] - PRINTED}
    verdicts = [CONTRADICTED if name in off else HOLDS for name in found]
    listed = ", ".join(
        f"{name} {text.fixed(value, 2)} (claimed {SMALLER[name]:g})"
        for name, value in found.items()
    )
    what = "μ and σ as packed" if about == WEIGHTS_ALONE else "the whole file"
    told = f"Times smaller than in FP32, {what}: {listed}."
    if off and about == WHOLE_FILE:
        told += " A file holds scales, biases, the graph and a header too."
    lacking = [name for name in SMALLER if name not in found]
    if lacking:
        told += f" There is no record of {', '.join(lacking)}."
    decisive = next((one for one in records if one.subject.format in off), records[-1])
    return Finding(
        SIZE,
        workload,
        about,
        all_or_none(verdicts, (HOLDS,), (CONTRADICTED,), not lacking),
        told,
        machines([base, *records]),
        days([base, *records]),
        ("run", decisive.subject.key),
        command_of(SIZE, workload),
        tuple(
            {"variant": name, "ratio": value, "claimed": SMALLER[name], "margin": PRINTED}
            for name, value in found.items()
        ),
    )


def bandwidths(evidence: Evidence) -> list[Finding]:
    """`BANDWIDTH`, of every workload with records of INT8."""
    found = _by_workload(evidence, _moves, PAPER_FORMATS)
    timed = {
        one.subject.target: one
        for one in sorted(evidence.of(ROOFLINES), key=lambda one: one.created)
        if one.subject.format == "INT8"
    }
    return [
        _bandwidth(name, found.get(name, []), timed.get(name))
        for name in workloads(BANDWIDTH.workloads, found)
    ]


def _moves(one: RunRecord) -> bool:
    return (
        one.subject.format == "INT8"
        and one.body.bandwidth.weight_traffic_ratio is not None
        and one.body.bandwidth.paper_ratio is not None
    )


def _bandwidth(
    workload: str, records: Sequence[RunRecord], timed: RooflineRecord | None
) -> Finding:
    """At the most passes that were timed; of these the youngest record of the smallest batch. What
    a roofline's record timed is told beside, and decides nothing: the claim is on bytes."""
    if not records:
        return not_measured(BANDWIDTH, workload)
    most = max(one.subject.mc for one in records)
    at_most = [one for one in records if one.subject.mc == most]
    small = min(one.subject.batch for one in at_most)
    chosen = max(
        (one for one in at_most if one.subject.batch == small), key=lambda one: one.created
    )
    moved = chosen.body.bandwidth
    ratio, claimed = moved.weight_traffic_ratio or 0.0, moved.paper_ratio or 0.0
    weights = moved.mean_bytes + moved.std_bytes + moved.sampled_bytes
    same = abs(ratio - claimed) <= PRINTED_TRAFFIC
    why = (
        ""
        if same
        else " Every pass draws weights of its own, which are written and read: the claim counts "
        "one INT8 model that stays in a cache against T float32 ones."
    )
    return Finding(
        BANDWIDTH,
        workload,
        "",
        HOLDS if same else CONTRADICTED,
        f"At T = {most} the weights of INT8 move {text.fixed(ratio, 2)} times fewer bytes than an "
        f"FP32 sampler's, {weights:,} bytes per pass; claimed are {claimed:g} times.{why}"
        f"{_timed(timed)}",
        machines([chosen]),
        days([chosen]),
        ("run", chosen.subject.key),
        command_of(BANDWIDTH, workload),
        ({"variant": "INT8", "ratio": ratio, "claimed": claimed, "margin": PRINTED_TRAFFIC},),
    )


def _timed(record: RooflineRecord | None) -> str:
    """How long drawing takes, beside an FP32 sampler of single operators."""
    if record is None:
        return ""
    (found,) = analyse([record])
    faster = ratio(found.drawings, NAIVE, "layer_us")
    if faster is None:
        return ""
    return (
        f" Drawing them took {text.significant(faster, 2)} times less time than by single "
        f"operators in float32, {machines([record])}, {days([record])}."
    )


def _by_workload(
    evidence: Evidence, wanted: Callable[[RunRecord], bool], formats: Collection[str]
) -> dict[str, list[RunRecord]]:
    """Records of fixed T that are wanted, and whose grid and rounding are the paper's."""
    found: dict[str, list[RunRecord]] = {}
    for one in evidence.of(RUN_RECORDS):
        cell = one.subject
        papers = (cell.stopping, cell.sigma_grid, cell.rounding) == ("fixed", "affine", "nearest")
        if cell.format in formats and papers and wanted(one):
            found.setdefault(cell.workload, []).append(one)
    return found
