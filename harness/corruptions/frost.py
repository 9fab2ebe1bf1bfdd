"""Frost: a piece of a photograph of ice over the image."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from math import ceil
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.errors import UserError
from ..core.whole import open_regular
from ..data.decode import UndecodableError, decoded
from ..data.root import DATA_VARIABLE, data_root
from .context import Context
from .registered import Corruption

PACKAGE = "imagecorruptions"
"""The package that carries the photographs; they are read from it, it is never imported."""

_PHOTOGRAPHS = 5  # the originals have six and draw from five
_LUMA = np.array([0.2989, 0.5870, 0.1140])


def frost(
    images: np.ndarray, parameters: tuple[float, float, float], context: Context
) -> np.ndarray:
    """Parameters: weight of the image, weight of the ice, scale of the photograph."""
    keep, ice, scale = parameters
    _, height, width, channels = images.shape
    pictures = [photograph(p, scale, height, width) for p in photographs(context.root)]
    crops = context.draw(lambda stream: _crop(pictures, height, width, stream))
    if channels == 1:
        crops = (crops * _LUMA).sum(axis=-1, keepdims=True)
    return np.clip(keep * images + ice * crops, 0, 255)


def photographs(root: Path | None) -> list[Path]:
    """The first five photographs in order of their names.

    They are `frost/*.png` and `frost/*.jpg` under the data root; if there are none, those of the
    installed package `imagecorruptions`.

    Raises:
        UserError: there are none in either place.
    """
    named = data_root(root)
    homes = [] if named is None else [named / "frost"]
    spec = find_spec(PACKAGE)
    homes += [Path(p) / "frost" for p in (spec and spec.submodule_search_locations) or ()]
    for home in homes:
        found = sorted((*home.glob("*.png"), *home.glob("*.jpg")), key=lambda path: path.name)
        if found:
            return found[:_PHOTOGRAPHS]
    raise UserError(
        f"The corruption frost needs photographs of ice: pip install --no-deps {PACKAGE}, or put "
        f"its frost/*.png and *.jpg into frost under a directory named by --data or "
        f"{DATA_VARIABLE}."
    )


@lru_cache(maxsize=_PHOTOGRAPHS)
def photograph(path: Path, scale: float, height: int, width: int) -> np.ndarray:
    """[h, w, 3] uint8, at least a pixel larger than height × width either way.

    It is scaled by `scale`, 1 or 1/k: every k-th pixel, which is what the originals' bilinear
    resize without antialiasing comes to. Where that is too small, it is scaled to fit.

    Raises:
        UserError: the file is not a picture.
    """
    try:
        with open_regular(path) as stream:
            picture = decoded(stream, Image.Image.copy)
    except (UndecodableError, OSError) as reason:
        raise UserError(f"{path} is not a picture ({reason}); fetch it again.") from None
    every = round(1 / scale)
    thinned = np.asarray(picture)[every // 2 :: every, every // 2 :: every]
    if thinned.shape[0] > height and thinned.shape[1] > width:
        return thinned
    grown = max((height + 1) / picture.height, (width + 1) / picture.width)
    size = (ceil(picture.width * grown), ceil(picture.height * grown))
    return np.asarray(picture.resize(size, Image.Resampling.BILINEAR))


def _crop(
    pictures: list[np.ndarray], height: int, width: int, stream: np.random.RandomState
) -> np.ndarray:
    picture = pictures[stream.randint(len(pictures))]
    top = stream.randint(0, picture.shape[0] - height)
    left = stream.randint(0, picture.shape[1] - width)
    return picture[top : top + height, left : left + width]


FROST = Corruption(
    random=True,
    small=((1, 0.2, 0.2), (1, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
    large=((1, 0.4, 1), (0.8, 0.6, 1), (0.7, 0.7, 1), (0.65, 0.7, 1), (0.6, 0.75, 1)),
    apply=frost,
)
