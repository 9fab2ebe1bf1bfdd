"""The choices of post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..core.errors import unknown
from .sigma import Granularity, Grid, Offset

Range = Literal["headroom", "paper"]
Rounding = Literal["nearest", "dithered"]


def compiled_sampler(sigma_grid: str, rounding: str) -> bool:
    """Whether the compiled sampler draws such weights: from an affine grid, rounded to nearest.

    The definition here draws all of them.
    """
    return sigma_grid == "affine" and rounding == "nearest"


@dataclass(frozen=True)
class Options:
    """Choices of post-training quantization; the defaults were chosen on validation data.

    Attributes:
        range: what the weight grid of an output channel covers: `paper`, max |μ|; `headroom`,
            max (|μ| + 3σ), so that the noise is not clipped.
        granularity: of σ's grid: one per output `channel`, or one per `tensor`.
        sigma_offset: `float`: σ's grid starts at σ_min; `integer`: Algorithm 1's zero point. A
            codebook has neither.
        sigma_grid: `affine`: Algorithm 1's equal steps; `codebook`: 2^n levels by Lloyd and Max.
        rounding: of sampled weights to their grid: `nearest`; `dithered`: up with the probability
            of the fraction, so that noise below half a step does not vanish.
    """

    range: Range = "headroom"
    granularity: Granularity = "channel"
    sigma_offset: Offset = "float"
    sigma_grid: Grid = "affine"
    rounding: Rounding = "nearest"

    def __post_init__(self) -> None:
        for field, known in CHOICES.items():
            value = getattr(self, field)
            if value not in known:
                raise unknown(field.replace("_", " "), value, known)

    @property
    def compiled_sampler(self) -> bool:
        """As `Header.compiled_sampler`."""
        return compiled_sampler(self.sigma_grid, self.rounding)


CHOICES: dict[str, tuple[str, ...]] = {
    "range": ("headroom", "paper"),
    "granularity": ("channel", "tensor"),
    "sigma_offset": ("float", "integer"),
    "sigma_grid": ("affine", "codebook"),
    "rounding": ("nearest", "dithered"),
}
