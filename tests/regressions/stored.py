"""The comparisons that were made: a line of JSON each, in a file for each machine.

asv takes every file whose name ends in `.json` below its results for one of its own; these do not.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sigmabench.harness.core.whole import write_atomically

from .clone import ROOT

FOLDER = ROOT / "results" / "asv" / "proof"


@dataclass(frozen=True)
class Comparison:
    """One comparison, as it is kept.

    Attributes:
        kind: name of the edit.
        alone: the sampler's benchmarks were run alone.
        base: commit that was edited.
        date: day.
        seconds: that it took, building included.
        worse: what asv flagged as worse.
        better: what it flagged as better.
        ratios: after over before, of every ratio to a reference loop.
    """

    kind: str
    alone: bool
    base: str
    date: str
    seconds: float
    worse: tuple[str, ...]
    better: tuple[str, ...]
    ratios: dict[str, float]


class Stored:
    """The comparisons of one machine.

    Args:
        machine: its name.
        folder: of the files.
    """

    def __init__(self, machine: str, folder: Path = FOLDER) -> None:
        self.path = folder / f"{machine}.jsonl"

    def all(self) -> list[Comparison]:
        """In the order in which they were made."""
        if not self.path.is_file():
            return []
        return [_from(json.loads(line)) for line in self.path.read_text().splitlines()]

    def count(self, kind: str, alone: bool) -> int:
        """How many there are of a kind."""
        return sum(one.kind == kind and one.alone == alone for one in self.all())

    def add(self, made: Comparison) -> None:
        """Keep one more, or none of it if the disk is full."""
        self._write([*self.all(), made])

    def forget(self, kinds: set[tuple[str, bool]]) -> None:
        """Drop what was made of some kinds."""
        self._write([one for one in self.all() if (one.kind, one.alone) not in kinds])

    def _write(self, every: list[Comparison]) -> None:
        lines = (json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in every)
        write_atomically(self.path, "".join(lines).encode(), durable=True)


def _from(told: dict[str, Any]) -> Comparison:
    return Comparison(**{**told, "worse": tuple(told["worse"]), "better": tuple(told["better"])})


def machines(folder: Path = FOLDER) -> dict[str, list[Comparison]]:
    """What there is of every machine, by its name."""
    return {path.stem: Stored(path.stem, folder).all() for path in sorted(folder.glob("*.jsonl"))}
