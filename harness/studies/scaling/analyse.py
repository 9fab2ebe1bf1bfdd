"""What settings make of a machine: throughput, latency, and what another core adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...machine.topology import Cpu, Topology
from ...measure.audits import noise_bounded
from ...records.scaling_record import Scaled, ScalingRecord
from ...records.verdict import PASS
from ...stats.throughput import Rate, images_per_second, latency_ms, noise, p99_ms, times
from .plan import ScalingPlan


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        scaled: what was measured.
        rate: images per second of all instances together.
        latency_ms: median of a query.
        p99_ms: of a query; None of too few.
        over_one: times the images per second of one instance with one core; None where that was not
            measured.
        beyond: instances or threads share cores.
        noisy: its rounds differ by more than an audit allows.
    """

    scaled: Scaled
    rate: Rate
    latency_ms: float
    p99_ms: float | None
    over_one: Rate | None
    beyond: bool
    noisy: bool

    @property
    def instances(self) -> int:
        """How many."""
        return self.scaled.setting.instances

    @property
    def cores(self) -> int:
        """Of each."""
        return self.scaled.setting.cores

    @property
    def threads(self) -> int:
        """Of all instances."""
        return self.instances * self.cores

    @property
    def per_core(self) -> float | None:
        """`over_one` by the number of cores that all instances together have."""
        cores = {number for pinned in self.scaled.pinned for number in pinned}
        return None if self.over_one is None else self.over_one.value / len(cores)


@dataclass(frozen=True, eq=False)
class ScalingFindings:
    """One format at one batch size.

    Attributes:
        record: of it.
        rows: settings that were measured.
        failed: settings that were not.
    """

    record: ScalingRecord
    rows: tuple[Row, ...]
    failed: tuple[Scaled, ...]

    @property
    def there(self) -> int:
        """Logical cores that could be used."""
        return len(self.record.body.topology)

    def of(self, instances: int, cores: int) -> Row | None:
        """A setting, if it was measured."""
        asked = (instances, cores)
        return next((one for one in self.rows if (one.instances, one.cores) == asked), None)

    @property
    def whole(self) -> Row | None:
        """One instance with all cores."""
        return self.of(1, self.there)

    @property
    def best(self) -> Row | None:
        """The setting with most images per second that shares no core."""
        own = [one for one in self.rows if not one.beyond]
        return max(own, key=lambda one: one.rate.value, default=None)


def analyse(
    records: Sequence[ScalingRecord], plan: ScalingPlan | None = None
) -> list[list[ScalingFindings]]:
    """The races of each workload, to be shown together."""
    homes: dict[str, list[ScalingFindings]] = {}
    for record in records:
        homes.setdefault(record.subject.home, []).append(found_in(record))
    return list(homes.values())


def found_in(record: ScalingRecord) -> ScalingFindings:
    """What one race shows."""
    settings = record.body.settings
    measured = [one for one in settings if one.windows]
    first = next((one for one in measured if _of_one_core(one)), None)
    there = len(record.body.topology)
    return ScalingFindings(
        record,
        tuple(_row(one, first, there) for one in measured),
        tuple(one for one in settings if not one.windows),
    )


def limits(cpus: Sequence[Cpu]) -> Iterator[str]:
    """What a machine with these logical cores cannot show."""
    topology = Topology(tuple(cpus))
    if topology.cores < _MANY:
        yield "how many cores that share one memory scale"
    if topology.sockets == 1:
        beyond = "another socket" if topology.nodes > 1 else "another memory node or socket"
        yield f"what it costs to reach {beyond}"


#: Cores from which on they can be expected to compete for memory.
_MANY = 8


def _of_one_core(one: Scaled) -> bool:
    return (one.setting.instances, one.setting.cores) == (1, 1)


def _row(one: Scaled, first: Scaled | None, there: int) -> Row:
    return Row(
        scaled=one,
        rate=images_per_second(one),
        latency_ms=latency_ms(one),
        p99_ms=p99_ms(one),
        over_one=None if first is None else times(one, first),
        beyond=one.setting.instances * one.setting.cores > there,
        noisy=noise_bounded(noise(one)) != PASS,
    )
