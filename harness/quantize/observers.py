"""Observers: how much of what was seen of an activation its range covers.

Naming them loads no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

BINS = 4096


@dataclass(frozen=True, eq=False)
class Magnitudes:
    """Distribution of |x| of one activation.

    Attributes:
        counts: float64 [BINS], of bins of equal width over [0, top].
        top: largest |x| seen.
    """

    counts: Tensor
    top: float

    @property
    def centres(self) -> Tensor:
        """Centres of the bins, float64 [BINS]."""
        import torch

        return (torch.arange(BINS, dtype=torch.float64) + 0.5) * (self.top / BINS)


#: (histogram, integer levels above zero) -> largest |x| that is represented
Observer = Callable[[Magnitudes, int], float]


def minmax(histogram: Magnitudes, levels: int) -> float:
    """Nothing seen is cut off."""
    return histogram.top


def percentile(histogram: Magnitudes, levels: int) -> float:
    """The smallest range that holds 99.99 % of the values seen."""
    import torch

    share = histogram.counts.cumsum(0) / histogram.counts.sum()
    index = int(torch.searchsorted(share, torch.tensor(0.9999, dtype=torch.float64)))
    return (index + 1) * histogram.top / BINS


def mse(histogram: Magnitudes, levels: int) -> float:
    """The range whose rounding and clipping lose least in mean square, of 128 candidates."""
    import torch

    tops = histogram.top * torch.arange(1, 129, dtype=torch.float64) / 128
    centres = histogram.centres
    scales = (tops / levels)[:, None]
    restored = (centres / scales).round().clamp(max=levels) * scales
    errors = ((restored - centres) ** 2 * histogram.counts).sum(dim=1)
    return float(tops[int(errors.argmin())])


OBSERVERS: Registry[Observer] = Registry(
    "observer",
    {name: f"{__name__}:{name}" for name in ("minmax", "percentile", "mse")},
    callable,
)
