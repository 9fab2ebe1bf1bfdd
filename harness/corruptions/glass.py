"""Glass blur: pixels move about their places between two Gaussian blurs."""

from __future__ import annotations

import numpy as np

from .blur import smooth
from .context import Context, levels, unit
from .registered import Corruption


def glass_blur(
    images: np.ndarray, parameters: tuple[float, int, int], context: Context
) -> np.ndarray:
    """Parameters: σ of the blurs, how far a pixel may come from, how often.

    From the bottom right to the top left each pixel takes the colour that another one near it has
    by then. The originals mean to swap the two, but what they run copies: their right-hand side is
    two views of the same memory. The published images are copies, and so are these.
    """
    sigma, reach, passes = parameters
    count, height, width, channels = images.shape
    pixels = (smooth(unit(images), sigma) * 255).astype(np.uint8).reshape(count, -1, channels)
    moved = (passes, height - 2 * reach, width - 2 * reach, 2)
    offsets = context.draw(lambda stream: stream.randint(-reach, reach, size=moved))
    for step in range(passes):
        source = taken_from(offsets[:, step], height, width, reach)
        pixels = np.take_along_axis(pixels, source[..., None], 1)
    return levels(smooth(unit(pixels.reshape(images.shape)), sigma))


def taken_from(offsets: np.ndarray, height: int, width: int, reach: int) -> np.ndarray:
    """Which pixel of the image before a pass each pixel of the image after it equals.

    Args:
        offsets: [N, height − 2 reach, width − 2 reach, 2] where (Δx, Δy) a pixel takes its colour
            from, in the order of the pass: rows from height − reach down to reach + 1, columns
            likewise.
        height: of the images.
        width: of the images.
        reach: the largest |offset|.

    Returns:
        [N, height · width] flat indices.
    """
    count = len(offsets)
    here = np.arange(height * width).reshape(height, width)
    region = (
        slice(None),
        slice(reach + 1, height - reach + 1),
        slice(reach + 1, width - reach + 1),
    )
    near = np.broadcast_to(here, (count, height, width)).copy()
    near[region] += (offsets[..., 1] * width + offsets[..., 0])[:, ::-1, ::-1]
    near = near.reshape(count, -1)

    done = np.zeros((1, height, width), bool)
    done[region] = True
    # A pixel that was passed before holds what it took itself: follow such links to their end.
    passed = done.reshape(-1)[near] & (near > here.reshape(-1))
    link = np.where(passed, near, here.reshape(-1))
    while True:
        further = np.take_along_axis(link, link, 1)
        if np.array_equal(further, link):
            return np.take_along_axis(near, link, 1)
        link = further


GLASS_BLUR = Corruption(
    random=True,
    small=((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
    large=((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    apply=glass_blur,
)
