"""Known sets of images from outside the distribution, each read when it is asked for.

A set is a function of (data root) in `OOD_SETS`; other packages register theirs through the
entry-point group `sigmabench.oods`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

#: Before the name of such a set, in the place of a type of corruption.
OOD = "ood:"
#: (data root or None) -> images, uint8 [N, C, H, W]
Loader = Callable[[Path | None], "Tensor"]


def svhn(root: Path | None) -> Tensor:
    """SVHN's test images (Netzer et al. 2011), uint8 [26032, 3, 32, 32]; torchvision checks MD5."""
    import numpy as np
    import torch
    from torchvision.datasets import SVHN

    from .root import cache_root, data_root

    named = data_root(root)
    place = named or cache_root()
    try:
        data = SVHN(str(place), split="test", download=named is None)
    except (OSError, RuntimeError) as reason:
        raise UserError(_not_there("SVHN", place, named, reason)) from None
    return torch.from_numpy(np.ascontiguousarray(data.data))


def _not_there(title: str, place: Path, named: Path | None, reason: Exception) -> str:
    if named is None:
        return f"{title} cannot be downloaded to {place} ({reason})."
    return (
        f"{title} is not in {place}; put its files there as torchvision has them, or name no data "
        "directory and let torchvision download them."
    )


def cifar100(root: Path | None) -> Tensor:
    """CIFAR-100's test images (Krizhevsky 2009), uint8 [10000, 3, 32, 32], MD5 checked."""
    import numpy as np
    import torch
    from torchvision.datasets import CIFAR100

    from .root import cache_root, data_root

    named = data_root(root)
    place = named or cache_root()
    try:
        data = CIFAR100(str(place), train=False, download=named is None)
    except (OSError, RuntimeError) as reason:
        raise UserError(_not_there("CIFAR-100", place, named, reason)) from None
    return torch.from_numpy(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))


def mnist_digits(root: Path | None) -> Tensor:
    """MNIST's test images (LeCun et al. 1998), uint8 [10000, 1, 28, 28]."""
    from .splits import mnist

    return mnist(root)["t10k-images-idx3-ubyte"].unsqueeze(1)


def unseen_tissues(root: Path | None) -> Tensor:
    """Mucus and muscle of another cohort, in no class of `histology-colorectal`: 24 tiles."""
    from .histology import other_cohort

    images, labels = other_cohort(root)
    return images[labels < 0]


OOD_SETS: Registry[Loader] = Registry(
    "ood",
    {
        "svhn": f"{__name__}:svhn",
        "cifar100": f"{__name__}:cifar100",
        "mnist": f"{__name__}:mnist_digits",
        "unseen-tissues": f"{__name__}:unseen_tissues",
    },
)
