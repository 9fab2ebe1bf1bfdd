"""Images and labels as people have them, as the tensors that are computed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ..core.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Given: TypeAlias = "Tensor | NDArray[Any]"
GivenLabels: TypeAlias = "Tensor | NDArray[Any] | Sequence[int]"


def as_tensor(given: object, what: str, wanted: str) -> Tensor:
    """A tensor on the CPU that requires no gradient, of the type and shape that was given.

    Args:
        given: a tensor on any device, a NumPy array or a sequence of numbers; memory is shared
            where it can be.
        what: what it is, such as "The images", and `wanted`: what to give; for the message.

    Raises:
        UserError: it is something else, or has no numbers.
    """
    import numpy as np
    import torch

    if isinstance(given, torch.Tensor):
        if not given.is_meta:
            given = given.detach() if given.requires_grad else given
            return given if given.device.type == "cpu" else given.cpu()
    elif isinstance(given, np.ndarray | Sequence) and not isinstance(given, str | bytes):
        try:
            return torch.from_numpy(np.require(given, requirements=["C", "W"]))
        except (TypeError, ValueError):  # objects, texts, rows of several lengths
            pass
    kind = f"{type(given).__name__} {getattr(given, 'dtype', '')}".strip()
    where = " on the meta device" if getattr(given, "is_meta", False) else ""
    raise UserError(f"{what} are a {kind}{where}; give {wanted}.")


def as_input(given: Given, shape: tuple[int, int, int]) -> Tensor:
    """A network's input, float32 [N, C, H, W] on the CPU, without gradients.

    Args:
        given: normalised images.
        shape: (C, H, W) of one.

    Raises:
        UserError: they are of another type or shape, or nothing that a tensor can be made of.
    """
    wanted = f"float32 images of shape [N, {', '.join(map(str, shape))}]"
    x = as_tensor(given, "The images", f"a torch.Tensor or a NumPy array, {wanted}")
    if str(x.dtype) != "torch.float32" or tuple(x.shape[1:]) != shape or x.ndim != 4:
        raise UserError(f"The network takes {wanted}, not {x.dtype} of shape {list(x.shape)}.")
    return x


def as_labels(given: GivenLabels, what: str = "The labels") -> Tensor:
    """A tensor on the CPU, int64 where integers of any width were given.

    Raises:
        UserError: nothing that a tensor can be made of.
    """
    import torch

    found = as_tensor(given, what, "one integer for each image, in a list, array or tensor")
    whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
    return found.long() if whole else found
