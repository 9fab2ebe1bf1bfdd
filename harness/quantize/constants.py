"""What operations that stay float read beside values: flat tensors in a file, and their shapes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .graph import StrictModel

#: In the file, truth values are integers.
_TENSORS = {"float32": "constant", "int64": "index", "bool": "index"}


@dataclass(frozen=True)
class Constant(StrictModel):
    """One of them, as a header tells.

    Attributes:
        shape: of the tensor.
        type: of its values.
    """

    shape: tuple[int, ...]
    type: Literal["float32", "int64", "bool"] = "float32"

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def described(constants: Mapping[str, NDArray[Any]]) -> dict[str, Constant]:
    """For the header."""
    return {
        name: Constant(array.shape, str(array.dtype))  # type: ignore[arg-type]
        for name, array in constants.items()
    }


def flat(constants: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """For the file: `constant` float32 [n] and `index` int64 [n], each where there is one."""
    parts: dict[str, list[NDArray[Any]]] = {}
    for array in constants.values():
        values = array if array.dtype == np.float32 else array.astype(np.int64)
        parts.setdefault(_TENSORS[str(array.dtype)], []).append(values.reshape(-1))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def sizes(header: Mapping[str, Constant]) -> dict[str, int]:
    """Lengths of what `flat` makes, by name, from what `described` told."""
    found: dict[str, int] = {}
    for constant in header.values():
        name = _TENSORS[constant.type]
        found[name] = found.get(name, 0) + constant.size
    return found


def restored(
    header: Mapping[str, Constant], take: Callable[[str, int], NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The inverse of `described` and `flat`; `take` gives a tensor's next values, by its name.

    Raises:
        ValueError: a truth value is neither 0 nor 1.
    """
    found = {}
    for name, constant in header.items():
        values = take(_TENSORS[constant.type], constant.size).reshape(constant.shape)
        found[name] = values.astype(constant.type)
        if not np.array_equal(found[name], values, equal_nan=constant.type == "float32"):
            raise ValueError(f"the constant {name} holds what {constant.type} does not")
    return found
