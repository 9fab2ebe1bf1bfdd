"""What takes part in a race: our formats on their backends; `peers.contender` has the others.

A query is T passes back to back over one batch, for everyone, so that a pass costs a query's time
over T: float32 images in, float32 logits out. Ours draw with a fresh seed in every query.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from ..backends.base import BACKENDS
from ..core.errors import UserError
from ..core.formats import FORMATS
from ..quantize.options import Options
from ..quantize.ptq import Origin, quantize
from ..records.runtime_record import OURS, contender_name
from ..workload.plan import FLOAT_BACKEND, INT8_BACKEND
from .networks import Network, Synthetic

if TYPE_CHECKING:
    from ..backends.base import Predictor


class Runner(Protocol):
    """One loaded contender.

    Attributes:
        name: in tables.
        by: `sigmabench`, or a peer.
        format: as in `sigmabench list`.
        backend: what computes it.
        packages: see `runtime_record.Contender`.
        streams: passes that it computes side by side, so that a query is to hold a multiple of
            them; 1 where it divides any number among its cores.
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

    @property
    def streams(self) -> int: ...

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
    by: str = OURS
    packages: dict[str, str] = field(default_factory=dict)
    streams: int = 1

    @property
    def name(self) -> str:
        """See `runtime_record.contender_name`."""
        return contender_name(self.format)

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
        source = Origin(network.name, "synthetic", "")
        artefact = quantize(synthetic.model, name, synthetic.calibration, Options(), source)
        loaded.append(Local(name, backend.name, backend.load(artefact, threads), seed))
    return loaded
