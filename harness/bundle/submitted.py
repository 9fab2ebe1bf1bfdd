"""Results of others in this repository: `results/community`, a bundle each, and its index.

python -m sigmabench.harness.bundle.submitted > results/community/README.md
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from ..core.sheet import escape
from ..core.words import plural
from .verify import Verified, bundles_in, verify

FOLDER = "community"

_INDEX = """# Results of others

Made by `python -m sigmabench.harness.bundle.submitted > results/community/README.md`.

Results that others measured and submitted, one file each. What follows from their own samples and
images was computed again ([what that finds](../../docs/verify.md)); machine, software and code
are as the submitter states them. They stand beside the published records and are mixed with
none.

To submit: measure by [the rules](../../docs/rules.md), pack the records by `sigmabench submit`,
put the file into this folder under a name of your own, run the command above, and open a pull
request. CI verifies every bundle here by `sigmabench verify results/community`."""


@dataclass(frozen=True)
class Submitted:
    """One bundle of the folder.

    Attributes:
        path: of the file.
        verified: what checking it found; None where it cannot be read.
        problem: why it cannot be read; empty where it can.
    """

    path: Path
    verified: Verified | None
    problem: str = ""

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return self.path.stem


def community(results: Path) -> list[Submitted]:
    """Every bundle of a results directory, by name.

    Args:
        results: the directory; its folder `community` need not be there.
    """
    folder = results / FOLDER
    if not folder.is_dir():
        return []
    return [_submitted(path) for path in bundles_in(folder)]


def _submitted(path: Path) -> Submitted:
    try:
        return Submitted(path, verify(path))
    except UserError as reason:
        return Submitted(path, None, str(reason))


def index(results: Path) -> str:
    """The folder's page."""
    found = community(results)
    if not found:
        return f"{_INDEX}\n\nNone has been submitted so far.\n"
    heads = ("bundle", "by", "records", "machine, as stated", "days", "division", "checked")
    lines = [heads, ("---",) * len(heads), *map(_row, found)]
    return f"{_INDEX}\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _row(one: Submitted) -> tuple[str, ...]:
    link = f"[{escape(one.name)}]({one.path.name})"
    if one.verified is None:
        return link, "", "", "", "", "", f"cannot be read: {escape(one.problem)}"
    found = one.verified
    machines = dict.fromkeys(record.record.fingerprint.shown for record in found.records)
    days = sorted({record.record.created[:10] for record in found.records})
    homes = sorted({record.record.subject.home for record in found.records})
    faults = len(found.faults)
    return (
        link,
        escape(found.by),
        f"{len(found.records):,} of {escape(', '.join(homes))}",
        escape("; ".join(machines)),
        days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
        "closed" if found.closed else "open",
        "nothing contradicts" if found.sound else f"{plural(faults, 'number')} cannot be",
    )


def main() -> None:
    """Print the index of the folder below the results directory that is named, or of `results`."""
    print(index(Path(sys.argv[1] if len(sys.argv) > 1 else "results")), end="")


if __name__ == "__main__":
    main()
