"""What only a loaded library tells, asked once for each installation of it.

Loading torch takes seconds, and what it is asked for here changes only when it is installed anew:

    <XDG_CACHE_HOME or ~/.cache>/sigmabench/installed/<question>.json

An answer counts while everything it depends on is as it was. A file that is damaged, or cannot be
written, is as good as none.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ..core.contents import cache_home, read_kept, stamp_of, write_kept
from ..core.whole import content_hash

#: Answers that a file holds at most: one for each environment and machine that shares the folder.
_MOST = 64


def told_once(question: str, depends_on: object, ask: Callable[[], str | None]) -> str | None:
    """The answer to a question, from the cache or asked now.

    Args:
        question: the name of its file.
        depends_on: JSON types; an answer is for one such value.
        ask: gives the answer; None, which is not kept: it is asked again next time.
    """
    place = cache_home() / "installed" / f"{question}.json"
    kept, key = read_kept(place), content_hash(json.dumps(depends_on, sort_keys=True))
    if key in kept:
        return kept[key][1]
    answer = ask()
    if answer is not None:
        latest = list(kept.items())[1 - _MOST :]
        write_kept(place, {**dict(latest), key: ([], answer)})
    return answer


@lru_cache(maxsize=1)
def torch_installed() -> tuple[object, ...]:
    """What another torch differs in: its version, the list of its files with their hashes, and the
    module that is imported, its times included."""
    try:
        found = distribution("torch")
    except PackageNotFoundError:
        return ()
    spec = importlib.util.find_spec("torch")
    module = spec.origin if spec is not None and spec.origin else ""
    return found.version, content_hash(found.read_text("RECORD") or ""), *file_stamp(module)


def file_stamp(path: str | Path) -> tuple[object, ...]:
    """Path, size, inode and times of a file; the path alone where there is none."""
    try:
        return str(path), *stamp_of(Path(path).stat())
    except OSError:
        return (str(path),)
