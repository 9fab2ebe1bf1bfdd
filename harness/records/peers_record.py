"""The record of a comparison with peers.

    <results>/peers/<workload>/<fingerprint hash>/<key>.json

It holds every timed query of every contender, what each scored on the same images, and what its
draws kept of σ. Units are in the field names; None means not defined.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .envelope import Record
from .kind import Kind, Layout, OfWorkload, without
from .reference_times import Reference
from .runtime_record import Contender, check_samples
from .verdict import Verdict


@dataclass(frozen=True)
class Asked(OfWorkload):
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
        batch: images per query.
        threads: cores a contender may use.
        seed: of the draws.
        seconds: timed seconds per contender, at least.
        formats: ours.
        peers: by name, the versions in its environment; empty where there is none to be used.
        network: as `Cell.network`.
        processes: fresh processes that it is timed in.
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
    processes: int = 1

    def __hash__(self) -> int:
        return hash(self.key)

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
class PeersBody:
    """Ours and peers on one posterior and the same images.

    Attributes:
        images: scored.
        skipped: names of images that could not be read and were scored by nobody.
        inputs: different input batches that timed queries went round.
        draws: passes that `std_ratio` comes from.
        rows: in the order of their turns.
        references: what took turns with them; empty in older records.
    """

    images: int
    skipped: tuple[str, ...]
    inputs: int
    draws: int
    rows: tuple[PeerRow, ...]
    references: tuple[Reference, ...] = ()


@dataclass(frozen=True)
class PeersRecord(Record[Asked, PeersBody]):
    """A comparison with peers. Its verdict is never None."""

    verdict: Verdict


def _check(record: PeersRecord) -> None:
    check_samples([row.contender for row in record.body.rows], record.body.references)


COMPARISONS: Kind[PeersRecord] = Kind(
    name="peers",
    title="record of peers",
    record=PeersRecord,
    subject=Asked,
    body=PeersBody,
    folders=("peers",),
    judged=True,
    check=_check,
    before=Layout(
        newest=2, hashed=2, subject=lambda tree: tree.get("asked"), rest=without("asked")
    ),
)


def failed(comparison: PeersRecord) -> list[str]:
    """Names of contenders without figures though their peer's environment was there."""
    return [
        row.contender.name
        for row in comparison.body.rows
        if row.contender.unavailable and comparison.subject.peers.get(row.contender.by)
    ]
