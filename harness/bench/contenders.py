"""What takes part in a race: our formats on their backends, and the peers' processes.

A query is T passes back to back over one batch, for everyone, so that a pass costs a query's time
over T: float32 images in, float32 logits out. Ours draw with a fresh seed in every query.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ..backends.base import BACKENDS
from ..errors import UserError
from ..formats import FORMATS
from ..plan import FLOAT_BACKEND, INT8_BACKEND
from ..quantize.ptq import Options, Source, quantize
from .networks import Network, Synthetic
from .peers.environment import Environment
from .peers.process import PeerError, Process

if TYPE_CHECKING:
    from ..backends.base import Predictor

FORMAT_NAMES = ("INT8", "DNN_INT8", "INT8_SIGMA4", "INT8_SIGMA2", "INT8_SIGMA1", "BF16", "FP32")
PAUSE_SECONDS = 0.015  # what OpenMP's threads may spin after a call, and some
IDLE_SHARE = 0.05  # of a core, beyond which an idle peer disturbs the others
LOAD_SECONDS = 600.0
RUN_SECONDS = 300.0


class Runner(Protocol):
    """One loaded contender.

    Attributes:
        name: in tables.
        by: `sigmabench`, or a peer.
        format: as in `sigmabench list`.
        backend: what computes it.
        packages: see `record.Contender`.
    """

    @property
    def name(self) -> str: ...

    @property
    def by(self) -> str: ...

    @property
    def format(self) -> str: ...

    @property
    def backend(self) -> str: ...

    @property
    def packages(self) -> dict[str, str]: ...

    def query(self, index: int, passes: int) -> int:
        """Nanoseconds of query `index` of so many passes.

        Raises:
            PeerError: it failed; there is nothing to be measured any more.
        """
        ...

    def details(self) -> dict[str, str]:
        """What computed it, by name."""
        ...


@dataclass
class Local:
    """One of our formats; `images` are set for each race."""

    format: str
    backend: str
    predictor: Predictor
    seed: int
    images: list[Tensor] = field(default_factory=list)
    by: str = "sigmabench"
    packages: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The format, and what is special about it."""
        return self.format + ("" if FORMATS.get(self.format).bayesian else " (fixed)")

    def query(self, index: int, passes: int) -> int:
        """See `Runner`."""
        images = self.images[index % len(self.images)]
        start = time.perf_counter_ns()
        self.predictor.logits(images, self.seed + index, range(passes))
        return time.perf_counter_ns() - start

    def details(self) -> dict[str, str]:
        """The kernels, most used first."""
        kernels = list(self.predictor.kernels.values())
        counted = sorted({(-kernels.count(kernel), kernel) for kernel in kernels})
        used = "; ".join(f"{-count} × {kernel}" for count, kernel in counted)
        return {"isa": self.predictor.isa, "kernels": used}


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
    def backend(self) -> str:
        """The library."""
        return self.by

    @property
    def packages(self) -> dict[str, str]:
        """As the process tells."""
        versions = self.told["versions"]
        assert isinstance(versions, dict)
        return versions

    def query(self, index: int, passes: int) -> int:
        """See `Runner`; the peer's own clock."""
        taken = self.process.ask({"run": passes}, RUN_SECONDS).get("ns")
        if not isinstance(taken, list) or len(taken) != passes:
            raise PeerError(f"{self.name} did not time {passes} passes.")
        return sum(taken)

    def details(self) -> dict[str, str]:
        """Memory format, and what it was chosen by."""
        forms = self.told["forms"]
        assert isinstance(forms, dict)
        medians = ", ".join(f"{name} {value / 1e6:.4g} ms" for name, value in forms.items())
        return {
            "input": str(self.told["form"]),
            "tried": medians,
            "idle_core_share": f"{self.idle_share:.3f}",
        }


def locals_of(
    network: Network, synthetic: Synthetic, formats: tuple[str, ...], threads: int, seed: int
) -> list[Local]:
    """Our contenders, loaded.

    Raises:
        UserError: a format is not known, or its backend cannot run here.
    """
    loaded = []
    for name in dict.fromkeys(formats):
        backend = BACKENDS.get(INT8_BACKEND if FORMATS.get(name).quantized else FLOAT_BACKEND)
        if reason := backend.unavailable():
            raise UserError(f"{name} cannot be timed: {reason}")
        source = Source(network.name, "synthetic", "")
        artefact = quantize(synthetic.model, name, synthetic.calibration, Options(), source)
        loaded.append(Local(name, backend.name, backend.load(artefact, threads), seed))
    return loaded


@dataclass(frozen=True)
class Absent:
    """A peer's format that cannot be measured, and why."""

    environment: Environment
    peer_format: str
    reason: str


@contextmanager
def remotes_of(
    network: Network,
    environments: list[Environment],
    *,
    batch: int,
    inputs: int,
    threads: int,
    seed: int,
) -> Iterator[tuple[list[Remote], list[Absent]]]:
    """The peers' contenders, loaded and idle, and those that are not to be had."""
    running: list[Remote] = []
    absent: list[Absent] = []
    job = {
        "source": network.source(),
        "shape": list(network.input_shape),
        "batch": batch,
        "inputs": inputs,
        "threads": threads,
        "seed": seed,
    }
    with ExitStack() as stack:
        for environment in environments:
            for name in environment.peer.formats:
                if environment.unavailable:
                    absent.append(Absent(environment, name, environment.unavailable))
                    continue
                try:
                    running.append(_start(stack, environment, name, job, threads))
                except PeerError as reason:
                    absent.append(Absent(environment, name, str(reason)))
        yield running, absent


def _start(
    stack: ExitStack, environment: Environment, name: str, job: dict[str, object], threads: int
) -> Remote:
    peer = environment.peer
    called = f"{peer.name} {name}"
    process = stack.enter_context(Process(environment.python, peer.worker, threads, called))
    told = process.ask({"load": {**job, "format": name}}, LOAD_SECONDS).get("loaded")
    if not isinstance(told, dict) or not {"form", "forms", "versions"} <= set(told):
        raise PeerError(f"{called} does not say what it loaded.")
    time.sleep(PAUSE_SECONDS)
    idle = process.idle_share()
    if idle > IDLE_SHARE:
        raise PeerError(
            f"{called} takes {idle:.2f} of a core while it waits, which would slow the others."
        )
    return Remote(environment, name, process, told, idle)
