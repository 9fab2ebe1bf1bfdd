"""Ratios of our times to a reference loop that takes turns with us in the same process.

Turns alternate strictly and last about 2 ms each: reference, ours, reference, ours, ..., reference.
Each of ours is divided by the mean of its two neighbours, so that a drift of the clock cancels.

Whoever runs on the same core makes us slower by 10 to 50 %, for seconds on end, and each kind of
work by another share, so that no reference cancels it. But it can be seen (`quiet`): turns of such
moments are left out, and the race goes on in another process until there are enough others, or for
so long and no longer. A disturbance that is left makes a turn longer and never shorter, so that the
lowest tenth of the ratios counts, and of several processes the median.

How buffers lie to one another changes the time of a pass, too, and the least change of the code
moves them: in each process several copies of a predictor, made apart, take turns.
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
from itertools import cycle
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from . import parts, quiet, reference, start
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

#: Processes at least and at most, and seconds after which no further one is begun.
PROCESSES, MOST_PROCESSES, MOST_SECONDS = by_profile((3, 8, 40), (5, 12, 240), (7, 16, 600))
#: Everyone has a turn in every lap, so many of them one after the other.
LAPS, TURNS = by_profile(12, 16, 24), 4
#: Of fresh interpreters, and of ResNet-50, which take long.
LAPS_OF_STARTS, TURNS_OF_RESNET50 = 4, 2
#: Undisturbed turns of a process that make it count, but half of its turns where it has few.
LEAST = 8
#: Copies of a predictor; one of ResNet-50.
COPIES = 8
#: Passes of one turn, about 2 ms on a core of a Xeon with AVX-512 VNNI. They change what is
#: measured: raise the versions in `ratios` with them.
PASSES = {
    "lenet5": {"INT8": 50, "FP32": 20, "BF16": 20},
    "resnet20": {"INT8": 6, "FP32": 2, "BF16": 4},
    "resnet50": {"INT8": 1, "FP32": 1, "BF16": 1},
}
UNITS, UNITS_OF_RESNET50 = 2, 20  # of the reference in a turn
#: Begin of the names that race; all by default.
ONLY = os.environ.get("SIGMABENCH_RACE", "")


@dataclass(frozen=True)
class Contestant:
    """What is raced.

    Attributes:
        ours: one turn.
        reference: one turn of the reference.
        turns: in a lap.
        laps: in which it takes part.
        warm: a turn that is not timed begins each lap: it fetches data into the caches.
    """

    ours: Callable[[], object]
    reference: Callable[[], object]
    turns: int = TURNS
    laps: int = LAPS
    warm: bool = True


Make = Callable[[], Contestant]


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
    absent: dict[str, dict[str, str]] = {}
    known, began = quiet.remembered(), time.monotonic()
    for number in range(MOST_PROCESSES):
        out = Path(f"race-{number}.json")
        _in_a_fork(lambda out=out, number=number: _race(made, out, number))
        told = json.loads(out.read_text())
        absent |= told["absent"]
        for name, rows in told["taken"].items():
            taken.setdefault(name, []).append([Turn(*row) for row in rows])
        level = min(known, quiet_level(taken))
        late = time.monotonic() - began > MOST_SECONDS
        if number + 1 >= PROCESSES and (late or enough(taken, level)):
            break
    # A machine that never is as quiet as is remembered has become another in the end.
    quiet.remember(level if enough(taken, level) else 1.02 * level)
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
    return [one for one in turns if one.gauge <= quiet.DISTURBED * level]


def counts(turns: list[Turn], level: float) -> bool:
    """Whether a process has enough undisturbed turns."""
    return len(undisturbed(turns, level)) >= max(1, min(LEAST, len(turns) // 2))


def enough(taken: Taken, level: float) -> bool:
    """Whether everyone has had enough undisturbed turns in most of the processes that are needed at
    least."""
    wanted = PROCESSES // 2 + 1
    return all(sum(counts(turns, level) for turns in of) >= wanted for of in taken.values())


def summary(processes: list[list[Turn]], level: float) -> dict[str, Any]:
    """The ratio: the median over processes of the lowest tenth of undisturbed turns; of all turns
    where no process has enough of those.

    Args:
        processes: turns of each.
        level: the lowest gauge known.
    """
    still = [undisturbed(turns, level) for turns in processes if counts(turns, level)]
    counted = still or processes
    return {
        "ratio": median(_tenth([one.ratio for one in turns]) for turns in counted),
        "seconds": median(_tenth([one.own for one in turns]) for turns in counted),
        "turns": sum(map(len, processes)),
        "undisturbed": sum(map(len, still)),
    }


def _tenth(values: list[float]) -> float:
    return sorted(values)[len(values) // 10]


def race(contestants: dict[str, Contestant]) -> dict[str, list[Turn]]:
    """Everyone in turn, lap after lap."""
    taken: dict[str, list[Turn]] = {name: [] for name in contestants}
    quiet.gauge()
    gc.collect()
    gc.disable()
    try:
        for lap in range(LAPS):
            for name, one in contestants.items():
                if lap < one.laps:
                    taken[name] += visit(one)
    finally:
        gc.enable()
    return taken


def visit(one: Contestant, clock: Callable[[], float] = time.perf_counter) -> list[Turn]:
    """The turns of a contestant in a lap.

    Args:
        one: whose turns.
        clock: in seconds.
    """

    def seconds(work: Callable[[], object]) -> float:
        begun = clock()
        work()
        return clock() - begun

    if one.warm:
        one.ours()
        one.reference()
    before, found = seconds(one.reference), []
    for _ in range(one.turns):
        own, after = seconds(one.ours), seconds(one.reference)
        found.append((before, own, after))
        before = after
    level = quiet.gauge()
    return [Turn(*row, level) for row in found]


def _race(made: dict[str, Make], out: Path, number: int) -> None:
    """One process."""
    _PLACES.seed(number)
    ready: dict[str, Contestant] = {}
    absent = {}
    for name, make in made.items():
        one, why = tried(make)
        if one is None:
            absent[name] = why
        else:
            ready[name] = one
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


#: Where the next copy of a predictor lies.
_PLACES = Random(0)
_BETWEEN: list[bytearray] = []


def copies(make: Callable[[], Any], count: int = COPIES) -> list[Any]:
    """Things made one after the other, with memory of other sizes between them."""
    made = []
    for _ in range(count):
        _BETWEEN.extend(bytearray(_PLACES.randrange(64, 1 << 16)) for _ in range(4))
        made.append(make())
    return made


def in_turn(calls: list[Callable[[], object]]) -> Callable[[], object]:
    """One after the other, a call of each."""
    chosen = cycle(calls)
    return lambda: next(chosen)()


def _prepare() -> None:
    """What all processes take from here: folded networks, and the file that is loaded."""
    for network in sorted({SAMPLER, *(name for name, _ in cells())}):
        tried(lambda network=network: synthetic(network))
    if not ONLY:
        tried(lambda: needed("save_artefact")(artefact("lenet5", "INT8"), file("lenet5", "INT8")))


def _all() -> Iterator[tuple[str, Make]]:
    """Contestants by name, none of them made yet."""
    for network, format in cells():
        for batch in BATCHES:
            yield f"pass {network} {format} {batch}", _passes(network, format, batch)
    for bits, format in SAMPLED.items():
        yield f"sampler {bits}", _draws(format)
    yield "quantize", lambda: _part(lambda: artefact("lenet5", "INT8"))
    yield "load", lambda: _part(lambda: loaded("lenet5", "INT8"))
    yield "score", _score
    yield "start", _starts


def _passes(network: str, format: str, batch: int) -> Make:
    def make() -> Contestant:
        large = network == "resnet50"
        passed, inputs = artefact(network, format), images(shape_of(network), batch)
        whole = PASSES[network]["INT8" if "INT" in format else format.removeprefix("DNN_")]
        count = range(max(1, whole // batch))
        predictors = copies(lambda: load(passed, format), 1 if large else COPIES)
        calls = [lambda one=one: one.logits(inputs, 0, count) for one in predictors]
        units = UNITS_OF_RESNET50 if large else UNITS
        return Contestant(
            in_turn(calls),
            lambda: reference.hashing(units),
            TURNS_OF_RESNET50 if large else TURNS,
        )

    return make


def _draws(format: str) -> Make:
    def make() -> Contestant:
        drawn = artefact(SAMPLER, format)
        draw = copies(lambda: draws(load(drawn, format)))
        calls = [lambda one=one: one(parts.DRAWS) for one in draw]
        return Contestant(in_turn(calls), lambda: reference.hashing(UNITS))

    return make


def _part(work: Callable[[], object]) -> Contestant:
    work()
    return Contestant(work, lambda: reference.hashing(UNITS))


def _score() -> Contestant:
    summary, labels = parts.predictions()
    return _part(lambda: needed("score")(summary, labels, parts.SCORES))


def _starts() -> Contestant:
    """Both sides are fresh interpreters, and suffer alike."""
    return Contestant(
        lambda: reference.fresh(start.COMMAND_LINE),
        reference.interpreter,
        turns=1,
        laps=LAPS_OF_STARTS,
        warm=False,
    )
