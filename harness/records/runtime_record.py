"""The records of the runtime's benchmarks: races, and the memory of a program.

    <results>/runtime/<network>/<fingerprint hash>/<key>.json
    <results>/runtime/<network>/<fingerprint hash>/memory-<key>.json

A race holds every timed query of every contender, and what they were: contenders that took turns in
one run. Ratios are not stored; they are computed when shown. Units are in the field names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import UserError
from ..machine.fingerprint import Fingerprint
from .store import Kind, digest, fingerprint_hash, read_record, write_record

SCHEMA_VERSION = 2  # 2: none lacks its hash
FOLDER = "runtime"


@dataclass(frozen=True)
class Contender:
    """One implementation in one format. A query takes float32 images and gives float32 logits.

    Attributes:
        name: in tables, unique in a race.
        by: `sigmabench`, or the peer whose environment ran it.
        format: of μ, σ and arithmetic, as in `sigmabench list`; DNN_... has fixed weights.
        backend: of ours; for a peer, the library.
        mc: passes a query, T; a pass costs a query's time over T.
        latency_ns: every timed query, in order; empty where it could not be measured.
        slices: how many queries each of its turns held.
        warmup_queries: queries before the first turn, not counted.
        packages: versions in the peer's environment; empty for ours, whose versions the fingerprint
            holds.
        details: what computed it, by name: kernels, memory format and the medians it was chosen by,
            the share of a core the peer takes while idle.
        unavailable: why there are no samples, one sentence; empty if there are.
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


@dataclass(frozen=True)
class Race:
    """Contenders that took turns on one network at one batch size.

    Attributes:
        network: name in `NETWORKS`.
        posterior: where μ and σ come from.
        input_shape: (C, H, W) of one image.
        batch: images a query.
        threads: cores a contender may use.
        inputs: different input batches the queries went round.
        seed: of weights, images and the first query's noise; query i draws with seed + i.
        seconds: timed seconds a contender at least.
        contenders: in the order of their turns.
        fingerprint: machine, software and code.
        command: the command line that made it.
        created: when, UTC, ISO 8601.
        findings: what befell the cores meanwhile, a line each.
        mc: passes a query at most, as asked; 0 in records from before, which do not say it.
        schema_version: of this layout; a reader refuses newer ones.
    """

    network: str
    posterior: str
    input_shape: tuple[int, int, int]
    batch: int
    threads: int
    inputs: int
    seed: int
    seconds: float
    contenders: tuple[Contender, ...]
    fingerprint: Fingerprint
    command: str
    created: str
    findings: tuple[str, ...] = ()
    mc: int = 0
    schema_version: int = SCHEMA_VERSION

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of what was asked for, with the peers' versions."""
        return _race_key(self)


def _race_key(race: Race) -> str:
    asked: list[object] = [race.network, race.posterior, race.batch, race.threads, race.seed]
    asked += [race.seconds, [c.name for c in race.contenders]]
    if race.mc:
        asked += [race.mc, [c.packages for c in race.contenders]]
    return digest(asked)


@dataclass(frozen=True)
class MemoryUse:
    """Memory of a fresh process that runs one program, and the least it needs.

    The bound is what no program of this design can do without: μ and σ as they are packed, and for
    each pass computed at the same time the sampled weights of one layer, the largest, and the
    activations that are alive at once.

    Attributes:
        network: name in `NETWORKS`.
        posterior: where μ and σ come from.
        input_shape: (C, H, W) of one image.
        format: name in `FORMATS`.
        batch: images a query.
        mc: passes a query, T.
        threads: cores the program may use.
        seed: of weights, images and noise.
        team: threads that share a pass.
        mean_bytes: of the bound: μ as the artefact packs it.
        std_bytes: of the bound: σ as the artefact packs it.
        weights_bytes: of the bound: sampled weights of the largest layer, in its kernel's layout,
            for all concurrent passes.
        live_bytes: of the bound: activations alive at one time at most, for all concurrent passes.
        program: bytes the program holds, as it counts them, by purpose: `mean` and `std`, as they
            lie in memory; `constants` a channel; `layouts`, packed means of layers that are not
            sampled and where draws go; `activations`; `weights`, buffers of sampled weights;
            `scratch` of kernels and draws.
        base_bytes: resident set of the process after its imports and a tiny network, the query's
            images there.
        now_bytes: the same after queries, their logits let go.
        peak_bytes: largest resident set between the two, loading the artefact included.
        peak_method: `high-water mark`, or `sampled` where the system keeps none.
        fingerprint: machine, software and code.
        command: the command line that made it.
        created: when, UTC, ISO 8601.
        schema_version: of this layout; a reader refuses newer ones.
    """

    network: str
    posterior: str
    input_shape: tuple[int, int, int]
    format: str
    batch: int
    mc: int
    threads: int
    seed: int
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
    fingerprint: Fingerprint
    command: str
    created: str
    schema_version: int = SCHEMA_VERSION

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

    @property
    def key(self) -> str:
        """`memory-`, and 16 hex digits of the SHA-256 of what was asked for."""
        return _memory_key(self)


def _memory_key(use: MemoryUse) -> str:
    asked = [use.network, use.posterior, use.format, use.batch, use.mc, use.threads, use.seed]
    return f"memory-{digest(asked)}"


RACES = Kind("runtime record", Race, SCHEMA_VERSION, _race_key, hashed=2)
MEMORY = Kind("runtime record", MemoryUse, SCHEMA_VERSION, _memory_key, hashed=2)


def save(record: Race | MemoryUse, results: Path) -> Path:
    """Write a record to its place below `results`.

    Raises:
        UserError: the place cannot be written.
    """
    folder = results / FOLDER / record.network / fingerprint_hash(record.fingerprint)
    path = folder / f"{record.key}.json"
    write_record(path, record)
    return path


def load(path: Path) -> Race:
    """Read and validate a race.

    Raises:
        UserError: it cannot be read, is no race, is inconsistent or of a newer schema.
    """
    race = read_record(path, RACES)
    for contender in race.contenders:
        check_samples(contender, path, RACES.name)
    return race


def load_memory(path: Path) -> MemoryUse:
    """Read and validate the memory of a program.

    Raises:
        UserError: it cannot be read, is no such record or of a newer schema.
    """
    return read_record(path, MEMORY)


def check_samples(contender: Contender, path: Path, kind: str) -> None:
    """Refuse a contender whose samples and slices do not fit each other.

    Raises:
        UserError: they do not, or it has neither samples nor a reason.
    """
    counted = sum(contender.slices) == len(contender.latency_ns)
    told = bool(contender.unavailable) != bool(contender.latency_ns)
    if not counted or not told or contender.mc < 1:
        raise UserError(
            f"{path} is not a valid {kind}: the samples of {contender.name} do not add up; delete "
            "it and run again."
        )
