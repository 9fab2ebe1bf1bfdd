"""The figures in `docs/reliability.md`: what stands between `<!-- NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .figures import FIGURES, ROOT, counted_since, read

PAGE = ROOT / "docs" / "reliability.md"
#: What a row is, what a count counts, and what each row is to reach.
PARTS = {
    "kills": ("command", "kills", 50),
    "writers": ("command", "rounds", 20),
    "disk": ("command", "positions", 5),
    "artefacts": ("files", "inputs", 20_000),
    "fuzz": ("parser", "inputs", 1_000_000),
}
_BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Rows = dict[str, list[dict[str, Any]]]


def table(part: str, rows: Rows) -> str:
    """A line for each row, then what failed."""
    head, what, _ = PARTS[part]
    lines = [
        f"| {head} | {what} | failures | {what} since the last failure | latest commit | date |",
        "|---|---:|---:|---:|---|---|",
    ]
    for name, entries in rows.items():
        count = sum(entry["count"] for entry in entries)
        failures = sum(len(entry["failures"]) for entry in entries)
        since, last = counted_since(entries), entries[-1]
        commit = (last["commit"] or "none")[:9]
        lines.append(f"| {name} | {count:,} | {failures} | {since:,} | {commit} | {last['date']} |")
    refused, ties, large = (_sum(rows, name) for name in ("refused", "tie", "overflows"))
    if refused:
        lines += ["", f"Refused were {refused:,} of them; the rest was computed. In {ties:,} a sum"]
        lines += ["was a tie that oneDNN or AMX rounds to the other integer; in"]
        lines += [f"{large:,}, all float, numbers exceed float32, and only sanitizers tell."]
    return "\n".join([*lines, *_failures(rows)])


#: What differs between processes that end alike.
_PROCESS = re.compile(r"^==\d+== |\(used: \d+Mb; limit: \d+Mb\)")


def _sum(rows: Rows, name: str) -> int:
    return sum(entry.get(name, 0) for entries in rows.values() for entry in entries)


def _failures(rows: Rows) -> Iterator[str]:
    told = Counter(
        f"* {name}, at {entry['commit'][:9]}: `{_PROCESS.sub('', failure)}`"
        for name, entries in rows.items()
        for entry in entries
        for failure in entry["failures"]
    )
    if told:
        yield from ("", "What failed, and was mended since where the table counts on:", "")
        yield from (f"{line}, {count} times" if count > 1 else line for line, count in told.items())


def short(figures: dict[str, Rows]) -> str:
    """What is to be done yet."""
    lines = []
    for part, (_, what, wanted) in PARTS.items():
        rows = figures.get(part, {})
        if part == "kills":
            rows = _by_command(rows)
        few = {name: sum(e["count"] for e in entries) for name, entries in rows.items()}
        few = {name: count for name, count in few.items() if count < wanted}
        if not rows:
            lines.append(f"* {part}: not run yet.")
        elif few:
            told = ", ".join(f"{count:,} of {name}" for name, count in few.items())
            lines.append(f"* {part}: the aim is {wanted:,} {what} each; so far there are {told}.")
    return "\n".join(lines) or "Nothing."


def _by_command(rows: Rows) -> Rows:
    found: Rows = {}
    for name, entries in rows.items():
        found.setdefault(name.partition(",")[0], []).extend(entries)
    return found


def machines(figures: dict[str, Rows]) -> str:
    """Where it ran, and when kernels of AMX last took part."""
    entries = [e for rows in figures.values() for one in rows.values() for e in one]
    seen = sorted({f"{e['machine']}, Python {e['python']}" for e in entries})
    return "\n".join([*(f"* {one}" for one in seen), "", amx(figures.get("artefacts", {}))])


def amx(rows: Rows) -> str:
    """When it was last covered."""
    covered = [e for entries in rows.values() for e in entries if e.get("own_amx")]
    if not covered:
        return "The kernels that only AMX runs: **never yet**, for want of such a machine."
    last = max(reversed(covered), key=lambda entry: entry["date"])
    return (
        f"The kernels that only AMX runs: last on {last['date']}, at {last['commit'][:9]}. So far "
        f"{_sum(rows, 'own_amx'):,} artefacts\nwere computed by this project's own and "
        f"{_sum(rows, 'onednn_amx'):,} by oneDNN's."
    )


def rendered(text: str, figures: dict[str, Rows]) -> str:
    """The page with these figures."""

    def block(found: re.Match[str]) -> str:
        name = found[2]
        whole = {"short": short, "machines": machines}
        inner = whole[name](figures) if name in whole else table(name, figures.get(name, {}))
        return f"{found[1]}{inner}\n{found[3]}"

    return _BLOCK.sub(block, text)


def refresh() -> None:
    """Write the figures into the page."""
    PAGE.write_text(rendered(PAGE.read_text(), read(FIGURES)))
