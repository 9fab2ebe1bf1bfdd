"""The tables of a roofline: what the machine does, where a pass's time is, and every layer."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.sheet import Column, Sheet
from ...core.words import MISSING, fixed, percent, plural, significant, verb
from ...records.roofline_record import LevelRate
from .analyse import Found, StepPoint
from .roofline_conclusions import named, reached

HEAVIEST = 12  # steps the table shows unless all are asked for
NAME = 20  # of a step, characters


def loops_sheet(found: Found) -> Sheet:
    """A row per instruction set, on one thread and on all."""
    body, threads = found.record.body, found.record.subject.threads
    shown = sorted({1, threads})
    rates = {(one.numbers, one.isa, one.threads): one for one in body.loops}
    rows = []
    for numbers, isa in dict.fromkeys((one.numbers, one.isa) for one in body.loops):
        on = [rates.get((numbers, isa, count)) for count in shown]
        first = next(one for one in on if one is not None)
        rows.append(
            (
                numbers.upper(),
                isa,
                fixed(first.per_cycle, 1),
                fixed(first.clock_hertz / 1e9, 2),
                *(MISSING if one is None else significant(one.per_second / 1e9) for one in on),
            )
        )
    columns = (
        Column("numbers", numeric=False),
        Column("instructions", numeric=False, whole=True),
        Column("per cycle", "1 core"),
        Column("clock", "GHz"),
        *(Column("10⁹/s", plural(count, "thread")) for count in shown),
    )
    notes = (
        "Multiply–adds of loops that use registers alone, the fastest of many calls, each "
        "instruction set in a process of its own; the clock by a chain of dependent additions.",
    )
    return Sheet("Arithmetic at best", columns, tuple(rows), {}, notes=notes)


def levels_sheet(found: Found) -> Sheet:
    """A row per level of the memory hierarchy; the sampler's rate below it."""
    body, threads = found.record.body, found.record.subject.threads
    shown = sorted({1, threads})
    levels = {(one.level, one.threads): one for one in body.levels}
    rows = []
    for level in dict.fromkeys(one.level for one in body.levels):
        on = [levels.get((level, count)) for count in shown]
        last = next(one for one in reversed(on) if one is not None)
        name = f"{level}, partly cache" if last.partly_cache else level
        rows.append(
            (name, f"{last.bytes / 1024:,.0f}", *(cell for one in on for cell in _both(one)))
        )
    columns = (
        Column("level", numeric=False),
        Column("KiB", "touched"),
        *(
            Column(f"{what} GB/s", plural(count, "thread"))
            for count in shown
            for what in ("read", "copy")
        ),
    )
    notes = (
        "Bytes that were read again and again, and copied: read plus written. The faster of the "
        "two is the level's ceiling.",
        *_drawn(found),
    )
    return Sheet("Data at best", columns, tuple(rows), {}, notes=notes)


def _both(one: LevelRate | None) -> tuple[str, str]:
    if one is None:
        return MISSING, MISSING
    return significant(one.read_per_second / 1e9), significant(one.copy_per_second / 1e9)


def _drawn(found: Found) -> tuple[str, ...]:
    rates = [
        f"{significant(one.weights_per_second / 1e9)} on {plural(one.threads, 'thread')}"
        for one in found.record.body.samplers
    ]
    if not rates:
        return ("A deterministic format draws no weights.",)
    path = found.record.body.samplers[0].path
    return (f"The sampler ({path}) draws, in 10⁹ weights per second: {', '.join(rates)}.",)


def parts_sheet(found: Found) -> Sheet:
    """What accounts for the time of a pass."""
    rows = tuple(
        (named(name), significant(time), percent(time / found.wall_us))
        for name, time in found.parts.items()
    )
    columns = (Column("bound by", numeric=False, whole=True), Column("µs", "per pass"), Column("%"))
    return Sheet("Where a pass's time goes", columns, rows, {})


def layers_sheet(found: Found, every: bool = False) -> Sheet:
    """The heaviest steps in the order of execution, or all of them, and the pass."""
    ranked = sorted(found.steps, key=lambda one: one.taken_us, reverse=True)
    kept = ranked if every else ranked[:HEAVIEST]
    rows = [_row(one) for one in found.steps if one in kept]
    columns = (
        Column("step", numeric=False, whole=True),
        Column("mult.–adds", "10⁶"),
        Column("padding", "%"),
        Column("per byte", "moved"),
        Column("time", "µs"),
        Column("limit", "µs"),
        Column("of limit", "%"),
        Column("bound by", numeric=False),
    )
    return Sheet(
        "Every step below its ceilings" if every else "The heaviest steps below their ceilings",
        columns,
        (*rows, _pass_row(found)),
        {},
        notes=_notes(found, kept),
    )


def _row(one: StepPoint) -> tuple[str, ...]:
    asked = one.count.multiply_adds
    return (
        shorten(one.step.name),
        significant(asked / 1e6) if asked else MISSING,
        percent(one.padding, 0),
        significant(one.per_byte),
        _microseconds(one.taken_us),
        _microseconds(one.limit_us),
        percent(one.share, 0),
        one.bound,
    )


def _pass_row(found: Found) -> tuple[str, ...]:
    asked, executed = found.total("multiply_adds"), found.total("executed")
    return (
        "a pass",
        significant(asked / 1e6),
        percent(executed / asked - 1 if asked else None, 0),
        significant(asked / found.total("moved_bytes")),
        _microseconds(found.wall_us),
        _microseconds(found.limit_us),
        percent(found.share, 0),
        found.bound,
    )


def _notes(found: Found, kept: Sequence[StepPoint]) -> tuple[str, ...]:
    left = [one for one in found.steps if one not in kept]
    more: tuple[str, ...] = ()
    if left:
        time = significant(sum(one.taken_us for one in left))
        more = (
            f"{plural(len(left), 'more step')} {verb(len(left), 'takes', 'take')} {time} µs; --all "
            "shows all.",
        )
    return (
        "Padding: multiply–adds that the kernel executes beyond those the network asks for. Limit: "
        "the time at the ceilings, multiply–adds and draws one after the other, or moving the "
        "bytes, whichever takes longer. Of limit: limit over time; 100 % is at the ceiling.",
        *more,
    )


def products_sheet(found: Found) -> Sheet:
    """Products of large matrices beside the fastest loop of their numbers."""
    rows = tuple(
        (
            one.product.numbers.upper(),
            one.product.by,
            significant(None if one.product.per_second is None else one.product.per_second / 1e9),
            MISSING if one.loop is None else one.loop.isa,
            percent(one.share, 0),
        )
        for one in reached(found)
    )
    columns = (
        Column("numbers", numeric=False),
        Column("by", numeric=False),
        Column("mult.–adds", "10⁹/s"),
        Column("loop", numeric=False),
        Column("of loop", "%"),
    )
    side = {one.side for one in found.record.body.products}
    title = f"Products of {'×'.join(2 * [str(max(side, default=0))])} matrices beside the loops"
    return Sheet(title, columns, rows, {})


def shorten(name: str) -> str:
    """Names end in what tells them apart."""
    return name if len(name) <= NAME else f"{name[: NAME // 2 - 1]}…{name[-(NAME // 2) :]}"


def _microseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.5 else significant(value)
