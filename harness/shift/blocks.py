"""What halves of the passes score on blocks of the images, from which what a draw of the weights
does to all images alike is told apart from what it does to each (`bootstrap.Luck`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..uncertainty.selective import area
from ..units import Units
from .bootstrap import Means, binned_gaps, slopes
from .record import HALVED, encoded

if TYPE_CHECKING:
    from torch import Tensor

    from ..uncertainty.predictive import Predicted

#: Of images, each of whole units; fewer where there are fewer units.
BLOCKS = 16


def blocks_of(units: Units) -> NDArray[np.int64]:
    """[N] the block of each image: units are dealt to the blocks in turn."""
    return units.which % BLOCKS


def shares_of(units: Units) -> NDArray[np.float64]:
    """[K] share of the images that each block has."""
    return np.bincount(blocks_of(units)) / len(units.which)


def scored_blocks(
    summary: Predicted, labels: Tensor, sources: Tensor | None = None
) -> dict[str, str]:
    """`ShiftRecord.blocks` of a summary over N images; empty where there is no second unit.

    Args:
        summary: at the largest T.
        labels: [N] int64.
        sources: as `Split.sources`.
    """
    units = Units.of(len(labels), sources)
    if not summary.halves or units.count < 2:
        return {}
    blocks = blocks_of(units)
    slope = slopes(Means.of(_gaps(summary, labels), units))
    each = [_contributions(half, labels, blocks, slope) for half in summary.halves]
    return {name: encoded(np.stack([one[name] for one in each], axis=1), "<f4") for name in HALVED}


def _contributions(
    half: Predicted, labels: Tensor, blocks: NDArray[np.int64], slope: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Metric to [K]."""
    wrong = ~half.correct(labels)
    values = {
        "accuracy": 100.0 * (~wrong).double().numpy(),
        "nll": half.nll(labels).numpy(),
        "ece": 100.0 * _gaps(half, labels) @ slope,
    }
    found = {name: np.bincount(blocks, own) / len(labels) for name, own in values.items()}
    sizes = np.bincount(blocks)
    areas = [area(half.confidence[blocks == k], wrong[blocks == k]) for k in range(len(sizes))]
    return {**found, "aurc": np.array(areas) * sizes / len(labels)}


def _gaps(summary: Predicted, labels: Tensor) -> NDArray[np.float64]:
    return binned_gaps(summary.confidence.numpy(), summary.correct(labels).numpy())
