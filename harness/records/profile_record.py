"""The record of a profile: what the time of a pass was spent on, step by step.

    <results>/profile/<target>/<fingerprint hash>/<key>.json

Units are in the field names; None means not defined.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .envelope import Record
from .kind import Kind, digest

KINDS_OF_TIME = ("sampling", "compute", "rest", "waiting")


@dataclass(frozen=True)
class ProfileSubject:
    """T passes over one batch, again and again.

    Attributes:
        target: name of the workload, or of the network with a synthetic posterior.
        posterior: first 16 hex digits of the content hash of what the format is made of; of a
            network, what its μ and σ are.
        format: name in `FORMATS`.
        batch: images per query.
        mc: passes per query, T; a deterministic twin's are all alike.
        threads: cores a query may use.
        seconds: measured seconds at least, after warm-up.
        seed: of a synthetic network's weights and images; query i draws with seed + i.
        version: of the workload's declaration; empty for a network.
        data: as `Cell.data`, of the validation split.
        network: as `Cell.network`.
    """

    target: str
    posterior: str
    format: str
    batch: int
    mc: int
    threads: int
    seconds: float
    seed: int
    version: str = ""
    data: str = ""
    network: str = ""

    @property
    def home(self) -> str:
        """Where its records lie together: the target's name."""
        return self.target

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all fields."""
        return digest(asdict(self))


@dataclass(frozen=True)
class Step:
    """One operation of the graph; the last one converts the input. Times are thread-microseconds
    per pass of the whole batch, medians over the queries.

    Attributes:
        name: of its output activation; the input's name for the conversion of the input.
        operation: `conv`, `max`, `avg`, `join` or `input`.
        shape: of a layer's weight (O, I per group, KH, KW); empty for other operations.
        kernel: implementation and instruction set of a layer, as the library names them; empty for
            other operations.
        path: how the weights get where the kernel reads them: `direct`, or through a scratch by
            `gather` or `reorder`; empty for other operations.
        operations: multiplications and additions of a pass; 0 for what is no layer.
        sampling_us: drawing weights and biases, and bringing weights into the kernel's layout.
        compute_us: inside the layer's kernel.
        rest_us: everything else: pooling, functions, converting and rearranging activations.
        waiting_us: for other threads of the team.
    """

    name: str
    operation: str
    shape: tuple[int, ...]
    kernel: str
    path: str
    operations: int
    sampling_us: float
    compute_us: float
    rest_us: float
    waiting_us: float

    @property
    def total_us(self) -> float:
        """All its thread-microseconds per pass."""
        return self.sampling_us + self.compute_us + self.rest_us + self.waiting_us

    @property
    def tops(self) -> float | None:
        """10¹² operations per second of one thread inside the kernel; None for what is no layer."""
        if not self.operations or not self.compute_us:
            return None
        return self.operations / (self.compute_us * 1e6)


@dataclass(frozen=True)
class Profile:
    """Where the time of a pass goes.

    Attributes:
        origin: where μ and σ come from, in words.
        team: threads that share a pass; threads / team passes run side by side.
        queries: how many were measured.
        wall_us: a query's time over its passes (microseconds), median over the queries.
        steps: in the order of execution, the conversion of the input first.
    """

    origin: str
    team: int
    queries: int
    wall_us: float
    steps: tuple[Step, ...]

    @property
    def total_us(self) -> float:
        """Thread-microseconds of all steps, a pass."""
        return sum(step.total_us for step in self.steps)

    def part(self, spent_us: float) -> float | None:
        """Of `total_us`, in 0 … 1; None where no step took any time."""
        return spent_us / self.total_us if self.total_us else None

    def share(self, kind: str) -> float | None:
        """Share of `total_us` of one of `KINDS_OF_TIME`, as `part`."""
        return self.part(sum(getattr(step, f"{kind}_us") for step in self.steps))


class ProfileRecord(Record[ProfileSubject, Profile]):
    """What the time of a pass was spent on."""

    @property
    def spent(self) -> float:
        """Share of wall time · threads that the steps account for; the rest is waking up, going to
        sleep, and threads that had no pass to do."""
        return self.body.total_us / (self.body.wall_us * self.subject.threads)


def _check(record: ProfileRecord) -> None:
    if not record.body.steps or not record.body.wall_us > 0:
        raise ValueError("it has no step, or took no time")


PROFILES: Kind[ProfileRecord] = Kind(
    name="profile",
    title="record of a profile",
    record=ProfileRecord,
    subject=ProfileSubject,
    body=Profile,
    folders=("profile",),
    check=_check,
)
