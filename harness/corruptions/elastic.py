"""Elastic transform: a random affine map, then smooth random displacements."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .context import Context, levels
from .registered import Corruption

_LARGE = 244 / 224  # the originals' constants are of 244 pixels, their images of 224


def elastic_transform(
    images: np.ndarray, parameters: tuple[float, float, float], context: Context
) -> np.ndarray:
    """Parameters, in sides of the image: displacement, its smoothness σ, and how far the three
    points that define the affine map move."""
    from scipy.ndimage import gaussian_filter

    _, height, width, _ = images.shape
    push, sigma, jump = (min(height, width) * parameter for parameter in parameters)
    moves = context.draw(lambda stream: stream.uniform(-jump, jump, size=(3, 2)))
    rough = context.draw(lambda stream: stream.uniform(-1, 1, size=(2, height, width)))
    pixels = (images / np.float32(255)).astype(np.float32)

    pixels = bilinear(pixels, affine_places(moves.astype(np.float32), height, width), mirror)

    smooth = gaussian_filter(rough, (0, 0, sigma, sigma), mode="reflect", truncate=3)
    shift = (smooth * push).astype(np.float32)[:, ::-1]  # drawn as Δx, Δy
    grid = np.indices((height, width))
    return levels(bilinear(pixels, grid + shift, reflect))


def affine_places(moves: np.ndarray, height: int, width: int) -> np.ndarray:
    """Where each pixel comes from: three points about the centre move by `moves` [N, 3, 2] (x, y).

    Returns:
        [N, 2, H, W] rows and columns in 32nds of a pixel, rounded as OpenCV's warpAffine does.
    """
    centre = np.array([width // 2, height // 2], np.float32)
    side = np.float32(min(height, width) // 3)
    before = centre + side * np.array([[1, 1], [1, -1], [-1, -1]], np.float32)
    after = (before + moves).astype(float)
    known = np.concatenate([after, np.ones((len(moves), 3, 1))], axis=2)
    map_ = np.linalg.solve(known, np.broadcast_to(before.astype(float), after.shape))
    rows, columns = np.indices((height, width))
    a, b, c = (map_[:, k, ::-1, None, None] for k in range(3))  # of x, of y, constant
    fine = np.rint(a * columns * 1024) + np.rint((b * rows + c) * 1024)
    places: np.ndarray = np.floor((fine + 16) / 32) / 32
    return places


def bilinear(
    images: np.ndarray, places: np.ndarray, fold: Callable[[np.ndarray, int], np.ndarray]
) -> np.ndarray:
    """The images between their pixels.

    Args:
        images: [N, H, W, C] float32.
        places: [N, 2, H, W] rows and columns to look at.
        fold: brings an index beyond the edges back into 0 … size − 1.

    Returns:
        [N, H, W, C] float32.
    """
    count, height, width, channels = images.shape
    flat = images.reshape(-1, channels)
    start = np.floor(places)
    share = (places - start).astype(np.float32)[..., None]
    start = start.astype(np.int64)
    rows = [fold(start[:, 0] + k, height) for k in (0, 1)]
    columns = [fold(start[:, 1] + k, width) for k in (0, 1)]
    image = np.arange(count)[:, None, None] * height
    lines = [
        (1 - share[:, 1]) * flat.take((image + row) * width + columns[0], 0)
        + share[:, 1] * flat.take((image + row) * width + columns[1], 0)
        for row in rows
    ]
    result: np.ndarray = (1 - share[:, 0]) * lines[0] + share[:, 0] * lines[1]
    return result


def mirror(index: np.ndarray, size: int) -> np.ndarray:
    """Edges mirrored at the outermost pixel: … 2 1 | 0 1 2 …"""
    period = 2 * (size - 1)
    index = index % period
    return np.minimum(index, period - index)


def reflect(index: np.ndarray, size: int) -> np.ndarray:
    """Edges mirrored beyond the outermost pixel: … 1 0 | 0 1 2 …"""
    index = index % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)


ELASTIC_TRANSFORM = Corruption(
    random=True,
    small=(
        (0, 0, 0.08),
        (0.05, 0.2, 0.07),
        (0.08, 0.06, 0.06),
        (0.1, 0.04, 0.05),
        (0.1, 0.03, 0.03),
    ),
    large=tuple(
        (push * _LARGE, sigma * _LARGE, jump * _LARGE)
        for push, sigma, jump in (
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        )
    ),
    apply=elastic_transform,
)
