"""The analytic pass over a posterior's network, without draws (`predict.analytic`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..core.formats import FORMATS
from .method import LoadedMethod

if TYPE_CHECKING:
    from torch import nn

    from ..workload.plan import Plan
    from ..workload.prepare import Prepared

FORMAT = "FP32"


@lru_cache(maxsize=8)  # capturing a network takes a second
def _without_moments(
    network: Callable[[], nn.Module], input_shape: tuple[int, int, int]
) -> str | None:
    from ..predict.linearised import without_moments
    from ..quantize.trace import trace

    return without_moments(trace(network(), input_shape).graph)


@dataclass(frozen=True)
class Analytic:
    """See `Method`.

    Attributes:
        name: see there.
        title: see there.
        description: see there.
        draws: see there.
        of_posterior: see there.
    """

    name: str = "analytic"
    title: str = "means and variances propagated"
    description: str = "One pass of means and variances through the network, without draws."
    draws: bool = False
    of_posterior: bool = True

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        if format != FORMAT:
            return "means and variances are propagated in float32 alone"
        missing = _without_moments(plan.workload.model, plan.workload.input_shape)
        return None if missing is None else f"there is {missing}"

    def networks(self, plan: Plan) -> Sequence[str]:
        """See `Method`."""
        from ..workload.hashes import identity_of

        return [identity_of(plan).hash_of(FORMATS.get(FORMAT))]

    def passes(self, plan: Plan, mc: Sequence[int]) -> tuple[int, ...]:
        """See `Method`."""
        return (1,)

    def load(self, prepared: Prepared, format: str, threads: int) -> LoadedMethod:
        """See `Method`.

        Raises:
            UserError: an operation has no closed-form moments, and the message names it.
        """
        from ..predict.analytic import AnalyticPredictor
        from ..predict.loop import batch_of
        from ..quantize.artefact import artefact_hash, size

        predictor = AnalyticPredictor(prepared.model, threads)
        made = prepared.artefact(FORMAT)
        digest, stored = artefact_hash(made), size(made).file_bytes
        return LoadedMethod(predictor, "analytic", (digest,), stored, batch_of(made.graph))


ANALYTIC = Analytic()
