"""The analytic pass over a posterior's network, without draws (`predict.analytic`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from .method import MadeMethod
from .single import OfPosterior

if TYPE_CHECKING:
    from torch import nn

    from ..predict.logit_law import Summarizer
    from ..quantize.options import Options
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


class MadeAnalytic(MadeMethod):
    """Of the numbers of an FP32 artefact, which are those of the folded posterior."""

    def passes(self, threads: int) -> Summarizer:
        """See `MadeMethod`.

        Raises:
            UserError: an operation has no closed-form moments, and the message names it.
        """
        import torch

        from ..predict.analytic import AnalyticPredictor
        from ..quantize.fold import FloatLayer, FloatModel

        (artefact,) = self.artefacts
        layers = {
            name: FloatLayer(
                *map(torch.from_numpy, (one.mean, one.real_std(), one.bias, one.bias_std))
            )
            for name, one in artefact.layers.items()
        }
        return AnalyticPredictor(FloatModel(artefact.graph, layers), threads)


class Analytic(OfPosterior):
    """Means and variances of the posterior's weights; see `Method`."""

    def without(self, plan: Plan, format: str) -> str | None:
        """See `Method`."""
        if format != FORMAT:
            return "means and variances are propagated in float32 alone"
        missing = _without_moments(plan.workload.model, plan.workload.input_shape)
        return None if missing is None else f"there is {missing}"

    def made(self, prepared: Prepared, format: str, options: Options | None = None) -> MadeMethod:
        """See `Method`."""
        return MadeAnalytic((prepared.artefact(FORMAT, options),), "analytic")


ANALYTIC = Analytic(
    "analytic",
    "means and variances propagated",
    "One pass of means and variances through the network, without draws.",
    draws=False,
)
