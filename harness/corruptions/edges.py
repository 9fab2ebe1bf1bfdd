"""Canny edges, distance to them, and equalised histograms of many images at once.

What OpenCV computes, for `spatter`: `Canny` with a 3 × 3 Sobel and |gx| + |gy|,
`distanceTransform` with DIST_L2 and a 5 × 5 mask, `equalizeHist`.
"""

from __future__ import annotations

import numpy as np

_TAN_22_5 = 13573  # · 2¹⁵, rounded as in OpenCV
_STEPS = {(0, 1): 1.0, (1, 1): 1.4, (1, 2): 2.1969}  # Borgefors' chamfer weights, 5 × 5


def canny(images: np.ndarray, low: int, high: int) -> np.ndarray:
    """Edges (Canny, 1986): ridges of the gradient above `low` that touch one above `high`.

    Args:
        images: [N, H, W] uint8.
        low: of |gx| + |gy|.
        high: of |gx| + |gy|.

    Returns:
        [N, H, W] bool.
    """
    from scipy.ndimage import label

    gx, gy = (_sobel(images, axis) for axis in (2, 1))
    size = np.abs(gx) + np.abs(gy)
    ridge = (size > low) & _is_ridge(gx, gy, size)
    eight = np.zeros((3, 3, 3), bool)
    eight[1] = True  # neighbours in the same image alone
    group, count = label(ridge, eight)
    strong = np.zeros(count + 1, bool)
    strong[group[ridge & (size > high)]] = True
    return strong[group]


def _sobel(images: np.ndarray, axis: int) -> np.ndarray:
    """Gradient along `axis`, edges repeated."""
    from scipy.ndimage import correlate1d

    across = correlate1d(images.astype(np.int32), [1, 2, 1], 3 - axis, mode="nearest")
    gradient: np.ndarray = correlate1d(across, [-1, 0, 1], axis, mode="nearest")
    return gradient


def _is_ridge(gx: np.ndarray, gy: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Where the gradient is largest along its direction, in steps of 45°; 0 beyond the image."""
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    height, width = size.shape[1:]

    def beside(down: int, right: int) -> np.ndarray:
        part = padded[:, 1 + down : 1 + down + height, 1 + right : 1 + right + width]
        return part

    slope = np.abs(gx).astype(np.int64) * _TAN_22_5
    rise = np.abs(gy).astype(np.int64) << 15
    horizontal = rise < slope
    vertical = rise > slope + (np.abs(gx).astype(np.int64) << 16)
    falling = (gx ^ gy) < 0
    across = (size > beside(0, -1)) & (size >= beside(0, 1))
    along = (size > beside(-1, 0)) & (size >= beside(1, 0))
    down = (size > beside(-1, -1)) & (size > beside(1, 1))
    up = (size > beside(-1, 1)) & (size > beside(1, -1))
    return np.where(horizontal, across, np.where(vertical, along, np.where(falling, up, down)))


def chamfer_distance(targets: np.ndarray, enough: float) -> np.ndarray:
    """Distance to the nearest target over steps of 1 and 2 pixels (Borgefors, 1986).

    Args:
        targets: [N, H, W] bool.
        enough: distances above it may come out as anything above it.

    Returns:
        [N, H, W] float32, infinite in an image without a target.
    """
    count, height, width = targets.shape
    padded = np.full((count, height + 4, width + 4), np.inf, np.float32)
    inside = padded[:, 2:-2, 2:-2]
    inside[targets] = 0
    reached = 0.0
    while reached <= enough:  # a round settles every distance of one more step
        nearest = inside.copy()
        for (a, b), weight in _STEPS.items():
            for down, right in {
                (s * p, t * q) for p, q in ((a, b), (b, a)) for s in (1, -1) for t in (1, -1)
            }:
                shifted = padded[:, 2 + down : 2 + down + height, 2 + right : 2 + right + width]
                np.minimum(nearest, shifted + np.float32(weight), out=nearest)
        if np.array_equal(nearest, inside):
            break
        inside[:] = nearest
        reached += 1.0
    return inside.copy()


def equalize(images: np.ndarray) -> np.ndarray:
    """Levels replaced by their rank, spread over 0 … 255; [N, H, W] uint8.

    The lowest level becomes 0; an image of a single level stays.
    """
    count = len(images)
    flat = images.reshape(count, -1) + 256 * np.arange(count)[:, None]
    histogram = np.bincount(flat.ravel(), minlength=256 * count).reshape(count, 256)
    lowest = np.take_along_axis(histogram, images.reshape(count, -1).min(1)[:, None].astype(int), 1)
    others = flat.shape[1] - lowest
    scale = np.float32(255) / np.maximum(others, 1).astype(np.float32)
    rank = np.maximum(histogram.cumsum(1) - lowest, 0).astype(np.float32)
    table = np.where(others > 0, np.rint(rank * scale), np.arange(256)).astype(np.uint8)
    equal: np.ndarray = table.reshape(-1)[flat].reshape(images.shape)
    return equal
