"""What was found out once about the files of a shipped workload that its version cannot know, such
as a user's ImageNet: it counts while none of them has changed, so that what is stored is shown
without PyTorch and without reading them again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.contents import stamp_of
from ..machine.describe import computing_hash
from ..machine.installed import told_once, torch_installed

if TYPE_CHECKING:
    from .workload import Workload

#: Looking at more files than these takes about as long as what is saved.
MOST_FILES = 20_000
#: A file may change again within one tick of the clock of its times: younger ones are not trusted.
_SETTLED_NS = 2 * 10**9


def remembered(
    workload: Workload, root: Path | None, question: str, choices: object, ask: Callable[[], str]
) -> str:
    """The answer to a question about a workload's files, from the cache or asked now.

    Args:
        workload: whose they are.
        root: data root, see `data.root.data_root`.
        question: a word, the name of the answers' file.
        choices: what the answer depends on beside files, code and PyTorch; JSON types.
        ask: gives the answer.
    """
    state = _state(workload, root)
    if state is None:
        return ask()
    depends_on = [workload.name, workload.version, choices, state]
    found = told_once(question, [*depends_on, computing_hash(), torch_installed()], ask)
    return ask() if found is None else found


def _state(workload: Workload, root: Path | None) -> list[object] | None:
    """Names, sizes and times of all files; None where they cannot be trusted not to change."""
    if not workload.ships or workload.files is None:
        return None
    every = (file for path in workload.files(root) for file in _inside(path))
    try:
        found = [
            (os.fsencode(file).hex(), stamp_of(file.stat())) for file in islice(every, MOST_FILES)
        ]
    except OSError:
        return None
    settled = time.time_ns() - _SETTLED_NS
    if len(found) == MOST_FILES or any(max(stamp[-2:]) > settled for _, stamp in found):
        return None
    return [list(one) for one in found] or None


def _inside(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))
