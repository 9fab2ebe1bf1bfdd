"""Scores computed again from what a record keeps of each image, and laws that each image obeys."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records.envelope import Arrays
from ..records.run_record import Quality, RunBody, RunRecord
from ..records.shift_record import ShiftBody, ShiftRecord
from ..workload.workload import WORKLOADS
from .ledger import IMPOSSIBLE, Ledger
from .shipped_labels import images_of, shipped

#: Rounding that a sum of probabilities may have.
_ROUNDING = 1e-6
_NAME = "arrays"
_FROM = "its own images"


def classes_of(record: RunRecord) -> int | None:
    """How many classes the network tells apart; None where the workload is not known here."""
    workload = WORKLOADS.built_in(record.subject.workload)
    return None if workload is None else workload.classes


def check_images(record: RunRecord, ledger: Ledger) -> None:
    """Scores, curves and counts of the first seed, from one value per image."""
    quality, arrays = record.body.quality, record.arrays
    ledger.same(
        "body.quality.images", quality.images, len(arrays["label"]), "the number of its images"
    )
    for told in broken_laws(arrays, classes_of(record)):
        ledger.demand(_NAME, False, told, IMPOSSIBLE)
    if ledger.faults and any(one.field == _NAME for one in ledger.faults):
        return
    again = _again(arrays.sha256, _Held(arrays), record.subject.mc, classes_of(record))
    seeds = len(quality.seeds)
    for name, value in again.scores.items():
        if name in quality.scores:
            stored = quality.scores[name]
            field = f"body.quality.scores.{name}"
            ledger.same(field, stored[0] if stored else None, value, _FROM)
            if seeds > 1:  # of the others nothing is kept
                del ledger.again[field]
    floors = quality.ece_floor_percent
    ledger.same("body.quality.ece_floor_percent", floors[:1], (again.floor,), _FROM)
    if seeds > 1:
        del ledger.again["body.quality.ece_floor_percent"]
    for name, curve in again.curves.items():
        ledger.same(f"body.quality.{name}", getattr(quality, name), curve, _FROM)


def check_labels(
    record: RunRecord | ShiftRecord, ledger: Ledger, beside: Sequence[RunRecord | ShiftRecord]
) -> None:
    """As many images as the cell says, and one label for each of them, whoever scores them: that of
    the split that ships, where it is one, and that which other records of the bundle have.

    Args:
        record: with or without arrays.
        ledger: to be filled.
        beside: others of its kind in the bundle.
    """
    body, cell = record.body, record.subject
    told: Quality | ShiftBody = body.quality if isinstance(body, RunBody) else body
    wanted = None if cell.corruption.startswith(_OUTSIDE) else images_of(cell)
    if wanted is not None:
        scored = told.images + len(told.skipped)
        words = f"has {scored:,} images, and its cell {wanted:,}"
        ledger.demand("body.quality.images" if told is not body else "body.images",
                      scored == wanted, words)  # fmt: skip
    labels = record.arrays.get("label")
    if labels is None:
        return
    if not told.skipped:
        words = f"have other labels than the {cell.split} split of {cell.workload}"
        ledger.demand(_NAME, shipped(cell, labels), words)
    for one in beside:
        its = one.arrays.get("label")
        same = all(getattr(cell, name) == getattr(one.subject, name) for name in _IMAGES)
        if same and its is not None and its.shape == labels.shape and (its != labels).any():
            words = f"have other labels than those of {one.subject.key}, of the same images"
            ledger.demand(_NAME, False, words)


#: Fields of a cell that say which images are scored; corrupted ones keep their labels.
_IMAGES = ("workload", "workload_version", "split", "limit", "data")
_OUTSIDE = "ood:"


class _Held:
    """Arrays that a cache may be asked for by their hash alone."""

    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def __hash__(self) -> int:
        return 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)


class Again:
    """What follows from the images.

    Attributes:
        scores: metric name to value of the first seed.
        floor: noise floor of the ECE, %.
        curves: by field of the record.
    """

    def __init__(
        self, scores: dict[str, float | None], floor: float, curves: dict[str, dict[str, Any]]
    ) -> None:
        self.scores, self.floor, self.curves = scores, floor, curves


@lru_cache(maxsize=256)
def _again(sha256: str, held: _Held, mc: int, classes: int | None) -> Again:
    """As `measure.quality` makes them; without classes, all but what needs their number."""
    import torch

    from ..measure.quality import RISK_POINTS
    from ..metrics.calibration import reliability_diagram
    from ..metrics.metric import METRICS, score
    from ..metrics.risk_coverage import accuracy_against_confidence, risk_coverage
    from ..predict.predicted import Outcomes

    arrays = held.arrays
    tensors = {name: torch.from_numpy(np.array(one)) for name, one in arrays.items()}
    labels = tensors["label"].long()
    most = int(max(arrays["label"].max(), arrays["prediction"].max())) + 1
    predicted = Outcomes(
        T=mc,
        classes=classes or max(most, 2),
        confidence=tensors["confidence"],
        prediction=tensors["prediction"].long(),
        entropy=tensors["entropy"],
        mutual_information=tensors.get("mutual_information"),
        labels=labels,
        nlls=tensors["nll"],
        briers=tensors["brier"],
        opening=torch.zeros(0, 1),
    )
    own = [n for n in METRICS.names() if (m := METRICS.built_in(n)) is not None and m.per_image]
    names = [name for name in own if classes is not None or name != "uce"]
    scores = score(predicted, labels, names)
    floor = scores.pop("ece_floor")
    assert floor is not None
    diagram = reliability_diagram(predicted, labels)
    confident = accuracy_against_confidence(predicted, labels)
    curve = risk_coverage(predicted, labels).thin(RISK_POINTS)
    curves: dict[str, dict[str, Any]] = {
        "reliability": {
            "count": tuple(map(float, diagram.count)),
            "confidence": diagram.confidence,
            "accuracy": diagram.accuracy,
        },
        "accuracy_vs_confidence": {
            "threshold": confident.threshold,
            "accuracy": tuple(None if a is None else a / 100 for a in confident.accuracy),
            "share": tuple(share / 100 for share in confident.share),
        },
        "risk_coverage": {
            "coverage": tuple(curve.coverage.tolist()),
            "risk": tuple(curve.risk.tolist()),
        },
    }
    return Again(scores, floor, curves)


def broken_laws(arrays: Mapping[str, NDArray[Any]], classes: int | None) -> Iterator[str]:
    """Of what no probabilities of an image can give, one sentence each.

    With c the largest probability of C: 1/C ≤ c ≤ 1; the entropy is at least that of c and as few
    others as can be, and at most that of c and C − 1 equal ones; mutual information is at most the
    entropy. Where the prediction is right the label's probability is c, so NLL is −log c and the
    Brier score (1 − c)² and what the rest adds, (1 − c)² at most; where it is wrong the label's is
    at most c and 1 − c, and the score at least c² + (1 − p)².
    """
    needed = {"label", "prediction", "confidence", "entropy", "nll", "brier"}
    if lacking := sorted(needed - set(arrays)):
        yield f"lack {', '.join(lacking)}"
        return
    if len({one.shape for one in arrays.values()}) > 1 or arrays["label"].ndim != 1:
        yield "do not have one value for each image"
        return
    if not all(np.isfinite(one).all() for one in arrays.values()) or not len(arrays["label"]):
        yield "hold numbers that are not finite, or no image"
        return
    for told, holds in _laws(arrays, classes):
        wrong = int((~holds).sum())
        if wrong:
            yield f"hold {wrong:,} of {len(holds):,} images whose {told}"


def _laws(
    arrays: Mapping[str, NDArray[Any]], classes: int | None
) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    c, entropy = arrays["confidence"], arrays["entropy"]
    nll, brier = arrays["nll"], arrays["brier"]
    right = arrays["prediction"] == arrays["label"]
    least = 0.0 if classes is None else 1 / classes
    yield "confidence is not a largest probability", (c >= least - _ROUNDING) & (c <= 1 + _ROUNDING)
    yield "label or prediction is not a class", _classes(arrays, classes)
    p = np.clip(c, 1e-300, 1.0)
    rest = 1 - p
    lowest = -np.log(p)  # the entropy is no less than that of equal shares of c each
    yield "entropy is below what its confidence allows", entropy >= lowest - _ROUNDING
    if classes is not None:
        spread = -p * np.log(p) - rest * np.log(np.maximum(rest, 1e-300) / max(classes - 1, 1))
        yield "entropy is above what its confidence allows", entropy <= spread + _ROUNDING
    if "mutual_information" in arrays:
        mutual = arrays["mutual_information"]
        holds = (mutual >= -_ROUNDING) & (mutual <= entropy + _ROUNDING)
        yield "mutual information is not between 0 and the entropy", holds
    own = np.exp(-nll)
    same = np.abs(own - c) <= _ROUNDING
    yield "NLL is not that of its confidence, though it is predicted rightly", same | ~right
    below = (nll >= -_ROUNDING) & (own <= np.minimum(c, 1 - c) + _ROUNDING)
    yield "NLL is below what its confidence allows", below | right
    fewest = 1 / max((classes or 2) - 1, 1) if classes is not None else 0.0
    low = np.where(right, rest**2 * (1 + fewest), (1 - own) ** 2 + c**2)
    high = np.where(right, 2 * rest**2, (1 - own) ** 2 + c**2 + np.maximum(1 - own - c, 0.0) ** 2)
    holds = (brier >= low - _ROUNDING) & (brier <= high + _ROUNDING)
    yield "Brier score is not that of its confidence and NLL", holds


def _classes(arrays: Mapping[str, NDArray[Any]], classes: int | None) -> NDArray[np.bool_]:
    label, prediction = arrays["label"], arrays["prediction"]
    most = math.inf if classes is None else classes
    found: NDArray[np.bool_] = (
        (label >= 0) & (label < most) & (prediction >= 0) & (prediction < most)
    )
    return found
