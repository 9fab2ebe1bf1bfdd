"""Records of races, comparisons with peers, memory and the sampler, as the pages speak of them.

Ratios are formed within one record, whose contenders took turns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from sigmabench.harness.race.rivals import fastest_peer, noisy, pass_ms, pass_ratio
from sigmabench.harness.records.peers_record import COMPARISONS, PeerRow, PeersRecord
from sigmabench.harness.records.runtime_record import (
    MEMORY,
    OURS,
    RACES,
    SAMPLER,
    Contender,
    MemoryRecord,
    RaceRecord,
    SamplerRecord,
    Width,
)
from sigmabench.harness.records.store import Store
from sigmabench.harness.stats.latency import Ratio
from sigmabench.harness.studies.sampler.analyse import rates
from sigmabench.harness.studies.sampler.analyse import share as bandwidth_share

from ..published import RESULTS
from .chosen import Origin, published, youngest

_PEERS = {"ipex": "IPEX", "inductor": "torch.compile", "openvino": "OpenVINO"}


def peer(contender: str) -> str:
    """Who runs a contender, as people call it."""
    by = contender.partition(" ")[0]
    return _PEERS.get(by, by)


def called(one: Contender) -> str:
    """A contender's name. Races of before call a peer's deterministic formats as if they were
    Bayesian."""
    short = one.format.removeprefix("DNN_")
    if one.by == OURS or short == one.format or one.format in one.name:
        return one.name
    return one.name.replace(short, one.format)


class Turns:
    """Contenders that took turns, by name.

    Args:
        contenders: all of them.
    """

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self.contenders = {called(one): one for one in contenders}

    def ms(self, name: str) -> float:
        """Median milliseconds of a pass."""
        return pass_ms(self.contenders[name])[0]

    def mc(self, name: str) -> int:
        """Passes in a query."""
        return self.contenders[name].mc

    def ratio(self, name: str, other: str) -> Ratio:
        """A pass of one over a pass of another, with its 95 % interval."""
        return pass_ratio(self.contenders[name], self.contenders[other])

    def timed(self, name: str) -> bool:
        """Whether there is such a contender and it was timed."""
        return name in self.contenders and bool(self.contenders[name].latency_ns)

    def why(self, name: str) -> str:
        """Why a contender has no times, as it is stored."""
        return self.contenders[name].unavailable

    @property
    def rival(self) -> str:
        """The fastest deterministic INT8 contender of a peer; empty where none was timed."""
        found = fastest_peer(self.contenders.values())
        return "" if found is None else called(found)

    @property
    def noisy(self) -> list[str]:
        """Those whose noise the audit of runs would not pass."""
        return [name for name, one in self.contenders.items() if noisy(one)]

    def version(self, peer: str, package: str) -> str:
        """Of a package in a peer's environment."""
        return next(one.packages[package] for one in self.contenders.values() if one.by == peer)


class Races(Origin):
    """Races on one network, one a batch size.

    Args:
        records: from one machine and code.
    """

    def __init__(self, records: Sequence[RaceRecord]) -> None:
        super().__init__(records)
        self._at = {one.subject.batch: Turns(one.body.contenders) for one in records}
        self.posterior = records[0].subject.posterior
        self.threads = records[0].subject.threads
        self.processes = min(one.subject.processes for one in self._shown(records))
        self.shape = "×".join(map(str, records[0].body.input_shape[1:]))

    @staticmethod
    def _shown(records: Sequence[RaceRecord]) -> Iterable[RaceRecord]:
        """Of each batch size the one that is shown, the youngest."""
        return {one.subject.batch: one for one in records}.values()

    def at(self, batch: int) -> Turns:
        """The race at a batch size."""
        return self._at[batch]


def races(network: str, batch: Sequence[int], names: Sequence[str] = ("FP32", "INT8")) -> Races:
    """The youngest races on a network at these batch sizes with contenders of these names.

    Raises:
        UserError: no machine and code has them all.
    """
    found = [
        one
        for one in published(Store(RESULTS, RACES).records(network, latest=False))
        if set(names) <= {called(c) for c in one.body.contenders if c.latency_ns}
    ]

    def complete(group: Sequence[RaceRecord]) -> bool:
        return set(batch) <= {one.subject.batch for one in group}

    return Races(youngest(found, complete, f"races of {network} at batch {batch}"))


class Peers(Origin):
    """A comparison with peers.

    Args:
        record: of it.
    """

    def __init__(self, record: PeersRecord) -> None:
        super().__init__([record])
        self.record = record
        self.turns = Turns([row.contender for row in record.body.rows])
        self._rows: Mapping[str, PeerRow] = {row.contender.name: row for row in record.body.rows}
        self.images, self.mc = record.body.images, record.subject.mc
        self.batch, self.threads = record.subject.batch, record.subject.threads
        self.invalid = record.verdict.invalid

    def score(self, name: str, metric: str) -> float:
        """Of a contender, on all images."""
        found = self._rows[name].scores[metric]
        assert found is not None
        return found

    def kept(self, name: str) -> list[float]:
        """Of each layer the standard deviation of its draws over the posterior's, ascending."""
        return sorted(self._rows[name].std_ratio.values())

    def median_kept(self, name: str) -> float:
        """Of the median layer."""
        return median(self.kept(name))

    def megabytes(self, name: str) -> float:
        """As it is saved, 10⁶ bytes."""
        found = self._rows[name].file_bytes
        assert found is not None
        return found / 1e6

    def version(self, peer: str, package: str) -> str:
        """Of a package in a peer's environment."""
        return self.record.subject.peers[peer][package]

    def worst(self, metric: str) -> str:
        """The contender of the largest score."""
        found = {name: row.scores.get(metric) for name, row in self._rows.items()}
        return max(found, key=lambda name: found[name] or 0.0)

    def audit(self, name: str) -> str:
        """Why an audit failed."""
        return self.record.verdict.audits[name].partition("fail: ")[2]


def peers(
    workload: str, names: Sequence[str] = (), place: tuple[object, ...] | None = None
) -> Peers:
    """The youngest comparison of a workload in which contenders of these names were timed.

    Args:
        workload: its name.
        names: of contenders.
        place: the machine; None for any.

    Raises:
        UserError: there is none.
    """
    stored = published(Store(RESULTS, COMPARISONS).records(workload, latest=False))
    found = [
        one
        for one in stored
        if place in (None, one.fingerprint.place)
        and set(names) <= {r.contender.name for r in one.body.rows if r.contender.latency_ns}
    ]
    what = f"a comparison of {workload} with peers, {', '.join(names)} among them"
    return Peers(youngest(found, bool, what)[-1])


class Memory(Origin):
    """Memory of programs of one network.

    Args:
        records: from one machine and code.
    """

    def __init__(self, records: Sequence[MemoryRecord]) -> None:
        super().__init__(records)
        self._at = {one.subject.batch: one.body for one in records}

    def allocated_mib(self, batch: int) -> float:
        """What the program holds, 2²⁰ bytes."""
        return self._at[batch].allocated_bytes / 2**20

    def allocated(self, batch: int) -> float:
        """What the program holds over the least it needs."""
        return self._at[batch].allocated_bytes / self._at[batch].bound_bytes

    def growth(self, batch: int) -> float:
        """What the process has grown by over the least it needs."""
        return self._at[batch].growth_bytes / self._at[batch].bound_bytes


def memory(network: str, batch: Sequence[int]) -> Memory:
    """The youngest programs of a network at these batch sizes.

    Raises:
        UserError: no machine and code has them all.
    """
    found = Store(RESULTS, MEMORY).records(network, latest=False)

    def complete(group: Sequence[MemoryRecord]) -> bool:
        return set(batch) <= {one.subject.batch for one in group}

    return Memory(youngest(found, complete, f"memory of {network} at batch {batch}"))


class Sampler(Origin):
    """How fast weights are drawn.

    Args:
        record: of it.
    """

    def __init__(self, record: SamplerRecord) -> None:
        super().__init__([record])
        self.threads = record.subject.threads
        self._widths: dict[int, Width] = {one.bits: one for one in record.body.widths}

    def billions(self, bits: int) -> float:
        """10⁹ weights a second with σ of so many bits."""
        return rates(self._widths[bits]).weights_per_second / 1e9

    def share(self, bits: int) -> float:
        """Bandwidth over that of a plain copy of as many bytes."""
        return bandwidth_share(self._widths[bits]).value


def sampler() -> Sampler:
    """The youngest record of the sampler on one thread.

    Raises:
        UserError: there is none.
    """
    found = published(Store(RESULTS, SAMPLER).records(latest=False, threads=1))
    return Sampler(youngest(found, bool, "draws of the sampler")[-1])
