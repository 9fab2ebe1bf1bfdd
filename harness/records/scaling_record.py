"""Records of instances side by side: how throughput scales with threads and instances, and which
setting serves a goal best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace

from ..core.checks import LONGEST
from ..machine.topology import Cpu
from ..workload.cell import not_by_default
from .envelope import Record
from .kind import Kind, OfWorkload, digest
from .reference_times import Reference, check_references


@dataclass(frozen=True)
class InstanceSetting:
    """How a machine is divided.

    Attributes:
        instances: processes side by side, each with a copy of the model.
        cores: threads of each, pinned to as many logical cores, or all that there are.
        team: threads that share a pass; 0 for what measures fastest.
        batch: images per query.
    """

    instances: int
    cores: int
    team: int
    batch: int


@dataclass(frozen=True)
class Window:
    """What all instances did in one common stretch of wall time, in processes of their own.

    Attributes:
        seconds: its length.
        queries: of each instance, how many it answered; one that reaches over an end of the window
            counts by its part inside.
        median_ns: median latency of all queries that it holds in part at least.
        p99_ns: 99th percentile of them; None of too few.
    """

    seconds: float
    queries: tuple[float, ...]
    median_ns: float
    p99_ns: float | None


@dataclass(frozen=True)
class Scaled:
    """One setting.

    Attributes:
        setting: what it is.
        pinned: of each instance the logical cores that it was pinned to.
        windows: one for each round, which are fresh processes.
        isa: the widest instruction set that was dispatched.
        unavailable: why there is no window, one sentence; empty if there are.
    """

    setting: InstanceSetting
    pinned: tuple[tuple[int, ...], ...]
    windows: tuple[Window, ...] = ()
    isa: str = ""
    unavailable: str = ""


@dataclass(frozen=True)
class ScalingSubject(OfWorkload):
    """Settings of one format of a workload at one batch size, measured in turns.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        format: of its arithmetic and weights.
        backend: what computes it.
        batch: images per query.
        mc: passes per query, T, at most.
        settings: instances and cores of each.
        rounds: of fresh processes.
        seconds: of each window, at least.
        seed: of the noise.
        data: as `Cell.data`.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    format: str
    backend: str
    batch: int
    mc: int
    settings: tuple[tuple[int, int], ...]
    rounds: int
    seconds: float
    seed: int
    data: str = ""
    network: str = ""

    @property
    def anywhere(self) -> ScalingSubject:
        """The same, whatever settings the cores of a machine have it try."""
        return replace(self, settings=())


@dataclass(frozen=True)
class ScalingBody:
    """What came of the settings.

    Attributes:
        mc: passes of a query: T, or fewer where T would take more than a second.
        settings: as the subject names them.
        topology: the logical cores that could be used.
        findings: what happened to the cores meanwhile, one line each.
        references: what took turns with them.
    """

    mc: int
    settings: tuple[Scaled, ...]
    topology: tuple[Cpu, ...]
    findings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class TuningSubject(OfWorkload):
    """A goal, and what is tried for it.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        format: of its arithmetic and weights.
        backend: what computes it.
        goal: `throughput` or `latency`.
        bound: of the other one: the 99th percentile of the latency in ms, or images per second;
            0 for none.
        mc: passes per query, T.
        settings: that are tried.
        rounds: of fresh processes, of the settings that are left at the end.
        seconds: of each window, at least.
        seed: of the noise.
        data: as `Cell.data`.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    format: str
    backend: str
    goal: str
    bound: float
    mc: int
    settings: tuple[InstanceSetting, ...]
    rounds: int
    seconds: float
    seed: int
    data: str = ""
    network: str = ""

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all fields, less what is as it was by default."""
        asked = not_by_default(self)
        return digest({**asked, "settings": [asdict(one) for one in self.settings]})

    @property
    def anywhere(self) -> TuningSubject:
        """The same, whatever settings the cores of a machine have it try."""
        return replace(self, settings=())


@dataclass(frozen=True)
class TuningBody:
    """What came of them.

    Attributes:
        mc: passes of a query, T.
        tried: every setting, with a window by which it stayed or left.
        finalists: the settings that were left, measured anew.
        topology: the logical cores that could be used.
        findings: what happened to the cores meanwhile, one line each.
        references: what took turns with them.
    """

    mc: int
    tried: tuple[Scaled, ...]
    finalists: tuple[Scaled, ...]
    topology: tuple[Cpu, ...]
    findings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class ScalingRecord(Record[ScalingSubject, ScalingBody]):
    """Settings that took turns, round by round."""


@dataclass(frozen=True)
class TuningRecord(Record[TuningSubject, TuningBody]):
    """How a setting was found."""


def _check_scaled(settings: Iterable[Scaled]) -> None:
    for one in settings:
        asked = one.setting
        if bool(one.windows) == bool(one.unavailable):
            raise ValueError("a setting has either windows or a reason why not")
        for window in one.windows:
            if len(window.queries) != asked.instances or min(window.queries) < 0:
                raise ValueError("a window does not have one number of queries per instance")
            if not 0 < window.seconds <= LONGEST or not window.median_ns > 0:
                raise ValueError("a window has no length, or its queries took no time")


def _check_scaling(record: ScalingRecord) -> None:
    found = tuple((one.setting.instances, one.setting.cores) for one in record.body.settings)
    if found != record.subject.settings:
        raise ValueError("it does not have the settings that were asked for")
    _check_scaled(record.body.settings)
    check_references(record.body.references)


def _check_tuning(record: TuningRecord) -> None:
    if tuple(one.setting for one in record.body.tried) != record.subject.settings:
        raise ValueError("it does not have the settings that were tried")
    _check_scaled((*record.body.tried, *record.body.finalists))
    check_references(record.body.references)


SCALINGS: Kind[ScalingRecord] = Kind(
    name="scaling",
    title="record of instances side by side",
    record=ScalingRecord,
    subject=ScalingSubject,
    body=ScalingBody,
    folders=("scaling",),
    check=_check_scaling,
)
TUNINGS: Kind[TuningRecord] = Kind(
    name="tuning",
    title="record of tuning",
    record=TuningRecord,
    subject=TuningSubject,
    body=TuningBody,
    folders=("tuning",),
    check=_check_tuning,
)
