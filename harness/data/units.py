"""What is independent in a study, and how few of that are too few to judge by.

Images that were cut from one source are alike, so a study has as many *units* as its images have
sources (`Split.sources`); where sources are not known, each image is a unit. Every interval and
test over images resamples units, each with all its images.

Fewer than `LEAST_UNITS` judge nothing. Suppose a share `RARE` of the units has all of a loss: a
sample without any of them shows none, nor any spread, so whatever a test makes of the spread it
finds, it calls a loss of any size equivalent with a probability of (1 − RARE)^U. `LEAST_UNITS` is
the least U with

    (1 − RARE)^U ≤ ALPHA / 2,    U ≥ log(ALPHA / 2) / log(1 − RARE)

and the other half of ALPHA is left to what the test errs where a few of them are in the sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError

ALPHA = 0.05
RARE = 0.05
LEAST_UNITS = math.ceil(math.log(ALPHA / 2) / math.log(1 - RARE))


def too_few(units: int) -> str:
    """Why so many units judge nothing; empty where they are enough."""
    if units >= LEAST_UNITS:
        return ""
    return f"{units} independent image{'s' * (units != 1)}, {LEAST_UNITS} needed"


@dataclass(frozen=True, eq=False)
class Units:
    """The units that N images come from.

    Attributes:
        images: N, which a file may state without holding a value for each: nothing of this size is
            made before values are.
        grouped: [N] number of each image's unit, from 0; None: each image is its own.
    """

    images: int
    grouped: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, images: int, sources: ArrayLike | None = None) -> Units:
        """Of so many images.

        Args:
            images: N.
            sources: [N] what each image was cut from, any integers; None: each is its own.

        Raises:
            UserError: there is not one source an image.
        """
        if sources is None:
            return cls(images)
        found = np.asarray(sources)
        if found.shape != (images,):
            raise UserError(f"There are {images} images but sources of shape {found.shape}.")
        return cls(images, np.unique(found, return_inverse=True)[1].astype(np.int64))

    @cached_property
    def which(self) -> NDArray[np.int64]:
        """[N] number of each image's unit, from 0."""
        return np.arange(self.images) if self.grouped is None else self.grouped

    @property
    def count(self) -> int:
        """U, how many there are."""
        if self.grouped is None:
            return self.images
        return int(self.grouped.max(initial=-1)) + 1

    @property
    def sizes(self) -> NDArray[np.float64]:
        """[U] images of each."""
        return np.bincount(self.which).astype(np.float64)

    def sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """[U, …] sums over the images of each unit, of values [N, …]."""
        order = np.argsort(self.which, kind="stable")
        starts = np.searchsorted(self.which[order], np.arange(self.count))
        found: NDArray[np.float64] = np.add.reduceat(values[order], starts, axis=0)
        return found
