"""What formats are compared by, image by image, made up."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sigmabench.harness.stats.paired import PerImage


def each(correct: ArrayLike, nll: ArrayLike) -> PerImage:
    """Of one seed: whether each of N images is right, and its NLL; the Brier score follows it."""
    loss = np.asarray(nll, np.float64)
    return {"accuracy": 100.0 * np.asarray(correct, np.float64), "nll": loss, "brier": loss / 2}
