"""Methods of one network: passes of a posterior, its mean network, a network trained for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.formats import FORMATS
from ..workload import cell
from .method import NOTHING, MadeMethod

if TYPE_CHECKING:
    from ..quantize.artefact import Artefact
    from ..quantize.options import Options
    from ..workload.plan import Plan
    from ..workload.prepare import NetworkPart, Prepared

#: What a network without draws is called by the room of formats.
WITHOUT_DRAWS = {"FP32": "DNN_FP32", "INT8": "DNN_INT8"}


def draws_nothing(format: str) -> str | None:
    """Why there is no network without draws in a format; None where there is."""
    if format in WITHOUT_DRAWS:
        return None
    return "it draws no weights, so there is no σ to put into fewer bits"


def in_format(
    part: NetworkPart, format: str, options: Options | None, *, draws: bool
) -> tuple[Artefact, str]:
    """One network in one format, and the backend that computes it.

    Args:
        part: the network.
        format: of `FORMATS_OF_METHODS`.
        options: of quantization; the plan's where None.
        draws: whether its weights are drawn; their means are taken otherwise.
    """
    from ..quantize.ptq import quantize

    chosen = FORMATS.get(format if draws else WITHOUT_DRAWS[format])
    ranges = part.calibration if chosen.quantized else None
    artefact = quantize(part.model, chosen.name, ranges, options or part.plan.options, part.source)
    return artefact, part.plan.backend_of(chosen)


@dataclass(frozen=True)
class OfPosterior:
    """T passes of the posterior, or one with its means; see `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        draws: see there.
        noise: see there.
        of_posterior: see there.
    """

    name: str
    title: str
    description: str
    draws: bool
    noise: str = NOTHING
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

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """See `Method`."""
        artefact, backend = in_format(prepared.bayesian, format, options, draws=self.draws)
        return MadeMethod((artefact,), backend)


MEAN_FIELD = OfPosterior(
    cell.MEAN_FIELD,
    "T passes of the posterior",
    "Monte Carlo passes with weights drawn from the mean-field posterior.",
    draws=True,
    noise="",
)
MEAN = OfPosterior(
    cell.MEAN,
    "its mean network",
    "One pass with the posterior's means as weights.",
    draws=False,
)
