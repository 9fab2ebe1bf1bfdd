"""Noise of every value on its own: Gaussian, shot, impulse, speckle."""

from __future__ import annotations

import numpy as np

from .context import Context, levels, unit
from .registered import Corruption


def gaussian_noise(images: np.ndarray, sd: float, context: Context) -> np.ndarray:
    """x + N(0, sd²)."""
    return levels(unit(images) + _normal(images, sd, context))


def speckle_noise(images: np.ndarray, sd: float, context: Context) -> np.ndarray:
    """x + x · N(0, sd²)."""
    pixels = unit(images)
    return levels(pixels + pixels * _normal(images, sd, context))


def shot_noise(images: np.ndarray, photons: float, context: Context) -> np.ndarray:
    """Poisson(x · photons) / photons."""
    rates = iter(unit(images) * photons)
    return levels(context.draw(lambda stream: stream.poisson(next(rates))) / photons)


def impulse_noise(images: np.ndarray, amount: float, context: Context) -> np.ndarray:
    """A share of the values becomes 0 or 1, one as likely as the other (salt and pepper)."""
    shape = (2, *images.shape[1:])
    uniform = context.draw(lambda stream: stream.random_sample(shape))
    flipped, salted = uniform[:, 0] <= amount, uniform[:, 1] <= 0.5
    return np.where(flipped, np.where(salted, 255, 0), images)


def _normal(images: np.ndarray, sd: float, context: Context) -> np.ndarray:
    shape = images.shape[1:]
    return context.draw(lambda stream: stream.normal(scale=sd, size=shape))


GAUSSIAN_NOISE = Corruption(
    random=True,
    small=(0.04, 0.06, 0.08, 0.09, 0.10),
    large=(0.08, 0.12, 0.18, 0.26, 0.38),
    apply=gaussian_noise,
)
SHOT_NOISE = Corruption(
    random=True,
    small=(500, 250, 100, 75, 50),
    large=(60, 25, 12, 5, 3),
    apply=shot_noise,
)
IMPULSE_NOISE = Corruption(
    random=True,
    small=(0.01, 0.02, 0.03, 0.05, 0.07),
    large=(0.03, 0.06, 0.09, 0.17, 0.27),
    apply=impulse_noise,
)
SPECKLE_NOISE = Corruption(
    random=True,
    small=(0.06, 0.1, 0.12, 0.16, 0.2),
    large=(0.15, 0.2, 0.35, 0.45, 0.6),
    apply=speckle_noise,
)
