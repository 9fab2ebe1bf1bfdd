"""Every k-th pixel and zero channels, as a convolution with a fixed weight.

The parameter-free shortcut of He et al. 2016, section 4.2 (option A) is `x[:, :, ::2, ::2]` padded
with zero channels. That is a strided 1x1 convolution whose weight is 1 where output channel
`before + c` reads channel c and 0 elsewhere, so the graph needs no operation of its own for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .graph import Conv, Pair


@dataclass(frozen=True)
class Selection:
    """Pixels and channels that are kept.

    Attributes:
        stride: every how many rows and columns one is kept, the first one always.
        before: zero channels put before.
        after: zero channels put behind.
    """

    stride: Pair = (1, 1)
    before: int = 0
    after: int = 0

    @property
    def keeps_all(self) -> bool:
        """Whether it changes nothing."""
        return self == Selection()

    def weight(self, channels: int) -> Tensor:
        """Float32 [before + channels + after, channels, 1, 1], of zeros and ones."""
        kernel = torch.zeros(self.before + channels + self.after, channels, 1, 1)
        kernel[self.before : self.before + channels, :, 0, 0] = torch.eye(channels)
        return kernel

    def sliced(self, size: int, dim: int = 0, start: Any = 0, end: Any = None, step: Any = 1,
               ) -> Selection | None:  # fmt: skip
        """With `aten.slice` behind it; None where that leaves out anything but rows or columns.

        Args:
            size: extent of the sliced dimension.
            dim: of [N, C, H, W].
            start, end, step: the operator's.
        """
        if start not in (0, None) or (end is not None and end < size):
            return None
        if step == 1:
            return self
        if dim % 4 < 2:
            return None
        rows, columns = self.stride
        stride = (rows * step, columns) if dim % 4 == 2 else (rows, columns * step)
        return replace(self, stride=stride)

    def padded(self, pad: list[int], mode: str = "constant", value: Any = 0) -> Selection | None:
        """With `aten.pad` behind it; None where that pads anything but zero channels."""
        before, after = pad[4:6] if len(pad) == 6 else (0, 0)
        if mode != "constant" or value not in (0, None) or any(pad[:4]) or min(before, after) < 0:
            return None
        return replace(self, before=self.before + before, after=self.after + after)


def only_selects(conv: Conv, weight: Tensor, bias: Tensor) -> bool:
    """Whether a layer copies values of its input, so that its output needs no scale of its own."""
    fixed = not (conv.bayesian or conv.bias_bayesian) and conv.residual is None
    rows = weight.flatten(1)
    copies = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(dim=1) <= 1).all())
    return fixed and copies and not bias.any()
