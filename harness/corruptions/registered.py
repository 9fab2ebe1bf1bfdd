"""The 16 corruption types of the study by name, and `corrupt`, which applies one.

Types and severities are of Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019; the 16 are those of Ovadia et al., "Can You Trust
Your Model's Uncertainty?", NeurIPS 2019.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import UserError
from ..core.registry import Registry
from .context import Context, contexts

if TYPE_CHECKING:
    from torch import Tensor

SEVERITIES = (1, 2, 3, 4, 5)
CLEAN, GENERATED, OFFICIAL = "clean", "generated", "official"
NONE = "none"
"""The corruption, of severity 0, that leaves a split as it is."""
SMALL = 64
"""Images whose longer side is at most so many pixels get the parameters of CIFAR-10-C."""

_SHORTEST = 8
_HERE = __name__.rpartition(".")[0]
_CHUNK = 1 << 18  # values at a time: float64 temporaries stay in a few MB


@dataclass(frozen=True)
class Corruption:
    """One type of corruption.

    Attributes:
        random: it draws numbers; if not, the seed makes no difference.
        small: parameters of severities 1 … 5 for small images (CIFAR-10-C's).
        large: parameters of severities 1 … 5 for all others (ImageNet-C's).
        apply: (images [N, H, W, C] uint8, parameters of one severity, context of these images) to
            [N, H, W, C] real in 0 … 255; fractions are cut off, as the originals do. What becomes
            of an image depends on it and its own draws alone.
    """

    random: bool
    small: tuple[Any, ...]
    large: tuple[Any, ...]
    apply: Callable[[np.ndarray, Any, Context], np.ndarray]

    def __post_init__(self) -> None:
        if len(self.small) != len(SEVERITIES) or len(self.large) != len(SEVERITIES):
            raise ValueError("a corruption has one set of parameters for each severity")


CORRUPTIONS: Registry[Corruption] = Registry(
    "corruption",
    {
        "brightness": f"{_HERE}.colour:BRIGHTNESS",
        "contrast": f"{_HERE}.colour:CONTRAST",
        "defocus_blur": f"{_HERE}.blur:DEFOCUS_BLUR",
        "elastic_transform": f"{_HERE}.elastic:ELASTIC_TRANSFORM",
        "fog": f"{_HERE}.fog:FOG",
        "frost": f"{_HERE}.frost:FROST",
        "gaussian_blur": f"{_HERE}.blur:GAUSSIAN_BLUR",
        "gaussian_noise": f"{_HERE}.added:GAUSSIAN_NOISE",
        "glass_blur": f"{_HERE}.glass:GLASS_BLUR",
        "impulse_noise": f"{_HERE}.added:IMPULSE_NOISE",
        "pixelate": f"{_HERE}.pixelate:PIXELATE",
        "saturate": f"{_HERE}.colour:SATURATE",
        "shot_noise": f"{_HERE}.added:SHOT_NOISE",
        "spatter": f"{_HERE}.spatter:SPATTER",
        "speckle_noise": f"{_HERE}.added:SPECKLE_NOISE",
        "zoom_blur": f"{_HERE}.zoom:ZOOM_BLUR",
    },
)


def corrupt(
    images: Tensor,
    type: str,
    severity: int,
    *,
    seed: int = 0,
    indices: Tensor | None = None,
    root: Path | None = None,
) -> Tensor:
    """Corrupted copies of images.

    A copy is a function of the image, `type`, `severity`, `seed` and the image's index; neither
    the other images nor their order nor the number of threads matter.

    Args:
        images: [N, C, H, W] uint8, C = 3 (RGB) or 1 (gray), H and W at least 8.
        type: a name of `CORRUPTIONS`.
        severity: 1 … 5.
        seed: any integer; two seeds differ in every random type.
        indices: [N] the images' places in their split, from 0; 0 … N − 1 if None.
        root: data root, see `splits.data_root`; only `frost` looks there.

    Returns:
        [N, C, H, W] uint8.

    Raises:
        UserError: an argument is none of these, or frost's photographs are missing.
    """
    import torch

    corruption = CORRUPTIONS.get(type)
    check_severity(severity)
    places = _places(images, indices)
    parameters = (corruption.small if is_small(images) else corruption.large)[severity - 1]
    pixels = images.detach().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    out = np.empty_like(pixels)
    step = max(1, _CHUNK // max(1, pixels[:1].size))
    for start in range(0, len(pixels), step):
        part = slice(start, start + step)
        context = contexts(seed, type, severity, places[part], root)
        with np.errstate(invalid="raise"):  # a NaN has no pixel value
            out[part] = corruption.apply(pixels[part], parameters, context).astype(np.uint8)
    return torch.from_numpy(out).permute(0, 3, 1, 2).contiguous()


def why_not(images: Tensor, type: str, root: Path | None) -> str:
    """Why a type, which may need more than code, cannot be made of such images; empty if it can.

    Args:
        images: as `corrupt`; one is enough.
        type: a name of `CORRUPTIONS`.
        root: data root, see `splits.data_root`.
    """
    try:
        corrupt(images, type, 1, root=root)
    except UserError as reason:
        return str(reason)
    return ""


def check_severity(severity: int) -> None:
    """Raises `UserError` unless it is one of 1 … 5."""
    if severity not in SEVERITIES:
        raise UserError(f"The severity is {severity}; give a whole number from 1 to 5.")


def is_small(images: Tensor) -> bool:
    """Whether these images get the parameters of CIFAR-10-C."""
    return max(images.shape[-2:]) <= SMALL


def _places(images: Tensor, indices: Tensor | None) -> list[int]:
    """Checks the images; their indices."""
    shape = tuple(images.shape)
    if str(images.dtype) != "torch.uint8" or len(shape) != 4 or shape[1] not in (1, 3):
        raise UserError(
            f"The images to corrupt are {images.dtype} of shape {shape}; give uint8 of shape "
            "[N, C, H, W] with C = 1 or 3."
        )
    if min(shape[2:]) < _SHORTEST:
        raise UserError(
            f"The images to corrupt are {shape[2]} × {shape[3]} pixels; give at least "
            f"{_SHORTEST} a side."
        )
    if indices is None:
        return list(range(shape[0]))
    if indices.is_floating_point() or tuple(indices.shape) != shape[:1] or (indices < 0).any():
        raise UserError(
            f"There are {shape[0]} images and indices of shape {tuple(indices.shape)}; give each "
            "image its place in the split, from 0."
        )
    places: list[int] = indices.tolist()
    return places
