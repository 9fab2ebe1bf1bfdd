"""Spatter: drops of water, or at severities 4 and 5 flecks of mud."""

from __future__ import annotations

import numpy as np

from .blur import smooth
from .context import Context, levels
from .edges import canny, chamfer_distance, equalize
from .registered import Corruption

_WATER = np.array([175, 238, 238], np.float32) / np.float32(255)
_MUD = np.array([63, 42, 20], np.float32) / np.float32(255)
_LUMA = np.array([0.2989, 0.5870, 0.1140], np.float32)
_LIGHT = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # an emboss: light from one side


def spatter(
    images: np.ndarray, parameters: tuple[float, float, float, float, float, bool], context: Context
) -> np.ndarray:
    """Parameters: mean and standard deviation of the liquid's noise, σ of its blur, the threshold
    below which there is none, opacity of water or σ of mud's edge, and whether it is mud."""
    mean, sd, sigma, threshold, strength, mud = parameters
    shape = images.shape[1:3]
    noise = context.draw(lambda stream: stream.normal(loc=mean, scale=sd, size=shape))
    liquid = smooth(noise[..., None], sigma)
    pixels = (images / np.float32(255)).astype(np.float32)
    colour = _MUD if mud else _WATER
    if images.shape[-1] == 1:
        colour = (colour * _LUMA).sum(keepdims=True)
    if mud:
        cover = smooth((liquid > threshold).astype(np.float32), strength)
        cover[cover < 0.8] = 0
        return levels(pixels * (1 - cover) + colour * cover)
    liquid = np.where(liquid < threshold, 0, liquid)
    return levels(pixels + colour * water(liquid[..., 0], strength)[..., None])


def water(liquid: np.ndarray, opacity: float) -> np.ndarray:
    """How light falls on drops, from the liquid's height [N, H, W]; 0 … `opacity`, float32."""
    from scipy.ndimage import correlate

    height = (liquid * 255).astype(np.uint8)
    distance = np.minimum(chamfer_distance(canny(height, 50, 150), 20), 20)
    even = equalize(_box(distance).astype(np.float32).astype(np.uint8))
    lit = np.clip(correlate(even.astype(np.int64), _LIGHT[None], mode="mirror"), 0, 255)
    light = height * np.rint(_box(lit)).astype(np.float32)
    brightest = light.max(axis=(1, 2), keepdims=True)
    return light / np.where(brightest > 0, brightest, np.float32(1)) * np.float32(opacity)


def _box(maps: np.ndarray) -> np.ndarray:
    """Means over 3 × 3 pixels, float64, edges mirrored."""
    from scipy.ndimage import uniform_filter

    return uniform_filter(maps.astype(float), (0, 3, 3), mode="mirror")


SPATTER = Corruption(
    random=True,
    small=(
        (0.62, 0.1, 0.7, 0.7, 0.5, False),
        (0.65, 0.1, 0.8, 0.7, 0.5, False),
        (0.65, 0.3, 1, 0.69, 0.5, False),
        (0.65, 0.1, 0.7, 0.69, 0.6, True),
        (0.65, 0.1, 0.5, 0.68, 0.6, True),
    ),
    large=(
        (0.65, 0.3, 4, 0.69, 0.6, False),
        (0.65, 0.3, 3, 0.68, 0.6, False),
        (0.65, 0.3, 2, 0.68, 0.5, False),
        (0.65, 0.3, 1, 0.65, 1.5, True),
        (0.67, 0.4, 1, 0.65, 1.5, True),
    ),
    apply=spatter,
)
