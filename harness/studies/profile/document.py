"""What a profile shows: a summary, a table, a bar of 78 columns and a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import accumulate
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style

from ...core.document import Document, Words
from ...core.figure import Bars, Figure, Look, Panel, Scale, Tone, listed, numbers
from ...core.sheet import Column, Sheet
from ...core.words import MISSING, fixed, percent, plural, significant, verb
from ...records.envelope import flat
from ...records.profile_record import KINDS_OF_TIME, Profile, ProfileRecord, Step

HEAVIEST = 15  # steps the table shows unless all are asked for
LABELLED = 8  # steps the bar names
WIDTH, HEIGHT = 78, 8  # of the bar at most, characters
KEY, PAIR = 19, 66  # a colour with its share; two steps with theirs
NAME = 20  # of a step in the table, characters

#: Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008), on a terminal.
COLOURS = {"sampling": "#d55e00", "compute": "#0072b2", "rest": "#56b4e9", "waiting": "#8a8a8b"}
#: The same in a figure.
TONES: dict[str, Tone] = {
    "sampling": "vermillion", "compute": "blue", "rest": "sky", "waiting": "faint"
}  # fmt: skip
#: Without colour.
GLYPHS = {"sampling": "#", "compute": "=", "rest": ":", "waiting": "."}
_PREFIXES = ("avx512_core_", "avx2_")


def short_kernel(step: Step) -> str:
    """`brgconv amx`, `own amx` for kernels of this project, with a `*` where the weights take a way
    round; for other operations, what they are."""
    if not step.kernel:
        named = {"max": "max pool", "avg": "average pool", "group_norm": "group norm"}
        return named.get(step.operation, step.operation)
    family, _, isa = step.kernel.partition(":")
    family = {"sigmabench": "own", "brgconv_1x1": "brg 1x1"}.get(family, family)
    for prefix in _PREFIXES:
        isa = isa.removeprefix(prefix)
    return f"{family} {isa.removesuffix('_core')}".strip() + ("" if step.path == "direct" else "*")


def document(found: tuple[str, ProfileRecord], *, every: bool = False) -> Document:
    """Summary, table and bar.

    Args:
        found: how files begin, and the record.
        every: every step stands in the table, not the heaviest alone.
    """
    name, record = found
    lines, whole = summary(record), table(record.body, every=True)
    blocks = [
        *map(Words, lines),
        Words(),
        table(record.body, every),
        Words(),
        *map(Words, notes(record.body, every)),
        Words(),
        Bar(record.body),
    ]
    return Document(
        name=name,
        blocks=tuple(blocks),
        values=to_dict(record),
        title="Where the time of a pass goes",
        lines=tuple(lines),
        sheets=(replace(whole, title="Steps", notes=tuple(notes(record.body, every=True))),),
        data={"steps": [asdict(step) for step in record.body.steps]},
        figures=lambda: (profile_figure(record),),
    )


def summary(record: ProfileRecord) -> list[str]:
    """What was measured, a pass's time, and what it is spent on, one sentence each."""
    asked, profile = record.subject, record.body
    side_by_side = asked.threads // profile.team
    shares = ", ".join(f"{kind} {percent(profile.share(kind))} %" for kind in KINDS_OF_TIME)
    together = f", {side_by_side} passes at a time" if side_by_side > 1 else ""
    return [
        f"{asked.target}, {asked.format}, batch {asked.batch}, T = {asked.mc}, "
        f"{plural(asked.threads, 'thread')}, {record.fingerprint.cpu}; μ and σ: {profile.origin}.",
        f"A pass takes {significant(profile.wall_us / 1e3)} ms: a query's time over T, median of "
        f"{plural(profile.queries, 'query', 'queries')}; {plural(profile.team, 'thread')} on a "
        f"pass{together}.",
        f"Thread-time: {shares}; in all {significant(profile.total_us / 1e3)} ms per pass, "
        f"{percent(record.spent)} % of a pass's time × threads.",
    ]


def table(profile: Profile, every: bool = False) -> Sheet:
    """The steps in the order of execution; the heaviest ones unless `every` is true.

    µs are thread-time per pass; % is the share of all thread-time, waiting included, that the step
    takes; TOP/s are those of one thread inside the kernel.
    """
    words = ("step", "O×I×KH×KW", "kernel")
    columns = (
        *(Column(heading, numeric=False, whole=True) for heading in words),
        *map(Column, ("sample", "comp.", "rest", "%", "TOP/s")),
    )
    kept = set(profile.steps) if every else set(_heaviest(profile, HEAVIEST))
    rows = tuple(
        (
            _shorten(step.name),
            "×".join(map(str, step.shape)) or MISSING,
            short_kernel(step),
            *(_microseconds(getattr(step, f"{kind}_us")) for kind in KINDS_OF_TIME[:3]),
            percent(profile.part(step.total_us)),
            fixed(step.tops, 2),
        )
        for step in profile.steps
        if step in kept
    )
    return Sheet("", columns, rows, {})


def notes(profile: Profile, every: bool = False) -> list[str]:
    """What a reader of the table should know, one sentence each."""
    told = [
        "Sample, comp., rest: µs of all threads per pass that go into drawing weights, computing "
        "and everything else. %: share of all of it. TOP/s: 10¹² operations per second of one "
        "thread inside its kernel."
    ]
    left = [step for step in profile.steps if step not in _heaviest(profile, HEAVIEST)]
    if left and not every:
        total = sum(step.total_us for step in left)
        told.append(
            f"{plural(len(left), 'more step')} {verb(len(left), 'takes', 'take')} "
            f"{significant(total)} µs, {percent(profile.part(total))} %; --all shows all."
        )
    if any(step.path not in ("", "direct") for step in profile.steps):
        told.append("* weights are drawn aside, then brought into the kernel's layout.")
    return told


class Bar:
    """Time from left to right, a step as wide as its share of it, each column divided from the
    bottom up by what the time goes on. The heaviest steps are named below."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Any]:
        colours = console.color_system is not None and not console.no_color
        width = min(WIDTH, options.max_width)
        columns = _columns(self.profile, width)
        for row in range(HEIGHT - 1, -1, -1):
            for column in columns:
                yield _cell(_kind_at(column, (row + 0.5) / HEIGHT), colours)
            yield Segment.line()
        named = _heaviest(self.profile, LABELLED)
        letters = {step: "abcdefgh"[index] for index, step in enumerate(named)}
        yield Segment("".join(letters.get(column, " ") for column in columns).rstrip())
        yield Segment.line()
        for place, kind in enumerate(KINDS_OF_TIME, 1):
            yield _cell(kind, colours)
            share = f" {kind} {percent(self.profile.share(kind))} %"
            last = place % max(1, width // KEY) == 0 or kind == KINDS_OF_TIME[-1]
            yield Segment(f"{share}\n" if last else f"{share:{KEY - 1}}")
        for step, letter in letters.items():
            share = percent(self.profile.part(step.total_us))
            yield Segment(f"{letter} {_shorten(step.name):{NAME}} {share:>5} %")
            last = letter in "bdfh" or step is named[-1] or width < PAIR
            yield Segment("\n" if last else "      ")


def to_dict(record: ProfileRecord) -> dict[str, Any]:
    """The record, and what is computed from it, for a script."""
    profile = record.body
    return {
        **flat(record),
        "posterior": profile.origin,
        "posterior_hash": record.subject.posterior,
        "cpu": record.fingerprint.cpu,
        "commit": record.fingerprint.commit,
        "figures": {
            "total_us": profile.total_us,
            "spent": record.spent,
            "shares": {kind: profile.share(kind) for kind in KINDS_OF_TIME},
        },
    }


def profile_figure(record: ProfileRecord) -> Figure:
    """One bar per step, in the order of execution, from the top, by what the time goes on."""
    asked, profile = record.subject, record.body
    names = listed((step.name for step in profile.steps), grid=False, small=True)
    sizes = [[getattr(step, f"{kind}_us") for step in profile.steps] for kind in KINDS_OF_TIME]
    none = [0.0] * len(profile.steps)
    starts = accumulate(
        sizes, lambda a, b: [x + y for x, y in zip(a, b, strict=True)], initial=none
    )
    bars = tuple(
        Bars(names.ticks, numbers(each), Look(tone=TONES[kind]), kind, numbers(start), flat=True)
        for kind, each, start in zip(KINDS_OF_TIME, sizes, starts, strict=False)
    )
    title = (
        f"{asked.target}, {asked.format}, batch {asked.batch}, T = {asked.mc},\n"
        f"{plural(asked.threads, 'thread')}, {record.fingerprint.cpu}"
    )
    across = Scale("time of all threads per pass (µs)")
    return Figure(
        "profile",
        "Where the time of a pass goes",
        "Time of each step of a pass, in the order of execution, by what it goes on.",
        (Panel(bars, across, replace(names, low=-0.6, high=len(none) - 0.4), title=title),),
        height=1.4 + 0.11 * len(profile.steps),
    )


def _heaviest(profile: Profile, count: int) -> list[Step]:
    """In the order of execution."""
    ranked = sorted(profile.steps, key=lambda step: step.total_us, reverse=True)[:count]
    return [step for step in profile.steps if step in ranked]


def _columns(profile: Profile, width: int) -> list[Step]:
    """The step in the middle of each of so many columns."""
    steps = iter(profile.steps)
    step = next(steps)
    end = step.total_us
    columns = []
    for column in range(width):
        middle = (column + 0.5) / width * profile.total_us
        while middle > end and (following := next(steps, None)) is not None:
            step = following
            end += step.total_us
        columns.append(step)
    return columns


def _kind_at(step: Step, height: float) -> str:
    reached = 0.0
    for kind in KINDS_OF_TIME:
        reached += getattr(step, f"{kind}_us")
        if reached > height * step.total_us:
            return kind
    return KINDS_OF_TIME[-1]


def _cell(kind: str, colours: bool) -> Segment:
    return Segment("█", Style(color=COLOURS[kind])) if colours else Segment(GLYPHS[kind])


def _shorten(name: str) -> str:
    """Names end in what tells them apart."""
    return name if len(name) <= NAME else f"{name[: NAME // 2 - 1]}…{name[-(NAME // 2) :]}"


def _microseconds(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}"
