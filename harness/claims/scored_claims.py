"""Claims on scores: on clean images, under shift, with 1-bit σ, and where safety hangs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from ..core import words as text
from ..core.contents import superseded
from ..metrics.metric import METRICS
from ..records.envelope import Record
from ..records.run_record import RUN_RECORDS, RunRecord
from ..records.verdict import INVALID, QUALITY
from ..stats.equivalence import INCONCLUSIVE, NOT_JUDGED, WORSE
from ..stats.shifted import HEADROOM, PAPER_FORMATS, PAPER_RANGE
from .compared import Compared, merged, of_outcomes, of_runs, outcome_of, told
from .evidence import Evidence, ScoredStudy, workloads
from .findings import Finding, command_of, days, machines, not_measured
from .papers import (
    CLEAN,
    CLEAN_METRICS,
    ONE_BIT,
    SAFETY,
    SEVERITIES,
    SHIFT_METRICS,
    SHIFTED,
    Claim,
)

TEST = "test"
VALIDATION = "validation"
_ABOUT = {HEADROOM: "range with headroom for the noise", PAPER_RANGE: "the paper's own range"}
_RANGES = {HEADROOM: "headroom", PAPER_RANGE: "paper"}
#: What a run's formats have in common where they are compared with the same FP32.
_ALIKE = (
    "workload", "workload_version", "posterior", "split", "corruption", "severity", "limit",
    "data", "network", "granularity", "sigma_offset", "observer", "calibration", "seed", "seeds",
)  # fmt: skip
_ONE_BIT = "INT8_SIGMA1"
#: Where a claim on shift is asked, as `Compared.where` has it.
_EVERY = tuple(f"at severity {severity}" for severity in SEVERITIES)
_NAMED = 5


def clean(evidence: Evidence) -> list[Finding]:
    """`CLEAN`, of every workload and range of the weights that has records."""
    studies = [one for one in evidence.studies if one.results.split == TEST and _has_clean(one)]
    found = {*(one.workload for one in studies), *(one.subject.workload for one in _runs(evidence))}
    return [
        finding
        for name in workloads(CLEAN.workloads, found)
        for kind in _ABOUT
        for finding in _clean(evidence, name, kind, studies)
    ]


def _clean(
    evidence: Evidence, workload: str, kind: str, studies: Sequence[ScoredStudy]
) -> list[Finding]:
    study = _largest(studies, workload, kind)
    scored = _of_study(study, kind, CLEAN_METRICS, lambda severity: severity == 0)
    base, formats = _run_of(evidence, workload, kind, study)
    raced = [] if base is None else of_runs(base, formats, CLEAN_METRICS)
    compared = merged(scored, raced)
    if not compared:
        return [not_measured(CLEAN, workload, _ABOUT[kind])] if kind == HEADROOM else []
    parts: list[str] = []
    used: list[Record[Any, Any]] = []
    if study is not None and _of_kind(compared, "shift"):
        parts.append(_on(study))
        used += study.records
    if base is not None and (more := _of_kind(compared, "run")):
        metrics = ", ".join(_called(dict.fromkeys(one.metric for one in more)))
        alone = f" of {metrics}" if parts else ""
        parts.append(
            f"{'a' if parts else 'A'} run{alone} on "
            f"{text.plural(base.body.quality.images, 'image')} (T = {base.subject.mc}, "
            f"{text.plural(base.subject.seeds, 'seed')})"
        )
        used += [base, *formats]
    return [_finding(CLEAN, workload, _ABOUT[kind], compared, " and ".join(parts), used)]


def shifted(evidence: Evidence) -> list[Finding]:
    """`SHIFTED`, of every workload and range of the weights that has records."""
    studies = [one for one in evidence.studies if max(one.results.severities, default=0) > 0]
    found = []
    for name in workloads(SHIFTED.workloads, (one.workload for one in studies)):
        for kind in _ABOUT:
            study = _largest(studies, name, kind)
            compared = _of_study(study, kind, SHIFT_METRICS, lambda severity: severity > 0)
            if study is not None and compared:
                types = {type_ for one in study.outcomes if one.severity for type_ in one.types}
                on = f"{_on(study)} under {text.plural(len(types), 'type')} of corruption"
                made = _finding(
                    SHIFTED, name, _ABOUT[kind], compared, on, study.records, places=_EVERY
                )
                found.append(made)
            elif kind == HEADROOM:
                found.append(not_measured(SHIFTED, name, _ABOUT[kind]))
    return found


def one_bit_scores(evidence: Evidence) -> list[Finding]:
    """The part of `ONE_BIT` that is about scores: those of 1-bit σ at every severity."""
    studies = [one for one in evidence.studies if one.results.split == TEST and _has_clean(one)]
    found = []
    for name in workloads(ONE_BIT.workloads, (one.workload for one in studies)):
        drifted = [
            one for one in studies if one.workload == name and max(one.results.severities) > 0
        ]
        for kind in _ABOUT:
            study = _largest(drifted or studies, name, kind)
            every = _of_study(study, kind, SHIFT_METRICS, lambda _: True)
            compared = [one for one in every if _format(one) == _ONE_BIT]
            about = f"scores, {_ABOUT[kind]}"
            if study is not None and compared:
                formats, places = (_ONE_BIT,), tuple(dict.fromkeys(one.where for one in compared))
                made = _finding(
                    ONE_BIT, name, about, compared, _on(study), study.records, formats, places
                )
                found.append(made)
            elif kind == HEADROOM and name in ONE_BIT.workloads:
                command = command_of(SHIFTED, name)
                found.append(_elsewhere(not_measured(ONE_BIT, name, about), command))
    return found


def safety_scores(evidence: Evidence) -> list[Finding]:
    """The part of `SAFETY` that is about scores, a finding for each test set: others than `test`
    are what drift is."""
    found = []
    for name in SAFETY.workloads:
        mine = [
            one
            for one in evidence.studies
            if one.workload == name and one.results.split != VALIDATION and _has_clean(one)
        ]
        splits = dict.fromkeys(one.results.split for one in mine)
        if not splits:
            found.append(not_measured(SAFETY, name, "scores"))
        for split in splits:
            there = [one for one in mine if one.results.split == split]
            study = _largest(there, name, HEADROOM)
            compared = _of_study(study, HEADROOM, SHIFT_METRICS, lambda severity: severity == 0)
            about = f"scores, {split} split"
            if study is not None and compared:
                found.append(_finding(SAFETY, name, about, compared, _on(study), study.records))
    return found


def _finding(
    claim: Claim,
    workload: str,
    about: str,
    compared: Sequence[Compared],
    on: str,
    records: Iterable[Record[Any, Any]],
    formats: Sequence[str] = PAPER_FORMATS,
    places: Sequence[str] = ("",),
) -> Finding:
    """Of comparisons that have all to bear the claim out, at each of these places."""
    metrics = CLEAN_METRICS if claim is CLEAN else SHIFT_METRICS
    lacking = _lacking(compared, metrics, formats, places)
    used, command = list(records), command_of(claim, workload)
    again = any(one.unjudged for one in compared)
    more = (
        _words_of(lacking, workload),
        f"`{command}` measures it." if again else "",
        *_superseded(used),
    )
    return Finding(
        claim,
        workload,
        about,
        outcome_of(compared, not lacking),
        " ".join(filter(None, (told(compared, on), *more))),
        machines(used),
        days(used),
        _decisive(compared).record,
        command,
        tuple(one.to_dict() for one in compared),
    )


def _lacking(
    compared: Sequence[Compared],
    metrics: Sequence[str],
    formats: Sequence[str],
    places: Sequence[str],
) -> list[str]:
    """Metrics, formats and severities of which nothing was compared; of the others the metric with
    each format, and severity, that it does not have."""
    there = {(one.metric, _format(one), one.where) for one in compared}
    axes = metrics, formats, places
    known = [{one[axis] for one in there} for axis in range(len(axes))]
    gone = [[n for n in axis if n not in has] for axis, has in zip(axes, known, strict=True)]
    left = [[n for n in axis if n in has] for axis, has in zip(axes, known, strict=True)]
    pairs = [
        " ".join(filter(None, (*_called([metric]), "of", format, where)))
        for metric, format, where in product(*left)
        if (metric, format, where) not in there
    ]
    return [*_called(gone[0]), *gone[1], *(where.removeprefix("at ") for where in gone[2]), *pairs]


def _words_of(lacking: Sequence[str], workload: str) -> str:
    if not lacking:
        return ""
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    lacks = f"No comparison is recorded of {', '.join(lacking[:_NAMED])}{more}"
    brier = METRICS.get("brier").called
    if all(one.startswith(brier) for one in lacking):
        return f"{lacks}; `sigmabench run {workload}` records it."
    return f"{lacks}."


def _superseded(records: Iterable[Record[Any, Any]]) -> list[str]:
    """What is said of records whose images are not proven to be those that they name."""
    lines = {superseded(one.subject.data, one.fingerprint.machine) for one in records}
    return [f"These records are {line}." for line in sorted(lines) if line]


def _decisive(compared: Sequence[Compared]) -> Compared:
    """The comparison that the outcome hangs on most."""
    order = {WORSE: 0, INCONCLUSIVE: 1, NOT_JUDGED: 3}
    return min(compared, key=lambda one: (order.get(one.verdict, 2), -one.harm))


def _elsewhere(found: Finding, command: str) -> Finding:
    """The same with the command that measures it, where the claim's own measures another part."""
    sentence = found.sentence.replace(found.command, command)
    return replace(found, command=command, sentence=sentence)


def _called(names: Iterable[str]) -> list[str]:
    return [METRICS.get(name).called for name in names]


def _format(one: Compared) -> str:
    return one.variant.split()[0]


def _of_kind(compared: Sequence[Compared], study: str) -> list[Compared]:
    return [one for one in compared if one.record[0] == study]


def _has_clean(study: ScoredStudy) -> bool:
    return 0 in study.results.severities


def _largest(studies: Iterable[ScoredStudy], workload: str, kind: str) -> ScoredStudy | None:
    """Of one workload the study of most images with formats of this kind; of equal ones the
    youngest."""
    mine = [
        one
        for one in studies
        if one.workload == workload
        and any(_kind_of(one, variant) == kind for variant in one.results.formats)
    ]
    return max(mine, key=lambda one: (one.images, one.created), default=None)


def _kind_of(study: ScoredStudy, variant: str) -> str:
    """Empty where the variant is compared with nothing."""
    found = study.results
    return found.kind(variant) if found.reference(variant) is not None else ""


def _of_study(
    study: ScoredStudy | None, kind: str, metrics: Iterable[str], wanted: Callable[[int], bool]
) -> list[Compared]:
    if study is None:
        return []
    names = set(metrics)
    return of_outcomes(
        study.results,
        study.outcomes,
        lambda one: one.kind == kind and one.metric in names and wanted(one.severity),
    )


def _on(study: ScoredStudy) -> str:
    """Which images, how many passes and seeds, in words."""
    mc = max(one.subject.mc for one in study.records)
    seeds = max(map(len, study.results.records.values()))
    return (
        f"{text.plural(study.images, 'image')} of the {study.results.split} split (T = {mc}, "
        f"{text.plural(seeds, 'seed')})"
    )


def _runs(evidence: Evidence) -> list[RunRecord]:
    """Formats of the papers that were compared with FP32 on clean test images at fixed T."""
    return [
        one
        for one in evidence.of(RUN_RECORDS)
        if one.body.paired is not None
        and one.verdict.of(QUALITY) != INVALID
        and one.body.paired.reference == "FP32"
        and one.subject.format in PAPER_FORMATS
        and (one.subject.split, one.subject.severity, one.subject.stopping) == (TEST, 0, "fixed")
        and (one.subject.sigma_grid, one.subject.rounding) == ("affine", "nearest")
    ]


def _run_of(
    evidence: Evidence, workload: str, kind: str, study: ScoredStudy | None
) -> tuple[RunRecord | None, list[RunRecord]]:
    """FP32, and the formats of one machine, code and set of choices that were compared with it at
    the largest T: on the machine of the study where that is possible, then on most images, of most
    formats, the youngest."""
    groups: dict[tuple[object, ...], list[RunRecord]] = {}
    for one in _runs(evidence):
        if (one.subject.workload, one.subject.range) == (workload, _RANGES[kind]):
            groups.setdefault((*_alike(one), one.subject.mc), []).append(one)
    ranked = sorted(groups.values(), key=lambda group: _rank(group, study), reverse=True)
    for group in ranked:
        formats = _one_each(group)
        base = _base_of(evidence, formats[0])
        if base is not None:
            return base, formats
    return None, []


def _alike(one: RunRecord) -> tuple[object, ...]:
    made = one.fingerprint
    chosen = (getattr(one.subject, name) for name in _ALIKE)
    return made.place, made.computing or made.code, *chosen


def _rank(group: Sequence[RunRecord], study: ScoredStudy | None) -> tuple[object, ...]:
    first = group[0]
    same = study is not None and first.fingerprint.place == study.place
    formats = {one.subject.format for one in group}
    youngest = max(one.created for one in group)
    return same, first.body.quality.images, first.subject.mc, len(formats), youngest


def _one_each(group: Sequence[RunRecord]) -> list[RunRecord]:
    """One record per format: of the smallest batch; all batches have the same scores."""
    found: dict[str, RunRecord] = {}
    for one in sorted(group, key=lambda one: one.subject.batch, reverse=True):
        found[one.subject.format] = one
    return [found[name] for name in PAPER_FORMATS if name in found]


def _base_of(evidence: Evidence, of: RunRecord) -> RunRecord | None:
    """FP32 on the same images, machine and code, at the same T."""
    floats = ("granularity", "sigma_offset", "observer", "calibration")
    shared = [name for name in (*_ALIKE, "mc") if name not in floats]
    found = [
        one
        for one in evidence.of(RUN_RECORDS)
        if one.subject.format == "FP32"
        and one.verdict.of(QUALITY) != INVALID
        and one.subject.stopping == "fixed"
        and one.fingerprint.place == of.fingerprint.place
        and one.fingerprint.computing == of.fingerprint.computing
        and all(getattr(one.subject, name) == getattr(of.subject, name) for name in shared)
    ]
    return min(found, key=lambda one: one.subject.batch, default=None)
