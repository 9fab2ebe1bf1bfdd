"""What operations that stay float read beside values: flat tensors in a file, and their shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: In the file, truth values are integers.
_TENSORS = {"float32": "constant", "int64": "index", "bool": "index"}


@dataclass(frozen=True)
class Constant:
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
        return int(np.prod(self.shape, dtype=np.int64))


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


def restored(
    header: Mapping[str, Constant], take: Callable[[str, int], NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """The inverse of `described` and `flat`; `take` gives a tensor's next values, by its name."""
    return {
        name: take(_TENSORS[constant.type], constant.size)
        .reshape(constant.shape)
        .astype(constant.type)
        for name, constant in header.items()
    }
