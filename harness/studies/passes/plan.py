"""What a race is asked: contenders and batch sizes in, a race for each batch size out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...core.checks import check_counts, check_seconds, check_seed
from ...core.errors import UserError
from ...machine.cores import cores_for
from ...peers.environment import Peer, chosen, find
from ...race.networks import NETWORKS, POSTERIOR, Network
from ...records.nearest import nearest
from ...records.runtime_record import RACES as KIND
from ...records.runtime_record import RaceRecord, RaceSubject, contender_name
from ..flags import PEERS_FOLDER, PROCESSES
from ..study import TIMED, Option, Task

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

HELP = """Race one pass of NETWORK (resnet50, resnet20, lenet5) in our formats and in others.

A peer lives in an environment of its own, made as `sigmabench doctor` says; one that cannot be
timed is a row that says why. Each race is stored in --results when it is done, and the same command
goes on with the next.
"""
ARGUMENT = "network"
FORMAT_NAMES = ("INT8", "DNN_INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1", "BF16", "FP32")
OPTIONS = (
    Option("--batch", "Images per query; one race for each.", "numbers", default="1,8,32"),
    Option(
        "--mc", "Number of passes per query, T; fewer where they are slow.", "whole", default=50
    ),
    Option("--threads", "Cores that a contender may use.", "whole", shown="all"),
    Option("--formats", "Our formats.", "names", shown="int8, BF16, FP32"),
    Option(
        "--peers",
        "Other implementations, or none.",
        "names",
        default="openvino,ipex,bayesian-torch",
    ),
    PEERS_FOLDER,
    Option("--seconds", "Timed seconds per contender.", "number", default=5.0),
    PROCESSES,
    Option("--seed", "Seed of weights, images and noise.", "whole", default=0),
)
SHOWN: tuple[Option, ...] = ()


@dataclass(frozen=True)
class RacePlan:
    """What to race.

    Attributes:
        network: what is computed.
        batches: images per query; one race for each.
        mc: passes per query, T, at most; fewer where they would take long.
        threads: cores a contender may use.
        formats: ours.
        peers: the others.
        environments: folder of the peers' environments.
        seconds: timed seconds per contender, at least.
        processes: fresh processes that a race is run in.
        seed: of weights, images and noise.
    """

    network: Network
    batches: tuple[int, ...]
    mc: int
    threads: int
    formats: tuple[str, ...]
    peers: tuple[Peer, ...]
    environments: Path
    seconds: float
    seed: int
    processes: int = 1

    def __post_init__(self) -> None:
        for name in ("batches", "formats"):
            object.__setattr__(self, name, tuple(dict.fromkeys(getattr(self, name))))
        for flag, values in (
            ("--batch", self.batches),
            ("--mc", (self.mc,)),
            ("--threads", (self.threads,)),
            ("--processes", (self.processes,)),
        ):
            check_counts(flag, values)
        check_seconds(self.seconds)
        check_seed(self.seed)
        if not self.formats:
            raise UserError("--formats names nothing; give at least one format.")


def plan(
    network: str,
    *,
    scoring: bool,
    batch: tuple[int, ...],
    threads: int | None,
    formats: tuple[str, ...] | None,
    peers: tuple[str, ...],
    **choices: Any,
) -> tuple[RacePlan, tuple[str, ...]]:
    """From a user's choices.

    Raises:
        UserError: one of them is out of range or not known.
    """
    from ...workload.choices import format_name

    made = RacePlan(
        NETWORKS.get(network),
        batches=batch,
        threads=cores_for(threads, scoring),
        formats=FORMAT_NAMES if formats is None else tuple(map(format_name, formats)),
        peers=tuple(chosen(peers)),
        **choices,
    )
    return made, ()


def tasks(plan: RacePlan, measuring: bool) -> list[Task[RaceSubject]]:
    """One for each batch size, about the peers' environments; they are looked for only where
    something is measured.

    Raises:
        UserError: a format is not known.
    """
    found = tuple(find(peer, plan.environments) for peer in plan.peers if measuring)
    versions = {one.peer.name: one.versions for one in found}
    contenders: list[tuple[str, dict[str, str]]] = [(contender_name(n), {}) for n in plan.formats]
    for peer in plan.peers:
        contenders += [(f"{peer.name} {n}", versions.get(peer.name, {})) for n in peer.formats]
    names, packages = zip(*contenders, strict=True)
    return [
        Task(
            (
                RaceSubject(
                    network=plan.network.name,
                    posterior=POSTERIOR,
                    batch=batch,
                    threads=plan.threads,
                    seed=plan.seed,
                    seconds=plan.seconds,
                    contenders=names,
                    mc=plan.mc,
                    packages=packages,
                    processes=plan.processes,
                ),
            ),
            TIMED,
            about=found,
        )
        for batch in plan.batches
    ]


def asked(subject: RaceSubject) -> Iterator[str]:
    """What records may answer to that are shown for a race: those that do not say their T too."""
    yield subject.anywhere.key
    yield replace(subject.anywhere, mc=0).key


def answers(record: RaceRecord) -> str:
    """What a record answers to, whatever versions of the peers it was made with."""
    return record.subject.anywhere.key


def lacking(record: RaceRecord) -> list[str]:
    """Names of contenders without figures though their peer's environment was there."""
    return [one.name for one in record.body.contenders if one.unavailable and one.packages]
