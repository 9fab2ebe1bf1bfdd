"""Each type against a slow, plain computation of the same: loops, colorsys, SciPy, Pillow."""

from __future__ import annotations

import colorsys
from math import ceil

import numpy as np
import pytest
import torch
from corruption_cases import photographs
from scipy import ndimage, stats

from sigmabench.harness.corruptions.context import stream, stream_key
from sigmabench.harness.corruptions.edges import canny, chamfer_distance, equalize
from sigmabench.harness.corruptions.elastic import affine_places
from sigmabench.harness.corruptions.fog import plasma
from sigmabench.harness.corruptions.glass import taken_from
from sigmabench.harness.corruptions.registered import CORRUPTIONS, corrupt

IMAGES = photographs(3)
PIXELS = IMAGES.permute(0, 2, 3, 1).numpy()
LARGE = photographs(2, 3, 70, 70)


def _run(name: str, severity: int, images: torch.Tensor = IMAGES) -> np.ndarray:
    return corrupt(images, name, severity).permute(0, 2, 3, 1).numpy().astype(int)


def _near(ours: np.ndarray, oracle: np.ndarray) -> None:
    """Equal but where the last bit decides which level a value is cut to."""
    difference = np.abs(ours - np.clip(oracle, 0, 255).astype(np.uint8).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.05


def _each_channel(image: np.ndarray, function) -> np.ndarray:  # type: ignore[no-untyped-def]
    return np.stack([function(image[..., c]) for c in range(image.shape[-1])], axis=-1)


@pytest.mark.parametrize("severity", [1, 5])
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("brightness", lambda h, s, v, p: (h, s, min(v + p, 1))),
        ("saturate", lambda h, s, v, p: (h, min(s * p[0] + p[1], 1), v)),
    ],
)
def test_hsv(name: str, change, severity: int) -> None:  # type: ignore[no-untyped-def]
    parameter = CORRUPTIONS.get(name).small[severity - 1]
    flat = [
        colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*(v / 255 for v in pixel)), parameter))
        for pixel in PIXELS.reshape(-1, 3).tolist()
    ]
    _near(_run(name, severity), np.reshape(flat, PIXELS.shape) * 255)


@pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
def test_contrast(severity: int) -> None:
    factor = (0.75, 0.5, 0.4, 0.3, 0.15)[severity - 1]
    means = PIXELS.astype(float).mean(axis=(1, 2), keepdims=True)
    _near(_run("contrast", severity), means + factor * (PIXELS - means))


@pytest.mark.parametrize("severity", [1, 5])
def test_gaussian_blur(severity: int) -> None:
    sigma = (0.4, 0, 0, 0, 1)[severity - 1]
    oracle = [
        _each_channel(p, lambda c: ndimage.gaussian_filter(c.astype(float), sigma, mode="nearest"))
        for p in PIXELS
    ]
    _near(_run("gaussian_blur", severity), np.stack(oracle))


@pytest.mark.parametrize(("severity", "radius", "alias"), [(1, 3, 0.1), (3, 6, 0.5), (5, 10, 0.5)])
def test_defocus_blur(severity: int, radius: int, alias: float) -> None:
    """A kernel summed point by point over a mirrored border."""
    half, taps = (8, 1) if radius <= 8 else (10, 2)
    inside = np.array(
        [
            [x * x + y * y <= radius**2 for x in range(-half, half + 1)]
            for y in range(-half, half + 1)
        ]
    ) * np.ones(1)
    soft = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * alias**2))
    soft = np.outer(soft, soft) / soft.sum() ** 2
    kernel = ndimage.convolve(inside / inside.sum(), soft, mode="mirror")
    padded = np.pad(
        LARGE.permute(0, 2, 3, 1).numpy() / 255,
        ((0, 0), (half, half), (half, half), (0, 0)),
        "reflect",
    )
    oracle = sum(
        kernel[y, x] * padded[:, y : y + 70, x : x + 70]
        for y in range(len(kernel))
        for x in range(len(kernel))
    )
    _near(_run("defocus_blur", severity, LARGE), np.asarray(oracle) * 255)


@pytest.mark.parametrize(("severity", "stop"), [(1, 1.06), (4, 1.21)])
def test_zoom_blur(severity: int, stop: float) -> None:
    def zoomed(image: np.ndarray, factor: float) -> np.ndarray:
        part = ceil(32 / factor)
        top = (32 - part) // 2
        big = ndimage.zoom(image[top : top + part, top : top + part], (factor, factor, 1), order=1)
        trim = (len(big) - 32) // 2
        return big[trim : trim + 32, trim : trim + 32]

    factors = np.arange(1, stop, 0.01)
    oracle = [
        (image + sum(zoomed(image, f) for f in factors)) / (len(factors) + 1)
        for image in PIXELS.astype(float)
    ]
    _near(_run("zoom_blur", severity), np.stack(oracle) + 1e-6)


def test_pixelate_makes_box_means() -> None:
    """At half the size a box is 2 × 2 pixels."""
    images = photographs(2, 3, 80, 80)
    boxes = images.double().unflatten(3, (40, 2)).unflatten(2, (40, 2)).mean((3, 5))
    oracle = boxes.repeat_interleave(2, 2).repeat_interleave(2, 3)
    ours = corrupt(images, "pixelate", 2)
    assert (ours - oracle).abs().max() <= 1  # Pillow rounds after each axis


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_glass_blur_is_a_pass_of_copies(reach: int) -> None:
    """As the originals' loop: later pixels see what earlier ones became."""
    height, width = 20, 24
    random = np.random.RandomState(reach)
    shape = (3, height - 2 * reach, width - 2 * reach, 2)
    offsets = random.randint(-reach, reach, size=shape)
    source = taken_from(offsets, height, width, reach)
    for image, moves in zip(source, offsets, strict=True):
        oracle = np.arange(height * width).reshape(height, width)
        steps = iter(moves.reshape(-1, 2))
        for h in range(height - reach, reach, -1):
            for w in range(width - reach, reach, -1):
                dx, dy = next(steps)
                oracle[h, w] = oracle[h + dy, w + dx]
        np.testing.assert_array_equal(image, oracle.ravel())


def test_plasma_is_diamond_square() -> None:
    """Cell by cell on a torus of 8 × 8."""
    side, decay = 8, 1.7
    uniform = np.random.RandomState(1).random_sample((2, side * side - 1))
    for ours, draws in zip(plasma(uniform, side, decay), uniform, strict=True):
        cloud, draw, step, wobble = np.zeros((side, side)), iter(2 * draws - 1), side, 100.0
        while step >= 2:
            half = step // 2
            for down, right, corners in (
                (half, half, [(-half, -half), (-half, half), (half, -half), (half, half)]),
                (0, half, [(-half, 0), (half, 0), (0, -half), (0, half)]),
                (half, 0, [(-half, 0), (half, 0), (0, -half), (0, half)]),
            ):
                for y in range(down, side, step):
                    for x in range(right, side, step):
                        near = [cloud[(y + a) % side, (x + b) % side] for a, b in corners]
                        cloud[y, x] = sum(near) / 4 + wobble**2 * next(draw)
            step, wobble = half, wobble / decay
        cloud = (cloud - cloud.min()) / (cloud.max() - cloud.min())
        np.testing.assert_allclose(ours, cloud, atol=1e-12)


def test_elastic_is_an_affine_map_and_a_displacement() -> None:
    """SciPy's interpolation, with the draws of the image's own stream."""
    severity, key = 4, stream_key(0, "elastic_transform", 4)
    ours = _run("elastic_transform", severity)
    for index, image in enumerate(PIXELS):
        draws = stream(key, index)
        moves = draws.uniform(-1.6, 1.6, size=(3, 2)).astype(np.float32)
        dx, dy = (
            ndimage.gaussian_filter(draws.uniform(-1, 1, (32, 32)), 1.28, truncate=3) * 3.2
            for _ in range(2)
        )
        rows, columns = affine_places(moves[None], 32, 32)[0]
        y, x = np.mgrid[:32, :32]
        oracle = _each_channel(
            image / 255.0,
            lambda c, rows=rows, columns=columns, dy=dy, dx=dx, y=y, x=x: ndimage.map_coordinates(
                ndimage.map_coordinates(c, [rows, columns], order=1, mode="mirror"),
                [y + dy, x + dx],
                order=1,
                mode="reflect",
            ),
        )
        _near(ours[index], oracle * 255)


def test_the_affine_map_takes_the_moved_points_to_their_places() -> None:
    """The points move by whole pixels here, so where they land are pixels."""
    moves = np.array([[[2, -1], [-3, 4], [1, 1]]], np.float32)
    places = affine_places(moves, 32, 32)[0]
    before = np.array([[26, 26], [26, 6], [6, 6]])
    for (x, y), (dx, dy) in zip(before, moves[0].astype(int), strict=True):
        np.testing.assert_allclose(places[:, y + dy, x + dx], [y, x], atol=1 / 32)


def test_impulse_noise_has_its_share_of_black_and_white() -> None:
    images = torch.full((20, 3, 64, 64), 100, dtype=torch.uint8)
    out = corrupt(images, "impulse_noise", 5)
    count = out.numel()
    for value in (0, 255):
        assert stats.binomtest(int((out == value).sum()), count, 0.035).pvalue > 1e-4
    assert set(out.unique().tolist()) == {0, 100, 255}


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("gaussian_noise", 0.08**2),
        ("speckle_noise", (0.4 * 0.12) ** 2),
        ("shot_noise", 0.4 / 100),
    ],
)
def test_moments_of_noise(name: str, variance: float) -> None:
    """Of a flat image of level 102 at severity 3, far from black and white."""
    images = torch.full((40, 3, 32, 32), 102, dtype=torch.uint8)
    noise = (corrupt(images, name, 3).double() + 0.5 - 102) / 255  # cut to whole levels
    count = noise.numel()
    assert abs(float(noise.mean())) < 5 * (variance / count) ** 0.5 + 0.5 / 255
    assert float(noise.var()) == pytest.approx(variance, rel=5 * (2 / count) ** 0.5 + 0.01)


def test_canny_by_flood_fill() -> None:
    """Ridges by loops, then everything that hangs together with a strong one."""
    random = np.random.RandomState(3)
    images = ndimage.gaussian_filter(random.uniform(0, 255, (4, 24, 30)), (0, 1.2, 1.2)) * 1.5
    images = np.clip(images - 60, 0, 255).astype(np.uint8)
    ours = canny(images, 50, 150)
    assert ours.any()
    for image, edges in zip(images.astype(int), ours, strict=True):
        gx, gy = (ndimage.sobel(image, axis, mode="nearest") for axis in (1, 0))
        size = np.pad(abs(gx) + abs(gy), 1)
        weak, strong = set(), []
        for y, x in np.ndindex(image.shape):
            here = size[y + 1, x + 1]
            if here <= 50:
                continue
            angle = np.degrees(np.arctan2(abs(gy[y, x]), abs(gx[y, x])))
            if angle < 22.5:
                (a, b), equal = ((0, -1), (0, 1)), True
            elif angle > 67.5:
                (a, b), equal = ((-1, 0), (1, 0)), True
            else:
                side = -1 if (gx[y, x] < 0) != (gy[y, x] < 0) else 1
                (a, b), equal = ((-1, -side), (1, side)), False
            first, second = (size[y + 1 + p, x + 1 + q] for p, q in (a, b))
            if here > first and (here > second or (equal and here == second)):
                weak.add((y, x))
                if here > 150:
                    strong.append((y, x))
        found = set()
        while strong:
            y, x = strong.pop()
            if (y, x) in weak - found:
                found.add((y, x))
                strong += [(y + p, x + q) for p in (-1, 0, 1) for q in (-1, 0, 1)]
        assert {(y, x) for y, x in np.argwhere(edges).tolist()} == found


def test_chamfer_distance_by_formula() -> None:
    """The cheapest mix of straight, diagonal and knight's steps to each target."""
    random = np.random.RandomState(2)
    targets = random.uniform(size=(3, 15, 18)) < 0.02
    targets[2] = False
    ours = chamfer_distance(targets, 20)
    assert np.isinf(ours[2]).all()
    for mask, distance in zip(targets[:2], ours[:2], strict=True):
        y, x = np.indices(mask.shape)
        each = []
        for row, column in np.argwhere(mask):
            large = np.maximum(abs(y - row), abs(x - column))
            small = np.minimum(abs(y - row), abs(x - column))
            knights = np.minimum(small, large - small)
            straight = np.where(small <= large - small, large - 2 * small, 0)
            diagonal = np.where(small <= large - small, 0, 2 * small - large)
            each.append(2.1969 * knights + 1.4 * diagonal + straight)
        np.testing.assert_allclose(distance, np.min(each, axis=0), rtol=1e-5)


def test_equalize_by_rank() -> None:
    random = np.random.RandomState(4)
    images = random.binomial(40, 0.3, size=(3, 9, 11)).astype(np.uint8)
    images[2] = 17
    ours = equalize(images)
    np.testing.assert_array_equal(ours[2], images[2])
    for image, equal in zip(images[:2], ours[:2], strict=True):
        lowest = (image == image.min()).sum()
        for level in np.unique(image):
            rank = (image <= level).sum() - lowest
            expected = round(255 * rank / (image.size - lowest))
            assert np.unique(equal[image == level]).tolist() == [expected]
