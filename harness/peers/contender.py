"""A peer that takes part: one format of it, in a process of its own, idle until it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records.runtime_record import Contender
from .environment import Environment
from .process import PeerError, Process

_TOLD = {"form", "forms", "together", "streams", "details", "versions"}
PAUSE_SECONDS = 0.015  # what OpenMP's threads may spin after a call, and some
IDLE_SHARE = 0.05  # of a core, beyond which an idle peer disturbs the others
STOP_SECONDS = 0.1  # between looks at what is still being built when a study stops
LOAD_SECONDS = 900.0  # a compiler may take minutes
RUN_SECONDS = 300.0
SCORE_SECONDS = 900.0


@dataclass
class Remote:
    """One format of a peer, in its own process."""

    environment: Environment
    peer_format: str
    process: Process
    told: dict[str, object]
    idle_share: float

    @property
    def name(self) -> str:
        """Peer and format."""
        return f"{self.by} {self.peer_format}"

    @property
    def by(self) -> str:
        """The peer."""
        return self.environment.peer.name

    @property
    def format(self) -> str:
        """What we call the format."""
        return self.environment.peer.formats[self.peer_format]

    @property
    def bayesian(self) -> bool:
        """Whether it draws weights."""
        return self.environment.peer.bayesian(self.peer_format)

    @property
    def backend(self) -> str:
        """The library."""
        return self.by

    @property
    def packages(self) -> dict[str, str]:
        """As the process tells."""
        versions = self.told["versions"]
        assert isinstance(versions, dict)
        return versions

    @property
    def streams(self) -> int:
        """As the process tells."""
        streams = self.told["streams"]
        assert isinstance(streams, int)
        return streams

    def query(self, index: int, passes: int) -> int:
        """See `Runner`; the peer's own clock."""
        taken = self.process.ask({"run": passes}, RUN_SECONDS).get("ns")
        if not isinstance(taken, list) or len(taken) != (1 if self.told["together"] else passes):
            raise PeerError(f"{self.name} did not time {passes} passes.")
        return sum(taken)

    def logits(self, batch: int, passes: int, folder: Path) -> NDArray[np.float32]:
        """Logits of so many passes on one of its batches, [passes, N, C].

        Args:
            batch: which of the images it was given, in batches.
            passes: fresh draws.
            folder: where the two processes exchange them.

        Raises:
            PeerError: it failed, or gave something else.
        """
        file = folder / "logits.npy"
        request = {"score": batch, "passes": passes, "file": str(file)}
        self.process.ask(request, SCORE_SECONDS)
        try:
            found = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as reason:
            raise PeerError(f"{self.name} did not write its logits ({reason}).") from reason
        if found.ndim != 3 or len(found) != passes or found.dtype != np.float32:
            raise PeerError(
                f"{self.name} wrote logits of shape {found.shape}, not {passes} passes."
            )
        return found

    def drawn_std(self, draws: int) -> dict[str, float]:
        """Rms standard deviation of what it draws, by parameter name.

        Raises:
            PeerError: it failed, or gave something else.
        """
        found = self.process.ask({"draw": draws}, SCORE_SECONDS).get("std")
        if not isinstance(found, dict) or not all(isinstance(v, float) for v in found.values()):
            raise PeerError(f"{self.name} does not say what it draws.")
        return found

    def saved_bytes(self) -> int:
        """Bytes of the network as its users would save it.

        Raises:
            PeerError: it failed, or gave something else.
        """
        found = self.process.ask({"save": True}, SCORE_SECONDS).get("bytes")
        if not isinstance(found, int):
            raise PeerError(f"{self.name} does not say how large it is on disk.")
        return found

    def details(self) -> dict[str, str]:
        """How it runs, what that was chosen by, and what it says of itself."""
        forms, own = self.told["forms"], self.told["details"]
        assert isinstance(forms, dict)
        assert isinstance(own, dict)
        medians = ", ".join(f"{name} {value / 1e6:.4g} ms" for name, value in forms.items())
        return {
            "input": str(self.told["form"]),
            "tried": medians,
            "idle_core_share": f"{self.idle_share:.3f}",
            **own,
        }


@dataclass(frozen=True)
class Absent:
    """A peer's format that cannot be measured, and why."""

    environment: Environment
    peer_format: str
    reason: str

    def contender(self) -> Contender:
        """What a record says of it."""
        peer = self.environment.peer
        return Contender(
            f"{peer.name} {self.peer_format}",
            peer.name,
            peer.formats[self.peer_format],
            peer.name,
            1,
            packages=self.environment.versions,
            unavailable=self.reason,
        )


@contextmanager
def remotes_of(
    job: Mapping[str, Any],
    environments: Sequence[Environment],
    loading: Callable[[str], None] = lambda _: None,
    before: Mapping[str, Contender] | None = None,
) -> Iterator[tuple[list[Remote], list[Absent]]]:
    """The peers' contenders, loaded and idle, and those that are not available.

    They are built side by side, for nothing is timed meanwhile; then each chooses its form alone.

    Args:
        job: what to build, but for the format; see `workers/serve.py`.
        environments: of the peers.
        loading: told who is loaded next.
        before: by name, what an earlier process has found of contenders: one that failed there is
            not started, the others take the form that was chosen.
    """
    known = before or {}
    running: list[Remote] = []
    absent: list[Absent] = []
    wanted: list[_Wanted] = []
    for environment in environments:
        for name in environment.peer.formats:
            one = _Wanted(environment, name, known.get(f"{environment.peer.name} {name}"))
            if reason := one.missing:
                absent.append(Absent(environment, name, reason))
            else:
                wanted.append(one)
    with _side_by_side(job, wanted, loading) as answers:
        for one in wanted:
            process = answers[one]
            try:
                if isinstance(process, PeerError):
                    raise process
                running.append(_loaded(one, process))
            except PeerError as reason:
                absent.append(Absent(one.environment, one.peer_format, str(reason)))
        yield running, absent


@dataclass(frozen=True, eq=False)
class _Wanted:
    """A format of a peer to be started, and what an earlier process has found of it."""

    environment: Environment
    peer_format: str
    before: Contender | None

    @property
    def name(self) -> str:
        return f"{self.environment.peer.name} {self.peer_format}"

    @property
    def missing(self) -> str:
        """Why it is not to be started; empty if it is."""
        return self.environment.unavailable or (self.before.unavailable if self.before else "")

    @property
    def form(self) -> str:
        """That was chosen before; empty if none was."""
        return self.before.details.get("input", "") if self.before else ""


@contextmanager
def _side_by_side(
    job: Mapping[str, Any], wanted: Sequence[_Wanted], loading: Callable[[str], None]
) -> Iterator[dict[_Wanted, Process | PeerError]]:
    """Their processes, or why there is none: as many at a time as there are threads, of each peer
    one after the other, because the first keeps what the others use."""
    lanes: dict[str, list[_Wanted]] = {}
    for one in wanted:
        lanes.setdefault(one.environment.peer.name, []).append(one)
    answers: dict[_Wanted, Process | PeerError] = {}
    started: list[Process] = []
    told: SimpleQueue[str | None] = SimpleQueue()
    stopped = Event()

    def follow(lane: Sequence[_Wanted]) -> None:
        try:
            for one in lane:
                if stopped.is_set():
                    break
                told.put(one.name)
                answers[one] = _built(one, job, started)
        finally:
            told.put(None)

    try:
        with ThreadPoolExecutor(max(1, min(job["threads"], len(lanes)))) as pool:
            futures = [pool.submit(follow, lane) for lane in lanes.values()]
            try:
                for _ in lanes:  # progress is reported by this thread alone
                    while (name := told.get()) is not None:
                        loading(name)
            except BaseException:
                stopped.set()
                while wait(futures, STOP_SECONDS).not_done:  # one may just be starting
                    for process in tuple(started):
                        process.kill()
                raise
        for future in futures:
            future.result()
        yield answers
    finally:
        for process in started:
            process.close()


def _built(one: _Wanted, job: Mapping[str, Any], started: list[Process]) -> Process | PeerError:
    environment = one.environment
    try:
        command = [environment.python, environment.peer.worker]
        process = Process(command, job["threads"], one.name)
        started.append(process)
        process.ask({"build": {**job, "format": one.peer_format, "form": one.form}}, LOAD_SECONDS)
    except PeerError as reason:
        return reason
    return process


def _loaded(one: _Wanted, process: Process) -> Remote:
    told = process.ask({"load": True}, LOAD_SECONDS).get("loaded")
    if not isinstance(told, dict) or not set(told) >= _TOLD:
        raise PeerError(f"{one.name} does not say what it loaded.")
    time.sleep(PAUSE_SECONDS)
    idle = process.idle_share()
    if idle > IDLE_SHARE:
        raise PeerError(
            f"{one.name} takes {idle:.2f} of a core while it waits, which would slow the others."
        )
    return Remote(one.environment, one.peer_format, process, told, idle)
