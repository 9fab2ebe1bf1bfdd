"""Files that are there whole or not at all, and that say what they held when they were written."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UserError
from .escape import is_text, storable
from .temporary import temporary_beside

#: No number that is stored comes near it, and sums of what lies below are finite.
_MOST = 1e100
#: Bytes of JSON by what they may be in a number: digits, point, exponent, its sign, or what may
#: stand before one; all else is x.
_SHAPE = bytes.maketrans(
    bytes(range(256)),
    bytes(
        ord("0") if chr(i).isdigit() and i < 128
        else ord("e") if chr(i) in "eE"
        else ord(" ") if chr(i) in " \t\r\n,:[-"
        else i if chr(i) in ".+"
        else ord("x")
        for i in range(256)
    ),
)  # fmt: skip
_DIGITS = b"0" * 40
_EXPONENT = re.compile(rb"0e\+?00")


def write_atomically(path: Path, data: bytes, durable: bool = False) -> None:
    """Put `data` at `path` whole or not at all; the directory is made if it is missing.

    Args:
        path: where the file belongs.
        data: its content.
        durable: see `put_atomically`.

    Raises:
        UserError: the place cannot be written.
    """
    put_atomically(path, lambda temporary: temporary.write_bytes(data), durable)


def put_atomically(path: Path, write: Callable[[Path], object], durable: bool = False) -> None:
    """Like `write_atomically`, for what need not be in memory as one piece.

    Args:
        path: where the file belongs.
        write: fills a file beside it that is there and empty.
        durable: whether it is on the disk when this returns, so that it outlives a power cut.

    Raises:
        UserError: the place cannot be written, or `write` raised an OSError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(path)
        mode = stat.S_IMODE(temporary.stat().st_mode)
        try:
            write(temporary)
            os.chmod(temporary, mode)  # safetensors puts a file of its own in place
            if durable:
                _sync(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable:
            with contextlib.suppress(OSError):  # not every file system syncs folders
                _sync(path.parent)
    except OSError as reason:
        raise UserError(
            f"{path} cannot be written ({reason}); choose another place for it."
        ) from reason


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_regular(path: Path) -> BinaryIO:
    """A file's content; a pipe, a socket or a device, which may never end, is not waited for.

    Raises:
        OSError: it is not there, may not be read, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return open(handle, "rb")


@contextlib.contextmanager
def text_path(path: Path) -> Iterator[str]:
    """A name of the same place that is text, for libraries that open no other; a file that is to be
    made there has a name of its own that is.

    Raises:
        OSError: there is no such file or folder, or it may not be opened.
    """
    if is_text(str(path)):
        yield str(path)
        return
    named = is_text(path.name)
    handle = os.open(path.parent if named else path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{handle}" + (f"/{path.name}" if named else "")
    finally:
        os.close(handle)


def inside(folder: Path) -> list[Path]:
    """What is in a folder, sorted by name; nothing where there is no such folder.

    Raises:
        UserError: it cannot be listed.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as reason:
        raise UserError(
            f"The folder {folder} cannot be listed ({reason.strerror}); correct its permissions."
        ) from reason


def content_hash(text: str, arrays: Mapping[str, memoryview] | None = None) -> str:
    """64 hex digits of the SHA-256 of a file's content: what is read back and believed has one.

    Args:
        text: everything but the numbers, with the types and shapes of the arrays.
        arrays: C-contiguous numbers by name.
    """
    digest = hashlib.sha256(text.encode())
    for name, numbers in sorted((arrays or {}).items()):
        digest.update(name.encode() + b"\0")
        digest.update(numbers)
    return digest.hexdigest()


def json_text(value: Any) -> str:
    """JSON with objects and arrays of objects over several lines, everything else on one; it can be
    written as UTF-8, whatever names it holds.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    return storable(_layout(value, "")) + "\n"


def storable_json(value: Any) -> str:
    """JSON on one line; it can be written as UTF-8, whatever names it holds.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return storable(text) + "\n"


def read_json(text: str | bytes) -> Any:
    """JSON of which no reader can think otherwise.

    Raises:
        ValueError: it is no JSON, an object has a name twice, a number is NaN, infinite or beyond
            10¹⁰⁰, or it is nested too deep.
    """
    text = text if isinstance(text, str) else _decoded(text)
    # A hook for every number takes three times as long.
    hooks: dict[str, Any] = {}
    if _may_be_large(text.encode(errors="surrogatepass")):
        hooks = {"parse_float": _finite, "parse_int": _whole}
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_finite, **hooks)
    except RecursionError as reason:
        raise ValueError("it is nested too deep") from reason


def _may_be_large(data: bytes) -> bool:
    """Whether a number in JSON has so many digits, or so large an exponent, that its size has to be
    looked at."""
    shape = data.translate(_SHAPE)
    if _DIGITS in shape:
        return True
    starts = (shape[: found.start()].rstrip(b"0.") for found in _EXPONENT.finditer(shape))
    return any(before[-1:] in (b"", b" ") for before in starts)


def _decoded(data: bytes) -> str:
    return data.decode(json.detect_encoding(data), "surrogatepass")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r} twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not abs(value) <= _MOST:
        raise ValueError(f"it has the number {text[:40]}")
    return value


def _whole(text: str) -> int:
    _finite(text)
    return int(text)


def _layout(value: Any, indent: str) -> str:
    inner = indent + " "
    if isinstance(value, dict) and value:
        parts = [f"{json.dumps(k)}: {_layout(v, inner)}" for k, v in value.items()]
        opening, closing = "{", "}"
    elif isinstance(value, (list, tuple)) and any(
        isinstance(v, (dict, list, tuple)) for v in value
    ):
        parts = [_layout(v, inner) for v in value]
        opening, closing = "[", "]"
    else:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    body = f",\n{inner}".join(parts)
    return f"{opening}\n{inner}{body}\n{indent}{closing}"
