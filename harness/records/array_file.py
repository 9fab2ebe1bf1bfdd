"""Files of the arrays of records: safetensors, compressed by gzip where many records share one.

A file is read lazily where it is not compressed, and of a compressed one the size is compared with
what may be taken before it is unpacked.
"""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.whole import open_regular, put_atomically, text_path
from ..machine.memory_limit import require
from .envelope import Arrays, digest_of

#: Reads arrays by the hash of their content.
ReadArrays = Callable[[str], Mapping[str, NDArray[Any]]]
COMPRESSED = ".gz"
_CHUNK = 1 << 20


def array_file(folder: Path, sha256: str) -> Path:
    """Where arrays of that content belong."""
    return folder / f"{sha256[:16]}.safetensors"


def write_arrays(folder: Path, arrays: Arrays) -> None:
    """Write them beside their records, once, however many records name them.

    Raises:
        UserError: the place cannot be written to.
    """
    path = array_file(folder, arrays.sha256)
    try:
        if digest_of(arrays_in(path)) == arrays.sha256:
            return
    except UserError:  # it is not there, or is damaged
        pass
    save_arrays(path, arrays)


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays, compressed if the path ends in `COMPRESSED`.

    Raises:
        UserError: the place cannot be written to.
    """
    import safetensors.numpy

    data = safetensors.numpy.save({name: arrays[name] for name in sorted(arrays)})
    if path.suffix == COMPRESSED:
        data = gzip.compress(data, mtime=0)
    put_atomically(path, lambda temporary: temporary.write_bytes(data), durable=True)


class ArrayFile:
    """A file of arrays, opened once, however often it is read.

    Args:
        path: of the file; it is compressed if its name ends in `COMPRESSED`.

    Raises:
        UserError: it is not there, is damaged, or holds more than may be taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _told(path):
            there, self._get = _unpacked(path) if path.suffix == COMPRESSED else _opened(path)
        self._names: dict[str, list[str]] = {}
        for key in there:
            self._names.setdefault(key.partition("/")[0], []).append(key)

    def read(self, start: str | None = None) -> dict[str, NDArray[Any]]:
        """Its arrays, by name; or those named `<start>/<name>`, by the rest of their names.

        Raises:
            UserError: it is damaged.
        """
        names = chain.from_iterable(self._names.values()) if start is None else self._of(start)
        cut = 0 if start is None else len(start) + 1
        with _told(self.path):
            return {name[cut:]: self._get(name) for name in names}

    def _of(self, start: str) -> list[str]:
        return [name for name in self._names.get(start, ()) if name != start]


#: Names of arrays, and what gives each.
Opened = tuple[Iterable[str], Callable[[str], NDArray[Any]]]


def _opened(path: Path) -> Opened:
    import safetensors

    with open_regular(path), text_path(path) as name:
        file: Any = safetensors.safe_open(name, framework="np")
    return file.keys(), file.get_tensor


def _unpacked(path: Path) -> Opened:
    import safetensors.numpy

    with open_regular(path) as stream, gzip.open(stream) as unpacked:
        size = 0
        while chunk := unpacked.read(_CHUNK):
            size += len(chunk)
            require(str(path), 2 * size)  # as bytes and as arrays
        unpacked.seek(0)
        found = safetensors.numpy.load(unpacked.read(size))
    return found, found.__getitem__


def arrays_in(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file, by name.

    Raises:
        UserError: it is not there, or is damaged.
    """
    return ArrayFile(path).read()


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What is wrong with a file of arrays as one sentence."""
    try:
        yield
    except UserError:
        raise
    except OSError as reason:
        raise UserError(
            f"The arrays {path} cannot be read ({reason.strerror or reason}); restore the file, or "
            "delete the records that need it and run again."
        ) from reason
    except Exception as reason:  # whatever is wrong with what it holds
        raise UserError(
            f"The arrays {path} are damaged ({reason}); restore the file, or delete the records "
            "that need it and run again."
        ) from reason


def read_arrays(folder: Path) -> ReadArrays:
    """Of a folder's files, each of whose content must be as when it was written.

    Returns:
        A function of a hash; it raises UserError where the file is missing or damaged.
    """

    def read(sha256: str) -> Mapping[str, NDArray[Any]]:
        path = array_file(folder, sha256)
        found = arrays_in(path)
        if digest_of(found) != sha256:
            raise UserError(
                f"The arrays {path} were changed after they were written; restore the file, or "
                "delete the records that need it and run again."
            )
        return found

    return read
