"""Zoom blur: the mean of the image and enlargements of its middle. Nothing random."""

from __future__ import annotations

from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from .context import Context, levels, unit
from .registered import Corruption

if TYPE_CHECKING:
    from scipy import sparse


def zoom_blur(images: np.ndarray, parameters: tuple[float, float], context: Context) -> np.ndarray:
    """Parameters: zoom factors run from 1 to below the first, in steps of the second."""
    count, height, width, channels = images.shape
    operator = _operator(height, width, *parameters)
    columns = unit(images).reshape(count, -1, channels).swapaxes(0, 1).reshape(height * width, -1)
    blurred = (operator @ columns).reshape(-1, count, channels).swapaxes(0, 1)
    # To float32: a flat image stays what it is.
    return levels(blurred.reshape(images.shape).astype(np.float32))


@lru_cache(maxsize=2)
def _operator(height: int, width: int, stop: float, step: float) -> sparse.csr_matrix:
    """The blur as a matrix over flat pixels, [height · width, height · width]."""
    from scipy import sparse

    factors = np.arange(1, stop, step)
    total = sparse.identity(height * width, format="csr")
    for factor in factors:
        total = total + sparse.kron(
            enlargement(height, factor), enlargement(width, factor), format="csr"
        )
    return total / (len(factors) + 1)


def enlargement(size: int, factor: float) -> sparse.csr_matrix:
    """Linear interpolation of a line's middle part to its whole length, [size, size].

    The part of ⌈size / factor⌉ pixels becomes round(part · factor) with the first and the last
    pixel in their places, of which the middle `size` are kept.
    """
    from scipy import sparse

    part = ceil(size / factor)
    length = round(part * factor)
    first, trim = (size - part) // 2, (length - size) // 2
    at = (np.arange(size) + trim) * ((part - 1) / (length - 1))
    left = np.minimum(np.floor(at).astype(int), part - 2)
    share = np.clip(at - left, 0, 1)
    rows = np.tile(np.arange(size), 2)
    columns = first + np.concatenate([left, left + 1])
    weights = np.concatenate([1 - share, share])
    return sparse.csr_matrix((weights, (rows, columns)), (size, size))


ZOOM_BLUR = Corruption(
    random=False,
    small=((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
    large=((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    apply=zoom_blur,
)
