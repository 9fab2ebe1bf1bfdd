"""The record of a comparison with peers.

    <results>/peers/<workload>/<fingerprint hash>/<key>.json

It holds every timed query of every contender, what each scored on the same images, and what its
draws kept of σ. Units are in the field names; None means not defined.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ..core.contents import superseded
from ..core.errors import UserError
from ..core.whole import inside
from ..machine.fingerprint import Fingerprint
from ..workload.cell import not_by_default
from .runtime_record import Contender, check_samples
from .store import Kind, digest, fingerprint_hash, read_record, write_record
from .verdict import Verdict, upgrade

SCHEMA_VERSION = 2  # 2: a verdict in three
FOLDER = "peers"


@dataclass(frozen=True)
class Asked:
    """What was asked for; of two records with the same, one replaces the other.

    Attributes:
        workload: its name.
        workload_version: of its declaration.
        posterior: first 16 hex digits of the posterior's content hash.
        twin: of the deterministic twin's; the posterior's own where its mean network is taken.
        split: which part of the data was scored.
        limit: images scored at most; 0 for all.
        data: as `Cell.data`.
        mc: passes of Bayesian contenders, T; deterministic ones have one.
        batch: images a query.
        threads: cores a contender may use.
        seed: of the draws.
        seconds: timed seconds a contender at least.
        formats: ours.
        peers: by name, the versions in its environment; empty where there is none to be used.
        network: as `Cell.network`.
    """

    workload: str
    workload_version: str
    posterior: str
    twin: str
    split: str
    limit: int
    data: str
    mc: int
    batch: int
    threads: int
    seed: int
    seconds: float
    formats: tuple[str, ...]
    peers: dict[str, dict[str, str]]
    network: str = ""

    @property
    def key(self) -> str:
        """16 hex digits of the SHA-256 of all fields, less what is as it was by default."""
        return digest(not_by_default(self))

    @property
    def anywhere(self) -> Asked:
        """The same, whatever versions of the peers are installed."""
        return replace(self, peers={name: {} for name in self.peers})


@dataclass(frozen=True)
class PeerRow:
    """One contender.

    Attributes:
        contender: who it is, its timed queries, and why there are none.
        scores: metric name to value on all images; empty where it could not be scored.
        ece_floor_percent: ECE that a calibrated model of these confidences would show.
        std_ratio: by layer, rms standard deviation of the weights it drew over rms σ; empty for a
            deterministic contender.
        file_bytes: of the network as it is saved, by the artefact or as the peer's users would.
    """

    contender: Contender
    scores: dict[str, float | None] = field(default_factory=dict)
    ece_floor_percent: float | None = None
    std_ratio: dict[str, float] = field(default_factory=dict)
    file_bytes: int | None = None


@dataclass(frozen=True)
class PeersRecord:
    """Ours and peers on one posterior and the same images.

    Attributes:
        asked: what for.
        images: scored.
        skipped: names of images that could not be read and were scored by nobody.
        inputs: different input batches that timed queries went round.
        draws: passes that `std_ratio` comes from.
        rows: in the order of their turns.
        verdict: which of its numbers to believe.
        fingerprint: machine, software and code.
        command: the command line that made it.
        created: when, UTC, ISO 8601.
        schema_version: of this layout; a reader refuses newer ones.
    """

    asked: Asked
    images: int
    skipped: tuple[str, ...]
    inputs: int
    draws: int
    rows: tuple[PeerRow, ...]
    verdict: Verdict
    fingerprint: Fingerprint
    command: str
    created: str
    schema_version: int = SCHEMA_VERSION


COMPARISONS = Kind(
    "record of peers", PeersRecord, SCHEMA_VERSION, lambda one: one.asked.key, 2, upgrade
)


def place(results: Path, asked: Asked, fingerprint: Fingerprint) -> Path:
    """Where the record of a comparison belongs, whether or not it is there."""
    return results / FOLDER / asked.workload / fingerprint_hash(fingerprint) / f"{asked.key}.json"


def save(comparison: PeersRecord, results: Path) -> Path:
    """Write a record to its place below `results`.

    Raises:
        UserError: the place cannot be written.
    """
    path = place(results, comparison.asked, comparison.fingerprint)
    write_record(path, comparison)
    return path


def youngest(results: Path, asked: Asked) -> tuple[PeersRecord, Path]:
    """Of the records of a comparison, on any machine, with any code and any versions of the peers,
    the last, and where it is.

    Raises:
        UserError: there is none, or one of the workload's cannot be read.
    """
    folders = inside(results / FOLDER / asked.workload)
    paths = [path for one in folders for path in inside(one) if path.suffix == ".json"]
    found = [(load(path), path) for path in paths]
    same = [one for one in found if _asked(one[0], asked) == asked.anywhere]
    if same:
        return max(same, key=lambda one: one[0].created)
    nearest = min(
        (_differences(_asked(one, asked), asked) for one, _ in found), key=len, default=[]
    )
    told = f" (the nearest has {'; '.join(nearest)})" if nearest else ""
    raise UserError(
        f"{results} holds no record of this comparison{told}; ask for one that is there, or leave "
        "out --policy never."
    )


def _asked(there: PeersRecord, asked: Asked) -> Asked:
    """What a record was asked, anywhere; of a superseded one the digest of images is of another
    kind, and counts as the one that is asked for."""
    if superseded(there.asked.data, there.fingerprint.machine):
        return replace(there.asked.anywhere, data=asked.data)
    return there.asked.anywhere


def _differences(there: Asked, asked: Asked) -> list[str]:
    """In what was asked, in words."""
    mine, other = asdict(asked.anywhere), asdict(there.anywhere)
    return [
        f"{name} {_text(other[name])}, not {_text(value)}"
        for name, value in mine.items()
        if other[name] != value
    ]


def _text(value: object) -> str:
    """Of several things their names."""
    return ",".join(value) or "none" if isinstance(value, (tuple, dict)) else str(value)


def failed(comparison: PeersRecord) -> list[str]:
    """Names of contenders without figures though their peer's environment was there."""
    return [
        row.contender.name
        for row in comparison.rows
        if row.contender.unavailable and comparison.asked.peers.get(row.contender.by)
    ]


def load(path: Path) -> PeersRecord:
    """Read and validate a record.

    Raises:
        UserError: it cannot be read, is no such record, is inconsistent or of a newer schema.
    """
    found = read_record(path, COMPARISONS)
    for row in found.rows:
        check_samples(row.contender, path, COMPARISONS.name)
    return found
