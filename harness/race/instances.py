"""Instances of a model side by side, each a process that is pinned to cores of its own, and what
they do together in a common stretch of wall time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as all_of
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.errors import UserError
from ..machine.placement import Pinned, instances_of, place
from ..machine.topology import Topology
from ..peers.process import PeerError, Process
from ..records.scaling_record import InstanceSetting, Scaled, Window
from ..stats.samples import percentile

WORKER = f"{__package__}.instance_process"
LOAD_SECONDS = 600.0
#: From the call to the window: all instances answer queries by then.
LEAD_SECONDS = 0.2
#: Queries that a window holds at least, so that none of them is most of it.
LEAST_QUERIES = 3
#: About how long a process takes to start and load, to say before how long all takes.
START_SECONDS = 5.0
_STOP_SECONDS = 0.1  # between looks at instances that are being stopped


class Instances:
    """A setting's instances, loaded and idle.

    Args:
        job: what `instance_process.Instance` is given, but for threads and team.
        setting: how many, and how large.
        pinned: logical cores of each.

    Raises:
        UserError: one cannot be started, or was killed.
    """

    def __init__(
        self, job: Mapping[str, Any], setting: InstanceSetting, pinned: Sequence[Pinned]
    ) -> None:
        self.setting, self._processes = setting, list[Process]()
        self._pool = ThreadPoolExecutor(max_workers=setting.instances)
        load = {**job, "threads": setting.cores, "team": setting.team}
        try:
            for number, cores in enumerate(pinned, 1):
                name = f"Instance {number} of {setting.instances}"
                command = [sys.executable, "-m", WORKER]
                self._processes.append(Process(command, setting.cores, name, cores=cores, own=True))
            told = self._ask({"load": load}, LOAD_SECONDS)
        except PeerError as reason:
            self.close()
            raise _failed(reason) from reason
        except BaseException:
            self.close()
            raise
        for one, cores in zip(told, pinned, strict=True):
            if one["cores"] != sorted(cores):
                self.close()
                raise UserError(f"An instance ran on the cores {one['cores']}, not {list(cores)}.")
        self.isa: str = told[0]["isa"]

    def window(self, seconds: float) -> Window:
        """Let all of them answer queries, and count what they did together.

        Args:
            seconds: of wall time.

        Raises:
            UserError: one was killed.
        """
        begin = time.monotonic_ns() + int(LEAD_SECONDS * 1e9)
        asked = {"window": [begin, begin + int(seconds * 1e9)]}
        try:
            told = self._ask(asked, LOAD_SECONDS + seconds)
        except PeerError as reason:
            raise _failed(reason) from reason
        latency = np.concatenate([np.asarray(one["latency_ns"], np.float64) for one in told])
        return Window(
            seconds=seconds,
            queries=tuple(float(one["queries"]) for one in told),
            median_ns=float(np.median(latency)),
            p99_ns=percentile(latency, 0.99),
        )

    def close(self) -> None:
        """End them."""
        for process in self._processes:
            process.close()
        self._pool.shutdown()

    def __enter__(self) -> Instances:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(self, request: dict[str, Any], seconds: float) -> list[dict[str, Any]]:
        """All of them at once; where the study stops meanwhile, they end first."""
        futures: list[Future[dict[str, Any]]] = [
            self._pool.submit(process.ask, request, seconds) for process in self._processes
        ]
        try:
            return [future.result() for future in futures]
        except BaseException:
            while all_of(futures, _STOP_SECONDS).not_done:
                for process in self._processes:
                    process.kill()
            raise


def _failed(reason: PeerError) -> UserError:
    return UserError(
        f"{str(reason).rstrip('.')}; if memory ran out, give fewer --instances or a smaller "
        "--batch."
    )


@dataclass(frozen=True)
class WindowWork:
    """What instances do at one batch size.

    Attributes:
        job: see `Instances`.
        seconds: of each window.
    """

    job: Mapping[str, Any]
    seconds: float


def in_turns(
    work: Mapping[int, WindowWork],
    settings: Sequence[InstanceSetting],
    topology: Topology,
    rounds: int,
    rest: Callable[[int], None] = lambda _: None,
) -> list[Scaled]:
    """A window of each setting, in each of several rounds of fresh processes; every other round
    goes through the settings backwards.

    Args:
        work: by batch size.
        settings: to measure.
        topology: cores that may be used.
        rounds: how many windows a setting has.
        rest: called before each window with how many are done.
    """
    found = [
        Scaled(one, place(topology, one.instances, one.cores, oversubscribe=True))
        for one in settings
    ]
    for turn in range(rounds * len(settings)):
        number, at = divmod(turn, len(settings))
        at = len(settings) - 1 - at if number % 2 else at
        rest(turn)
        one = found[at]
        if one.unavailable:
            continue
        try:
            asked = work[one.setting.batch]
            with Instances(asked.job, one.setting, one.pinned) as instances:
                made = instances.window(asked.seconds)
                found[at] = replace(one, windows=(*one.windows, made), isa=instances.isa)
        except UserError as reason:
            found[at] = replace(one, windows=(), unavailable=str(reason))
    return found


def window_seconds(seconds: float, query: float, crowd: int = 1) -> float:
    """How long a window is, at least so many seconds.

    Args:
        seconds: that are asked for.
        query: seconds of one, by one thread.
        crowd: instances that share a core.
    """
    return max(seconds, LEAST_QUERIES * query * crowd)


def expected_seconds(
    work: Mapping[int, WindowWork], settings: Sequence[InstanceSetting], rounds: int
) -> float:
    """About how long `in_turns` takes."""
    return rounds * sum(START_SECONDS + work[one.batch].seconds for one in settings)


def in_words(setting: InstanceSetting) -> str:
    """How many instances with how many cores."""
    return instances_of(setting.instances, setting.cores)
