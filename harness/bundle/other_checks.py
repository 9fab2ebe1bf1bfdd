"""Records of other studies: what follows from their samples and images, and what cannot be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..core.formats import FORMATS
from ..core.words import plural
from ..records.ablation_record import AblationRecord
from ..records.envelope import Record
from ..records.peers_record import PeersRecord
from ..records.runtime_record import Contender, RaceRecord, SamplerRecord
from ..records.shift_record import ShiftRecord, array_of
from ..studies.peers.peer_audits import findings, quiet, same_std
from .image_scores import check_labels
from .ledger import IMPOSSIBLE, Ledger
from .rates import most_per_second, multiply_adds, width
from .verdict_checks import check_verdict

_IMAGES = "its own images"
#: Of scores from arrays that are stored as float32.
_SINGLE = 1e-5
#: What a finding says of a contender that keeps little of σ; older records have no others.
_LOST = "POSTERIOR LOST"


def check_other(record: Record[Any, Any], ledger: Ledger, beside: Sequence[Any]) -> None:
    """What can be checked of a record that is not of a run.

    Args:
        record: of any other study.
        ledger: to be filled.
        beside: the other records of its kind in the bundle.
    """
    if isinstance(record, ShiftRecord):
        _shift(record, ledger, beside)
        check_labels(record, ledger, beside)
    elif isinstance(record, AblationRecord):
        _ablation(record, ledger)
    elif isinstance(record, RaceRecord):
        subject = record.subject
        _contenders(record, record.body.contenders, subject.network, subject.batch, ledger)
    elif isinstance(record, PeersRecord):
        asked = record.subject
        contenders = [row.contender for row in record.body.rows]
        _contenders(record, contenders, asked.workload, asked.batch, ledger)
        for row in record.body.rows:
            _in_range(ledger, f"body.rows[].scores of {row.contender.name}", row.scores)
        _peers_verdict(record, ledger)
    elif isinstance(record, SamplerRecord):
        _sampler(record, ledger)


def _shift(record: ShiftRecord, ledger: Ledger, beside: Sequence[ShiftRecord]) -> None:
    """Means over images at the largest T; a seed whose images are those of another."""
    cell, body = record.subject, record.body
    ledger.same("body.mc", body.mc[-1] if body.mc else None, cell.mc, "its subject")
    ledger.again.pop("body.mc", None)
    shapes = {len(one) for name, one in record.arrays.items() if "." not in name}
    ledger.same("body.images", [body.images], sorted(shapes), _IMAGES)
    if shapes != {body.images}:
        return
    for name, again in _shift_scores(record):
        stored = body.scores.get(name, (None,))[-1]
        ledger.same(f"body.scores.{name} at T = {cell.mc}", stored, again, _IMAGES, _SINGLE)
    confidence = record.array("confidence")
    holds = bool(((confidence >= 0) & (confidence <= 1 + _SINGLE)).all())
    ledger.demand("arrays", holds, "hold a confidence that is not a probability", IMPOSSIBLE)
    drawn = cell.format in FORMATS and FORMATS.get(cell.format).bayesian
    for other in beside if drawn else ():
        if record.arrays and other.arrays == record.arrays and other.subject.seed != cell.seed:
            told = f"is {cell.seed}, and its images are those of seed {other.subject.seed}"
            ledger.demand("subject.seed", False, f"{told}: a seed was used twice", IMPOSSIBLE)


def _shift_scores(record: ShiftRecord) -> Iterator[tuple[str, float]]:
    if record.labelled:
        correct = record.array("correct")
        yield "accuracy", 100.0 * float(correct.mean())
        yield "error", 100.0 * float((~correct).mean())
        for name in ("nll", "brier"):
            if array_of(name) in record.arrays and name in record.body.scores:
                yield name, float(record.arrays[array_of(name)].astype(np.float64).mean())
        if "label" in record.arrays and "prediction" in record.arrays:
            right = record.array("label") == record.array("prediction")
            if not np.array_equal(right, correct):
                yield "accuracy", 100.0 * float(right.mean())
    for name in ("entropy", "mutual_information"):
        if name in record.arrays and name in record.body.scores:
            yield name, float(record.array(name).astype(np.float64).mean())


def _ablation(record: AblationRecord, ledger: Ledger) -> None:
    """Accuracy and NLL of each set of images and seed."""
    if not record.arrays:
        return
    for name, scores in record.body.scores.items():
        if f"{name}.correct" not in record.arrays:
            continue
        right = 100.0 * record.arrays[f"{name}.correct"].astype(np.float64).mean(axis=1)
        nll = record.arrays[f"{name}.nll"].astype(np.float64).mean(axis=1)
        for metric, again in (("accuracy", right), ("nll", nll)):
            stored = scores.get(metric, ())
            ledger.same(f"body.scores.{name}.{metric}", stored, again.tolist(), _IMAGES, _SINGLE)


def _contenders(
    record: Record[Any, Any],
    contenders: Sequence[Contender],
    network: str,
    batch: int,
    ledger: Ledger,
) -> None:
    """No contender does more than the processor can, and none has another's samples."""
    each = multiply_adds(network)
    seen: dict[tuple[int, ...], str] = {}
    for one in contenders:
        if not one.latency_ns:
            continue
        name = f"samples of {one.name}"
        ledger.demand(name, min(one.latency_ns) > 0, "hold a query of no time", IMPOSSIBLE)
        if min(one.latency_ns) < 1:
            continue
        twice = seen.setdefault(one.latency_ns, one.name)
        told = f"are those of {twice} to the nanosecond"
        ledger.demand(name, twice == one.name or len(one.latency_ns) < 2, told, IMPOSSIBLE)
        format = one.format.removeprefix("DNN_") if one.format not in FORMATS else one.format
        rate = (each or 0) * batch * one.mc * 1e9 / min(one.latency_ns)
        most = most_per_second(format, record.fingerprint)
        ledger.demand(
            name,
            rate <= most,
            f"hold a query of {rate:.3g} multiply–adds per second, and "
            f"{plural(record.fingerprint.cores, 'core')} with "
            f"{width(format, record.fingerprint)} per cycle do {most:.3g} at most",
            IMPOSSIBLE,
        )


def _peers_verdict(record: PeersRecord, ledger: Ledger) -> None:
    """The noise of its samples, and what is said of σ; how many weights a layer has is not known
    here, so that σ is held to what a layer of one weight is allowed."""
    rows = record.body.rows
    found = {"noise": quiet(rows)}
    floats = [row for row in rows if row.contender.format == "FP32"]
    drawn = same_std(floats, {}, record.body.draws) if record.body.draws > 1 else ""
    if drawn.startswith("fail"):
        found["same σ"] = drawn
    check_verdict(record.verdict, found, ledger)
    for name in (line.partition(":")[0] for line in findings(rows) if _LOST in line):
        said = any(line.startswith(f"{name}: {_LOST}") for line in record.verdict.findings)
        told = f"do not say that the posterior of {name} is lost"
        ledger.demand("verdict.findings", said, told)


def _sampler(record: SamplerRecord, ledger: Ledger) -> None:
    for one in record.body.widths:
        counted = min((*one.draw_ns, *one.copy_ns), default=0) > 0
        told = f"of {one.bits} bits hold a draw or a copy of no time"
        ledger.demand("body.widths", counted, told, IMPOSSIBLE)


def _in_range(ledger: Ledger, name: str, scores: dict[str, float | None]) -> None:
    most = {"accuracy": 100.0, "ece": 100.0, "brier": 2.0}
    for metric, value in scores.items():
        if value is not None:
            holds = 0 <= value <= most.get(metric, math.inf)
            ledger.demand(name, holds, f"has {metric} {value:g}", IMPOSSIBLE)
