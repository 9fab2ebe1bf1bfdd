"""What a roofline says: how long each step would take at the machine's ceilings, which of them is
the tightest, and what is left.

Cores multiply, and draw, with the same units one after the other, so these two times add up; bytes
can move meanwhile. The limit of a step is the longer of the two:

    limit = max(multiply–adds / loop + weights drawn / sampler, bytes / bandwidth)

Each ceiling is a bound of its own (Williams, Waterman and Patterson, "Roofline: An Insightful
Visual Performance Model for Multicore Architectures", 2009); the sum of two is one because no
kernel here draws and multiplies at the same time. μ and σ are read from the first cache that holds
what a whole pass touches, for they come round once a pass; what a layer makes and uses at once,
from the first that holds that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...core.formats import FORMATS
from ...machine.caches import MEMORY, cache_sizes, level_holding
from ...race.target import TargetPlan
from ...records.envelope import file_names
from ...records.profile_record import Step
from ...records.roofline_record import (
    Drawing,
    LevelRate,
    LoopRate,
    RooflineRecord,
    StepCount,
)

COMPUTE, SAMPLER, OVERHEAD = "compute", "sampler", "overhead"
OURS = "sigmabench"


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at best on the threads of the passes.

    Attributes:
        loop: the fastest of the format's numbers; of BF16, of float32 where the CPU has no other.
        levels: by name.
        weights_per_second: drawn; None for a deterministic format.
        caches: bytes of each level.
    """

    loop: LoopRate
    levels: Mapping[str, LevelRate]
    weights_per_second: float | None
    caches: Mapping[int, int]

    def holding(self, size: float) -> str:
        """The level that so many bytes come from; one that was not measured counts as the next."""
        level = level_holding(size, self.caches)
        names = [*(f"L{one}" for one in sorted(self.caches)), MEMORY]
        after = names[names.index(level) :] if level in names else [MEMORY]
        return next((name for name in after if name in self.levels), MEMORY)


@dataclass(frozen=True)
class StepPoint:
    """A step below the ceilings. Times are microseconds per pass on all threads together.

    Attributes:
        step: as profiled.
        count: of what it moves and computes.
        taken_us: what it takes.
        compute_us: its multiply–adds, those on padding left out, at the loop's rate.
        sampler_us: its draws at the sampler's rate.
        memory_us: its bytes at the bandwidth of where they come from.
        level: that most of `memory_us` is spent on.
    """

    step: Step
    count: StepCount
    taken_us: float
    compute_us: float
    sampler_us: float
    memory_us: float
    level: str

    @property
    def limit_us(self) -> float:
        """The least that the ceilings allow."""
        return max(self.compute_us + self.sampler_us, self.memory_us)

    @property
    def bound(self) -> str:
        """The tightest ceiling: `compute`, `sampler`, or a level of memory."""
        if self.memory_us > self.compute_us + self.sampler_us:
            return self.level
        return COMPUTE if self.compute_us >= self.sampler_us else SAMPLER

    @property
    def share(self) -> float | None:
        """Of the time taken, what the ceilings account for: 1 is at the ceiling."""
        return self.limit_us / self.taken_us if self.taken_us else None

    @property
    def padding(self) -> float | None:
        """Multiply–adds executed over those asked for, less 1."""
        asked = self.count.multiply_adds
        return self.count.executed / asked - 1 if asked else None

    @property
    def per_byte(self) -> float | None:
        """Multiply–adds per byte moved: where it stands on a roofline."""
        moved = self.count.moved_bytes
        return self.count.multiply_adds / moved if moved and self.count.multiply_adds else None

    @property
    def per_weight(self) -> float | None:
        """Multiply–adds per weight drawn: where it stands on the sampler's roofline."""
        return self.count.multiply_adds / self.count.weights if self.count.weights else None

    @property
    def per_second(self) -> float | None:
        """Multiply–adds per second; None of what is no layer."""
        asked = self.count.multiply_adds
        return asked / self.taken_us * 1e6 if asked and self.taken_us else None


@dataclass(frozen=True)
class Found:
    """A record below its ceilings.

    Attributes:
        name: how files of it begin.
        record: that it is of.
        ceilings: of its machine.
        steps: in the order of execution.
    """

    name: str
    record: RooflineRecord
    ceilings: Ceilings
    steps: tuple[StepPoint, ...]

    @property
    def layers(self) -> list[StepPoint]:
        """Steps that multiply."""
        return [one for one in self.steps if one.count.multiply_adds]

    @property
    def wall_us(self) -> float:
        """Time of a pass."""
        return self.record.body.profile.wall_us

    @property
    def limit_us(self) -> float:
        """The least that the ceilings allow a pass."""
        return sum(one.limit_us for one in self.steps)

    @property
    def share(self) -> float:
        """Of a pass's time, what the ceilings account for."""
        return self.limit_us / self.wall_us

    @property
    def parts(self) -> dict[str, float]:
        """Microseconds of a pass by what accounts for them, each step's limit by its own tightest
        ceilings: compute, the sampler, levels of memory, and overhead, which is the rest."""
        found: dict[str, float] = {COMPUTE: 0.0, SAMPLER: 0.0}
        for one in self.steps:
            if one.bound in (COMPUTE, SAMPLER):
                found[COMPUTE] += one.compute_us
                found[SAMPLER] += one.sampler_us
            else:
                found[one.bound] = found.get(one.bound, 0.0) + one.memory_us
        return {**found, OVERHEAD: max(self.wall_us - self.limit_us, 0.0)}

    @property
    def bound(self) -> str:
        """The largest of `parts`."""
        parts = self.parts
        return max(parts, key=lambda name: parts[name])

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """Ways to draw the weights, that of the program last: bytes of μ, σ and sampled weights as
        they were counted, times as a profile has them."""
        body, threads = self.record.body, self.record.subject.threads
        drawn = [one for one in self.steps if one.count.weights]
        if not (body.drawings and drawn):
            return ()
        ours = Drawing(
            OURS,
            tuple(one.step.name for one in drawn),
            tuple(
                one.count.mean_bytes + one.count.std_bytes + one.count.sampled_bytes
                for one in drawn
            ),
            tuple(one.step.sampling_us / threads for one in drawn),
        )
        return (*(one for one in body.drawings if one.layers == ours.layers), ours)

    def total(self, field: str) -> float:
        """Of all steps, by the name of a field of their counts."""
        return float(sum(getattr(one.count, field) for one in self.steps))


def analyse(records: Sequence[RooflineRecord], plan: TargetPlan | None = None) -> list[Found]:
    """Each record by itself: no time is held against another run's."""
    return [_found(name, record) for name, record in zip(file_names(records), records, strict=True)]


def _found(name: str, record: RooflineRecord) -> Found:
    ceilings, body = _ceilings(record), record.body
    touched = [
        one.mean_bytes + one.std_bytes + (one.sampled_bytes + one.activation_bytes) / 2
        for one in body.counts
    ]
    streamed = ceilings.holding(sum(touched))
    steps = tuple(
        _point(step, count, record.subject.threads, ceilings, (streamed, ceilings.holding(near)))
        for step, count, near in zip(body.profile.steps, body.counts, touched, strict=True)
    )
    return Found(name, record, ceilings, steps)


def _ceilings(record: RooflineRecord) -> Ceilings:
    body, threads = record.body, record.subject.threads
    numbers = FORMATS.get(record.subject.format).arithmetic
    loops = [one for one in body.loops if one.threads == threads]
    mine = [one for one in loops if one.numbers == numbers]
    # Without such instructions bfloat16 is multiplied as float32, and int8 as anything.
    usable = mine or [one for one in loops if one.numbers == "fp32"] or list(body.loops)
    machine = record.fingerprint.machine
    drawn = [one.weights_per_second for one in body.samplers if one.threads == threads]
    return Ceilings(
        loop=max(usable, key=lambda one: one.per_second),
        levels={one.level: one for one in body.levels if one.threads == threads}
        or {one.level: one for one in body.levels},
        weights_per_second=max(drawn, default=None),
        caches={} if machine is None else cache_sizes(machine.caches),
    )


def _point(
    step: Step, count: StepCount, threads: int, ceilings: Ceilings, places: tuple[str, str]
) -> StepPoint:
    bytes_of = (count.mean_bytes + count.std_bytes, count.sampled_bytes + count.activation_bytes)
    times = [
        1e6 * size / ceilings.levels[place].per_second if place in ceilings.levels else 0.0
        for size, place in zip(bytes_of, places, strict=True)
    ]
    rate = ceilings.weights_per_second
    return StepPoint(
        step=step,
        count=count,
        taken_us=step.total_us / threads,
        compute_us=1e6 * count.multiply_adds / ceilings.loop.per_second,
        sampler_us=1e6 * count.weights / rate if rate else 0.0,
        memory_us=sum(times),
        level=places[0] if times[0] > times[1] else places[1],
    )


def ratio(drawings: Sequence[Drawing], of: str, field: str) -> float | None:
    """How many times less the program needs than another scheme, in all layers together.

    Args:
        drawings: of `Found`.
        of: name of the scheme.
        field: `bytes` or `layer_us`.
    """
    sums = {one.scheme: sum(getattr(one, field)) for one in drawings}
    return sums[of] / sums[OURS] if of in sums and sums.get(OURS) else None
