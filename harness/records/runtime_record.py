"""The records of the runtime's benchmarks: races, the memory of a program, and the sampler's speed.

    <results>/runtime/<network>/<fingerprint hash>/<key>.json

A race holds every timed query of every contender, and what they were: contenders that took turns in
one run. Ratios are not stored; they are computed when shown. Units are in the field names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ..core.formats import FORMATS
from .envelope import Record
from .kind import Kind, Layout, digest, only, without
from .reference_times import Reference, check_references, check_slices

FOLDER = "runtime"
OURS = "sigmabench"
#: What a program holds memory for, in words.
PURPOSES = {
    "mean": "μ",
    "std": "σ",
    "constants": "constants per channel",
    "layouts": "packed fixed weights, where draws go",
    "activations": "activations",
    "weights": "sampled weights",
    "scratch": "scratch of kernels and draws",
}


def contender_name(format: str) -> str:
    """What one of our formats is called among contenders: by its name, and what is special of it.

    Raises:
        UserError: there is no such format.
    """
    return format + ("" if FORMATS.get(format).bayesian else " (fixed)")


@dataclass(frozen=True)
class Contender:
    """One implementation in one format. A query takes float32 images and gives float32 logits.

    Attributes:
        name: in tables, unique in a race.
        by: `sigmabench`, or the peer whose environment ran it.
        format: of μ, σ and arithmetic, as in `sigmabench list`; DNN_... has fixed weights.
        backend: of ours; for a peer, the library.
        mc: passes per query, T; a pass costs a query's time over T.
        latency_ns: every timed query, in order; empty where it could not be measured.
        slices: how many queries each of its turns held.
        warmup_queries: queries before the first turn, not counted.
        packages: versions in the peer's environment; empty for ours, whose versions the fingerprint
            holds.
        details: what computed it, by name: kernels, memory format and the medians it was chosen by,
            the share of a core the peer takes while idle.
        unavailable: why there are no samples, one sentence; empty if there are.
        processes: how many turns it had in each fresh process; empty where there was one process.
    """

    name: str
    by: str
    format: str
    backend: str
    mc: int
    latency_ns: tuple[int, ...] = ()
    slices: tuple[int, ...] = ()
    warmup_queries: int = 0
    packages: dict[str, str] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)
    unavailable: str = ""
    processes: tuple[int, ...] = ()


@dataclass(frozen=True)
class RaceSubject:
    """Contenders on one network at one batch size.

    Attributes:
        network: name in `NETWORKS`.
        posterior: where μ and σ come from.
        batch: images per query.
        threads: cores a contender may use.
        seed: of weights, images and the first query's noise; query i draws with seed + i.
        seconds: timed seconds per contender, at least.
        contenders: by name.
        mc: passes per query at most; 0 in records from before, which do not say it.
        packages: of each contender the versions in its peer's environment; empty for ours.
        processes: fresh processes that it is timed in.
    """

    network: str
    posterior: str
    batch: int
    threads: int
    seed: int
    seconds: float
    contenders: tuple[str, ...]
    mc: int = 0
    packages: tuple[dict[str, str], ...] = ()
    processes: int = 1

    @property
    def home(self) -> str:
        """Where its records lie together: the network's name."""
        return self.network

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of what was asked for, with the peers' versions."""
        asked: list[object] = [self.network, self.posterior, self.batch, self.threads, self.seed]
        asked += [self.seconds, list(self.contenders)]
        if self.mc:
            asked += [self.mc, list(self.packages)]
        return digest([*asked, *_repeated(self.processes)])

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def anywhere(self) -> RaceSubject:
        """The same, whoever's turn came first and whatever versions of the peers are installed."""
        return replace(self, contenders=tuple(sorted(self.contenders)), packages=())


@dataclass(frozen=True)
class RaceBody:
    """What came of a race.

    Attributes:
        input_shape: (C, H, W) of one image.
        inputs: different input batches the queries went round.
        contenders: as the subject names them, which is the order of their turns.
        findings: what happened to the cores meanwhile, one line each.
        references: what took turns with them; empty in older records.
    """

    input_shape: tuple[int, int, int]
    inputs: int
    contenders: tuple[Contender, ...]
    findings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


class RaceRecord(Record[RaceSubject, RaceBody]):
    """Contenders that took turns on one network at one batch size."""


@dataclass(frozen=True)
class MemorySubject:
    """A program in a fresh process.

    Attributes:
        network: name in `NETWORKS`.
        posterior: where μ and σ come from.
        format: name in `FORMATS`.
        batch: images per query.
        mc: passes per query, T.
        threads: cores the program may use.
        seed: of weights, images and noise.
    """

    network: str
    posterior: str
    format: str
    batch: int
    mc: int
    threads: int
    seed: int

    @property
    def home(self) -> str:
        """Where its records lie together: the network's name."""
        return self.network

    @property
    def key(self) -> str:
        """`memory-`, and 16 hex digits of the SHA-256 of all fields."""
        asked = [self.network, self.posterior, self.format, self.batch, self.mc, self.threads]
        return f"memory-{digest([*asked, self.seed])}"


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a fresh process that runs one program, and the least it needs.

    The bound is what no program of this design can do without: μ and σ as they are packed, and for
    each pass computed at the same time the sampled weights of one layer, the largest, and the
    activations that are alive at once.

    Attributes:
        input_shape: (C, H, W) of one image.
        team: threads that share a pass.
        mean_bytes: of the bound: μ as the artefact packs it.
        std_bytes: of the bound: σ as the artefact packs it.
        weights_bytes: of the bound: sampled weights of the largest layer, in its kernel's layout,
            for all concurrent passes.
        live_bytes: of the bound: activations alive at one time at most, for all concurrent passes.
        program: bytes the program holds, as it counts them, by purpose: `mean` and `std`, as they
            lie in memory; `constants` per channel; `layouts`, packed means of layers that are not
            sampled and where draws go; `activations`; `weights`, buffers of sampled weights;
            `scratch` of kernels and draws.
        base_bytes: resident set of the process after its imports and a tiny network, the query's
            images there.
        now_bytes: the same after queries, their logits let go.
        peak_bytes: largest resident set between the two, loading the artefact included.
        peak_method: `high-water mark`, or `sampled` where the system keeps none.
    """

    input_shape: tuple[int, int, int]
    team: int
    mean_bytes: int
    std_bytes: int
    weights_bytes: int
    live_bytes: int
    program: dict[str, int]
    base_bytes: int
    now_bytes: int
    peak_bytes: int
    peak_method: str

    @property
    def bound_bytes(self) -> int:
        """The least it needs."""
        return self.mean_bytes + self.std_bytes + self.weights_bytes + self.live_bytes

    @property
    def allocated_bytes(self) -> int:
        """What the program holds."""
        return sum(self.program.values())

    @property
    def growth_bytes(self) -> int:
        """How much the process has grown."""
        return self.now_bytes - self.base_bytes


class MemoryRecord(Record[MemorySubject, MemoryUse]):
    """The memory of one program."""


@dataclass(frozen=True)
class SamplerSubject:
    """Draws of all widths of σ.

    Attributes:
        weights: drawn in a sample.
        threads: cores that shared a draw, and a copy.
        seconds: timed seconds of every width at least.
        seed: of μ, σ and the first draw.
        processes: fresh processes that it is timed in.
    """

    weights: int
    threads: int
    seconds: float
    seed: int
    processes: int = 1

    @property
    def home(self) -> str:
        """Where its records lie together."""
        return "sampler"

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all fields."""
        asked = [self.weights, self.threads, self.seconds, self.seed]
        return digest([*asked, *_repeated(self.processes)])


@dataclass(frozen=True)
class Width:
    """One width of σ, and the copy that took turns with it.

    Attributes:
        bits: of σ, 1 to 8.
        weights: drawn in a sample.
        moved_bytes: μ and σ read and weights written in a sample; the copy reads and writes as many
            together.
        draw_ns: every timed draw, in order.
        draw_slices: how many draws each turn held.
        copy_ns: every timed copy, in order.
        copy_slices: how many copies each turn held.
        processes: how many turns the draws, and how many the copies had in each fresh process;
            empty where there was one process.
    """

    bits: int
    weights: int
    moved_bytes: int
    draw_ns: tuple[int, ...]
    draw_slices: tuple[int, ...]
    copy_ns: tuple[int, ...]
    copy_slices: tuple[int, ...]
    processes: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


@dataclass(frozen=True)
class SamplerBody:
    """All widths, timed in turns.

    Attributes:
        sampler: the sampler's path.
        widths: by bits.
        findings: what happened to the cores meanwhile, one line each.
        references: what took turns with them; empty in older records.
    """

    sampler: str
    widths: tuple[Width, ...]
    findings: tuple[str, ...] = ()
    references: tuple[Reference, ...] = ()


class SamplerRecord(Record[SamplerSubject, SamplerBody]):
    """How fast weights were drawn."""


def _repeated(processes: int) -> list[int]:
    """Of a key: nothing where one process timed, as all did before."""
    return [] if processes == 1 else [processes]


def check_samples(contenders: Iterable[Contender], references: Iterable[Reference]) -> None:
    """Refuse contenders and references whose samples and slices do not fit each other.

    Raises:
        ValueError: they do not, or one has neither samples nor a reason.
    """
    processes = set()
    for one in contenders:
        if bool(one.unavailable) == bool(one.latency_ns) or one.mc < 1:
            raise ValueError(f"the samples of {one.name} do not add up")
        if one.latency_ns:
            check_slices(one.name, one.latency_ns, one.slices, one.processes)
            processes.add(len(one.processes))
    if len(processes) > 1:
        raise ValueError("its contenders were timed in different numbers of processes")
    check_references(references)


def _check_race(record: RaceRecord) -> None:
    check_samples(record.body.contenders, record.body.references)
    if tuple(one.name for one in record.body.contenders) != record.subject.contenders:
        raise ValueError("its contenders are others than were asked for")


def _check_sampler(record: SamplerRecord) -> None:
    if not record.body.widths:
        raise ValueError("it has no width")
    for one in record.body.widths:
        draws, copies = one.processes
        check_slices(f"the draws of {one.bits} bits", one.draw_ns, one.draw_slices, draws)
        check_slices(f"the copies of {one.bits} bits", one.copy_ns, one.copy_slices, copies)
    check_references(record.body.references)


def _race_before(tree: dict[str, Any]) -> dict[str, Any]:
    contenders = [one for one in tree.get("contenders", ()) if isinstance(one, dict)]
    names = [one.get("name") for one in contenders]
    packages = [one.get("packages", {}) for one in contenders] if tree.get("mc") else []
    asked = only(RaceSubject)(tree)
    return {**asked, "contenders": names, "packages": packages}


def _sampler_before(tree: dict[str, Any]) -> dict[str, Any]:
    widths = tree.get("widths") or [{}]
    first = widths[0] if isinstance(widths[0], dict) else {}
    return {**only(SamplerSubject)(tree), "weights": first.get("weights")}


RACES: Kind[RaceRecord] = Kind(
    name="passes",
    title="runtime record",
    record=RaceRecord,
    subject=RaceSubject,
    body=RaceBody,
    folders=(FOLDER,),
    check=_check_race,
    before=Layout(
        newest=2,
        hashed=2,
        subject=_race_before,
        rest=without("network", "posterior", "batch", "threads", "seed", "seconds", "mc"),
    ),
)
MEMORY: Kind[MemoryRecord] = Kind(
    name="memory",
    title="runtime record",
    record=MemoryRecord,
    subject=MemorySubject,
    body=MemoryUse,
    folders=(FOLDER,),
    before=Layout(newest=2, hashed=2, subject=only(MemorySubject)),
)
SAMPLER: Kind[SamplerRecord] = Kind(
    name="sampler",
    title="record of the sampler",
    record=SamplerRecord,
    subject=SamplerSubject,
    body=SamplerBody,
    folders=(FOLDER,),
    check=_check_sampler,
    before=Layout(newest=1, hashed=2, subject=_sampler_before),
)
