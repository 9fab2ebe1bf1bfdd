"""The claim on speed: a pass of INT8 against one of FP32, within a race and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from ..core import words as text
from ..data.units import ALPHA
from ..records.run_record import RUN_RECORDS, RunRecord
from ..records.runtime_record import OURS, RACES, Contender, RaceRecord
from ..records.verdict import INVALID, PASS
from ..records.verdict import SPEED as SPEED_KIND
from ..stats.latency import log_median_ratio
from ..stats.samples import run_noise
from ..stats.significance import Estimate, holm
from ..studies.run.analyse import log_pass_ratio
from .evidence import Evidence
from .findings import (
    CANNOT,
    CONTRADICTED,
    HOLDS,
    Finding,
    command_of,
    days,
    machines,
    not_measured,
)
from .papers import IMAGENET, SLOWER, SPEED, SPEEDUP

#: A network of the races, which the workload's is, too.
NETWORK = "resnet50"
BAYESIAN_TORCH = "bayesian-torch"
_ABOUT = {OURS: "this runtime", BAYESIAN_TORCH: BAYESIAN_TORCH}
_INT8, _FP32 = "INT8", "FP32"
#: Fresh processes that a time is published from: their spread makes its interval.
PROCESSES = 3


@dataclass(frozen=True)
class Raced:
    """INT8 and FP32 of one implementation that took turns.

    Attributes:
        by: whose they are.
        batch: images per query.
        ratio: logarithm of FP32's time per pass over INT8's.
        processes: fresh processes that both were timed in.
        record: of the race.
        study: its name.
        noisy: either one's run-to-run noise is above what the audit of runs allows.
    """

    by: str
    batch: int
    ratio: Estimate
    processes: int
    record: RaceRecord | RunRecord
    study: str
    noisy: bool = False


def speeds(evidence: Evidence) -> list[Finding]:
    """`SPEED`, of this runtime and of bayesian-torch, each on the machine that can tell most."""
    every = [*_races(evidence.of(RACES)), *_runs(evidence.of(RUN_RECORDS))]
    return [
        _speed(by, about, [one for one in every if one.by == by]) for by, about in _ABOUT.items()
    ]


def _speed(by: str, about: str, raced: Sequence[Raced]) -> Finding:
    if not raced:
        return not_measured(SPEED, IMAGENET, about)
    groups: dict[tuple[object, ...], list[Raced]] = {}
    for one in raced:
        made = one.record.fingerprint
        groups.setdefault((made.place, made.computing or made.code, one.study), []).append(one)
    chosen = max(groups.values(), key=_rank)
    return _judged(about, sorted(chosen, key=lambda one: one.batch))


def _rank(group: Sequence[Raced]) -> tuple[object, ...]:
    """A machine with AMX before others, then races that can be judged, of many batches before those
    of few."""
    return (
        _has_amx(group[0]),
        any(one.processes >= PROCESSES for one in group),
        len({one.batch for one in group}),
        max(one.record.created for one in group),
    )


def _judged(about: str, raced: Sequence[Raced]) -> Finding:
    used = [one.record for one in raced]
    quiet = [one for one in raced if not one.noisy and one.processes >= PROCESSES]
    p = {name: holm([_p_value(name, one.ratio) for one in quiet]) for name in (HOLDS, CONTRADICTED)}
    reached = any(one <= ALPHA for one in p[HOLDS])
    short = bool(quiet) and all(one <= ALPHA for one in p[CONTRADICTED])
    amx = _has_amx(raced[0])
    outcome = HOLDS if reached else CONTRADICTED if short else CANNOT
    best = max(quiet or raced, key=lambda one: one.ratio.value)
    return Finding(
        SPEED,
        IMAGENET,
        about,
        outcome if amx else CANNOT,
        _sentence(about, raced, amx),
        machines(used),
        days(used),
        (best.study, best.record.subject.key),
        command_of(SPEED, IMAGENET),
        tuple(
            {"batch": one.batch, "ratio": math.exp(one.ratio.value)}
            | dict(zip(("low", "high"), map(math.exp, one.ratio.interval()), strict=True))
            | {"claimed": SPEEDUP, "processes": one.processes, "noisy": one.noisy}
            for one in raced
        ),
    )


def _sentence(about: str, raced: Sequence[Raced], amx: bool) -> str:
    whose = _INT8 if about == _ABOUT[OURS] else f"{about}'s {_INT8}"
    (first, *others), counts = raced, sorted({one.processes for one in raced})
    each = [f"{_times(first)} times as fast as its {_FP32} at batch {first.batch} ({_ends(first)})"]
    each += [f"{_times(one)} times at batch {one.batch} ({_ends(one)})" for one in others]
    timed = " or ".join(_processes(n) for n in counts)
    told = f"Per pass {whose} is {', '.join(each)}; timed in {timed}."
    few = [one for one in raced if one.processes < PROCESSES]
    if few:
        batches = ", ".join(str(one.batch) for one in few)
        told += (
            f" Not judged at batch {batches}, because of fewer than {PROCESSES} fresh processes; "
            f"`{command_of(SPEED, IMAGENET)}` has as many."
        )
    if noisy := [str(o.batch) for o in raced if o.noisy and o.processes >= PROCESSES]:
        told += f" Not judged at batch {', '.join(noisy)}, because of noise."
    told += " Other batch sizes were not raced."
    if not amx:
        told += (
            " The claim is about AMX, which this machine lacks; "
            f"`{command_of(SPEED, IMAGENET)}` on one that has it decides."
        )
    return told


def _p_value(outcome: str, ratio: Estimate) -> float:
    """That the ratio is at least, or is below, what is claimed, but for what does not matter."""
    beyond = ratio.value - math.log(SPEEDUP * (1 - SLOWER))
    if ratio.error == 0:
        return float((beyond < 0) == (outcome == HOLDS))
    return float(stdtr(ratio.freedom, (-beyond if outcome == HOLDS else beyond) / ratio.error))


def _races(records: Sequence[RaceRecord]) -> Iterator[Raced]:
    for record in records:
        if record.subject.network != NETWORK:
            continue
        for by in _ABOUT:
            fast, slow = (_contender(record, by, name) for name in (_INT8, _FP32))
            if fast is None or slow is None:
                continue
            ratio = log_median_ratio(
                (slow.latency_ns, fast.latency_ns),
                (slow.slices, fast.slices),
                np.random.default_rng(0),
                processes=(slow.processes, fast.processes),
            )
            if ratio is not None:
                value = ratio.value + math.log(fast.mc / slow.mc)
                found = Estimate(value, ratio.error, ratio.freedom)
                processes = max(1, len(fast.processes))
                noisy = _noisy(fast) or _noisy(slow)
                batch = record.subject.batch
                yield Raced(by, batch, found, processes, record, "passes", noisy)


def _noisy(one: Contender) -> bool:
    """By the audit of runs; races have no verdict."""
    from ..measure.audits import noise_bounded

    return noise_bounded(run_noise(one.latency_ns, one.slices, one.processes)) != PASS


def _contender(record: RaceRecord, by: str, format: str) -> Contender | None:
    return next(
        (
            one
            for one in record.body.contenders
            if (one.by, one.format) == (by, format) and one.latency_ns
        ),
        None,
    )


def _runs(records: Sequence[RunRecord]) -> Iterator[Raced]:
    """Of runs on ImageNet those whose times are valid; of each batch the race of most passes."""
    mine = [
        one
        for one in records
        if one.subject.workload == IMAGENET
        and one.body.adaptive is None
        and one.verdict.of(SPEED_KIND) != INVALID
    ]
    fast = [one for one in mine if one.subject.format == _INT8]
    slow = [one for one in mine if one.subject.format == _FP32]
    pairs = [(one, base) for one in fast for base in slow if one.raced(base)]
    most: dict[tuple[object, ...], tuple[RunRecord, RunRecord]] = {}
    for one, base in sorted(pairs, key=lambda pair: (pair[0].subject.mc, pair[0].created)):
        made = one.fingerprint
        most[made.place, made.computing or made.code, one.subject.batch] = (one, base)
    for one, base in most.values():
        ratio = log_pass_ratio(base, one)
        if ratio is not None:
            processes = max(1, len(one.body.timing.processes))
            yield Raced(OURS, one.subject.batch, ratio, processes, one, "run")


def _has_amx(one: Raced) -> bool:
    return "amx_int8" in one.record.fingerprint.isa


def _times(one: Raced) -> str:
    return text.fixed(math.exp(one.ratio.value), 2)


def _ends(one: Raced) -> str:
    low, high = (text.fixed(math.exp(end), 2) for end in one.ratio.interval())
    return f"95 % interval {low} to {high}"


def _processes(count: int) -> str:
    return "one process, and another may differ" if count == 1 else f"{count} fresh processes"
