"""The configurations of an ablation: the defaults, and every choice changed alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...quantize.options import Options


@dataclass(frozen=True)
class Choice:
    """One configuration.

    Attributes:
        change: what differs from the default of this σ width, in words; empty where nothing does.
        format: name in `FORMATS`.
        options: of post-training quantization.
        observer: of activation ranges.
        sampled: whether ranges are observed over sampled passes too.
    """

    change: str
    format: str
    options: Options = field(default_factory=Options)
    observer: str = "minmax"
    sampled: bool = False


BASE = Choice("", "FP32")


def default_choices() -> tuple[Choice, ...]:
    """The defaults, then every change of one of them.

    What shapes σ's grid is changed where the grid is coarse, at n = 2; all else at n = 8.
    """
    plain = [Choice("", name) for name in ("INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1")]
    codebook = Options(sigma_grid="codebook")
    return (
        *plain,
        *(Choice("codebook", f"INT8_SIGMA{n}", codebook) for n in (4, 2, 1)),
        *(Choice("4-bit μ", name) for name in ("INT4", "INT4_SIGMA2", "INT4_SIGMA1")),
        Choice("σ grid a tensor", "INT8_SIGMA2", Options(granularity="tensor")),
        Choice("integer offset", "INT8_SIGMA2", Options(sigma_offset="integer")),
        Choice("range paper", "INT8", Options(range="paper")),
        Choice("dithered", "INT8", Options(rounding="dithered")),
        Choice("percentile", "INT8", observer="percentile"),
        Choice("mse", "INT8", observer="mse"),
        Choice("sampled ranges", "INT8", sampled=True),
    )
