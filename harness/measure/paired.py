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

import numpy as np
from numpy.typing import NDArray

from ..data import Split
from ..formats import FORMATS
from ..record import Paired
from ..significance import Estimate
from ..uncertainty.predictive import Summary

F64 = NDArray[np.float64]


def reference_of(format: str) -> str | None:
    """The format that one is compared with: FP32 with the deterministic network, others with FP32,
    deterministic ones with DNN_FP32."""
    if format == "DNN_FP32":
        return None
    return "FP32" if FORMATS.get(format).bayesian and format != "FP32" else "DNN_FP32"


def paired(
    reference: str, mine: Sequence[Summary], others: Sequence[Summary], split: Split
) -> Paired:
    """Compare two formats.

    Args:
        reference: name of the other format.
        mine: one summary a seed, over the split's images.
        others: of the reference, likewise; there may be fewer seeds or more.
        split: the images.
    """
    sources = np.arange(len(split)) if split.sources is None else split.sources.numpy()
    accuracy = 100 * (_correct(mine, split) - _correct(others, split))
    nll = _nll(mine, split) - _nll(others, split)
    found = {
        "accuracy_percent": _estimate(accuracy, sources, 100.0),
        "nll_nats": _estimate(nll, sources, 0.0),
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


def _correct(summaries: Sequence[Summary], split: Split) -> F64:
    """Share of the seeds with the right prediction, [N]."""
    return np.mean([summary.correct(split.labels).double().numpy() for summary in summaries], 0)


def _nll(summaries: Sequence[Summary], split: Split) -> F64:
    """Mean over the seeds, nats, [N]."""
    labels = split.labels.long()[:, None]
    return np.mean([-summary.log_probs.gather(1, labels)[:, 0].numpy() for summary in summaries], 0)
