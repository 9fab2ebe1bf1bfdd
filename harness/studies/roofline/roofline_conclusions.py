"""What a roofline says, in computed sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...core.words import fixed, percent, plural, significant, verb
from ...machine.caches import MEMORY
from ...records.profile_record import KINDS_OF_TIME
from ...records.roofline_record import LoopRate, ProductRate
from .analyse import COMPUTE, OVERHEAD, SAMPLER, Found

REACHED = 0.75  # of a loop, by a large product
ABOVE = 1.05  # of a loop: it was slower than it can be
NAMES = {
    COMPUTE: "arithmetic",
    SAMPLER: "the sampler",
    MEMORY: "memory bandwidth",
    OVERHEAD: "overhead",
}
_NOTED = 0.1  # of a pass
_SHOWN = 0.0005  # of a pass, in a sentence


def named(part: str) -> str:
    """What accounts for time, in words."""
    return NAMES.get(part, f"the bandwidth of {part}")


def conclusions(found: Found) -> tuple[str, ...]:
    """What bounds the passes, what is left, and whether libraries come near the loops."""
    sentences = [bound_of(found), *_padding(found), *_overhead(found), *_above(found)]
    return (*sentences, *_products(found))


def bound_of(found: Found) -> str:
    """What bounds this workload at this batch, in one sentence."""
    asked, parts = found.record.subject, found.parts
    shares = {name: f"{percent(time / found.wall_us)} %" for name, time in parts.items()}
    loop = found.ceilings.loop
    told = [f"multiply–adds at the rate of the {loop.isa} loop take {shares[COMPUTE]}"]
    if parts[SAMPLER]:
        told.append(f"draws at the sampler's rate {shares[SAMPLER]}")
    levels = [name for name in parts if name not in (COMPUTE, SAMPLER, OVERHEAD)]
    told += [
        f"steps that wait for {_place(name)} {shares[name]}"
        for name in sorted(levels)
        if parts[name] >= _SHOWN * found.wall_us
    ]
    listed = ", ".join(told[:-1]) + (" and " if told[1:] else "") + told[-1]
    return (
        f"{asked.target} in {asked.format} at batch {asked.batch} on "
        f"{plural(asked.threads, 'thread')} is bound by {named(found.bound)}: of "
        f"{significant(found.wall_us / 1e3)} ms per pass, {listed}; the rest, {shares[OVERHEAD]}, "
        "is overhead."
    )


def _place(level: str) -> str:
    return level if level == MEMORY else f"data from {level}"


def _padding(found: Found) -> Iterator[str]:
    asked, executed = found.total("multiply_adds"), found.total("executed")
    if asked and executed / asked - 1 >= _NOTED:
        yield (
            f"Kernels execute {fixed(executed / asked, 2)} times the multiply–adds that the "
            "network asks for; the rest of them are on padding."
        )


def _overhead(found: Found) -> Iterator[str]:
    """What the program's own clocks say of it."""
    body, threads = found.record.body, found.record.subject.threads
    if found.parts[OVERHEAD] < _NOTED * found.wall_us:
        return
    spent = {
        kind: sum(getattr(one, f"{kind}_us") for one in body.profile.steps) / threads
        for kind in KINDS_OF_TIME
    }
    outside = found.wall_us - sum(spent.values())
    shares = {kind: f"{percent(max(time, 0.0) / found.wall_us)} %" for kind, time in spent.items()}
    yield (
        f"By its own clocks a pass spends {shares['compute']} inside kernels, {shares['sampling']} "
        f"drawing, {shares['rest']} on pools, functions and conversions, {shares['waiting']} "
        f"waiting for other threads and {percent(max(outside, 0.0) / found.wall_us)} % outside "
        "all steps; the overhead is what each of these takes beyond the ceilings."
    )


def _above(found: Found) -> Iterator[str]:
    if found.share > 1:
        yield (
            f"The ceilings account for {percent(found.share)} % of the time of a pass: they were "
            "lower than they can be, for the machine was busier when they were measured; measure "
            "again on a quiet machine."
        )


@dataclass(frozen=True)
class Reached:
    """A product of large matrices beside the fastest loop of its numbers.

    Attributes:
        product: as measured.
        loop: the fastest; None where the CPU has none of these numbers.
        share: of the loop's rate; None where one of the two is missing.
        why: why it is below or above what was expected; empty where it is not.
    """

    product: ProductRate
    loop: LoopRate | None
    share: float | None
    why: str


def reached(found: Found) -> list[Reached]:
    """Every product that was measured."""
    body = found.record.body
    return [_reached(one, body.loops, body.products) for one in body.products]


def _reached(
    product: ProductRate, loops: tuple[LoopRate, ...], products: tuple[ProductRate, ...]
) -> Reached:
    same = [one for one in loops if one.threads == product.threads]
    mine = [one for one in same if one.numbers == product.numbers]
    loop = max(mine, key=lambda one: one.per_second, default=None)
    if loop is None or product.per_second is None:
        return Reached(product, loop, None, product.unavailable or _without(product, same))
    share = product.per_second / loop.per_second
    if share > ABOVE:
        return Reached(product, loop, share, "the loop was disturbed: it cannot be the slower one")
    if share >= REACHED:
        return Reached(product, loop, share, "")
    others = [one for one in same if one.per_second < REACHED * loop.per_second]
    return Reached(product, loop, share, _why(product, loop, others, products))


def _without(product: ProductRate, loops: list[LoopRate]) -> str:
    """Of numbers that the CPU has no instructions for."""
    return f"this CPU has no instructions for {product.numbers}" if loops else "no loop was run"


def _why(
    product: ProductRate,
    loop: LoopRate,
    slower: list[LoopRate],
    products: tuple[ProductRate, ...],
) -> str:
    """Narrower instructions, or those of other numbers; else another's kernel that is faster."""
    rate = product.per_second or 0.0
    fitting = [one for one in slower if REACHED <= rate / one.per_second <= ABOVE]
    if fitting:
        best = min(fitting, key=lambda one: abs(rate / one.per_second - 1))
        share = percent(rate / best.per_second, 0)
        what = best.isa if best.numbers == product.numbers else f"{best.numbers} in {best.isa}"
        return f"it is at {share} % of the loop of {what}, as if it used those instructions"
    for other in products:
        rival = other.per_second or 0.0
        if other.numbers == product.numbers and rival >= REACHED * loop.per_second:
            return (
                f"{other.by} reaches {percent(rival / loop.per_second, 0)} % with as large matrices"
            )
    return (
        "neither narrower instructions nor another library's product explains it; a busy machine "
        "would, so measure again on a quiet one"
    )


def _products(found: Found) -> Iterator[str]:
    several = reached(found)
    near = [one for one in several if one.share is not None and not one.why]
    if near:
        shares = sorted(percent(one.share, 0) for one in near)
        ends = "–".join(dict.fromkeys((min(shares, key=float), max(shares, key=float))))
        yield (
            f"Of {len(several)} products of {several[0].product.side}² matrices, {len(near)} "
            f"{verb(len(near), 'reaches', 'reach')} {ends} % of the fastest loop of their numbers."
        )
    by_reason: dict[str, list[str]] = {}
    for one in several:
        if one.why:
            by_reason.setdefault(one.why, []).append(_short_of(one))
    for why, names in by_reason.items():
        yield f"{'; '.join(names)}: {why}."


def _short_of(one: Reached) -> str:
    name = f"{one.product.numbers.upper()} product by {one.product.by}"
    if one.share is None or one.loop is None:
        return f"{name}, not held against a loop"
    return f"{name}, at {percent(one.share, 0)} % of the {one.loop.isa} loop"
