"""Gaussian blur and defocus (a disk). Nothing random."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .context import Context, levels, unit
from .registered import Corruption


def smooth(images: np.ndarray, sigma: float) -> np.ndarray:
    """[N, H, W, C] blurred by a Gaussian of `sigma` pixels, cut at 4 σ, edges repeated."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, sigma, sigma, 0), mode="nearest", truncate=4.0)


def gaussian_blur(images: np.ndarray, sigma: float, context: Context) -> np.ndarray:
    """A Gaussian of `sigma` pixels."""
    return levels(smooth(unit(images), sigma))


def defocus_blur(
    images: np.ndarray, parameters: tuple[float, float], context: Context
) -> np.ndarray:
    """The mean over a disk, edges mirrored."""
    from scipy.ndimage import correlate

    kernel = disk(*parameters)[None, :, :, None]
    return levels(correlate(unit(images), kernel, mode="mirror"))


@lru_cache(maxsize=16)
def disk(radius: float, alias: float) -> np.ndarray:
    """Kernel of a disk, its edge softened by a Gaussian of `alias` pixels.

    [K, K], the originals' float32 weights as float64; their sum is near 1.
    """
    from scipy.ndimage import convolve1d

    reach, taps = (8, 3) if radius <= 8 else (int(radius), 5)
    line = np.arange(-reach, reach + 1)
    inside = (line[:, None] ** 2 + line**2 <= radius**2).astype(float)
    offsets = np.arange(taps) - taps // 2
    soft = np.exp(-(offsets**2) / (2 * alias**2))
    kernel = (inside / inside.sum()).astype(np.float32)
    for axis in (0, 1):
        kernel = convolve1d(kernel, soft / soft.sum(), axis, mode="mirror")
    return _trim(kernel).astype(float)


def _trim(kernel: np.ndarray) -> np.ndarray:
    """Without the rings that hold nothing."""
    while len(kernel) > 1 and not max(kernel[0].max(), kernel[:, 0].max()) > 0:
        kernel = kernel[1:-1, 1:-1]
    return kernel


GAUSSIAN_BLUR = Corruption(
    random=False,
    small=(0.4, 0.6, 0.7, 0.8, 1),
    large=(1, 2, 3, 4, 6),
    apply=gaussian_blur,
)
DEFOCUS_BLUR = Corruption(
    random=False,
    small=((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
    large=((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    apply=defocus_blur,
)
