"""Images in the order of an uncertainty: who is kept, who is referred, and what errors are kept.

Everything takes counts [B, N], how often each image is in each of B samples (`resampled`), so that
a bootstrap is one call; `once(N)` is the images as they are. Copies of an image are tied and keep
the order of the images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bootstrap import Array

_TIES_SEED = 0


def once(images: int) -> Array:
    """Counts [1, N] of the images as they are."""
    return np.ones((1, images))


@dataclass(frozen=True, eq=False)
class Ranked:
    """Images with the surest first.

    Attributes:
        order: [N] indices of the images, by ascending uncertainty.
        wrong: [N] float64, 1 where an image is predicted wrongly, in the order of the images.
    """

    order: NDArray[np.int64]
    wrong: Array

    @classmethod
    def by(cls, uncertainty: NDArray[np.floating], wrong: NDArray[np.bool_]) -> Ranked:
        """Rank by [N] uncertainties. Equal ones have a seeded order that depends on N alone: two
        formats that tie on the same images refer the same of them."""
        ties = np.random.RandomState(_TIES_SEED).permutation(len(wrong))
        return cls(np.lexsort((ties, uncertainty)), wrong.astype(np.float64))

    def kept(self, counts: Array, share: float) -> Array:
        """[B, N] how many copies of each image are among the `share` of a sample that is surest.

        Args:
            counts: [B, N].
            share: coverage, in 0 … 1; what it is of a sample is rounded to whole images.
        """
        ranked = counts[:, self.order]
        room = np.rint(share * ranked.sum(axis=1, keepdims=True))
        before = ranked.cumsum(axis=1) - ranked
        found = np.empty_like(ranked)
        found[:, self.order] = np.clip(room - before, 0.0, ranked)
        return found

    def error(self, kept: Array) -> Array:
        """[B] share of errors among what is kept, [B, N]; 0 where nothing is."""
        return _ratio(kept @ self.wrong, kept.sum(axis=1))

    def aurc(self, counts: Array) -> Array:
        """[B] area under the risk–coverage curve, (1/N) Σ_k risk_k.

        Geifman, Uziel and El-Yaniv, ICLR 2019, section 3. The risks among the copies of an image
        are taken for that of their middle.
        """
        ranked = counts[:, self.order]
        errors = ranked * self.wrong[self.order]
        before = ranked.cumsum(axis=1) - ranked
        errors_before = errors.cumsum(axis=1) - errors
        middle = (ranked + 1) / 2
        risk = (errors_before + self.wrong[self.order] * middle) / (before + middle)
        area: Array = (ranked * risk).sum(axis=1) / ranked.sum(axis=1)
        return area


def balanced_error(wrong: NDArray[Any], labels: NDArray[np.integer], kept: Array) -> Array:
    """[B] mean over classes of the share of errors among what is kept of a class.

    Classes of which nothing is kept have no part in it; NaN where nothing is kept at all.

    Args:
        wrong: [N] whether an image is predicted wrongly.
        labels: [N] class indices.
        kept: [B, N] how many copies of each image are kept.
    """
    order = np.argsort(labels, kind="stable")
    _, starts = np.unique(labels[order], return_index=True)
    ranked = kept[:, order]
    there = np.add.reduceat(ranked, starts, axis=1)
    errors = np.add.reduceat(ranked * wrong[order], starts, axis=1)
    classes = (there > 0).sum(axis=1)
    rates = np.divide(errors, there, out=np.zeros_like(errors), where=there > 0)
    return _ratio(rates.sum(axis=1), classes, empty=np.nan)


def _ratio(part: Array, whole: NDArray[Any], empty: float = 0.0) -> Array:
    shares = np.full(len(part), empty)
    np.divide(part, whole, out=shares, where=whole > 0)
    return shares
