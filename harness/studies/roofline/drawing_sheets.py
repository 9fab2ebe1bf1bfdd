"""The papers' claim on bandwidth, layer by layer: bytes that schemes of drawing weights move,
beside the time that they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...core.formats import FORMATS
from ...core.sheet import Column, Sheet
from ...core.words import MISSING, byte_unit, fixed, percent, plural, significant, verb
from ...machine.caches import MEMORY
from ...records.roofline_record import BAYESIAN_TORCH, NAIVE, Drawing
from .analyse import OURS, Found, ratio
from .roofline_sheets import HEAVIEST, shorten

CLAIMED = 4  # times T: bytes of float32 over those of int8, T models against one
_SHORT = {NAIVE: "naive", BAYESIAN_TORCH: "b.-torch", OURS: "ours"}
_SLOW = 0.5  # of what memory delivers
_LONG = 1e4  # µs of a pass, shown in ms


def drawings_sheet(found: Found, every: bool = False) -> Sheet:
    """A row per layer: bytes and microseconds of each scheme, and how many times fewer ours are.

    Args:
        found: a record.
        every: all layers, not those alone that the first scheme takes longest to draw.
    """
    several = found.drawings
    if not several:
        return Sheet(_TITLE, (), (), {})
    layers, first, ours = several[0].layers, several[0], several[-1]
    ranked = sorted(range(len(layers)), key=lambda k: -first.layer_us[k])
    kept = sorted(ranked if every else ranked[:HEAVIEST])
    unit, size = byte_unit([sum(first.bytes)])
    time, micros = ("µs", 1.0) if sum(first.layer_us) < _LONG else ("ms", 1e3)

    def row(name: str, sizes: Sequence[int], times: Sequence[float]) -> tuple[str, ...]:
        return (
            name,
            *(significant(one / size) for one in sizes),
            fixed(sizes[0] / sizes[-1], 2),
            *(significant(one / micros) for one in times),
            significant(times[0] / times[-1]) if times[-1] else MISSING,
        )

    rows = [
        row(
            shorten(layers[k]),
            [one.bytes[k] for one in several],
            [one.layer_us[k] for one in several],
        )
        for k in kept
    ]
    whole = row("a pass", [sum(o.bytes) for o in several], [sum(o.layer_us) for o in several])
    names = [_SHORT.get(one.scheme, one.scheme) for one in several]
    columns = (
        Column("layer", numeric=False, whole=True),
        *(Column(name, unit) for name in names),
        Column("fewer", "times"),
        *(Column(name, time) for name in names),
        Column("faster", "times"),
    )
    left = len(layers) - len(kept)
    more = (
        (f"{plural(left, 'more layer')} {verb(left)} in the sum; --all shows all.",) if left else ()
    )
    notes = (
        f"Per pass. {unit}: what μ, σ and sampled weights move, the layer's own reading included. "
        "Naive: w = μ + σ·ε in float32, an operator of PyTorch each; b.-torch: the operators of "
        f"bayesian-torch's 8-bit layers; ours: as the program executes it. {time}: time to draw "
        "the weights, in turns. Fewer, faster: naive over ours.",
        *more,
    )
    assert ours.scheme == OURS
    return Sheet(_TITLE, columns, (*rows, whole), {}, notes=notes)


_TITLE = "What drawing weights moves, and how long it takes"


def drawing_conclusions(found: Found) -> Iterator[str]:
    """The claim beside what was counted, and beside what was timed."""
    several, asked = found.drawings, found.record.subject
    schemes = [one.scheme for one in several[:-1]]
    if not schemes:
        return
    if FORMATS.get(asked.format).quantized:
        yield (
            f"The 2021 paper claims {CLAIMED}T times fewer bytes for 8-bit weights, "
            f"{CLAIMED * asked.mc} times at T = {asked.mc}: it counts one model that stays in a "
            "cache against T of float32. Every pass draws weights of its own, so both sides grow "
            "with T, and the ratio does not."
        )
    listed = "; ".join(
        f"{_than(ratio(several, one, 'bytes'), 'fewer', 'more')} bytes than {one}, in "
        f"{_than(ratio(several, one, 'layer_us'), 'less', 'more')} time"
        for one in schemes
    )
    yield f"To draw the weights of a pass, {asked.format} here moves {listed}."
    yield from _bound(found, several[0])


def _than(value: float | None, below: str, above: str) -> str:
    """`2.5 times fewer`, or `2.5 times more`."""
    if value is None:
        return MISSING
    return f"{significant(max(value, 1 / value), 2)} times {below if value >= 1 else above}"


def _bound(found: Found, scheme: Drawing) -> Iterator[str]:
    """Whether bytes can explain the time of the first scheme."""
    memory = found.ceilings.levels.get(MEMORY)
    taken = sum(scheme.layer_us)
    if memory is None or not taken:
        return
    rate = sum(scheme.bytes) / taken * 1e6
    share = f"{significant(rate / 1e9)} GB/s, {percent(rate / memory.per_second, 0)} % of what"
    slow = ", so bandwidth does not explain its time" if rate < _SLOW * memory.per_second else ""
    yield f"The operators of {scheme.scheme} move their bytes at {share} memory delivers{slow}."
