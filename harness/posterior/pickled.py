"""What `torch.save` wrote, read such that nothing in it is executed and a small file stays small.

A tensor in such a file is a view of a storage, so a few bytes can say that they are gigabytes of
numbers; these are refused while they are views.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import torch
from torch import Tensor

from ..core.errors import UserError
from ..machine.memory_limit import require


def read_pickled(stream: BinaryIO, told: str) -> Any:
    """The tensors and plain containers in a file of `torch.save`, on the CPU.

    Args:
        stream: the file's.
        told: what messages call it.

    Raises:
        UserError: a tensor has more numbers than are stored, or all of them need more memory than
            there is.
        Exception: of any kind, where it is damaged or holds something else.
    """
    _check_members(stream, told)
    found = torch.load(stream, map_location="cpu", weights_only=True)
    size = 0
    for name, value in _tensors(found):
        if value.is_meta or value.layout is not torch.strided:
            continue
        size += value.nbytes
        if value.nbytes > value.untyped_storage().nbytes():
            raise UserError(
                f"{name or 'A tensor'} in {told} has the shape {list(value.shape)} and "
                f"{value.untyped_storage().nbytes():,} bytes for it; save it with .contiguous()."
            )
    require(told, size)
    return found


def _check_members(stream: BinaryIO, told: str) -> None:
    """Whether what a zip says that it becomes fits; others are read as they lie."""
    if zipfile.is_zipfile(stream):
        with zipfile.ZipFile(stream) as members:
            require(told, sum(member.file_size for member in members.infolist()))
    stream.seek(0)


def _tensors(
    value: Any, name: str = "", above: tuple[int, ...] = (), walked: set[int] | None = None
) -> Iterator[tuple[str, Any]]:
    """The tensors in containers, each with the last name on the way to it.

    A container that stands in several places is walked once: of lists that each hold the next one
    twice, a file of a kilobyte could otherwise hold more than anyone can walk.
    """
    walked = set() if walked is None else walked
    if isinstance(value, Tensor):
        yield name, value
    elif id(value) in above:
        raise ValueError("it contains itself")
    elif isinstance(value, (Mapping, list, tuple, set)) and id(value) not in walked:
        inside = value.items() if isinstance(value, Mapping) else ((name, one) for one in value)
        for key, one in inside:
            yield from _tensors(one, str(key), (*above, id(value)), walked)
        walked.add(id(value))
