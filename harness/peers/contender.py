"""A peer that takes part: one format of it, in a process of its own, idle until it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..records.runtime_record import Contender
from .environment import Environment
from .process import PeerError, Process

_TOLD = {"form", "forms", "together", "streams", "details", "versions"}
PAUSE_SECONDS = 0.015  # what OpenMP's threads may spin after a call, and some
IDLE_SHARE = 0.05  # of a core, beyond which an idle peer disturbs the others
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
    loading: Callable[[str], None] | None = None,
) -> Iterator[tuple[list[Remote], list[Absent]]]:
    """The peers' contenders, loaded and idle, and those that are not available.

    Args:
        job: what to build, but for the format; see `workers/serve.py`.
        environments: of the peers.
        loading: told who is loaded next.
    """
    running: list[Remote] = []
    absent: list[Absent] = []
    with ExitStack() as stack:
        for environment in environments:
            for name in environment.peer.formats:
                if environment.unavailable:
                    absent.append(Absent(environment, name, environment.unavailable))
                    continue
                if loading is not None:
                    loading(f"{environment.peer.name} {name}")
                try:
                    running.append(_start(stack, environment, name, job))
                except PeerError as reason:
                    absent.append(Absent(environment, name, str(reason)))
        yield running, absent


def _start(stack: ExitStack, environment: Environment, name: str, job: Mapping[str, Any]) -> Remote:
    peer = environment.peer
    called = f"{peer.name} {name}"
    process = stack.enter_context(Process(environment.python, peer.worker, job["threads"], called))
    told = process.ask({"load": {**job, "format": name}}, LOAD_SECONDS).get("loaded")
    if not isinstance(told, dict) or not set(told) >= _TOLD:
        raise PeerError(f"{called} does not say what it loaded.")
    time.sleep(PAUSE_SECONDS)
    idle = process.idle_share()
    if idle > IDLE_SHARE:
        raise PeerError(
            f"{called} takes {idle:.2f} of a core while it waits, which would slow the others."
        )
    return Remote(environment, name, process, told, idle)
