"""`sigmabench history`: what asv measured across commits, as a document for each machine."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

from ..core.document import Document
from ..core.errors import UserError
from .asv_results import Problem, series
from .history_document import document


def documents(folder: Path, problem: Problem | None = None) -> list[Document]:
    """A document for each machine and environment; none where there are no results.

    Args:
        folder: asv's `results_dir`.
        problem: told of each file that cannot be read; by default the documents' lines say so.

    Raises:
        UserError: the folder cannot be listed.
    """
    unread: list[UserError] = []
    found = series(folder, problem or unread.append)
    made, seen = [], Counter[str]()
    for (machine, _), same in groupby(found, key=lambda one: (one.machine, one.environment)):
        seen[machine.name] += 1
        number = f"-{seen[machine.name]}" if seen[machine.name] > 1 else ""
        name = f"history-{machine.name}{number}"
        made.append(document(name, list(same), tuple(map(str, unread))))
    return made


def nothing(folder: Path) -> UserError:
    """That a folder holds no results, and what makes some."""
    return UserError(
        f"{folder} holds no results of asv; run `asv run`, or `python results/history.py` for "
        "the commits that touched the runtime (docs/asv.md)."
    )
