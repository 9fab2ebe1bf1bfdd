"""Tables that commands have written: CSV of results/report, Markdown of results/choices."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from ..published import RESULTS

Row = Mapping[str, Any]


class Table:
    """Rows of a table, each a mapping of its columns; numbers are numbers.

    Args:
        rows: as they were read, of text.
    """

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self.rows: list[Row] = [{k: _read(v) for k, v in row.items()} for row in rows]

    def where(self, **wanted: Any) -> list[Row]:
        """Rows that have these values; of a list, one of them."""
        return [
            row
            for row in self.rows
            if all(
                row[name] in value if isinstance(value, list) else row[name] == value
                for name, value in wanted.items()
            )
        ]

    def one(self, **wanted: Any) -> Row:
        """The row that has these values.

        Raises:
            LookupError: none has, or several have.
        """
        found = self.where(**wanted)
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows have {wanted}")
        return found[0]

    def each(self, variants: Sequence[str], **wanted: Any) -> list[Row]:
        """The row of each variant that has these values."""
        return [self.one(variant=name, **wanted) for name in variants]

    def mean(self, column: str, **wanted: Any) -> float:
        """Of a column over the rows that have these values."""
        return fmean(row[column] for row in self.where(**wanted))


def numbers(text: str) -> list[float]:
    """Of a cell that holds one for each seed."""
    return [float(one) for one in text.strip("' ").split()]


def report_table(workload: str, name: str) -> Table:
    """What `sigmabench report --out` wrote of a workload's studies."""
    path = RESULTS / "report" / workload / f"{workload}-{name}.csv"
    with path.open(newline="", encoding="utf-8") as file:
        return Table(csv.DictReader(file))


def markdown_table(name: str) -> Table:
    """The first table of a page below results/choices that a script there has printed."""
    lines = (RESULTS / "choices" / name).read_text(encoding="utf-8").splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    head, _, *rows = cells
    return Table(dict(zip(head, row, strict=True)) for row in rows)


def _read(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text
