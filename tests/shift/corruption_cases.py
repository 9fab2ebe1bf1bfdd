"""Images to corrupt: smooth synthetic photographs, and ice for frost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor


def photographs(count: int, channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    """[N, C, H, W] uint8 with structure at several scales, bright, dark and flat places."""
    random = np.random.RandomState(5)
    shape = (count, channels, height, width)
    layers = [
        gaussian_filter(random.normal(size=shape), (0, 0, sigma, sigma)) * sigma
        for sigma in (0.5, 1.5, 4)
    ]
    pixels = np.clip(
        sum(layers) * 0.35 + random.uniform(0.2, 0.8, size=(count, channels, 1, 1)), 0, 1
    )
    pixels[:, :, : height // 4, : width // 4] = 1
    return torch.from_numpy((pixels * 255).astype(np.uint8))


def ice(root: Path) -> Path:
    """A data root with six photographs, of which frost uses five."""
    home = root / "frost"
    home.mkdir(parents=True)
    for number in range(6):
        random = np.random.RandomState(number)
        pixels = random.randint(120, 256, size=(330 + 7 * number, 400, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(home / f"frost{number}.png")
    return root
