"""The one decoder of pictures, wherever they come from: what is refused, and the memory it takes.

Pictures are brought to RGB as torchvision's loader does it: gray is repeated, a palette is looked
up, CMYK is converted, transparency is dropped. Refused are pictures of more than 8 bits per channel
or of floats, which would be clipped or cut, animated ones, those of several pages, damaged or empty
ones, and those of more than `MOST_PIXELS`, which are refused before they are decoded.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from multiprocessing.context import BaseContext
from typing import Any, BinaryIO, Protocol, TypeVar

from PIL import Image, UnidentifiedImageError

T = TypeVar("T")

#: Those of torchvision's `ImageFolder`.
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
#: Pillow's names of what these suffixes stand for. It knows others that run a program on the file.
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
#: Pillow's modes of 8 bits or fewer; others would be clipped on their way to RGB.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")
#: What all decoders together hold at most. A pixel takes up to 12 bytes: 4 as it is stored, 4 in
#: RGB, and 4 in the codec (coefficients of a progressive JPEG, the frame of a WebP).
MOST_BYTES = 1 << 30
#: 89 million: one such picture takes all of `MOST_BYTES`.
MOST_PIXELS = MOST_BYTES // 12
#: Pixels that each row and column counts beside its own: Pillow keeps an address for each row, and
#: a scaling weights for each row and column, which is most of a picture of few columns.
_EDGE = 4

_SLOTS = 256
_TIFF_BITS = 258  # the tag BitsPerSample
_DEEP = re.compile(r";16[A-Z]")  # of a codec's raw mode; `BGR;16` is 5 or 6 bits per channel

# Pillow warns of what is refused here in a sentence.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UndecodableError(Exception):
    """Why a file is not a picture that is taken; whoever knows the file names it."""


class _Semaphore(Protocol):
    def acquire(self) -> bool: ...

    def release(self) -> None: ...


class Budget:
    """Pixels that may be decoded at a time, by threads of this process or of several.

    Args:
        slots: a semaphore of `_SLOTS`, each a share of `MOST_PIXELS`.
        turn: a lock; who holds it takes all its slots before another one starts.
    """

    def __init__(self, slots: _Semaphore, turn: AbstractContextManager[Any]) -> None:
        self._slots, self._turn = slots, turn

    @classmethod
    def of_processes(cls, context: BaseContext) -> Budget:
        """One for processes that `context` starts; it travels to them as an argument."""
        return cls(context.Semaphore(_SLOTS), context.Lock())

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until so many pixels fit, and keep their place; more than fit count as all."""
        count = min(_SLOTS, -(-pixels * _SLOTS // MOST_PIXELS))
        with self._turn:
            for _ in range(count):
                self._slots.acquire()
        try:
            yield
        finally:
            for _ in range(count):
                self._slots.release()


_budget = Budget(threading.Semaphore(_SLOTS), threading.Lock())


def share(budget: Budget) -> None:
    """Decode within this budget from now on, in this process."""
    global _budget
    _budget = budget


def decoded(stream: BinaryIO, make: Callable[[Image.Image], T]) -> T:
    """What `make` makes of a picture in RGB. From several threads at once.

    Args:
        stream: of the file; no more than the header is read before it is known to be taken.
        make: called with the picture; what it raises is a reason too. Its method `pixels`, if it
            has one, says of width and height how many more it holds, or that they are too many.

    Raises:
        UndecodableError: see the module.
    """
    try:
        with Image.open(stream, formats=FORMATS) as image:
            _check(image)
            also = getattr(make, "pixels", lambda *_: 0)(*image.size)
            with _budget.hold(weight(*image.size) + also):
                return make(image if image.mode == "RGB" else image.convert("RGB"))
    except UndecodableError:
        raise
    except UnidentifiedImageError:  # its text is an address in memory
        raise UndecodableError(
            "no image that Pillow knows as one of " + ", ".join(FORMATS)
        ) from None
    except Exception as reason:  # Pillow's readers raise many kinds on damaged files
        raise UndecodableError(f"{type(reason).__name__}: {reason}") from None


def weight(width: int, height: int) -> int:
    """Pixels that a picture counts as in the budget."""
    return (width + _EDGE) * (height + _EDGE)


def check_pixels(width: int, height: int, beside: int = 0) -> None:
    """Raises UndecodableError: a picture of this size is empty or too large to be decoded.

    Args:
        width: of the picture.
        height: of the picture.
        beside: pixels that are held meanwhile.
    """
    pixels, counted = width * height, weight(width, height) + beside
    if pixels and counted <= MOST_PIXELS:
        return
    narrow = f" and takes the memory of {counted:,}" if 0 < pixels <= MOST_PIXELS else ""
    raise UndecodableError(
        f"{width}×{height} is {pixels:,} pixels{narrow}; from 1 to {MOST_PIXELS:,} are taken"
    )


def _check(image: Image.Image) -> None:
    check_pixels(*image.size)
    if image.mode not in MODES:
        raise UndecodableError(f"Pillow's mode {image.mode} is not one of 8 bits per channel")
    if _deep(image):
        raise UndecodableError("it has more than 8 bits per channel")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's: its first is the picture
        raise UndecodableError(f"it has {frames} frames or pages")


def _deep(image: Image.Image) -> bool:
    """Whether a mode of 8 bits per channel stands for a file of more, the low ones cut off."""
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS, (1,))
    if max(bits) > 8:
        return True
    for tile in getattr(image, "tile", ()):
        for told in tile[3] if isinstance(tile[3], tuple) else (tile[3],):
            if isinstance(told, str) and _DEEP.search(told):
                return True
            if tile[0].startswith("ppm") and isinstance(told, int) and told > 255:
                return True
    return False
