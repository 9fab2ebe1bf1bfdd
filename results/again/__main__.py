"""Judge all that is published again, and write what changed."""

from __future__ import annotations

from dataclasses import asdict

from sigmabench.harness.core.whole import write_atomically
from sigmabench.harness.core.words import csv_lines

from . import changes
from .page import Found, page
from .published import RESULTS, published, units_of


def main() -> None:
    """Write the page and both lists."""
    found = list(published())
    again, units, tables = changes.judge(found), units_of(found), changes.of_tables()
    lines = [
        *changes.of_records(again),
        *changes.of_races(found),
        *changes.of_pairs(found, units),
        *changes.lines_of(tables),
    ]
    old = list(map(asdict, changes.superseded(found, lines)))
    told = Found(found, again, lines, tables, units, changes.noisy(found))
    files = {
        "JUDGED-AGAIN.md": page(told),
        "JUDGED-AGAIN.csv": csv_lines(list(map(asdict, lines))),
        "superseded.csv": csv_lines(old),
    }
    for name, text in files.items():
        write_atomically(RESULTS / name, text.encode())
        print(RESULTS / name)


if __name__ == "__main__":
    main()
