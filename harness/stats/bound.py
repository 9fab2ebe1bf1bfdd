"""How much can be kept while the balanced error of what is kept stays at or below a bound.

Two answers. The *oracle* looks at the labels of the very images; nobody has them, it is the best
that this ranking allows. The *threshold* is the uncertainty at which the validation split ends up
at the bound; what is at most so uncertain is kept elsewhere, with whatever error that has there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Array

_ROUNDING = 1e-12  # of a running sum over the images


@dataclass(frozen=True)
class Cut:
    """Where a ranking is cut.

    Attributes:
        coverage: share of the images that is kept, in 0 … 1.
        threshold: the largest uncertainty that is kept; −∞ where nothing is.
    """

    coverage: float
    threshold: float


def balanced_curve(
    uncertainty: NDArray[np.floating], wrong: NDArray[np.bool_], labels: NDArray[np.integer]
) -> tuple[Array, Array, Array]:
    """Balanced error (`ranking.balanced_error`) of the surest images at every possible threshold.

    Args:
        uncertainty: [N].
        wrong: [N].
        labels: [N] class indices.

    Returns:
        [K] thresholds (the K different uncertainties, ascending), coverages and balanced errors,
        both in 0 … 1. Images of equal uncertainty are kept together or not at all.
    """
    order = np.argsort(uncertainty, kind="stable")
    ranked = uncertainty[order]
    last = np.append(ranked[1:] > ranked[:-1], True)
    own, wrongs = labels[order], wrong[order].astype(np.float64)
    by_class = np.argsort(own, kind="stable")
    _, starts, sizes = np.unique(own[by_class], return_index=True, return_counts=True)
    first = np.repeat(starts, sizes)
    there, errors = np.empty(len(own)), np.empty(len(own))
    there[by_class] = np.arange(len(own)) - first + 1
    running = wrongs[by_class].cumsum()
    errors[by_class] = running - (running - wrongs[by_class])[first]
    # An image moves the rate of its own class alone.
    before = np.divide(errors - wrongs, there - 1, out=np.zeros(len(own)), where=there > 1)
    balanced = (errors / there - before).cumsum() / (there == 1).cumsum()
    return (
        ranked[last].astype(np.float64),
        (np.arange(1, len(own) + 1) / len(own))[last],
        balanced[last],
    )


def largest_cut(
    uncertainty: NDArray[np.floating],
    wrong: NDArray[np.bool_],
    labels: NDArray[np.integer],
    bound: float,
) -> Cut:
    """The cut that keeps most with a balanced error of at most `bound`, in 0 … 1. The curve need
    not be monotone: a smaller coverage may exceed the bound, every larger one does."""
    thresholds, coverages, balanced = balanced_curve(uncertainty, wrong, labels)
    (within,) = (balanced <= bound + _ROUNDING).nonzero()
    if not len(within):
        return Cut(0.0, -np.inf)
    return Cut(float(coverages[within[-1]]), float(thresholds[within[-1]]))
