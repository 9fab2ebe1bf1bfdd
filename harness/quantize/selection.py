"""Every k-th pixel, some channels and zero channels, as a convolution with a fixed weight.

The parameter-free shortcut of He et al. 2016, section 4.2 (option A) is `x[:, :, ::2, ::2]` padded
with zero channels; ShuffleNet splits, and shuffles, channels. These are (strided) 1x1 convolutions
whose weight is 1 where an output channel reads a channel and 0 elsewhere, so the graph needs no
operation of its own for them. What a chain of slices, splits and reshapes does is found by letting
it move numbers, not by knowing it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .graph import Conv, Pair


@dataclass(frozen=True)
class Selection:
    """Pixels and channels that are kept.

    Attributes:
        stride: every how many rows and columns one is kept, the first one always.
        channels: which channel each one is, -1 for zeros.
    """

    stride: Pair
    channels: tuple[int, ...]

    def keeps_all(self, channels: int) -> bool:
        """Whether it changes nothing in a map of so many channels."""
        return self == Selection((1, 1), tuple(range(channels)))

    def weight(self, channels: int) -> Tensor:
        """Float32 [len(self.channels), channels, 1, 1], of zeros and ones."""
        kernel = torch.zeros(len(self.channels), channels, 1, 1)
        for made, kept in enumerate(self.channels):
            if kept >= 0:
                kernel[made, kept] = 1.0
        return kernel


def numbered(shape: tuple[int, ...]) -> Tensor:
    """A map to be moved, float64 of that shape: every number is another one, and none is 0."""
    size = torch.Size(shape).numel()
    return torch.arange(1, size + 1, dtype=torch.float64).reshape(shape)


def recognise(before: Tensor, after: Tensor) -> Selection | None:
    """The selection that moved what `numbered` made; None if it was none.

    Args:
        before: [N, C, H, W], or [N, C].
        after: any shape; 0 where something was padded.
    """
    before, after = (x[:, :, None, None] if x.dim() == 2 else x for x in (before, after))
    if after.dim() != 4 or len(after) != len(before) or not after.numel():
        return None
    _, _, height, width = before.shape
    pixel = after[0, :, 0, 0].long() - 1
    channels = torch.where(pixel < 0, -1, pixel // (height * width))
    stride = (_stride(height, after.shape[2]), _stride(width, after.shape[3]))
    kept = before[:, channels.clamp(0, before.shape[1] - 1), :: stride[0], :: stride[1]]
    kept = kept * (channels >= 0)[:, None, None]
    return Selection(stride, tuple(channels.tolist())) if torch.equal(kept, after) else None


def _stride(before: int, after: int) -> int:
    """The smallest that leaves so many of a row or column."""
    return next((k for k in range(1, before) if (before - 1) // k + 1 <= after), before)


def only_selects(conv: Conv, weight: Tensor, bias: Tensor) -> bool:
    """Whether a layer copies values of its input, so that its output needs no scale of its own."""
    fixed = not (conv.bayesian or conv.bias_bayesian) and conv.residual is None
    rows = weight.flatten(1)
    copies = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(dim=1) <= 1).all())
    return fixed and copies and not bias.any()
