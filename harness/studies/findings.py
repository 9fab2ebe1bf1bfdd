"""What a command finds that stores no records of its own: values, tables, figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.figure import Figure
from ..core.whole import json_text, write_atomically
from ..machine.describe import fingerprint
from ..records.kind import digest

if TYPE_CHECKING:
    from ..workload.plan import Plan
    from ..workload.prepare import Networks


@dataclass(frozen=True)
class Findings:
    """What a command found.

    Attributes:
        values: all of it, for JSON, with command, machine and code.
        shown: for a person.
        markdown: the tables; empty where there is no file of them.
        figures: of it.
    """

    values: dict[str, Any]
    shown: tuple[Any, ...]
    markdown: str = ""
    figures: tuple[Figure, ...] = ()

    def write(self, out: Path, name: str) -> list[Path]:
        """`<name>.json`, tables and figures in a directory.

        Raises:
            UserError: it cannot be written.
        """
        files = {".json": json_text(self.values)}
        if self.markdown:
            files[".md"] = self.markdown
        for suffix, text in files.items():
            write_atomically(out / f"{name}{suffix}", text.encode())
        written = [out / f"{name}{suffix}" for suffix in files]
        if self.figures:
            from ..report.draw import save

            written += save(self.figures, out, name)
        return written


def facts(plan: Plan, networks: Networks, command: str, **choices: Any) -> dict[str, Any]:
    """Of a run; of two with the same `key` one is the other again, on one machine and code."""
    cells = sorted(cell.key for cell in plan.cells(networks))
    return {
        "command": command,
        "key": digest([cells, choices]),
        "workload": plan.workload.name,
        "workload_version": plan.workload.version,
        "posterior": networks.posterior_hash[:16],
        "fingerprint": asdict(fingerprint()),
    }
