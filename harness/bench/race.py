"""The race: contenders take turns on one network, at one batch size after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import torch

from ..checks import check_counts, check_seconds, check_seed
from ..errors import UserError
from ..machine import fingerprint
from ..measure.clock import Samples, interleave
from ..plan import INT8_BACKEND
from .contenders import (
    FORMAT_NAMES,
    PAUSE_SECONDS,
    Absent,
    Local,
    Remote,
    Runner,
    locals_of,
    remotes_of,
)
from .networks import POSTERIOR, Network
from .peers.environment import ENVIRONMENTS, Peer, find
from .peers.process import PeerError
from .record import Contender, Race

INPUTS = 4
SLICE_SECONDS = 0.2
QUERY_SECONDS = 1.0  # T is chosen so that a query takes no more, if one pass does not
MIN_SAMPLES, MIN_SLOW_SAMPLES = 20, 10
PROBES = 3
WAKE_SECONDS = 0.3  # a query this long pays for waking up without being seen to

#: What it is doing, what is done, of how much.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Plan:
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


def race(plan: Plan, command: str, progress: Progress | None = None) -> Iterator[Race]:
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
        yield Race(
            network=plan.network.name,
            posterior=POSTERIOR,
            input_shape=plan.network.input_shape,
            batch=batch,
            threads=plan.threads,
            inputs=INPUTS,
            seed=plan.seed,
            seconds=plan.seconds,
            contenders=_contenders(
                plan, ours, batch, partial(told, f"Batch {batch}", done, len(plan.batches))
            ),
            fingerprint=machine,
            command=command,
            created=datetime.now(timezone.utc).isoformat(),
        )


def _contenders(
    plan: Plan, ours: list[Local], batch: int, rest: Callable[[], None]
) -> tuple[Contender, ...]:
    images = list(plan.network.images(INPUTS * batch, plan.seed + 1).split(batch))
    for local in ours:
        local.images = images
    environments = [find(peer, plan.environments) for peer in plan.peers]
    with (
        remotes_of(
            plan.network,
            environments,
            batch=batch,
            inputs=INPUTS,
            threads=plan.threads,
            seed=plan.seed,
        ) as (remotes, absent),
        _torch_threads(plan.threads),
    ):
        return (*_timed(plan, [*ours, *remotes], rest), *map(_missing, absent))


def _timed(plan: Plan, runners: list[Local | Remote], rest: Callable[[], None]) -> list[Contender]:
    turns = _Turns()
    tasks = [_Task(runner, turns, plan) for runner in runners]
    # Our int8 formats are one program with and without noise: the same T makes them comparable.
    kin = [task for task in tasks if task.runner.backend == INT8_BACKEND]
    for task in kin:
        task.passes = min(one.passes for one in kin)
    samples = interleave(
        tasks,
        plan.seconds,
        min_samples=[task.min_samples for task in tasks],
        slice_seconds=SLICE_SECONDS,
        rest=rest,
    )
    return [task.contender(taken) for task, taken in zip(tasks, samples, strict=True)]


def passes_per_query(pass_seconds: float, most: int, threads: int) -> int:
    """T: `most`, or as many as fit into `QUERY_SECONDS`, a multiple of `threads` so that passes
    side by side fill every core; 1 where not even `threads` passes fit."""
    fit = int(QUERY_SECONDS / pass_seconds)
    if fit >= most:
        return most
    return max(1, fit // threads * threads)


class _Turns:
    """Who was last: whoever follows another waits until the other's threads sleep."""

    def __init__(self) -> None:
        self._last: object = None

    def changed(self, to: object) -> bool:
        changed = self._last is not to
        self._last = to
        return changed


class _Task:
    """A contender on the clock. The first query of a turn is not timed: it wakes threads and
    fetches weights back into the caches, for everyone alike."""

    def __init__(self, runner: Runner, turns: _Turns, plan: Plan) -> None:
        self.runner = runner
        self.failure = ""
        self.passes = min(plan.threads, plan.mc)
        self._turns = turns
        self._give_up_ns = int(plan.seconds * 1e9)
        self._calls = 0
        self._pass_seconds = self._probe()
        self.passes = passes_per_query(self._pass_seconds, plan.mc, plan.threads)

    def __call__(self, index: int) -> int:
        if not self.failure and self._turns.changed(self):
            time.sleep(PAUSE_SECONDS)
            if self._query_seconds < WAKE_SECONDS:
                self._query()
        return self._query()

    @property
    def min_samples(self) -> int:
        """Fewer for the slow."""
        return MIN_SLOW_SAMPLES if self._query_seconds > QUERY_SECONDS else MIN_SAMPLES

    @property
    def _query_seconds(self) -> float:
        return self._pass_seconds * self.passes

    def contender(self, samples: Samples) -> Contender:
        """What the record says of it."""
        runner = self.runner
        known = Contender(
            runner.name,
            runner.by,
            runner.format,
            runner.backend,
            self.passes,
            packages=runner.packages,
            details=runner.details(),
            unavailable=self.failure,
        )
        if self.failure:
            return known
        return replace(
            known,
            latency_ns=samples.latency_ns,
            slices=samples.slices,
            warmup_queries=samples.warmup,
        )

    def _probe(self) -> float:
        """Seconds a pass, the best of a few queries."""
        self._turns.changed(self)
        time.sleep(PAUSE_SECONDS)
        self._query()  # plans and buffers are made here
        return min(self._query() for _ in range(PROBES)) / 1e9 / self.passes

    def _query(self) -> int:
        """Nanoseconds. A contender that has failed is soon done; its samples do not count."""
        if self.failure:
            return self._give_up_ns
        self._calls += 1
        try:
            return self.runner.query(self._calls, self.passes)
        except PeerError as reason:
            self.failure = str(reason)
            return self._give_up_ns


def _missing(absent: Absent) -> Contender:
    peer = absent.environment.peer
    return Contender(
        f"{peer.name} {absent.peer_format}",
        peer.name,
        peer.formats[absent.peer_format],
        peer.name,
        1,
        packages=absent.environment.versions,
        unavailable=absent.reason,
    )


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
