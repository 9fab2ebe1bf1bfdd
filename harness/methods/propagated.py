"""The analytic pass over a posterior's network, without draws (`predict.analytic`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from .method import LoadedMethod
from .single import OfPosterior

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


class Analytic(OfPosterior):
    """Means and variances of the posterior's weights; see `Method`."""

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        if format != FORMAT:
            return "means and variances are propagated in float32 alone"
        missing = _without_moments(plan.workload.model, plan.workload.input_shape)
        return None if missing is None else f"there is {missing}"

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


ANALYTIC = Analytic(
    "analytic",
    "means and variances propagated",
    "One pass of means and variances through the network, without draws.",
    draws=False,
)
