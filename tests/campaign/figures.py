"""Counts of the campaign: one small file, written after every step, which the page is made of.

    {PART: {ROW: [{"count", "failures", "commit", "date", "machine", "seed"}, ...]}}

Steps of one commit on one machine are one entry. `failures` are sentences.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path
from typing import Any

from sigmabench.harness.core.whole import json_text, write_atomically
from sigmabench.harness.machine.describe import fingerprint

ROOT = Path(__file__).parents[2]
FIGURES = ROOT / "results" / "campaign" / "figures.json"
SEED = 0
#: Of entries that add up.
SUMS = ("count", "seconds", "refused", "tie", "overflows", "own_amx", "onednn_amx")


@lru_cache(maxsize=1)
def here() -> dict[str, Any]:
    """Code and machine."""
    found = fingerprint()
    return {
        "commit": found.commit,
        "machine": found.shown,
        "python": found.python,
        "seed": SEED,
    }


class Figures:
    """The rows of one part.

    Args:
        path: of the file.
        part: of the campaign.
    """

    def __init__(self, path: Path, part: str) -> None:
        self.path, self.part = path, part

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Entries by row, oldest first."""
        return read(self.path).get(self.part, {})

    def count(self, row: str) -> int:
        """How often it was done so far."""
        return sum(entry["count"] for entry in self.rows().get(row, []))

    def since(self, row: str) -> int:
        """How often it was done since it last failed."""
        return counted_since(self.rows().get(row, []))

    def add(self, row: str, failures: Sequence[str] = (), **more: Any) -> None:
        """Note a step: `count`, what else adds up, and facts that replace those before."""
        every = read(self.path)
        entries = every.setdefault(self.part, {}).setdefault(row, [])
        if not entries or any(entries[-1].get(name) != value for name, value in here().items()):
            entries.append({**here(), "count": 0, "failures": []})
        entry = entries[-1]
        for name in SUMS:
            if name in more:
                more[name] += entry.get(name, 0)
        failed = [*entry["failures"], *failures]
        today = datetime.now(timezone.utc).date().isoformat()
        entries[-1] = {**entry, **more, "failures": failed, "date": today}
        write_atomically(self.path, json_text(every).encode())

    def forget(self) -> None:
        """Count anew."""
        every = read(self.path)
        every.pop(self.part, None)
        write_atomically(self.path, json_text(every).encode())


def counted_since(entries: Sequence[dict[str, Any]]) -> int:
    """Of a row: how often it was done since it last failed, as far as entries tell."""
    failed = [at for at, entry in enumerate(entries, 1) if entry["failures"]]
    return sum(entry["count"] for entry in entries[max(failed, default=0) :])


def read(path: Path = FIGURES) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """All that was counted."""
    return json.loads(path.read_text()) if path.exists() else {}
