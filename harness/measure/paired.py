"""What a format scores less than another one on the same images, and what the images can tell.

Both sides are averaged over their seeds image by image, and the error is that of the images: with
N of them, cut from G sources, and d̄ the mean of the differences d_i,

    s² = G / (G − 1) · Σ_g (Σ_{i in g} (d_i − d̄))²,    standard error = √(s² + a) / (N + 2a)

with a = 0 for NLL, the usual error by clusters, and a = 1 for accuracy: half an image is added to
either side (Agresti and Min, Statistics in Medicine 24, 2005), because where no prediction differs
the spread that was seen, 0, is not the one there is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..formats import FORMATS
from ..record import Paired
from ..significance import Estimate
from ..uncertainty.predictive import Predicted

F64 = NDArray[np.float64]


def reference_of(format: str) -> str | None:
    """The format that one is compared with: FP32 with the deterministic network, others with FP32,
    deterministic ones with DNN_FP32."""
    if format == "DNN_FP32":
        return None
    return "FP32" if FORMATS.get(format).bayesian and format != "FP32" else "DNN_FP32"


@dataclass(frozen=True, eq=False)
class PerImage:
    """What a pair needs of one seed's predictions of N images.

    Attributes:
        correct: whether each prediction is the label, bool [N].
        nll: negative log-likelihood of each label, nats, float64 [N].
    """

    correct: NDArray[np.bool_]
    nll: F64

    @classmethod
    def of(cls, predicted: Predicted, labels: Tensor) -> PerImage:
        """Of predictions and the labels of their images, int64 [N]."""
        return cls(predicted.correct(labels).numpy(), predicted.nll(labels).numpy())


def paired(
    reference: str,
    mine: Sequence[PerImage],
    others: Sequence[PerImage],
    sources: Tensor | None = None,
) -> Paired:
    """Compare two formats.

    Args:
        reference: name of the other format.
        mine: one a seed, over the same images in the same order.
        others: of the reference, likewise; there may be fewer seeds or more.
        sources: as `Split.sources`.
    """
    count = len(mine[0].nll)
    groups = np.arange(count) if sources is None else sources.numpy()
    accuracy = _mean(mine, "correct") - _mean(others, "correct")
    found = {
        "accuracy_percent": _estimate(100 * accuracy, groups, 100.0),
        "nll_nats": _estimate(_mean(mine, "nll") - _mean(others, "nll"), groups, 0.0),
    }
    return Paired(
        reference,
        (len(mine), len(others)),
        {name: estimate.value for name, estimate in found.items()},
        {name: estimate.interval() for name, estimate in found.items()},
    )


def _estimate(differences: F64, sources: NDArray[np.int64], image: float) -> Estimate:
    """Their mean; `image` is the difference that one image more makes, 0 to add none."""
    count = len(differences)
    value = float(differences.mean())
    _, which = np.unique(sources, return_inverse=True)
    sums = np.bincount(which, differences - value)
    groups = len(sums)
    spread = float(np.square(sums).sum()) * groups / max(groups - 1, 1)
    added = int(image > 0)
    error = math.sqrt(spread + image**2) / (count + 2 * added)
    return Estimate(value, error, max(groups - 1, 1))


def _mean(seeds: Sequence[PerImage], name: str) -> F64:
    """Mean over the seeds, [N]."""
    return np.mean([getattr(seed, name) for seed in seeds], 0, dtype=np.float64)
