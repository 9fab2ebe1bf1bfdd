"""Methods of one network: passes of a posterior, its mean network, a network trained for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.formats import FORMATS
from ..workload import cell
from .method import LoadedMethod, LoadedPasses

if TYPE_CHECKING:
    from ..workload.plan import Plan
    from ..workload.prepare import NetworkPart, Prepared

#: What a network without draws is called by the room of formats.
WITHOUT_DRAWS = {"FP32": "DNN_FP32", "INT8": "DNN_INT8"}


def draws_nothing(format: str) -> str | None:
    """Why there is no network without draws in a format; None where there is."""
    if format in WITHOUT_DRAWS:
        return None
    return "it draws no weights, so there is no σ to put into fewer bits"


def loaded(part: NetworkPart, format: str, threads: int, *, draws: bool) -> LoadedPasses:
    """One network in one format.

    Args:
        part: the network.
        format: of `FORMATS_OF_METHODS`.
        threads: that a call may use.
        draws: whether its weights are drawn; their means are taken otherwise.
    """
    from ..backends.base import BACKENDS
    from ..predict.loop import batch_of
    from ..quantize.artefact import artefact_hash, size
    from ..quantize.ptq import quantize

    chosen = FORMATS.get(format if draws else WITHOUT_DRAWS[format])
    ranges = part.calibration if chosen.quantized else None
    made = quantize(part.model, chosen.name, ranges, part.plan.options, part.source)
    backend = part.plan.backend_of(chosen)
    predictor = BACKENDS.get(backend).load(made, threads)
    digest, stored = artefact_hash(made), size(made).file_bytes
    return LoadedPasses(predictor, backend, (digest,), stored, batch_of(made.graph))


@dataclass(frozen=True)
class OfPosterior:
    """T passes of the posterior, or one with its means; see `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        draws: see there.
        of_posterior: see there.
    """

    name: str
    title: str
    description: str
    draws: bool
    of_posterior: bool = True

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        return None if self.draws else draws_nothing(format)

    def networks(self, plan: Plan) -> Sequence[str]:
        """See `Method`."""
        from ..workload.hashes import identity_of

        return [identity_of(plan).hash_of(FORMATS.get("FP32"))]

    def passes(self, plan: Plan, mc: Sequence[int]) -> tuple[int, ...]:
        """See `Method`."""
        return tuple(sorted(mc)) if self.draws else (1,)

    def load(self, prepared: Prepared, format: str, threads: int) -> LoadedMethod:
        """See `Method`."""
        return loaded(prepared.bayesian, format, threads, draws=self.draws)


MEAN_FIELD = OfPosterior(
    cell.MEAN_FIELD,
    "T passes of the posterior",
    "Monte Carlo passes with weights drawn from the mean-field posterior.",
    draws=True,
)
MEAN = OfPosterior(
    cell.MEAN,
    "its mean network",
    "One pass with the posterior's means as weights.",
    draws=False,
)
