"""The figures in `docs/regressions.md`: what stands between `<!-- NAME -->` and `<!-- end -->`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from .clone import ROOT
from .edits import LOSSY, NOTHING
from .stored import Comparison, machines

PAGE = ROOT / "docs" / "regressions.md"
#: Of ten comparisons, in how many a slow-down has to be found to count as found.
OFTEN = 0.9
TRIES = 10
#: A comparison is of what was measured if it names one of these.
COMPUTED = ("track_", "_ratio")
_BLOCK = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Made = Mapping[str, Sequence[Comparison]]


def found(one: Comparison) -> bool:
    """Whether asv flagged what the edit made worse, by a benchmark that measures just that."""
    if one.kind == LOSSY.name:
        return any("track_sigma_lost" in name for name in one.worse)
    return any("track_sampler_ratio" in name for name in one.worse)


def slowdown(one: Comparison) -> float:
    """How much slower the sampler was, as its own ratios say: the median over the bits of σ."""
    steps = [value for name, value in one.ratios.items() if "track_sampler_ratio" in name]
    return 100 * (median(steps) - 1) if steps else float("nan")


def kinds(made: Made) -> str:
    """Of each machine what was to be found, and how often it was."""
    lines = [
        "| machine | what was changed | comparisons | flagged | the sampler's ratios say |",
        "|---|---|---:|---:|---:|",
    ]
    for machine, name, same in _groups(made, alone=False):
        if name != NOTHING.name:
            size = "–" if name == LOSSY.name else f"{_range(same)} slower"
            counted = f"{len(same)} | {sum(map(found, same))}"
            lines.append(f"| {machine} | {told(name)} | {counted} | {size} |")
    return _or_none(lines)


def alarms(made: Made) -> str:
    """What was flagged though nothing was changed."""
    lines = [
        "| machine | comparisons of no change | false alarms | of them ratios or `track_*` |",
        "|---|---:|---:|---:|",
    ]
    named = []
    for machine, name, same in _groups(made, alone=False):
        if name == NOTHING.name:
            every = [benchmark for one in same for benchmark in one.worse]
            counted = [one for one in every if any(part in one for part in COMPUTED)]
            lines.append(f"| {machine} | {len(same)} | {len(every)} | {len(counted)} |")
            named += [f"* `{benchmark}`, on {machine}" for benchmark in every]
    return _or_none(lines) + ("\n\nThey were\n\n" + "\n".join(named) if named else "")


def least(made: Made) -> str:
    """How often slow-downs of several sizes were found, and the smallest that was often enough."""
    lines = [
        "| machine | blocks drawn twice | comparisons | found | the sampler's ratios say |",
        "|---|---:|---:|---:|---:|",
    ]
    smallest: dict[str, float | None] = {}
    groups = sorted(_groups(made, alone=True), key=lambda group: (group[0], _percent(group[1])))
    for machine, name, same in groups:
        hits = sum(map(found, same))
        lines.append(
            f"| {machine} | {_percent(name)} % | {len(same)} | {hits} | {_range(same)} slower |"
        )
        if len(same) < TRIES or hits < OFTEN * len(same):  # nor does a smaller one count
            smallest[machine] = None
        elif smallest.get(machine) is None:
            smallest[machine] = median(map(slowdown, same))
    told_least = [
        f"The smallest slow-down of these that was found nine times out of ten on {machine}, as "
        f"were all larger ones: **{size:.1f} %**."
        for machine, size in smallest.items()
        if size is not None
    ]
    return _or_none(lines) + "".join(f"\n\n{line}" for line in told_least)


def spread(made: Made) -> str:
    """What ratios do when nothing changes: the widest of all comparisons, by benchmark."""
    lines = ["| ratio | comparisons | least | greatest |", "|---|---:|---:|---:|"]
    values: dict[str, list[float]] = {}
    for _, name, same in _groups(made, alone=False):
        if name == NOTHING.name:
            for one in same:
                for benchmark, value in one.ratios.items():
                    values.setdefault(benchmark, []).append(value)
    for benchmark, of in sorted(values.items()):
        lines.append(f"| `{benchmark}` | {len(of)} | {min(of):.3f} | {max(of):.3f} |")
    return _or_none(lines)


def where(made: Made) -> str:
    """Machines, days, commits and times."""
    lines = []
    for machine, every in made.items():
        if every:
            days = sorted(one.date for one in every)
            bases = ", ".join(dict.fromkeys(one.base[:9] for one in every))
            whole = [one.seconds for one in every if not one.alone]
            each = f"; all quick benchmarks took {median(whole) / 60:.1f} minutes" if whole else ""
            lines.append(
                f"* {_words(machine)}: {len(every)} comparisons from {days[0]} to {days[-1]}, of "
                f"commit {bases}{each}."
            )
    return "\n".join(lines) or "Nothing was compared yet."


def told(name: str) -> str:
    """An edit in words."""
    if name == LOSSY.name:
        return "the quantizer loses 5 % of σ"
    return f"the sampler draws {_percent(name)} % of its blocks twice"


def _percent(name: str) -> int:
    return int(name.rpartition("-")[2])


def _groups(made: Made, alone: bool) -> Iterator[tuple[str, str, list[Comparison]]]:
    """Machine, edit and comparisons."""
    for machine, every in made.items():
        chosen = [one for one in every if one.alone == alone]
        for name in dict.fromkeys(one.kind for one in chosen):
            yield machine, name, [one for one in chosen if one.kind == name]


def _range(same: Sequence[Comparison]) -> str:
    sizes = sorted(map(slowdown, same))
    return f"{sizes[0]:+.1f} to {sizes[-1]:+.1f} %".replace("-", "−")


def _or_none(lines: list[str]) -> str:
    return "\n".join(lines) if len(lines) > 2 else "Nothing was compared yet."


def _words(machine: str) -> str:
    """A machine as asv keeps it, where its results lie beside the comparisons."""
    path = ROOT / "results" / "asv" / machine / "machine.json"
    if not path.is_file():
        return machine
    facts: dict[str, Any] = json.loads(path.read_text())
    return f"{facts['cpu']}, {facts['num_cpu']} cores ({machine})"


def rendered(text: str, made: Made) -> str:
    """The page with these comparisons."""
    blocks = {one.__name__: one for one in (kinds, alarms, least, spread, where)}

    def block(match: re.Match[str]) -> str:
        return f"{match[1]}{blocks[match[2]](made)}\n{match[3]}"

    return _BLOCK.sub(block, text)


def refresh() -> None:
    """Write the figures into the page."""
    PAGE.write_text(rendered(PAGE.read_text(), machines()))
