"""Methods of one network: passes of a posterior, its mean network, a network trained for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.formats import FORMATS
from ..workload import cell
from .method import LoadedMethod

if TYPE_CHECKING:
    from ..workload.plan import Identity, Plan
    from ..workload.prepare import NetworkPart, Prepared

#: What a network without draws is called by the room of formats.
_WITHOUT_DRAWS = {"FP32": "DNN_FP32", "INT8": "DNN_INT8"}


@dataclass(frozen=True)
class OfOneNetwork:
    """See `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        draws: see there.
        twin: whether its network was trained for itself; the posterior's otherwise.
    """

    name: str
    title: str
    description: str
    draws: bool
    twin: bool = False

    @property
    def most(self) -> int | None:
        """See `Method`."""
        return None if self.draws else 1

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        if self.twin and not plan.workload.has_twin:
            return f"no deterministic network of {plan.workload.name} ships"
        if not self.draws and format not in _WITHOUT_DRAWS:
            return "it draws nothing, so there is no σ to put into fewer bits"
        return None

    def networks(self, known: Identity) -> Sequence[str]:
        """See `Method`."""
        return [known.hash_of(FORMATS.get("DNN_FP32" if self.twin else "FP32"))]

    def passes(self, mc: Sequence[int]) -> tuple[int, ...]:
        """See `Method`."""
        return tuple(sorted(mc)) if self.draws else (1,)

    def load(self, prepared: Prepared, format: str, threads: int) -> LoadedMethod:
        """See `Method`."""
        from ..backends.base import BACKENDS
        from ..predict.loop import batch_of
        from ..quantize.artefact import artefact_hash, size
        from ..quantize.ptq import quantize

        part: NetworkPart = prepared.twin if self.twin else prepared.bayesian
        chosen = FORMATS.get(format if self.draws else _WITHOUT_DRAWS[format])
        ranges = part.calibration if chosen.quantized else None
        made = quantize(part.model, chosen.name, ranges, prepared.plan.options, part.source)
        backend = prepared.plan.backend_of(chosen)
        predictor = BACKENDS.get(backend).load(made, threads)
        digest, stored = artefact_hash(made), size(made).file_bytes
        return LoadedMethod(predictor, backend, (digest,), stored, batch_of(made.graph))


MEAN_FIELD = OfOneNetwork(
    cell.MEAN_FIELD,
    "T passes of the posterior",
    "Monte Carlo passes with weights drawn from the mean-field posterior.",
    draws=True,
)
MEAN = OfOneNetwork(
    cell.MEAN,
    "its mean network",
    "One pass with the posterior's means as weights.",
    draws=False,
)
DETERMINISTIC = OfOneNetwork(
    cell.DETERMINISTIC,
    "deterministic network",
    "One pass of a network that was trained without a posterior.",
    draws=False,
    twin=True,
)
