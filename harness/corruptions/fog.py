"""Fog: a fractal cloud over the image."""

from __future__ import annotations

import numpy as np

from .context import Context, levels, unit
from .registered import Corruption


def fog(images: np.ndarray, parameters: tuple[float, float], context: Context) -> np.ndarray:
    """Parameters: how thick, and how fast the cloud's detail fades with scale."""
    thickness, decay = parameters
    _, height, width, _ = images.shape
    side = 1 << (max(height, width) - 1).bit_length()
    uniform = context.draw(lambda stream: stream.random_sample(side * side - 1))
    cloud = plasma(uniform, side, decay)[:, :height, :width, None]
    pixels = unit(images)
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    return levels((pixels + thickness * cloud) * brightest / (brightest + thickness))


def plasma(uniform: np.ndarray, side: int, decay: float) -> np.ndarray:
    """Height maps by the diamond-square algorithm on a torus, each from 0 to 1.

    Args:
        uniform: [N, side² − 1] from [0, 1), used in turn.
        side: of the map; a power of two.
        decay: each halving of the scale divides the random part by its square.

    Returns:
        [N, side, side].
    """
    maps = np.zeros((len(uniform), side, side))
    rest = 2 * uniform - 1
    step, wobble = side, 100.0
    while step >= 2:
        corner, inner = slice(0, side, step), slice(step // 2, side, step)
        corners = maps[:, corner, corner]
        parts = np.split(rest, np.arange(1, 4) * corners[0].size, axis=1)
        noise, rest = [wobble**2 * part.reshape(corners.shape) for part in parts[:3]], parts[3]
        square = corners + np.roll(corners, -1, 1)
        centres = (square + np.roll(square, -1, 2)) / 4 + noise[0]
        across = centres + np.roll(centres, 1, 1) + corners + np.roll(corners, -1, 2)
        down = centres + np.roll(centres, 1, 2) + corners + np.roll(corners, -1, 1)
        maps[:, inner, inner] = centres
        maps[:, corner, inner] = across / 4 + noise[1]
        maps[:, inner, corner] = down / 4 + noise[2]
        step, wobble = step // 2, wobble / decay
    maps -= maps.min(axis=(1, 2), keepdims=True)
    return maps / maps.max(axis=(1, 2), keepdims=True)


FOG = Corruption(
    random=True,
    small=((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
    large=((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    apply=fog,
)
