"""Colour and tone: brightness, contrast, saturation. Nothing random.

In HSV with value v and saturation s a channel is v (1 − s d), where d = (v − channel) / (v − least
channel) depends on the hue alone; so changes of v and s need no hue. Where there is no hue (a gray
pixel) it is red, as 0° is.
"""

from __future__ import annotations

import numpy as np

from .context import Context, levels, unit
from .registered import Corruption


def brightness(images: np.ndarray, more: float, context: Context) -> np.ndarray:
    """v + more in HSV; a gray image becomes so much lighter."""
    value, saturation, distance = _hsv(unit(images))
    return levels(np.clip(value + more, 0, 1) * (1 - saturation * distance))


def saturate(images: np.ndarray, parameters: tuple[float, float], context: Context) -> np.ndarray:
    """s · factor + offset in HSV; a gray image has no saturation and stays as it is."""
    if images.shape[-1] == 1:
        return images
    factor, offset = parameters
    value, saturation, distance = _hsv(unit(images))
    return levels(value * (1 - np.clip(saturation * factor + offset, 0, 1) * distance))


def contrast(images: np.ndarray, factor: float, context: Context) -> np.ndarray:
    """(x − m) · factor + m, m the mean of each channel over the image."""
    pixels = images.shape[1] * images.shape[2]
    # Integers: the sum is exact, so no order of adding can matter.
    means = images.sum(axis=(1, 2), keepdims=True, dtype=np.int64) / (255.0 * pixels)
    return levels((unit(images) - means) * factor + means)


def _hsv(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value and saturation [N, H, W, 1], and d [N, H, W, C] (see above)."""
    value = pixels.max(axis=-1, keepdims=True)
    spread = value - pixels.min(axis=-1, keepdims=True)
    gray = spread == 0
    saturation = spread / np.where(gray, 1.0, value)
    distance = (value - pixels) / np.where(gray, 1.0, spread)
    red = np.array([0.0, 1.0, 1.0])[: pixels.shape[-1]]
    return value, saturation, np.where(gray, red, distance)


BRIGHTNESS = Corruption(
    random=False,
    small=(0.05, 0.1, 0.15, 0.2, 0.3),
    large=(0.1, 0.2, 0.3, 0.4, 0.5),
    apply=brightness,
)
CONTRAST = Corruption(
    random=False,
    small=(0.75, 0.5, 0.4, 0.3, 0.15),
    large=(0.4, 0.3, 0.2, 0.1, 0.05),
    apply=contrast,
)
SATURATE = Corruption(
    random=False,
    small=((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)),
    large=((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2)),
    apply=saturate,
)
