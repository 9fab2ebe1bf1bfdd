"""The arrays of a shift study's records: one value an image, and what halves of the passes score on
blocks of the images, from which what a draw of the weights does to all images alike is told apart
from what it does to each (`bootstrap.Luck`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..data.units import Units
from ..metrics.metric import judged_metrics, of_images
from ..metrics.risk_coverage import area
from ..predict.halves import jackknifed
from ..records.shift_record import ARRAYS, BLOCKS, HALVED, array_of
from .bootstrap import Means, binned_gaps, slopes

if TYPE_CHECKING:
    from torch import Tensor

    from ..predict.predicted import Outcomes, Predicted


def blocks_of(units: Units) -> NDArray[np.int64]:
    """[N] the block of each image: units are dealt to the blocks in turn."""
    return units.which % BLOCKS


def shares_of(units: Units) -> NDArray[np.float64]:
    """[K] share of the images that each block has."""
    if units.grouped is None:
        whole, over = divmod(units.images, BLOCKS)
        return (whole + (np.arange(min(BLOCKS, units.images)) < over)) / units.images
    return np.bincount(blocks_of(units)) / units.images


def contrasts(
    outcomes: Outcomes, labels: Tensor, sources: Tensor | None = None
) -> dict[str, NDArray[np.float32]]:
    """The contrasts of a `ShiftRecord` of N images.

    Args:
        outcomes: at the largest T.
        labels: [N] int64.
        sources: as `Split.sources`.
    """
    units, halves = Units.of(len(labels), sources), outcomes.halves
    if halves is None or units.count < 2:
        return {}
    blocks = blocks_of(units)
    gaps = binned_gaps(outcomes.confidence.numpy(), outcomes.correct(labels).numpy())
    slope = slopes(Means.of(gaps, units))
    sides = [
        [_contributions(*half, blocks, slope) for half in zip(*side, strict=True)]
        for side in zip(halves.confidence, halves.correct, strict=True)
    ]
    without = [np.bincount(blocks, own) / len(blocks) for own in halves.nll.double().numpy()]
    found = {"nll": jackknifed(np.stack(without, axis=1))}
    for name in sides[0][0]:
        half, other = (np.stack([one[name] for one in side], axis=1) for side in sides)
        found[name] = (half - other) / 2
    return {name: found[name].astype(np.float32) for name in HALVED}


def _contributions(
    confidence: Tensor,
    correct: Tensor,
    blocks: NDArray[np.int64],
    slope: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    """Metric to [K], by one half."""
    values = {
        "accuracy": 100.0 * correct.double().numpy(),
        "ece": 100.0 * binned_gaps(confidence.double().numpy(), correct.numpy()) @ slope,
    }
    found = {name: np.bincount(blocks, own) / len(blocks) for name, own in values.items()}
    sizes = np.bincount(blocks)
    areas = [area(confidence[blocks == k], ~correct[blocks == k]) for k in range(len(sizes))]
    return {**found, "aurc": np.array(areas) * sizes / len(blocks)}


def per_image(
    summary: Predicted, labels: Tensor | None, sources: Tensor | None = None
) -> dict[str, NDArray[Any]]:
    """A `ShiftRecord`'s arrays of N images.

    Args:
        summary: at the largest T.
        labels: [N] int64, or None for images from outside the distribution.
        sources: as `Split.sources`.
    """
    arrays: dict[str, Tensor] = {
        "confidence": summary.confidence,
        "entropy": summary.entropy,
        "prediction": summary.prediction,
    }
    if summary.mutual_information is not None:
        arrays["mutual_information"] = summary.mutual_information
    if labels is not None:
        arrays |= {
            array_of(metric.name): of_images(metric, summary, labels)
            for metric in judged_metrics().values()
            if metric.of_image is not None and metric.name != "accuracy"
        }
        arrays["correct"] = summary.correct(labels)
        arrays["label"] = labels
    if sources is not None:
        arrays["source"] = sources
    return {n: values.numpy().astype(ARRAYS.get(n, "<f4")) for n, values in arrays.items()}
