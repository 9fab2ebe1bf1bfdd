"""What a corruption may use beside the images: a random stream for each, and the data root."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STREAM = "sigmabench.corruption.v1"
"""Names the streams below; other draws under the same name would break comparisons."""


@dataclass(frozen=True)
class Context:
    """Of a batch of N images.

    Attributes:
        streams: N generators; each is its image's own.
        root: data root, or None.
    """

    streams: tuple[np.random.RandomState, ...]
    root: Path | None

    def draw(self, sample: Callable[[np.random.RandomState], Any]) -> np.ndarray:
        """[N, ...]: `sample` of each image's stream, which moves on."""
        return np.stack([sample(stream) for stream in self.streams])


def contexts(
    seed: int, type: str, severity: int, indices: Sequence[int], root: Path | None
) -> Context:
    """The context of the images at these indices of their split."""
    key = stream_key(seed, type, severity)
    return Context(tuple(stream(key, index) for index in indices), root)


def stream_key(seed: int, type: str, severity: int) -> int:
    """128-bit key of the streams: BLAKE2b of `<STREAM>/<seed>/<type>/<severity>`, big-endian."""
    text = f"{STREAM}/{seed}/{type}/{severity}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def stream(key: int, index: int) -> np.random.RandomState:
    """The stream of one image: Philox4x64 from counter index · 2¹⁹², so no two overlap.

    Of NumPy's two front ends `RandomState` is the one whose draws are frozen for good.
    """
    return np.random.RandomState(np.random.Philox(key=key, counter=index << 192))


def unit(images: np.ndarray) -> np.ndarray:
    """uint8 pixels as float64 in [0, 1]."""
    return images / 255.0


def levels(pixels: np.ndarray) -> np.ndarray:
    """Pixels cut to [0, 1], as levels in 0 … 255."""
    return np.clip(pixels, 0, 1) * 255
