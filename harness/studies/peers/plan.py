"""What `sigmabench peers` compares: the user's choices, checked, and the one task they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.contents import superseded
from ...core.formats import FORMATS
from ...peers.environment import Peer, chosen, find
from ...records.nearest import nearest as nearest_of
from ...records.peers_record import COMPARISONS as KIND
from ...records.peers_record import Asked, PeersRecord
from ...records.peers_record import failed as lacking
from ..flags import DATA, PEERS_FOLDER, POSTERIOR, PROCESSES, SPLIT
from ..study import TIMED, Option, Task

if TYPE_CHECKING:
    from ...workload.plan import Plan

__all__ = [
    "ARGUMENT",
    "HELP",
    "KIND",
    "OPTIONS",
    "SHOWN",
    "answers",
    "asked",
    "lacking",
    "nearest",
    "plan",
    "tasks",
]

HELP = """Compare WORKLOAD in our formats and in other implementations.

One posterior, the same images and T: accuracy, calibration, what the draws keep of σ, time per
pass (measured in turns) and size on disk. A peer that is not installed, or fails, is a row that
says why.
"""
ARGUMENT = "workload"
FORMAT_NAMES = (
    "FP32",
    "BF16",
    "INT8",
    "INT8_SIGMA4",
    "INT8_SIGMA2",
    "INT8_SIGMA1",
    "DNN_FP32",
    "DNN_INT8",
)
BEFORE = ("bayesian-torch", "inductor", "ipex")  # by default, until OpenVINO was a peer
DEFAULT = (*BEFORE, "openvino")
OPTIONS = (
    Option("--peers", "Other implementations, or none.", "names", default=",".join(DEFAULT)),
    Option(
        "--formats", "Our formats.", "names", shown="FP32, BF16, INT8, its σ in 4, 2, 1 bits, twins"
    ),
    Option("--mc", "Number of passes T of Bayesian contenders.", "whole", default=50),
    Option("--batch", "Images per query.", "whole", default=32),
    Option("--threads", "Cores that a contender may use.", "whole", shown="all"),
    Option("--limit", "Images to score; 0 for the whole split.", "whole", default=500),
    SPLIT,
    POSTERIOR,
    DATA,
    Option("--seed", "Seed of the draws.", "whole", default=0),
    Option("--seconds", "Timed seconds per contender.", "number", default=3.0),
    PROCESSES,
    PEERS_FOLDER,
)
SHOWN: tuple[Option, ...] = ()
DRAWS = 32  # of a layer's weights: their standard deviation to 13 % a weight, pooled over a layer


@dataclass(frozen=True)
class PeersPlan:
    """One posterior, one set of images, one T, for everyone.

    Attributes:
        ours: formats and everything else that `sigmabench run` would be asked; one T, one batch
            size, one seed.
        peers: the others.
        environments: folder of the peers' environments.
    """

    ours: Plan
    peers: tuple[Peer, ...]
    environments: Path

    @property
    def mc(self) -> int:
        """Passes of a Bayesian contender, T."""
        return self.ours.mc[0]

    @property
    def batch(self) -> int:
        """Images per query."""
        return self.ours.batches[0]


def plan(
    workload: str,
    *,
    scoring: bool,
    peers: tuple[str, ...],
    environments: Path,
    formats: tuple[str, ...] | None,
    mc: int,
    batch: int,
    limit: int,
    **choices: Any,
) -> tuple[PeersPlan, tuple[str, ...]]:
    """From a user's choices.

    Raises:
        UserError: one of them is out of range or not known.
    """
    from ...workload.choices import plan_from
    from ...workload.workload import resolve_workload

    ours = plan_from(
        resolve_workload(workload),
        formats=FORMAT_NAMES if formats is None else formats,
        mc=(mc,),
        batch=(batch,),
        limit=limit or None,
        seeds=1,
        **choices,
        measuring=scoring,
    )
    return PeersPlan(ours, tuple(chosen(peers)), environments), ()


def tasks(plan: PeersPlan, measuring: bool) -> list[Task[Asked]]:
    """One, about the peers' environments; they are looked for only where something is measured."""
    from ...workload.hashes import identity_of

    ours, networks = plan.ours, identity_of(plan.ours)
    found = tuple(find(peer, plan.environments) for peer in plan.peers if measuring)
    versions = {one.peer.name: one.versions for one in found if not one.unavailable}
    subject = Asked(
        workload=ours.workload.name,
        workload_version=ours.workload.version,
        posterior=networks.hash_of(FORMATS.get("FP32"))[:16],
        twin=networks.hash_of(FORMATS.get("DNN_FP32"))[:16],
        split=ours.split,
        limit=ours.limit or 0,
        data=ours.workload.data_digest(ours.split, ours.data, ours.limit),
        network=ours.workload.network_digest(),
        mc=plan.mc,
        batch=plan.batch,
        threads=ours.threads,
        seed=ours.seed,
        seconds=ours.seconds,
        processes=ours.processes,
        formats=ours.formats,
        peers={peer.name: versions.get(peer.name, {}) for peer in plan.peers},
    )
    return [Task((subject,), TIMED, about=found)]


def asked(subject: Asked) -> Iterator[str]:
    """What records may answer to that are shown for a comparison: of one with all peers those from
    before OpenVINO was one, too."""
    for one in _and_before(subject):
        yield one.anywhere.key
        yield _alike(one)


def nearest(stored: Sequence[PeersRecord], subjects: Sequence[Asked]) -> str:
    """See `records.nearest`."""
    return nearest_of(stored, [one for subject in subjects for one in _and_before(subject)])


def answers(record: PeersRecord) -> str:
    """What a record answers to, whatever versions of the peers it was made with: a superseded one,
    whose digest of images is of another kind, to what is like it in all else."""
    old = superseded(record.subject.data, record.fingerprint.machine)
    return _alike(record.subject) if old else record.subject.anywhere.key


def _and_before(subject: Asked) -> Iterator[Asked]:
    yield subject
    if set(subject.peers) == set(DEFAULT):
        yield replace(subject, peers={name: subject.peers[name] for name in BEFORE})


def _alike(subject: Asked) -> str:
    return f"{replace(subject.anywhere, data='').key} by any digest"
