"""Every k-th pixel, zeros around a map, some channels and zero channels, as a convolution with a
fixed weight.

The parameter-free shortcut of He et al. 2016, section 4.2 (option A) is `x[:, :, ::2, ::2]` padded
with zero channels; ShuffleNet splits, and shuffles, channels; a convolution that TensorFlow calls
`SAME` pads more on one side. These are (strided) convolutions with one 1 in the kernel where an
output channel reads a channel and 0 elsewhere, so the graph needs no operation of its own for them.
What a chain of slices, splits and reshapes does is found by letting it move numbers, not by knowing
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .graph import Conv


@dataclass(frozen=True)
class Axis:
    """Rows, or columns, that are kept: outside the map there are zeros.

    Attributes:
        before: how many there are.
        count: how many are made.
        first: which one the first of them is; below 0 where zeros are put before the map.
        stride: every how many one is kept.
    """

    before: int
    count: int
    first: int = 0
    stride: int = 1

    def window(self) -> tuple[int, int, int] | None:
        """Padding on both sides, the kernel's length and the place of its 1, of a convolution that
        makes these; None: there is none of a padding below the length of what is made."""
        for padding in range(max(0, -self.first), self.count + self.before + 1):
            place = padding + self.first
            longest = self.before + 2 * padding - self.stride * (self.count - 1)
            shortest = max(place + 1, longest - self.stride + 1)
            if shortest <= longest:
                return padding, shortest, place
        return None


@dataclass(frozen=True)
class KeptElements:
    """Pixels and channels that are kept.

    Attributes:
        rows: of the map.
        columns: likewise.
        channels: which channel each one is, -1 for zeros.
    """

    rows: Axis
    columns: Axis
    channels: tuple[int, ...]

    def keeps_all(self, channels: int) -> bool:
        """Whether it changes nothing in a map of so many channels."""
        whole = all(axis == Axis(axis.before, axis.before) for axis in (self.rows, self.columns))
        return whole and self.channels == tuple(range(channels))

    def layer(self, channels: int) -> tuple[Tensor, dict[str, Any]] | None:
        """The convolution that does this to a map of so many channels: its weight of zeros and
        ones, float32, and stride, padding and groups; None: there is none."""
        down, across = self.rows.window(), self.columns.window()
        if down is None or across is None:
            return None
        (top, height, row), (left, width, column) = down, across
        apart = (height, width) != (1, 1) and self.channels == tuple(range(channels))
        kernel = torch.zeros(len(self.channels), 1 if apart else channels, height, width)
        for made, kept in enumerate(self.channels):
            if kept >= 0:
                kernel[made, 0 if apart else kept, row, column] = 1.0
        return kernel, {
            "stride": (self.rows.stride, self.columns.stride),
            "padding": (top, left),
            "groups": channels if apart else 1,
        }


def numbered(shape: tuple[int, ...]) -> Tensor:
    """A map to be moved, float64 of that shape: every number is another one, and none is 0."""
    size = torch.Size(shape).numel()
    return torch.arange(1, size + 1, dtype=torch.float64).reshape(shape)


def recognise(before: Tensor, after: Tensor) -> KeptElements | None:
    """The selection that moved what `numbered` made; None if it was none.

    Args:
        before: [N, C, H, W], or [N, C].
        after: any shape; 0 where something was padded.
    """
    before, after = (x[:, :, None, None] if x.dim() == 2 else x for x in (before, after))
    if after.dim() != 4 or len(after) != len(before) or not after.numel():
        return None
    height, width = before.shape[2:]
    number = after[0].long() - 1
    top = number.flatten(1).amax(1)
    channels = torch.where(top < 0, -1, top // (height * width))
    pixel = torch.where(number < 0, -1, number % (height * width)).amax(0)  # of any channel
    rows = _axis(torch.where(pixel < 0, -1, pixel // width).amax(1), height)
    columns = _axis(torch.where(pixel < 0, -1, pixel % width).amax(0), width)
    kept = _kept(_kept(before, rows, 2), columns, 3)[:, channels.clamp(0, before.shape[1] - 1)]
    kept = kept * (channels >= 0)[:, None, None]
    return (
        KeptElements(rows, columns, tuple(channels.tolist())) if torch.equal(kept, after) else None
    )


def _axis(places: Tensor, before: int) -> Axis:
    """Rows or columns from where each one was, [count]; -1: nowhere."""
    count = len(places)
    there = [(made, int(kept)) for made, kept in enumerate(places) if kept >= 0]
    made, kept = there[0] if there else (0, 0)
    if len(there) > 1:
        other, kept_too = there[1]
        stride = max((kept_too - kept) // (other - made), 1)
    elif count == 1:
        stride = before
    else:  # so many that those beside it are outside
        stride = max(kept + 1 if made else 1, before - kept if made < count - 1 else 1)
    return Axis(before, count, kept - made * stride, stride)


def _kept(x: Tensor, axis: Axis, dim: int) -> Tensor:
    """What an axis keeps of x, zeros outside."""
    places = axis.first + axis.stride * torch.arange(axis.count)
    inside = (places >= 0) & (places < axis.before)
    mask = inside.reshape(-1, *(1,) * (x.dim() - 1 - dim))
    return x.index_select(dim, places.clamp(0, axis.before - 1)) * mask


def only_selects(conv: Conv, weight: Tensor, bias: Tensor) -> bool:
    """Whether a layer copies values of its input, so that its output needs no scale of its own."""
    fixed = not (conv.bayesian or conv.bias_bayesian) and conv.residual is None
    rows = weight.flatten(1)
    copies = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(dim=1) <= 1).all())
    return fixed and copies and not bias.any()
