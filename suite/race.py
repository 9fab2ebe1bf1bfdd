"""Ratios of our times to a reference loop that takes turns with us in the same process.

Turns alternate strictly and last about 2 ms each: reference, ours, reference, ours, ..., reference.
Each of ours is divided by the mean of its two neighbours, so that a drift of the clock cancels.

On a shared machine whoever runs on the same core makes us slower by 10 to 50 %, for seconds on end,
and each kind of work by another share, so that no reference cancels it. But it can be seen: a
product of matrices then takes longer by the reference's clock (the gauge). Turns of such moments
are left out, and the race goes on in another process until there are enough others, or for so long
and no longer. A disturbance that is left makes a turn longer and never shorter, so that the lower
quartile of the ratios counts, and of several fresh processes, whose memory and caches differ, the
median.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from . import parts, reference, start
from .common import (
    BATCHES,
    SAMPLED,
    SAMPLER,
    artefact,
    by_profile,
    cells,
    draws,
    images,
    load,
    needed,
    shape_of,
    synthetic,
    torch_threads,
    tried,
)
from .prepared import file, loaded

#: Fresh processes at least and at most, and seconds after which no further one is begun.
PROCESSES, MOST_PROCESSES, MOST_SECONDS = by_profile((3, 8, 40), (5, 12, 240), (7, 16, 600))
#: Everyone has a turn in every lap, so many of them one after the other.
LAPS, TURNS = by_profile(12, 16, 24), 4
#: Above the lowest gauge known, a turn is disturbed.
DISTURBED = 1.1
#: Undisturbed turns of a process that make it count.
LEAST = 8
#: Passes of one turn, about 2 ms on a core of a Xeon with AVX-512 VNNI. They change what is
#: measured: raise the versions in `ratios` with them.
PASSES = {
    "lenet5": {"INT8": 50, "FP32": 20, "BF16": 20},
    "resnet20": {"INT8": 6, "FP32": 2, "BF16": 4},
    "resnet50": {"INT8": 1, "FP32": 1, "BF16": 1},
}
DRAWS = 80
UNITS = 2  # of the reference in a turn; more where ours takes long
#: Begin of the names that race; all by default.
ONLY = os.environ.get("SIGMABENCH_RACE", "")


@dataclass(frozen=True)
class Contestant:
    """What is raced.

    Attributes:
        name: of it.
        ours: one turn.
        reference: one turn of the reference.
        turns: in a lap.
        laps: of the race in which it takes part.
    """

    name: str
    ours: Callable[[], object]
    reference: Callable[[], object]
    turns: int = TURNS
    laps: int = LAPS


@dataclass(frozen=True)
class Turn:
    """Seconds of the reference before, ours and the reference after, and the gauge at that time."""

    before: float
    own: float
    after: float
    gauge: float

    @property
    def ratio(self) -> float:
        """Ours over the mean of its neighbours."""
        return 2 * self.own / (self.before + self.after)


#: By contestant, the turns of each process.
Taken = dict[str, list[list[Turn]]]


def setup_cache() -> dict[str, dict[str, Any]]:
    """By name: why there is no ratio, or the ratio, and from how many turns of all."""
    torch_threads()
    made = {name: make for name, make in _all() if name.startswith(ONLY)}
    _prepare()
    taken: Taken = {}
    absent: dict[str, dict[str, Any]] = {}
    known, began = _remembered(), time.monotonic()
    for number in range(MOST_PROCESSES):
        out = Path(f"race-{number}.json")
        _in_a_fork(lambda out=out, number=number: _race(made, out, number == 0))
        told = json.loads(out.read_text())
        absent |= told["absent"]
        for name, rows in told["taken"].items():
            taken.setdefault(name, []).append([Turn(*row) for row in rows])
        level = min(known, quiet_level(taken))
        late = time.monotonic() - began > MOST_SECONDS
        if number + 1 >= PROCESSES and (late or enough(taken, level)):
            break
    # A machine that never is as quiet as is remembered has become another in the end.
    _remember(level if enough(taken, level) else 1.02 * level)
    return absent | {name: summary(of, level) for name, of in taken.items()}


setup_cache.timeout = 1800


def quiet_level(taken: Taken) -> float:
    """The gauge when nobody disturbs: of each process the tenth part that is lowest, and the least
    of these."""
    found = []
    for number in range(max(map(len, taken.values()), default=0)):
        gauges = sorted(t.gauge for of in taken.values() if number < len(of) for t in of[number])
        found += gauges[len(gauges) // 10 :][:1]
    return min(found, default=float("inf"))


def undisturbed(turns: list[Turn], level: float) -> list[Turn]:
    """Those at whose time the gauge was near its lowest."""
    return [one for one in turns if one.gauge <= DISTURBED * level]


def enough(taken: Taken, level: float) -> bool:
    """Whether everyone was undisturbed in most of the processes that are needed at least."""
    wanted = PROCESSES // 2 + 1
    return all(
        sum(len(undisturbed(turns, level)) >= LEAST for turns in of) >= wanted
        for of in taken.values()
        if len(of) >= PROCESSES  # fresh interpreters race in the first alone
    )


def summary(processes: list[list[Turn]], level: float) -> dict[str, Any]:
    """The ratio: the median over processes of the lower quartile of undisturbed turns; of all turns
    where no process has enough of those.

    Args:
        processes: turns of each.
        level: the lowest gauge known.
    """
    quiet = [undisturbed(turns, level) for turns in processes]
    counted = [turns for turns in quiet if len(turns) >= LEAST] or processes
    return {
        "ratio": median(_quartile([one.ratio for one in turns]) for turns in counted),
        "seconds": median(_quartile([one.own for one in turns]) for turns in counted),
        "turns": sum(map(len, processes)),
        "undisturbed": sum(map(len, quiet)),
    }


def _quartile(values: list[float]) -> float:
    return sorted(values)[(len(values) - 1) // 4]


def race(contestants: list[Contestant]) -> dict[str, list[Turn]]:
    """Everyone in turn, lap after lap."""
    taken: dict[str, list[Turn]] = {one.name: [] for one in contestants}
    gauge = reference.product()
    gc.collect()
    gc.disable()
    try:
        for lap in range(LAPS):
            for one in contestants:
                if lap < one.laps:
                    taken[one.name] += visit(one, gauge)
    finally:
        gc.enable()
    return taken


def visit(
    one: Contestant, gauge: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> list[Turn]:
    """Some turns of a contestant; a first one, and one of its reference, are not timed: they fetch
    data into the caches.

    Args:
        one: whose turns.
        gauge: work that suffers from others more than hashing does.
        clock: in seconds.
    """

    def seconds(work: Callable[[], object]) -> float:
        begun = clock()
        work()
        return clock() - begun

    one.ours()
    one.reference()
    before, found = seconds(one.reference), []
    for _ in range(one.turns):
        own, after = seconds(one.ours), seconds(one.reference)
        found.append((before, own, after))
        before = after
    level = seconds(gauge) / seconds(lambda: reference.hashing(1))
    return [Turn(*row, level) for row in found]


def _race(made: dict[str, Make], out: Path, first: bool) -> None:
    """One fresh process."""
    ready, absent = [], {}
    for name, make in made.items():
        contestant, why = tried(make)
        if contestant is None:
            absent[name] = why
        elif first or contestant.turns > 1:  # fresh interpreters are fresh in one process, too
            ready.append(contestant)
    taken = {
        name: [(one.before, one.own, one.after, one.gauge) for one in turns]
        for name, turns in race(ready).items()
    }
    out.write_text(json.dumps({"absent": absent, "taken": taken}))


def _in_a_fork(work: Callable[[], object]) -> None:
    """Run in a process of its own, which has what this one has imported and folded. Nothing has
    started a thread here.

    Raises:
        RuntimeError: it failed.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a process of the race ended with status {status}")


def _memory() -> Path | None:
    """Where the lowest gauge is kept: beside asv's environment, which is of one machine."""
    home = os.environ.get("ASV_ENV_DIR", "")
    return Path(home) / "sigmabench-quiet.json" if home and Path(home).is_dir() else None


def _remembered() -> float:
    path = _memory()
    try:
        return float(json.loads(path.read_text())) if path else float("inf")
    except (OSError, ValueError, TypeError):
        return float("inf")


def _remember(level: float) -> None:
    path = _memory()
    if path and level < float("inf"):
        path.write_text(json.dumps(level))


Make = Callable[[], Contestant]


def _prepare() -> None:
    """What all processes take from here: folded networks, and the file that is loaded."""
    for network in {name for name, _ in cells()} | {SAMPLER}:
        tried(lambda network=network: synthetic(network))
    if not ONLY:
        tried(lambda: needed("save_artefact")(artefact("lenet5", "INT8"), file("lenet5", "INT8")))


def _all() -> Iterator[tuple[str, Make]]:
    """Contestants by name, none of them made yet."""
    for network, format in cells():
        for batch in BATCHES:
            name = f"pass {network} {format} {batch}"
            yield name, _passes(name, network, format, batch)
    for bits, format in SAMPLED.items():
        yield f"sampler {bits}", _draws(f"sampler {bits}", format)
    yield "quantize", lambda: _part("quantize", lambda: artefact("lenet5", "INT8"))
    yield "load", lambda: _part("load", lambda: loaded("lenet5", "INT8"))
    yield "score", _score
    yield (
        "start",
        lambda: Contestant(
            "start", lambda: reference.fresh(start.COMMAND_LINE), reference.interpreter, 1, 5
        ),
    )


def _passes(name: str, network: str, format: str, batch: int) -> Make:
    def make() -> Contestant:
        predictor = load(artefact(network, format), format)
        inputs = images(shape_of(network), batch)
        whole = PASSES[network]["INT8" if "INT" in format else format.removeprefix("DNN_")]
        count = range(max(1, whole // batch))
        units = UNITS if network != "resnet50" else 10 * UNITS
        return Contestant(
            name,
            lambda: predictor.logits(inputs, 0, count),
            lambda: reference.hashing(units),
            TURNS if network != "resnet50" else 2,
        )

    return make


def _draws(name: str, format: str) -> Make:
    def make() -> Contestant:
        draw = draws(load(artefact(SAMPLER, format), format))
        return Contestant(name, lambda: draw(DRAWS), lambda: reference.hashing(UNITS))

    return make


def _part(name: str, work: Callable[[], object]) -> Contestant:
    work()
    return Contestant(name, work, lambda: reference.hashing(UNITS))


def _score() -> Contestant:
    summary, labels = parts.predictions()
    return _part("score", lambda: needed("score")(summary, labels, parts.SCORES))
