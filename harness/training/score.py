"""Scores of a posterior on one split: what training choices are made by."""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call

from ..data.splits import Split
from ..machine.torch_state import plain
from ..metrics.metric import METRICS
from ..posterior.posterior import Posterior
from ..predict.predicted import Predictive, Summary

REPORTED = {
    "accuracy_percent": "accuracy",
    "nll_nats": "nll",
    "ece_percent": "ece",
    "brier": "brier",
}
"""Name in a posterior's metadata, with its unit, to the name of the metric."""


def predict(
    module: nn.Module, posterior: Posterior, split: Split, *, mc: int, seed: int, batch: int = 500
) -> Summary:
    """The predictive distribution p̄ = (1/T) Σ_t softmax(f(x; w_t)), in float32 arithmetic.

    Args:
        module: the network; it is put into evaluation mode.
        posterior: the distribution of its weights; one draw w_t serves the whole split.
        split: N images; decoded once, and kept as uint8 for all passes.
        mc: T ≥ 1, the number of MC passes.
        seed: of the draws.
        batch: images per forward call; the result depends on it only by rounding.
    """
    module, split = module.eval(), split.in_memory()
    generator = torch.Generator().manual_seed(seed)
    predictive = Predictive((mc,))
    with torch.inference_mode():
        for _ in range(mc):
            weights = {**posterior.state, **posterior.sample(generator)}
            parts = [
                functional_call(module, weights, (split.batch(slice(at, at + batch)),))
                for at in range(0, len(split), batch)
            ]
            predictive.update(torch.cat(parts).unsqueeze(0))
    return predictive.summaries()[mc]


@plain
def score(
    module: nn.Module, posterior: Posterior, split: Split, *, mc: int, seed: int
) -> dict[str, float]:
    """The scores of `REPORTED` on one split, see `predict` for the arguments."""
    summary = predict(module, posterior, split, mc=mc, seed=seed)
    summary.check(split.labels)
    return {key: METRICS.get(name).compute(summary, split.labels) for key, name in REPORTED.items()}
