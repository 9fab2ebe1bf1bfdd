"""Pixelate: fewer pixels, shown larger. Nothing random."""

from __future__ import annotations

import numpy as np
from PIL import Image

from .context import Context
from .registered import Corruption


def pixelate(images: np.ndarray, share: float, context: Context) -> np.ndarray:
    """Means over boxes to `share` of the pixels per side, and back by the same box filter."""
    return np.stack([_pixelate(image, share) for image in images])


def _pixelate(image: np.ndarray, share: float) -> np.ndarray:
    height, width, _ = image.shape
    picture = Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)
    coarse = picture.resize((int(width * share), int(height * share)), Image.Resampling.BOX)
    return np.asarray(coarse.resize((width, height), Image.Resampling.BOX)).reshape(image.shape)


PIXELATE = Corruption(
    random=False,
    small=(0.95, 0.9, 0.85, 0.75, 0.65),
    large=(0.6, 0.5, 0.4, 0.3, 0.25),
    apply=pixelate,
)
