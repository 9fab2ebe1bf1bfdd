"""Random augmentation of training images, vectorised over the minibatch and seeded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Augmentation(Protocol):
    """A frozen dataclass that is called on a minibatch of pixels."""

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Augmented copy of `pixels`, [B, C, H, W] float32 in [0, 1], drawn from `generator`."""


@dataclass(frozen=True)
class RandomAffine:
    """Rotation, scale, shear and shift, each drawn uniformly and independently for every image.

    Sampling is bilinear; what comes from outside the image is 0 (black).

    Attributes:
        rotation: largest angle, degrees.
        scale: largest relative change of size (0.1: from 0.9 to 1.1).
        shear: largest shear angle along the horizontal, degrees.
        shift: largest shift along either axis, pixels.
    """

    rotation: float = 10.0
    scale: float = 0.1
    shear: float = 0.0
    shift: float = 2.0

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        import torch
        from torch.nn import functional

        count, _, height, width = pixels.shape
        draws = torch.rand((5, count), generator=generator).to(pixels.device) * 2 - 1
        angle = draws[0] * math.radians(self.rotation)
        size = 1 + draws[1] * self.scale
        lean = torch.tan(draws[2] * math.radians(self.shear))
        cosine, sine = torch.cos(angle) / size, torch.sin(angle) / size
        across = torch.stack([cosine, lean * cosine - sine, draws[3] * 2 * self.shift / width], 1)
        down = torch.stack([sine, lean * sine + cosine, draws[4] * 2 * self.shift / height], 1)
        theta = torch.stack([across, down], 1)
        grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
        return functional.grid_sample(pixels, grid, padding_mode="zeros", align_corners=False)


@dataclass(frozen=True)
class CropAndFlip:
    """Black borders, a random crop of the original size, and a mirror image half of the time.

    (Lee et al., "Deeply-supervised nets", AISTATS 2015; He et al. 2016, section 4.2.)

    Attributes:
        padding: pixels added on every side.
        flip: whether images are mirrored at the vertical axis, with probability one half.
    """

    padding: int = 4
    flip: bool = True

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        import torch
        from torch.nn import functional

        count, _, height, width = pixels.shape
        reach = 2 * self.padding + 1
        top = torch.randint(reach, (count, 1), generator=generator)
        left = torch.randint(reach, (count, 1), generator=generator)
        mirrored = torch.rand((count, 1), generator=generator) < (0.5 if self.flip else 0.0)
        rows = (top + torch.arange(height)).to(pixels.device)
        across = torch.arange(width)
        columns = (left + torch.where(mirrored, width - 1 - across, across)).to(pixels.device)
        padded = functional.pad(pixels, (self.padding,) * 4)
        image = torch.arange(count, device=pixels.device)[:, None, None]
        cropped = padded.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
        return cropped.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Symmetries:
    """One of the eight symmetries of the square, each as likely: for images without an upside."""

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        import torch

        which = torch.randint(8, (len(pixels),), generator=generator).to(pixels.device)
        turned = torch.empty_like(pixels)
        for symmetry in range(8):
            chosen = which == symmetry
            image = torch.rot90(pixels[chosen], symmetry % 4, (2, 3))
            turned[chosen] = image.flip(3) if symmetry >= 4 else image
        return turned


@dataclass(frozen=True)
class Lighting:
    """Another exposure: y = (x − ½) · c + ½ + b, cut off at black and white.

    Attributes:
        brightness: largest |b|.
        contrast: largest |c − 1|.
    """

    brightness: float = 0.1
    contrast: float = 0.2

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        import torch

        draws = torch.rand((2, len(pixels), 1, 1, 1), generator=generator).to(pixels.device) * 2 - 1
        lit = (pixels - 0.5) * (1 + draws[0] * self.contrast) + 0.5 + draws[1] * self.brightness
        return lit.clamp_(0, 1)


@dataclass(frozen=True)
class Magnification:
    """Another magnification: the image grows or shrinks about its centre, by the same factor both
    ways. Sampling is bilinear; what comes from outside is mirrored at the border.

    Attributes:
        change: largest factor; its logarithm is uniform between −log and log of it.
    """

    change: float = 1.25

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        import torch
        from torch.nn import functional

        draws = torch.rand(len(pixels), generator=generator).to(pixels.device) * 2 - 1
        size = self.change**-draws
        theta = torch.eye(2, 3, device=pixels.device) * size[:, None, None]
        grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
        return functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


@dataclass(frozen=True)
class Staining:
    """Another amount of stain: y = x^g, for light that passes g times the dye is dimmed g times as
    often (Beer and Lambert's law).

    Attributes:
        change: largest g; its logarithm is uniform between −log and log of it.
    """

    change: float = 1.5

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        import torch

        draws = torch.rand((len(pixels), 1, 1, 1), generator=generator).to(pixels.device) * 2 - 1
        return pixels.pow(self.change**draws)


@dataclass(frozen=True)
class Chain:
    """One augmentation after the other.

    Attributes:
        steps: what is done, in order.
    """

    steps: tuple[Augmentation, ...]

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        for step in self.steps:
            pixels = step(pixels, generator)
        return pixels
