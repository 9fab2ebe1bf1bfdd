"""How numbers are written in tables: one function per kind of quantity, `–` for what is missing."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from .escape import visible

MISSING = "–"
_MOST_DECIMALS = 12

#: A number standing alone: not part of a name such as `conv1`, `INT8_SIGMA4` or `layer.0.weight`.
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?(?!\w|\.\w)")


def known(values: Iterable[float | None] | None) -> list[float]:
    """The values that are defined and finite."""
    return [v for v in values or () if v is not None and math.isfinite(v)]


def mean(values: Iterable[float | None] | None) -> float | None:
    """Mean of the values that are defined, or None."""
    found = known(values)
    return fmean(found) if found else None


def deviation(values: Iterable[float | None] | None) -> float | None:
    """Standard deviation (n − 1) of the values that are defined; None for fewer than two."""
    found = known(values)
    return stdev(found) if len(found) > 1 else None


def fixed(value: float | None, decimals: int) -> str:
    """A number with so many decimals."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:,.{decimals}f}"


def signed(value: float | None, decimals: int) -> str:
    """A difference, always with its sign."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{round(value, decimals) + 0.0:+,.{decimals}f}".replace("-", "−")


def significant(value: float | None, digits: int = 3) -> str:
    """A positive quantity to so many significant digits, never in exponent form."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{round(value, decimals):,.{max(decimals, 0)}f}"


def spread(values: Sequence[float | None] | None, decimals: int) -> str:
    """Mean ± standard deviation; the mean alone where there is one value, which tells none."""
    centre, sd = mean(values), deviation(values)
    if centre is None or sd is None:
        return fixed(centre, decimals)
    smallest = 10**-decimals
    shown = f"{sd:.{decimals}f}" if sd >= smallest / 2 else f"<{smallest:.{decimals}f}"
    return f"{centre:.{decimals}f} ± {shown}"


def concise(values: Sequence[float | None] | None, decimals: int) -> str:
    """`spread` in the short form of metrology: 0.0145(2) is 0.0145 ± 0.0002, (<1) below half."""
    centre, sd = mean(values), deviation(values)
    if centre is None or sd is None:
        return fixed(centre, decimals)
    return f"{centre:.{decimals}f}({round(sd * 10**decimals) or '<1'})"


def align(cells: Sequence[str]) -> list[str]:
    """Pad concise cells of one column so that their decimals stand under each other."""
    tails = [cell[cell.index("(") :] if "(" in cell else "" for cell in cells]
    widest = max(map(len, tails), default=0)
    return [cell + " " * (widest - len(tail)) for cell, tail in zip(cells, tails, strict=True)]


def percent(share: float | None, decimals: int = 1) -> str:
    """A share in 0 … 1 as a percentage, without the sign."""
    return fixed(None if share is None else 100.0 * share, decimals)


def milliseconds(nanoseconds: float | None) -> str:
    """A latency in ms."""
    return significant(None if nanoseconds is None else nanoseconds / 1e6)


def times(ratio: float | None) -> str:
    """A ratio, such as 6.40×."""
    if ratio is None or not math.isfinite(ratio):
        return MISSING
    return (f"{ratio:.2f}" if ratio < 100 else f"{ratio:,.0f}") + "×"


def byte_unit(values: Iterable[float]) -> tuple[str, float]:
    """Decimal unit, and its bytes, in which the largest of the values reads well."""
    largest = max(values, default=0)
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if largest >= size:
            return unit, size
    return "B", 1.0


def csv_files(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, str]:
    """Tables by name as CSV. What has no row has no file."""
    return {name: csv_lines(rows) for name, rows in tables.items() if rows}


def csv_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, a column for every name that one of them has."""
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return out.getvalue()


def csv_cell(value: Any) -> Any:
    """A CSV cell: text that a spreadsheet would take for a formula begins with an apostrophe."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    formula = len(shown) > 1 and shown[0] in "=+-@" and not _is_number(shown)
    return f"'{shown}" if formula else shown


def _is_number(words: str) -> bool:
    try:
        float(words)
    except ValueError:
        return False
    return True


def independent(images: int, units: int | None) -> str:
    """How many of so many images are independent, ", 60 independent"; empty where all are."""
    return "" if units in (None, images) else f", {units:,} independent"


def plural(count: float, noun: str, many: str = "") -> str:
    """`1 cell`, `2 cells`, `0.5 cells`.

    Args:
        count: how many.
        noun: of one.
        many: of several, where it is not the noun with an s.
    """
    shown = f"{count:,}" if isinstance(count, int) else f"{count:g}"
    return f"{shown} {noun if count == 1 else many or f'{noun}s'}"


def verb(count: int, one: str = "is", many: str = "are") -> str:
    """The form of a verb that goes with so many."""
    return one if count == 1 else many


def either(counts: Iterable[int], noun: str) -> str:
    """`3 seeds`, `1 or 3 seeds`: each of the counts once, ascending."""
    *others, last = sorted(set(counts)) or [0]
    return " or ".join([*(f"{count:,}" for count in others), plural(last, noun)])


def beyond(value: float, bound: float, decimals: int) -> str:
    """A number with the decimals it takes to show that it is not the bound."""
    while decimals < _MOST_DECIMALS and value != bound:
        if f"{value:.{decimals}f}" != f"{bound:.{decimals}f}":
            break
        decimals += 1
    return f"{value:,.{decimals}f}"


def apart(value: float, bound: float, digits: int = 3) -> str:
    """A positive quantity to the significant digits it takes to show that it is not the bound."""
    while digits < _MOST_DECIMALS and value != bound:
        if float(significant(value, digits).replace(",", "")) != bound:
            break
        digits += 1
    return significant(value, digits)


def first(items: Sequence[str], count: int = 3) -> str:
    """The first few items, and how many more there are."""
    more = f" and {len(items) - count} more" if len(items) > count else ""
    return "; ".join(items[:count]) + more


def pattern(text: str) -> str:
    """A text without its numbers: equal for those that `merge` makes one of."""
    return _NUMBER.sub("#", text)


def merge(texts: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Texts that differ only in their numbers, as one text each with the range of each number.

    Returns:
        The merged texts in order of first appearance, each with the indices of those it stands for.
    """
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, text in enumerate(texts):
        groups.setdefault(tuple(_NUMBER.split(text)), []).append(index)
    return [(_range_text([texts[i] for i in which]), which) for which in groups.values()]


def _range_text(texts: Sequence[str]) -> str:
    columns = list(zip(*(_NUMBER.findall(text) for text in texts), strict=True))
    ranges = iter([_range(column) for column in columns])
    return _NUMBER.sub(lambda _: next(ranges), texts[0])


def _range(numbers: Sequence[str]) -> str:
    low, *_, high = sorted([*numbers, numbers[0]], key=lambda n: float(n.replace(",", "")))
    return low if float(low.replace(",", "")) == float(high.replace(",", "")) else f"{low}–{high}"
