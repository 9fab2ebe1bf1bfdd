"""The race: contenders take turns on one network, at one batch size after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from ...core.checks import check_counts, check_seconds, check_seed
from ...core.errors import UserError
from ...core.waiting import Report, warn_if_long
from ...machine.describe import fingerprint
from ...measure.watch import CoreWatch
from ...peers.contender import remotes_of
from ...peers.environment import ENVIRONMENTS, Peer, find
from ...race.contenders import FORMAT_NAMES, Local, locals_of
from ...race.networks import POSTERIOR, Network
from ...race.turns import INPUTS, Expected, Turns, take_turns
from ...records.runtime_record import Contender, Race


@dataclass(frozen=True)
class RacePlan:
    """What to race.

    Attributes:
        network: what is computed.
        batches: images a query; a race each.
        mc: passes a query, T, at most; fewer where they would take long.
        threads: cores a contender may use.
        formats: ours.
        peers: the others.
        environments: folder of the peers' environments.
        seconds: timed seconds a contender at least.
        seed: of weights, images and noise.
    """

    network: Network
    batches: tuple[int, ...] = (1, 8, 32)
    mc: int = 50
    threads: int = 1
    formats: tuple[str, ...] = FORMAT_NAMES
    peers: tuple[Peer, ...] = ()
    environments: Path = ENVIRONMENTS
    seconds: float = 5.0
    seed: int = 0

    def __post_init__(self) -> None:
        for flag, values in (
            ("--batch", self.batches),
            ("--mc", (self.mc,)),
            ("--threads", (self.threads,)),
        ):
            check_counts(flag, values)
        check_seconds(self.seconds)
        check_seed(self.seed)
        if not self.formats:
            raise UserError("--formats names nothing; give at least one format.")


def race(plan: RacePlan, command: str, progress: Report | None = None) -> Iterator[Race]:
    """Race at every batch size.

    Args:
        plan: what to race.
        command: the command line, for the record.
        progress: told between rounds.

    Raises:
        UserError: a format of ours cannot run here.
    """
    told = progress or (lambda *_: None)
    told(f"Building {plan.network.name}", 0, len(plan.batches))
    ours = locals_of(
        plan.network, plan.network.synthetic(plan.seed), plan.formats, plan.threads, plan.seed
    )
    machine = fingerprint()
    for done, batch in enumerate(plan.batches):
        told(f"Loading peers at batch {batch}", done, len(plan.batches))
        watch = CoreWatch()
        contenders = _contenders(
            plan,
            ours,
            batch,
            partial(told, f"Timing at batch {batch}", done, len(plan.batches)),
            partial(_tell_how_long, told, plan.batches[done:]),
        )
        yield Race(
            network=plan.network.name,
            posterior=POSTERIOR,
            input_shape=plan.network.input_shape,
            batch=batch,
            threads=plan.threads,
            inputs=INPUTS,
            seed=plan.seed,
            seconds=plan.seconds,
            contenders=contenders,
            fingerprint=machine,
            command=command,
            created=datetime.now(timezone.utc).isoformat(),
            findings=watch.told(),
            mc=plan.mc,
        )


def _tell_how_long(told: Report, batches: tuple[int, ...], expected: Expected) -> None:
    """What is left, the batch that was measured first; a pass takes as much longer as there are
    more images."""
    long = sum(expected(batch / batches[0]) for batch in batches)
    warn_if_long(told, f"Timing at batch {', '.join(map(str, batches))}", long)


def _contenders(
    plan: RacePlan,
    ours: list[Local],
    batch: int,
    rest: Callable[[], None],
    expect: Callable[[Expected], None],
) -> tuple[Contender, ...]:
    images = list(plan.network.images(INPUTS * batch, plan.seed + 1).split(batch))
    for local in ours:
        local.images = images
    environments = [find(peer, plan.environments) for peer in plan.peers]
    job = {
        "source": plan.network.source(),
        "shape": list(plan.network.input_shape),
        "batch": batch,
        "inputs": INPUTS,
        "threads": plan.threads,
        "seed": plan.seed,
    }
    turns = Turns(plan.mc, plan.threads, plan.seconds)
    with remotes_of(job, environments) as (remotes, absent):
        return (
            *take_turns([*ours, *remotes], turns, rest, expect),
            *(one.contender() for one in absent),
        )
