"""Faults on purpose, and what came of them: `python tests/campaign [PART ...]`.

Every part goes on where it was stopped, keeps its counts in `results/campaign/figures.json` and
writes them into `docs/reliability.md`. The code must stay as it is while a part runs.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # tests, instead of this folder

from campaign.figures import FIGURES, Figures  # noqa: E402
from campaign.page import refresh  # noqa: E402

PARTS = ("kills", "writers", "disk", "artefacts", "fuzz")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--figures", type=Path, default=FIGURES, help="file of the counts")
    parser.add_argument("--again", action="store_true", help="forget these parts' counts first")
    parser.add_argument("--count", type=int, help="to reach in each row  [default: the page's]")
    parser.add_argument("--only", action="append", help="rows to run  [default: all]")
    parser.add_argument("--seconds", type=float, help="of each parser's fuzzing at most")
    parser.add_argument(
        "--keep", action="store_true", help="what was learnt, without --figures too"
    )
    given = parser.parse_args()
    for part in given.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part}; known: {', '.join(PARTS)}")
    for part in given.parts:
        figures = Figures(given.figures, part)
        if given.again:
            figures.forget()
        import_module(f"campaign.{part}").run(figures, given)
    if given.figures == FIGURES:
        refresh()


if __name__ == "__main__":
    main()
