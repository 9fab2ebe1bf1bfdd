"""Synthetic records of a shift study: plausible in shape, made of nothing measured.

Every format sees the same images and labels. A class's logit falls towards the others with the
severity, by an amount of each type; a quantized format adds a little noise of its own, and what
`harm` says: logits times exp(−harm), which moves confidence and NLL, and as much noise again, which
costs accuracy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from report import factory

from sigmabench.harness.core.formats import FORMATS
from sigmabench.harness.corruptions.registered import CORRUPTIONS
from sigmabench.harness.metrics.metric import score
from sigmabench.harness.predict.predicted import Outcomes, Predicted, Predictive
from sigmabench.harness.records.envelope import Arrays, Provenance
from sigmabench.harness.records.shift_record import ARRAYS, CONTRAST, ShiftBody, ShiftRecord
from sigmabench.harness.stats.blocks import contrasts, per_image
from sigmabench.harness.workload.cell import Cell
from sigmabench.harness.workload.conditions import FORMATS_OF_STUDY

TYPES = ("brightness", "fog", "gaussian_noise")
ALL_TYPES = tuple(CORRUPTIONS.names())
SCORES = (
    "accuracy", "error", "ece", "ece_floor", "uce", "nll", "brier", "entropy", "mutual_information"
)  # fmt: skip
CLASSES = 10


def cell(**changes: Any) -> Cell:
    """A cell of a study."""
    deterministic = not FORMATS.get(changes.get("format", "FP32")).bayesian
    shifted = "generated 0" if changes.get("severity", 0) else ""
    fields: dict[str, Any] = {
        "scenario": "score",
        "batch": 0,
        "threads": 0,
        "instances": 0,
        "seeds": 1,
        "shifted": shifted,
        "mc": 1 if deterministic else 4,
    }
    return factory.cell(**{**fields, **({"noise": "-"} if deterministic else {}), **changes})


def record(
    cell: Cell,
    arrays: Mapping[str, np.ndarray],
    scores: Mapping[str, Sequence[float | None]] | None = None,
    mc: Sequence[int] | None = None,
    halves: Mapping[str, Sequence[float]] | None = None,
) -> ShiftRecord:
    """A record that holds just these per-image arrays; scores that follow from them are filled in.

    Args:
        cell: of the record.
        arrays: names of `ARRAYS` to [N].
        scores: metric to one value per prefix.
        mc: prefixes; the cell's T alone by default.
        halves: metric to its score by each half of the passes, as older records have them.
    """
    whole = {
        "entropy": np.zeros(len(arrays["confidence"])),
        **arrays,
    }
    if scores is None and "correct" in whole:
        scores = {
            "accuracy": (100.0 * float(np.mean(whole["correct"])),),
            "nll": (float(np.mean(whole["nll"])),) if "nll" in whole else (None,),
        }
    body = ShiftBody(
        images=len(whole["confidence"]),
        mc=tuple(mc or (cell.mc,)),
        scores={name: tuple(values) for name, values in (scores or {}).items()},
        halves={name: tuple(values) for name, values in (halves or {}).items()},
    )
    kept = {
        name: np.asarray(values).astype(ARRAYS.get(name, "<f4")) for name, values in whole.items()
    }
    return _of(cell, body, kept)


def study(
    formats: Sequence[str] = FORMATS_OF_STUDY,
    types: Sequence[str] = TYPES,
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    *,
    images: int = 120,
    mc: Sequence[int] = (1, 2, 4),
    seeds: Sequence[int] = (0,),
    ood: Sequence[str] = ("svhn",),
    ranges: Sequence[str] = ("headroom",),
    harm: Mapping[str, float] | None = None,
) -> list[ShiftRecord]:
    """A whole study: every format on the clean images, every type and severity, and `ood`.

    Args:
        formats: names of `FORMATS`.
        types: corruption types.
        severities: 1 to 5; the clean images are always there.
        images: in each condition.
        mc: prefixes T of the Bayesian formats; the deterministic ones have T = 1.
        seeds: of the MC draw; the deterministic formats have 0 alone.
        ood: sets from outside the distribution.
        ranges: `paper` exists for INT8 alone.
        harm: format, or format and range (`INT8 paper`), to what quantization does to it, 0 … 1.
    """
    conditions = [("none", 0), *((t, s) for t in types for s in severities)]
    conditions += [(f"ood:{name}", 0) for name in ood]
    found = []
    for name in formats:
        of = FORMATS.get(name)
        for range_ in ranges if name == "INT8" else ranges[:1]:
            changes = {"range": range_} if of.quantized else {}
            label = f"{name} {range_}" if range_ == "paper" else name
            for seed in seeds if of.bayesian else (0,):
                for corruption, severity in conditions:
                    one = cell(
                        format=name,
                        corruption=corruption,
                        severity=severity,
                        mc=max(mc) if of.bayesian else 1,
                        seed=seed,
                        limit=images,
                        **changes,
                    )
                    prefixes = tuple(mc) if of.bayesian else (1,)
                    found.append(_scored(one, images, prefixes, (harm or {}).get(label, 0.0)))
    return found


def _scored(cell: Cell, images: int, mc: tuple[int, ...], harm: float) -> ShiftRecord:
    labels = None if cell.corruption.startswith("ood:") else _labels(images)
    return scored(cell, _logits(cell, images, harm), labels, mc)


def scored(
    cell: Cell,
    logits: torch.Tensor,
    labels: torch.Tensor | None,
    mc: tuple[int, ...],
    sources: torch.Tensor | None = None,
) -> ShiftRecord:
    """A cell scored with the library's own metrics.

    Args:
        cell: of the record.
        logits: [T, N, C].
        labels: [N], or None from outside the distribution.
        mc: prefixes.
        sources: as `Split.sources`.
    """
    predictive = Predictive(mc, deterministic=not FORMATS.get(cell.format).bayesian, groups=True)
    predictive.update(logits)
    summaries = predictive.summaries()
    last = summaries[mc[-1]]
    scores, halved = {}, None
    if labels is not None:
        each = [score(summaries[T], labels, SCORES) for T in mc]
        scores = {name: tuple(one[name] for one in each) for name in SCORES}
        halved = last.outcomes(labels)
    body = ShiftBody(images=logits.shape[1], mc=mc, scores=scores)
    return of_predicted(cell, body, last, halved, labels, sources)


def of_predicted(
    cell: Cell,
    body: ShiftBody,
    predicted: Predicted,
    halved: Outcomes | None,
    labels: torch.Tensor | None,
    sources: torch.Tensor | None,
) -> ShiftRecord:
    """The record with the arrays of what was predicted, and of its halves their contrasts."""
    arrays = per_image(predicted, labels, sources)
    if halved is not None:
        found = contrasts(halved, labels, sources)
        arrays |= {f"{CONTRAST}{name}": values for name, values in found.items()}
    return _of(cell, body, arrays)


def _of(cell: Cell, body: ShiftBody, arrays: Mapping[str, np.ndarray]) -> ShiftRecord:
    made = Provenance(factory.fingerprint(), "sigmabench shift", "2025-01-01T00:00:00+00:00")
    return ShiftRecord(cell, made, None, body, Arrays.of(arrays))


def _logits(cell: Cell, images: int, harm: float) -> torch.Tensor:
    """[T, N, C]."""
    base = _base(cell.corruption, cell.severity, images)
    of = FORMATS.get(cell.format)
    size = 0.02 + harm if of.quantized else 0.0
    own = size * _stream(cell.format, cell.range, cell.corruption, cell.severity).normal(
        size=base.shape
    )
    drawn = 0.8 if of.bayesian else 0.0
    passes = _stream(cell.format, cell.range, cell.corruption, cell.severity, cell.seed).normal(
        0, drawn, (cell.mc, *base.shape)
    )
    return torch.from_numpy((base + own) * np.exp(-harm) + passes)


def _base(corruption: str, severity: int, images: int) -> np.ndarray:
    """[N, C] logits of the mean network."""
    hard = _stream("difficulty").gamma(2.0, 1.0, images)
    logits = _stream("logits", corruption, severity).normal(size=(images, CLASSES))
    if not corruption.startswith("ood:"):
        weight = 0.2 + 0.8 * _stream("type", corruption).random()
        logits[range(images), _labels(images)] += 8.5 - 1.5 * hard - 1.3 * weight * severity
    return logits


def _labels(images: int) -> torch.Tensor:
    return torch.from_numpy(_stream("labels").integers(0, CLASSES, images))


def _stream(*key: object) -> np.random.Generator:
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))
