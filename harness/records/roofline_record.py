"""The record of a roofline: what the machine does at best, and what a program's passes ask of it.

    <results>/roofline/<target>/<fingerprint hash>/<key>.json

Its subject is a profile's. Units are in the field names; a multiply–add counts once. Ceilings are
the best of many repeats, what is held against them a median: all of it is of one run.
"""

from __future__ import annotations

from dataclasses import dataclass

from .envelope import Record
from .kind import Kind
from .profile_record import Profile, ProfileSubject

#: Ways to draw weights by PyTorch's operators.
NAIVE, BAYESIAN_TORCH = "naive FP32", "bayesian-torch INT8"


@dataclass(frozen=True)
class LoopRate:
    """A loop of the widest multiply–adds of an instruction set, in registers alone.

    Attributes:
        numbers: `fp32`, `bf16` or `int8`.
        isa: the instruction set.
        threads: cores that ran it at the same time.
        per_second: multiply–adds of all of them.
        clock_hertz: by a chain of dependent additions right after the loop.
    """

    numbers: str
    isa: str
    threads: int
    per_second: float
    clock_hertz: float

    @property
    def per_cycle(self) -> float:
        """Multiply–adds of one core."""
        return self.per_second / self.threads / self.clock_hertz


@dataclass(frozen=True)
class LevelRate:
    """What a level of the memory hierarchy delivers.

    Attributes:
        level: `L1`, `L2`, `L3` or `memory`.
        bytes: that were read again and again, of all threads together; a copy reads one half of
            them and writes the other.
        threads: cores that read or copied at the same time.
        read_per_second: bytes read.
        copy_per_second: bytes read plus bytes written.
        partly_cache: of memory: fewer than four times the last cache's bytes fitted into free
            memory, so that caches served a part.
    """

    level: str
    bytes: int
    threads: int
    read_per_second: float
    copy_per_second: float
    partly_cache: bool = False

    @property
    def per_second(self) -> float:
        """The faster of the two."""
        return max(self.read_per_second, self.copy_per_second)


@dataclass(frozen=True)
class SamplerRate:
    """How fast weights are drawn from caches.

    Attributes:
        path: of the sampler.
        threads: cores that drew at the same time, each for itself.
        weights_per_second: of all of them.
    """

    path: str
    threads: int
    weights_per_second: float


@dataclass(frozen=True)
class ProductRate:
    """A product of two square matrices, by a library.

    Attributes:
        by: `PyTorch`, or `sigmabench` for the compiled runtime.
        numbers: `fp32`, `bf16` or `int8`.
        side: rows and columns of the matrices.
        threads: cores that shared it.
        per_second: multiply–adds; None where there is none.
        unavailable: why there is none, one sentence; empty if there is one.
    """

    by: str
    numbers: str
    side: int
    threads: int
    per_second: float | None
    unavailable: str = ""


@dataclass(frozen=True)
class StepCount:
    """What a step of a pass moves and computes, for the whole batch, as the program executes it.

    Attributes:
        name: as the profile's step.
        weights: drawn in a pass; 0 where none are.
        mean_bytes: μ read.
        std_bytes: σ read as it lies in memory.
        sampled_bytes: sampled weights written and read, by a roundabout way where there is one.
        activation_bytes: activations written and read, copies included.
        multiply_adds: that the network asks for; 0 of what is no layer.
        executed: that the kernel does, those on padding included.
    """

    name: str
    weights: int
    mean_bytes: int
    std_bytes: int
    sampled_bytes: int
    activation_bytes: int
    multiply_adds: int
    executed: int

    @property
    def moved_bytes(self) -> int:
        """All bytes."""
        return self.mean_bytes + self.std_bytes + self.sampled_bytes + self.activation_bytes


@dataclass(frozen=True)
class Drawing:
    """A way to draw weights, layer by layer, that took turns with the program's queries.

    Attributes:
        scheme: `naive FP32` or `bayesian-torch INT8`.
        layers: names of the layers.
        bytes: of a pass by layer, the operands of every operator, the reading by the layer
            included.
        layer_us: time per pass by layer (microseconds), medians; the layer itself is not computed.
    """

    scheme: str
    layers: tuple[str, ...]
    bytes: tuple[int, ...]
    layer_us: tuple[float, ...]


@dataclass(frozen=True)
class Roofline:
    """Ceilings of a machine, and a program below them.

    Attributes:
        profile: where the time of a pass goes.
        counts: of the profile's steps, in their order.
        loops: of every instruction set of this CPU, on one thread, on two, four and so on, and on
            all of them.
        levels: of caches and memory, on as many threads.
        samplers: as many; empty for a deterministic format.
        products: of large matrices, on all threads.
        drawings: other ways to draw this network's weights; empty for a deterministic format.
        counters: hardware counter to its value per pass of all threads, or `unavailable: reason`.
        findings: what happened to the cores meanwhile, one line each.
    """

    profile: Profile
    counts: tuple[StepCount, ...]
    loops: tuple[LoopRate, ...]
    levels: tuple[LevelRate, ...]
    samplers: tuple[SamplerRate, ...]
    products: tuple[ProductRate, ...]
    drawings: tuple[Drawing, ...]
    counters: dict[str, float | str]
    findings: tuple[str, ...] = ()


class RooflineRecord(Record[ProfileSubject, Roofline]):
    """A program below its machine's ceilings."""


def _check(record: RooflineRecord) -> None:
    body = record.body
    if not body.profile.steps or not body.profile.wall_us > 0:
        raise ValueError("it has no step, or took no time")
    if [one.name for one in body.counts] != [one.name for one in body.profile.steps]:
        raise ValueError("its counts are of other steps than its times")
    rates = [
        *(value for one in body.loops for value in (one.per_second, one.clock_hertz)),
        *(value for one in body.levels for value in (one.read_per_second, one.copy_per_second)),
        *(one.weights_per_second for one in body.samplers),
        *(one.per_second for one in body.products if one.per_second is not None),
    ]
    if not body.loops or not body.levels or not all(0 < rate < 1e30 for rate in rates):
        raise ValueError("it has no ceilings, or one that is no rate")
    timed: list[LoopRate | LevelRate | SamplerRate | ProductRate]
    timed = [*body.loops, *body.levels, *body.samplers, *body.products]
    counts = [value for one in body.counts for value in vars(one).values() if value != one.name]
    if min(one.threads for one in timed) < 1 or min(counts) < 0:
        raise ValueError("a number of threads, bytes or multiply–adds is out of range")
    for one in body.drawings:
        if not len(one.layers) == len(one.bytes) == len(one.layer_us):
            raise ValueError(f"the layers of {one.scheme} do not add up")


ROOFLINES: Kind[RooflineRecord] = Kind(
    name="roofline",
    title="record of a roofline",
    record=RooflineRecord,
    subject=ProfileSubject,
    body=Roofline,
    folders=("roofline",),
    check=_check,
)
